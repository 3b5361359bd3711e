"""Score a network: draw the probe batch, repeat over initialisations, say what went wrong.

`score` takes any `torch.nn.Module`; the search uses `score_builds`, which builds each repeat anew.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pymoo_nas._machine import is_out_of_memory
from pymoo_nas.datasets import Dataset, balanced_indices
from pymoo_nas.errors import DatasetError, ScoreError
from pymoo_nas.kernels import (
    Kernels,
    check_images,
    check_network,
    measure_kernels,
    preserved,
    values_preserved,
)
from pymoo_nas.networks import Counts, count_all
from pymoo_nas.scores._from_kernels import Matrix, squared_distances
from pymoo_nas.scores._initialisation import reinitialize
from pymoo_nas.scores._objectives import (
    PAPER_OBJECTIVES,
    Measured,
    Objective,
    read_objectives,
    worst_values,
)

NO_MEMORY = "does not fit in memory"
"""Reason why a network that is too large for this machine is degenerate."""


@dataclass(frozen=True, eq=False)
class Probe:
    """A fixed batch of normalised images on which every candidate of a search is scored.

    Attributes:
        images: (N, C, H, W) floating point.
    """

    images: Tensor

    @cached_property
    def distances(self) -> Matrix:
        """Squared distances of the images, (N, N)."""
        return squared_distances(self.images.detach().double().flatten(1).cpu().numpy())

    @cached_property
    def reason(self) -> str:
        """Reason why scores on this batch are degenerate; empty where they are not."""
        distinct = len(torch.unique(self.images.detach().flatten(1).cpu(), dim=0))
        return "duplicate images in the probe" if distinct < len(self.images) else ""


def draw_probe(
    dataset: Dataset, n_images: int = 64, seed: int = 0, device: str | torch.device = "cpu"
) -> Probe:
    """Draw a class-balanced batch of distinct training images, normalised by the set's moments.

    A class with too few images gives all it has, and the other classes give more.

    Args:
        dataset: data set whose training part gives the images.
        n_images: N; the batch is smaller where there are fewer distinct images.
        seed: seed of the draw; the same seed gives the same batch.
        device: device to which the images are moved.

    Raises:
        DatasetError: there are fewer than two distinct images, or `n_images` is below 1.

    Warns:
        UserWarning: there are fewer images than asked for, or some classes gave fewer than others.
    """
    rng = np.random.default_rng(seed)
    indices = balanced_indices(dataset.train_images, dataset.train_labels, n_images, rng)
    if len(indices) < min(n_images, 2):
        raise DatasetError(
            f"data set {dataset.name!r}: all {len(dataset.train_labels)} training images are "
            f"equal; expected at least 2 that differ, to draw {n_images} (--images, n_images)"
        )
    scarce = _scarcity(dataset, indices, n_images)
    if scarce:
        warnings.warn(f"data set {dataset.name!r}: {scarce}", stacklevel=2)
    return Probe(dataset.normalized(dataset.train_images[indices]).to(device))


N_NAMED = 5
"""Number of classes that a message names."""


def _scarcity(dataset: Dataset, indices: NDArray[np.int64], n_images: int) -> str:
    """Say which images a draw lacks, in words; empty where it lacks none."""
    if len(indices) < n_images:
        return (
            f"{n_images} images asked for (--images, n_images); the candidates are scored on "
            f"{len(indices)}, all distinct training images there are"
        )
    even = n_images // dataset.n_classes
    drawn, there, tested = (
        np.bincount(labels, minlength=dataset.n_classes)
        for labels in (dataset.train_labels[indices], dataset.train_labels, dataset.test_labels)
    )
    few = [c for c in range(dataset.n_classes) if drawn[c] < even]
    named = ", ".join(
        f"{dataset.class_names[c]!r} {drawn[c]} (of {there[c]} training and {tested[c]} test "
        "images)"
        for c in few[:N_NAMED]
    )
    more = f" and {len(few) - N_NAMED} more" if len(few) > N_NAMED else ""
    return (
        f"{n_images} images of {dataset.n_classes} classes would be {even} of each, but too few "
        f"distinct training images give {named}{more}; the other classes give more"
        if few
        else ""
    )


@dataclass(frozen=True)
class Scores:
    """The objectives of one network, all minimised, and its size.

    Every objective is also an attribute with its name: ``scores.ntk``.

    Attributes:
        objectives: name → value, mean over the initialisations.
        spread: name → standard deviation over the initialisations (0 for one).
        params: number of trainable parameters.
        flops: number of multiply-accumulates for one image.
        acts: see `Counts`.
        seconds: wall time of scoring.
        degenerate: reason why the scores are worthless; empty where they are not.
    """

    objectives: Mapping[str, float]
    spread: Mapping[str, float] = field(default_factory=dict)
    params: int = 0
    flops: int = 0
    acts: int = 0
    seconds: float = 0.0
    degenerate: str = ""

    def __getattr__(self, name: str) -> float:
        """Return the objective of that name."""
        # While a copy is being filled, there are no objectives yet.
        objectives = vars(self).get("objectives", {})
        if name not in objectives:
            raise AttributeError(
                f"{type(self).__name__} has no {name!r}; its objectives: {', '.join(objectives)}"
            )
        return float(objectives[name])

    @property
    def values(self) -> tuple[float, ...]:
        """Values of the objectives, in their order in F."""
        return tuple(self.objectives.values())


def score(
    network: nn.Module,
    images: Tensor,
    *,
    n_inits: int = 1,
    seed: int = 0,
    objectives: Any = PAPER_OBJECTIVES,
    max_memory: int | None = None,
    check: bool = True,
) -> Scores:
    """Judge a network without training it.

    Args:
        network: (N, C, H, W) → logits (N, n_classes); it is left as it was.
        images: (N, C, H, W), floating point, normalised, distinct, on the network's device.
        n_inits: 1 scores the network with the weights it has. A larger number draws new weights so
            many times, by every module's ``reset_parameters``, and averages the scores.
        seed: seed of the new weights.
        objectives: names of `OBJECTIVES` and objectives of your own; default the paper's three.
        max_memory: limit in bytes; None stands for half of the free memory, on the CPU at most
            1 GiB.
        check: whether to verify against plain autograd that every parameter is covered and that no
            layer mixes images; this takes a pass over two images.

    Raises:
        ScoreError: there is nothing to score, images do not fit, or a layer mixes images.
        NetworkError: the network cannot take the images.
        SearchError: an objective is unknown.
    """
    judged_by = read_objectives(objectives)
    if n_inits < 1:
        raise ScoreError(f"n_inits={n_inits}; expected 1 or more")
    check_network(network)

    def initialized(index: int) -> nn.Module:
        if n_inits > 1:
            reinitialize(network, seed + index)
        return network

    drawn = [*network.parameters(), *network.buffers()] if n_inits > 1 else []
    with values_preserved(drawn):
        builds = [lambda index=index: initialized(index) for index in range(n_inits)]
        return score_builds(
            builds, Probe(images), objectives=judged_by, max_memory=max_memory, check=check
        )


def score_builds(
    builds: Iterable[Callable[[], nn.Module]],
    probe: Probe,
    *,
    objectives: Sequence[Objective] | None = None,
    counts: Counts | None = None,
    max_memory: int | None = None,
    check: bool = False,
) -> Scores:
    """Average the scores of several initialisations of one network.

    Args:
        builds: functions, each of which returns the network at one initialisation.
        probe: the images.
        objectives: objectives to compute; None for the paper's three.
        counts: size of the network, where it is known already.
        max_memory: see `score`.
        check: see `score`; only the first initialisation is checked.

    Raises:
        ScoreError: see `score`.
        NetworkError: see `score`.
    """
    start = time.perf_counter()
    objectives = read_objectives(PAPER_OBJECTIVES) if objectives is None else objectives
    rows: list[tuple[float, ...]] = []
    reasons: list[str] = []
    network = None
    for build in builds:
        network = build()
        if not reasons:
            check_images(network, probe.images)
            reasons.append(probe.reason)
        measure = partial(measure_kernels, max_memory=max_memory, check=check and not rows)
        count = partial(_counted, network, probe.images, counts)
        values, reason = _judge(network, probe, objectives, measure, count)
        rows.append(values)
        reasons.append(reason)
    if network is None:
        raise ScoreError("no network to score; expected at least one initialisation")
    names = [objective.name for objective in objectives]
    return Scores(
        objectives=dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True)),
        spread=dict(zip(names, np.std(rows, axis=0).tolist(), strict=True)),
        **_counted(network, probe.images, counts)._asdict(),
        seconds=time.perf_counter() - start,
        degenerate=next(filter(None, reasons), ""),
    )


def _counted(network: nn.Module, images: Tensor, known: Counts | None) -> Counts:
    if known is not None:
        return known
    with preserved(network):
        return count_all(network, images)


def _judge(
    network: nn.Module,
    probe: Probe,
    objectives: Sequence[Objective],
    measure: Callable[[nn.Module, Tensor], Kernels],
    count: Callable[[], Counts],
) -> tuple[tuple[float, ...], str]:
    """Compute the objectives of a network as it is, and a reason where one is degenerate."""
    worst = worst_values(objectives, len(probe.images))
    try:
        kernels = measure(network, probe.images)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return worst, NO_MEMORY
    if not bool(torch.isfinite(kernels.logits).all()):
        return worst, "NaN or overflow in the output"
    measured = Measured(network, probe.images, kernels, probe.distances, count)
    if not measured.gradients.any():
        # The network must not win by its activations and weights before the gap.
        return worst, "output not connected to the input"
    judgements = [objective.judge(measured) for objective in objectives]
    # The last objective goes first: of the paper's, causes then precede a singular tangent kernel.
    reasons = [judgement.reason for judgement in reversed(judgements)]
    return tuple(judgement.value for judgement in judgements), next(filter(None, reasons), "")
