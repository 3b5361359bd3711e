"""The search as a pymoo problem: one genotype in, three objectives and optional constraints out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.core.problem import Problem
from torch import nn

from pymoo_nas.candidates import CandidateScorer
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.devices import resolve_device
from pymoo_nas.errors import GenotypeError, NetworkError, SearchError
from pymoo_nas.memory import release_freed_memory
from pymoo_nas.networks import MIN_SIZE
from pymoo_nas.scores import OBJECTIVES
from pymoo_nas.scoring import Probe, Scores, draw_probe
from pymoo_nas.search_space import CellSpace, SearchSpace
from pymoo_nas.workers import Workers

CHECKED = 10
"""Candidates of a run that are compared with plain autograd before their scores are believed: a
user's operation that mixes images, or whose gradients cannot be followed, is refused by name."""

RELEASE_EVERY = 8
"""Candidates between two releases of freed memory: 30 large ones left a gigabyte of holes."""

RECORDED = ("params", "flops", "acts", "seconds", "degenerate")
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
        max_acts: largest number of values that convolutions and poolings return per image. Together
            the two bound the time of a training, see `count_acts`.
        image_size: images are resized to it.
        augment: of the networks that are trained later, see `load_dataset`; scores are taken of
            images as they are.
        device: "cpu", "cuda", "cuda:0", "auto".
        seed: of the probe and of the initialisations; the same for every candidate.
        data_dir: folder in which torchvision's data sets are looked for.
        download: whether to fetch an absent torchvision data set.
        max_memory: bytes that scoring stays below; None takes half of what is free,
            on the CPU at most 1 GiB.

    Attributes:
        objective_names: labels of the columns of F.
        progress: called with the number of candidates scored so far after each of them, or None.
        scorer: builds and scores one genotype.
        workers: other processes that score the candidates, see `Workers`; None for this one.

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
        max_acts: int | None = None,
        image_size: int | tuple[int, int] | None = None,
        augment: bool | str | None = None,
        device: str = "cpu",
        seed: int = 0,
        data_dir: str | Path = "data",
        download: bool = False,
        max_memory: int | None = None,
    ) -> None:
        limits = {"params": max_params, "flops": max_flops, "acts": max_acts}
        _check_numbers(
            {"n_images": (n_images, 2), "n_inits": (n_inits, 1), "seed": (seed, 0)}, limits
        )
        self.device = resolve_device(device)
        self.dataset: Dataset = load_dataset(
            dataset, image_size=image_size, root=data_dir, download=download, augment=augment
        )
        if min(self.dataset.image_size) < MIN_SIZE:
            raise NetworkError(
                f"images of {self.dataset.image_size} pixels: too small for the network; expected "
                f"at least {MIN_SIZE} in height and width; resize them (--image-size HEIGHTxWIDTH, "
                "image_size=(height, width))"
            )
        self.search_space = search_space if search_space is not None else CellSpace()
        if not isinstance(self.search_space, SearchSpace):
            raise SearchError(
                f"search_space={search_space!r}; expected a SearchSpace, such as CellSpace() or "
                "NASBench201Space()"
            )
        self.balanced_ntk = balanced_ntk
        self.seed = seed
        self.scorer = CandidateScorer(
            search_space=self.search_space,
            probe=draw_probe(self.dataset, n_images, seed, self.device),
            n_classes=self.dataset.n_classes,
            n_inits=n_inits,
            seed=seed,
            limits={k: int(v) for k, v in limits.items() if v is not None},
            max_memory=max_memory,
        )
        self.workers: Workers | None = None
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
        return self.scorer.worst

    @property
    def probe(self) -> Probe:
        """The images that every candidate is scored on."""
        return self.scorer.probe

    @property
    def n_inits(self) -> int:
        """Initialisations that the scores are averaged over."""
        return self.scorer.n_inits

    @property
    def limits(self) -> Mapping[str, int]:
        """The entries "params", "flops", "acts" → largest number, where there is one."""
        return self.scorer.limits

    def build(self, genotype: Any, seed: int | None = None) -> nn.Module:
        """See `CandidateScorer.build`."""
        return self.scorer.build(genotype, seed)

    def score_genotype(self, genotype: Any) -> Scores:
        """See `CandidateScorer.score`; the first few of a problem are checked with autograd.

        Args:
            genotype: of the search space, or its text.

        Raises:
            GenotypeError: something else.
        """
        scores = self.scorer.score(self._genotype(genotype), check=self.n_scored < CHECKED)
        if self.n_scored % RELEASE_EVERY == RELEASE_EVERY - 1:
            release_freed_memory()
        self._count_one()
        return scores

    def score_genotypes(self, genotypes: Sequence[Any]) -> list[Scores]:
        """The scores of several genotypes, or their texts, by the workers where there are any."""
        if self.workers is None:
            return [self.score_genotype(genotype) for genotype in genotypes]
        genotypes = [self._genotype(genotype) for genotype in genotypes]
        rows: dict[int, Scores] = {}
        texts = [self.search_space.format(genotype) for genotype in genotypes]
        for index, scores in self.workers.score(self.scorer, texts, CHECKED - self.n_scored):
            rows[index] = scores
            self._count_one()
        return [rows[index] for index in range(len(genotypes))]

    def _genotype(self, given: Any) -> Any:
        """A genotype from itself or its text.

        Raises:
            GenotypeError: a text that spells none, or a number.
        """
        if isinstance(given, float | int):
            raise GenotypeError(
                f"got {given!r} for a genotype; give the algorithm operators that know them: "
                "sampling=GenotypeSampling(), crossover=GenotypeCrossover(), "
                "mutation=GenotypeMutation(), eliminate_duplicates=GenotypeDuplicates()"
            )
        return self.search_space.parse(given) if isinstance(given, str) else given

    def _count_one(self) -> None:
        self.n_scored += 1
        if self.progress is not None:
            self.progress(self.n_scored)

    def _objectives(self, scores: Scores) -> tuple[float, float, float]:
        if scores.degenerate:
            return self.worst
        ntk = scores.balanced_ntk if self.balanced_ntk else scores.ntk
        return ntk, scores.activation, scores.correlation

    def _evaluate(
        self, x: npt.NDArray[Any], out: dict[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        """Score a batch: X (n, 1) of genotypes, or of their texts, → F (n, 3), G (n, limits)."""
        del args, kwargs
        rows = self.score_genotypes([genotype for (genotype,) in x])
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
