"""The search as a pymoo problem: one genotype in, three objectives and optional constraints out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pymoo.core.problem import Problem
from torch import nn

from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.devices import resolve_device, seeded
from pymoo_nas.errors import NetworkError, OperationError, SearchError
from pymoo_nas.memory import release_freed_memory
from pymoo_nas.networks import MIN_SIZE, count_flops, count_parameters
from pymoo_nas.scores import OBJECTIVES, worst_scores
from pymoo_nas.scoring import Scores, draw_probe, score_builds
from pymoo_nas.search_space import CellSpace, SearchSpace

CHECKED = 10
"""Candidates of a run that are compared with plain autograd before their scores are believed: a
user's operation that mixes images, or whose gradients cannot be followed, is refused by name."""

RELEASE_EVERY = 8
"""Candidates between two releases of freed memory: 30 large ones left a gigabyte of holes."""

RECORDED = ("params", "flops", "seconds", "degenerate")
"""What the evaluation leaves on every individual besides F and G."""


class NASProblem(Problem):
    """Three training-free objectives of a genotype, all minimised: see `OBJECTIVES`.

    A candidate that breaks a limit is not scored: it gets the worst scores and, in G, the excess
    as a share of the limit. A degenerate one (see ``degenerate`` on the individual) gets the worst
    value in all three objectives, so that nothing worthless can win in one of them.

    Args:
        dataset: name, path, arrays or `Dataset`: whatever `load_dataset` takes.
        search_space: default `CellSpace`.
        n_images: images of the probe, N.
        n_inits: initialisations that the scores are averaged over, R.
        balanced_ntk: whether the first objective is `Scores.balanced_ntk`, which ranks
            NAS-Bench-201 better (see studies/score_quality.py), instead of the published one.
        max_params: largest number of trainable parameters.
        max_flops: largest number of multiply-accumulates per image.
        image_size: images are resized to it.
        device: "cpu", "cuda", "cuda:0", "auto".
        seed: of the probe and of the initialisations; the same for every candidate.
        data_dir: folder in which torchvision's data sets are looked for.
        download: whether to fetch an absent torchvision data set.
        max_memory: bytes that scoring stays below; None takes half of what is free,
            on the CPU at most 1 GiB.

    Attributes:
        objective_names: labels of the columns of F.
        progress: called with the number of candidates scored so far after each of them, or None.

    Raises:
        DatasetError: absent or unfit data. SearchError: numbers that are not positive.
        DeviceError: no such device. NetworkError: images smaller than the networks take.
    """

    def __init__(
        self,
        dataset: Any = "digits",
        *,
        search_space: SearchSpace[Any] | None = None,
        n_images: int = 64,
        n_inits: int = 1,
        balanced_ntk: bool = False,
        max_params: int | None = None,
        max_flops: int | None = None,
        image_size: int | tuple[int, int] | None = None,
        device: str = "cpu",
        seed: int = 0,
        data_dir: str | Path = "data",
        download: bool = False,
        max_memory: int | None = None,
    ) -> None:
        limits = {"params": max_params, "flops": max_flops}
        _check_numbers(
            {"n_images": (n_images, 2), "n_inits": (n_inits, 1), "seed": (seed, 0)}, limits
        )
        self.device = resolve_device(device)
        self.dataset: Dataset = load_dataset(
            dataset, image_size=image_size, root=data_dir, download=download
        )
        if min(self.dataset.image_size) < MIN_SIZE:
            raise NetworkError(
                f"images of {self.dataset.image_size} pixels: too small for the network; expected "
                f"at least {MIN_SIZE} in height and width; resize them (image_size)"
            )
        self.search_space = search_space if search_space is not None else CellSpace()
        self.probe = draw_probe(self.dataset, n_images, seed, self.device)
        self.n_inits = n_inits
        self.balanced_ntk = balanced_ntk
        self.seed = seed
        self.max_memory = max_memory
        self.limits: dict[str, int] = {k: int(v) for k, v in limits.items() if v is not None}
        self.objective_names = list(OBJECTIVES)
        self.progress: Callable[[int], None] | None = None
        self.n_scored = 0
        super().__init__(n_var=1, n_obj=len(OBJECTIVES), n_ieq_constr=len(self.limits))

    def __deepcopy__(self, memo: object) -> NASProblem:
        """Itself: pymoo copies the whole algorithm, problem included, for every history entry."""
        return self

    @property
    def worst(self) -> tuple[float, float, float]:
        """F of a candidate that is degenerate or was not scored."""
        return worst_scores(len(self.probe.images))

    def build(self, genotype: Any, seed: int | None = None) -> nn.Module:
        """The network that is scored for a genotype, on the problem's device.

        Args:
            genotype: of the search space.
            seed: of the initialisation; None takes the first that scoring takes.
        """
        with seeded(torch.device("cpu"), self.seed if seed is None else seed):
            network = self.search_space.build(
                genotype, self.dataset.in_channels, self.dataset.n_classes
            )
        return network.to(self.device)

    def score_genotype(self, genotype: Any) -> Scores:
        """Score one genotype, never raising for what the genotype spells.

        A genotype over a limit, not connected, or that cannot be built gets the worst scores and
        the reason.

        Raises:
            ScoreError: an operation of a user's own that mixes images or hides its gradients.
        """
        start = time.perf_counter()
        try:
            scores = self._score(genotype)
        except (NetworkError, OperationError) as error:
            scores = self._not_scored(str(error))
        self.n_scored += 1
        if self.n_scored % RELEASE_EVERY == 0:
            release_freed_memory()
        if self.progress is not None:
            self.progress(self.n_scored)
        return replace(scores, seconds=time.perf_counter() - start)

    def _score(self, genotype: Any) -> Scores:
        params = self._parameters(genotype)
        if params > self.limits.get("params", params):
            # Nothing more than the count was built: a huge candidate costs no memory.
            return self._not_scored("over the limit: not scored", params, 0)
        first = self.build(genotype)
        params, flops = count_parameters(first), count_flops(first, self.probe.images)
        if flops > self.limits.get("flops", flops):
            return self._not_scored("over the limit: not scored", params, flops)
        others = [
            partial(self.build, genotype, self.seed + index) for index in range(1, self.n_inits)
        ]
        return score_builds(
            [lambda: first, *others],
            self.probe,
            counts=(params, flops),
            max_memory=self.max_memory,
            check=self.n_scored < CHECKED,
        )

    def _not_scored(self, reason: str, params: int = 0, flops: int = 0) -> Scores:
        return Scores(*self.worst, params=params, flops=flops, degenerate=reason)

    def _objectives(self, scores: Scores) -> tuple[float, float, float]:
        if scores.degenerate:
            return self.worst
        ntk = scores.balanced_ntk if self.balanced_ntk else scores.ntk
        return ntk, scores.activation, scores.correlation

    def _parameters(self, genotype: Any) -> int:
        """Trainable parameters, counted without memory for them; 0 where there is no limit."""
        if "params" not in self.limits:
            return 0
        with torch.device("meta"):
            network = self.search_space.build(
                genotype, self.dataset.in_channels, self.dataset.n_classes
            )
        return count_parameters(network)

    def _evaluate(
        self, x: npt.NDArray[Any], out: dict[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        """Score a batch: X (n, 1) of genotypes, or of their texts, → F (n, 3), G (n, limits)."""
        del args, kwargs
        rows = []
        for (genotype,) in x:
            parsed = self.search_space.parse(genotype) if isinstance(genotype, str) else genotype
            rows.append(self.score_genotype(parsed))
        out["F"] = np.array([self._objectives(row) for row in rows])
        if self.limits:
            out["G"] = np.column_stack(
                [
                    [(getattr(row, name) - limit) / limit for row in rows]
                    for name, limit in self.limits.items()
                ]
            )
        for name in RECORDED:
            values = np.empty(len(rows), dtype=object)
            values[:] = [getattr(row, name) for row in rows]
            out[name] = values


def _check_numbers(
    integers: Mapping[str, tuple[Any, int]], limits: Mapping[str, float | None]
) -> None:
    """Refuse numbers that mean nothing.

    Args:
        integers: name → value and its smallest.
        limits: name → largest count, or None; 2e5 is a common way to write one.

    Raises:
        SearchError: with the name of the argument.
    """
    for name, (value, least) in integers.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise SearchError(f"{name}={value!r}; expected an integer of at least {least}")
    for name, limit in limits.items():
        number = isinstance(limit, Real) and not isinstance(limit, bool)
        if limit is not None and not (number and 1 <= limit < math.inf):
            raise SearchError(f"max_{name}={limit!r}; expected a positive number, or None")
