"""The search as a pymoo problem: one genotype in, objectives and optional constraints out."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.core.individual import calc_cv
from pymoo.core.problem import Problem
from torch import nn

from pymoo_nas._machine import (
    MAX_SEED,
    Progress,
    positive,
    resolve_device,
    whole,
)
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.errors import NetworkError, SearchError
from pymoo_nas.networks import MIN_SIZE, Counts
from pymoo_nas.scores import (
    PAPER_OBJECTIVES,
    SCORED,
    SIZES,
    Objective,
    Probe,
    draw_probe,
    read_objectives,
    worst_values,
)
from pymoo_nas.search._candidates import CandidateScorer, Executor
from pymoo_nas.search._given import (
    OPERATORS,
    as_column,
    holds_one,
    items_in,
    read_genotype,
    unwrapped,
)
from pymoo_nas.search._limits import Limits
from pymoo_nas.search._memory import ProblemMemory
from pymoo_nas.search._repair import Sizes
from pymoo_nas.search._scale import Scaled
from pymoo_nas.search._scoring import Scoring
from pymoo_nas.spaces import CellSpace, SearchSpace


class NoBoundsError(SearchError, AttributeError):
    """An algorithm for numbers was asked to search genotypes."""


class NASProblem(Scaled, Scoring, Problem):
    """Training-free objectives of a genotype, all minimised; by default the paper's three.

    A candidate that breaks a limit is not scored: it gets the worst scores and, in G, the excess
    as a share of the limit. A degenerate candidate (see ``degenerate`` on the individual) gets the
    worst value in every objective, so that it cannot win in any of them.

    A genotype may be given in any form that `read_genotype` takes, for example as text. A copy,
    shallow or deep, is a problem of its own that shares data set, probe, scorer and workers.
    Pymoo's wrappers, such as ``ConstraintsAsObjective``, therefore change their copy only.

    Args:
        dataset: name, path, arrays or `Dataset`, as `load_dataset` takes them.
        search_space: default `CellSpace`; it is suited to the images, see
            `SearchSpace.for_images`.
        n_images: number of images of the probe, N.
        n_inits: number of initialisations over which scores are averaged, R.
        objectives: names of `OBJECTIVES` and objectives of your own, in their order in F; "later"
            stands for `LATER_OBJECTIVES`, "paper" for `PAPER_OBJECTIVES`. See `read_objectives`.
        max_params: largest number of trainable parameters.
        max_flops: largest number of multiply-accumulates per image.
        max_acts: largest number of values that convolutions and poolings return per image;
            `max_flops` and `max_acts` together bound the time of a training, see `count_acts`.
        max_peak_memory: largest number of bytes of feature maps at one time, see `Counts`.
        max_latency: longest time for one image in milliseconds, see `measure_latency`. Latencies
            are noisy: searches that measure them are not equal to the bit.
        image_size: size in pixels to which images are resized.
        augment: augmentation for networks that are trained later, see `load_dataset`; scoring
            takes the images without it.
        device: "cpu", "cuda", "cuda:0" or "auto".
        seed: seed of the probe and of the initialisations; the same for every candidate.
        data_dir: folder in which torchvision's data sets are looked for.
        download: whether to fetch an absent torchvision data set.
        max_memory: most memory for scoring, in bytes; None takes half of the free memory, on the
            CPU at most 1 GiB.
        memory: file in which scores are kept, and looked up by later runs, see `ScoreMemory`; None
            keeps none.
        elementwise_runner: refused; see `Workers`.

    Attributes:
        objective_names: labels of the columns of F.
        n_scored: candidates whose scores were computed.
        n_remembered: candidates whose scores were found in the memory.
        progress: takes a `Report` after each candidate, and of work "gradients" after each
            measurement of steadiness; or None.
        scored_by: mark of this problem and its copies on the individuals that it scored.
        scorer: builds and scores one genotype.
        workers: an `Executor`, such as `Workers`, which scores several candidates elsewhere; None
            scores them here.

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
        objectives: Any = PAPER_OBJECTIVES,
        max_params: int | None = None,
        max_flops: int | None = None,
        max_acts: int | None = None,
        max_peak_memory: int | None = None,
        max_latency: float | None = None,
        image_size: int | tuple[int, int] | None = None,
        augment: bool | str | None = None,
        device: str = "cpu",
        seed: int = 0,
        data_dir: str | Path = "data",
        download: bool = False,
        max_memory: int | None = None,
        memory: str | Path | None = None,
        elementwise_runner: None = None,
    ) -> None:
        if elementwise_runner is not None:
            raise SearchError(
                f"elementwise_runner={elementwise_runner!r}: a runner sends the whole problem with "
                "every candidate; for any algorithm of pymoo use workers instead: "
                "`with Workers(2) as problem.workers: minimize(problem, ...)`"
            )
        limits = Limits(
            params=max_params,
            flops=max_flops,
            acts=max_acts,
            peak_memory=max_peak_memory,
            latency=max_latency,
        )
        judged_by = read_objectives(objectives)
        n_images = whole("n_images", n_images, 2)
        n_inits = whole("n_inits", n_inits)
        seed = whole("seed", seed, 0, MAX_SEED - n_inits + 1)
        if max_memory is not None:
            max_memory = int(positive("max_memory", max_memory))
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
        self.search_space = self.search_space.for_images(self.dataset.image_size)
        self.seed = seed
        self.n_images = n_images
        self.scorer = CandidateScorer(
            search_space=self.search_space,
            probe=draw_probe(self.dataset, n_images, seed, self.device),
            n_classes=self.dataset.n_classes,
            n_inits=n_inits,
            seed=seed,
            limits=limits,
            max_memory=max_memory,
            objectives=judged_by,
        )
        # Individuals keep it, so that scores of other problems are told apart. Pymoo makes numbers
        # of texts such as "12e4", which this is none of.
        self.scored_by = f"problem {secrets.token_hex(8)}"
        self._sizes = Sizes(self.scorer)
        worst_values(judged_by, n_images)  # before anything is scored
        self.workers: Executor | None = None
        self.objective_names = [objective.name for objective in judged_by]
        self.progress: Progress | None = None
        self.n_scored = self.n_remembered = 0
        self._found: list[tuple[float, ...]] = []
        self._memory = None if memory is None else ProblemMemory(memory)
        super().__init__(n_var=1, n_obj=len(judged_by), n_ieq_constr=len(self.limits))
        del self.xl, self.xu

    def __getattr__(self, name: str) -> Any:
        """Tell why there are no bounds, where pymoo's operators for numbers ask for bounds."""
        if name in ("xl", "xu"):
            raise NoBoundsError(
                f"{name}: genotypes have no bounds, only numbers do; take an algorithm with "
                f"operators for genotypes, such as EvolutiveNAS(), or give NSGA2 {OPERATORS}"
            )
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def has_bounds(self) -> bool:
        """Whether there are bounds: false, unless one of pymoo's wrappers has set some."""
        return hasattr(self, "xl") and super().has_bounds()

    def __copy__(self) -> NASProblem:
        other = object.__new__(type(self))
        # Lists and dictionaries (names, pymoo's cache) are copied, images and scorer are shared.
        other.__dict__.update(
            {
                name: copy.copy(value) if isinstance(value, list | dict) else value
                for name, value in self.__dict__.items()
            }
        )
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> NASProblem:
        """Make a shallow copy: pymoo copies the problem for every entry of its history."""
        memo[id(self)] = other = copy.copy(self)
        return other

    @property
    def worst(self) -> tuple[float, ...]:
        """F of a candidate that is degenerate or was not scored."""
        return self.scorer.worst

    @property
    def probe(self) -> Probe:
        """The images that every candidate is scored on."""
        return self.scorer.probe

    @property
    def n_inits(self) -> int:
        """Number of initialisations over which scores are averaged."""
        return self.scorer.n_inits

    @property
    def limits(self) -> Limits:
        """Largest size or latency, where there is one."""
        return self.scorer.limits

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives that judge candidates, in their order in F."""
        return self.scorer.objectives

    def scoring_settings(self) -> dict[str, Any]:
        """The settings that decide scores, besides images and search space: argument → plain value.

        Objectives are given by name; a user's own objective cannot be made again from its name,
        unless it was given as ``module:name``.
        """
        return {
            "objectives": [objective.source or objective.name for objective in self.objectives],
            "n_images": self.n_images,
            "n_inits": self.n_inits,
            "seed": self.seed,
            **{f"max_{name}": self.limits.get(name) for name in SIZES},
        }

    def build(self, genotype: Any, seed: int | None = None) -> nn.Module:
        """Build the network that is scored for a genotype; see `CandidateScorer.build`.

        Args:
            genotype: a genotype in any form that `read_genotype` takes.
            seed: seed of the initialisation; None takes the first seed of scoring.

        Raises:
            GenotypeError: something that is no genotype.
        """
        return self.scorer.build(read_genotype(self.search_space, genotype), seed)

    def excess(self, genotype: Any, sizes: Collection[str] = Counts._fields) -> float:
        """The largest excess of a network over a limit of a size, as a share of this limit.

        The network is counted without memory, and once.

        Args:
            genotype: a genotype of the search space.
            sizes: the sizes that count; a latency never does, as it is not known before.

        Returns:
            0 or less where all limits are kept; −inf without limits, and for what cannot be built.
        """
        return self._sizes.excess(genotype, sizes)

    def evaluate(self, X: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute objectives and constraints, as pymoo's ``Problem.evaluate`` returns them.

        Args:
            X: genotypes (n, 1), or any form that `read_genotypes` takes; for one genotype, such as
                ``result.X[0]`` or a text, the results have no first dimension.
            *args: see pymoo.
            **kwargs: see pymoo.

        Raises:
            GenotypeError: something that is no genotype.
        """
        items = items_in(self.search_space, X)
        found = super().evaluate(as_column(map(unwrapped, items)), *args, **kwargs)
        if not (holds_one(X) or (isinstance(X, tuple) and items == [X])):
            return found
        if isinstance(found, dict):
            return {name: values[0] for name, values in found.items()}
        return tuple(rows[0] for rows in found) if isinstance(found, tuple) else found[0]

    def do(self, X: Any, return_values_of: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Evaluate as pymoo's ``Problem.do`` does, and note for `scale` what keeps all constraints.

        A subclass may add constraints in its ``_evaluate``.
        """
        out: dict[str, Any] = super().do(X, return_values_of, *args, **kwargs)
        if out.get("degenerate") is None:  # pymoo's StaticProblem gives F without scoring
            return out
        kept = calc_cv(G=out.get("G"), H=out.get("H"))
        rows = zip(out["F"], out["degenerate"], np.broadcast_to(kept, len(X)), strict=True)
        self._found += [tuple(F) for F, why, violation in rows if not why and violation <= 0]
        return out

    def _evaluate(
        self, x: npt.NDArray[Any], out: dict[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        """Score a batch: genotypes or their texts X (n, 1) → F (n, m), G (n, limits).

        An elementwise problem, which pymoo's runners need, has X (1,) → F (m,), G (limits,).
        """
        del args, kwargs
        rows = self.score_genotypes(x)
        out["F"] = np.array([self.worst if row.degenerate else row.values for row in rows])
        if self.limits:
            out["G"] = np.array([[*self.limits.excess(vars(row)).values()] for row in rows])
        for name in SCORED:
            out[name] = as_column(getattr(row, name) for row in rows)[:, 0]
        names = [objective.name for objective in self.objectives]  # pymoo's wrappers change F
        named = (dict(zip(names, values, strict=True)) for values in out["F"].tolist())
        out["scores"] = as_column(named)[:, 0]
        out["scored_by"] = np.full(len(rows), self.scored_by)
        if self.elementwise:
            out.update({name: values[0] for name, values in out.items() if values is not None})
