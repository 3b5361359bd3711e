"""Score a network: draw the probe batch, repeat over initialisations, say what went wrong.

`score` takes any `torch.nn.Module`; the search uses `score_builds`, which builds each repeat anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pymoo_nas._machine import MAX_SEED, is_out_of_memory, positive, whole
from pymoo_nas.errors import ScoreError
from pymoo_nas.kernels import (
    Kernels,
    PlanMemory,
    check_images,
    check_network,
    measure_kernels,
    preserved,
    values_preserved,
)
from pymoo_nas.networks import Counts, count_all
from pymoo_nas.scores._initialisation import reinitialize
from pymoo_nas.scores._objective import Measured, Objective, worst_values
from pymoo_nas.scores._objectives import PAPER_OBJECTIVES, read_objectives
from pymoo_nas.scores._probe import Probe

NO_MEMORY = "does not fit in memory"
"""Reason why a network that is too large for this machine is degenerate."""


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
        peak_memory: bytes, see `Counts`.
        latency: milliseconds for one image; None where it was not measured.
        seconds: wall time of scoring.
        degenerate: reason why the scores are worthless; empty where they are not.
        scored: whether the network was scored; false where it was too large or could not be built.
    """

    objectives: Mapping[str, float]
    spread: Mapping[str, float] = field(default_factory=dict)
    params: int = 0
    flops: int = 0
    acts: int = 0
    peak_memory: int = 0
    latency: float | None = None
    seconds: float = 0.0
    degenerate: str = ""
    scored: bool = True

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
    labels: Tensor | None = None,
    counted: nn.Module | None = None,
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
        labels: (N,) integers, the classes of the images, for objectives that need them.
        counted: network whose size and time are measured; None stands for `network`.
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
    n_inits = whole("n_inits", n_inits, error=ScoreError)
    seed = whole("seed", seed, 0, MAX_SEED - n_inits + 1, error=ScoreError)
    if max_memory is not None:
        max_memory = int(positive("max_memory", max_memory, error=ScoreError))
    check_network(network)
    labels = _classes(labels, images)

    def initialized(index: int) -> nn.Module:
        if n_inits > 1:
            reinitialize(network, seed + index)
        return network

    drawn = [*network.parameters(), *network.buffers()] if n_inits > 1 else []
    with values_preserved(drawn):
        builds = [lambda index=index: initialized(index) for index in range(n_inits)]
        probe = Probe(images, labels)
        scores = score_builds(
            builds,
            probe,
            objectives=judged_by,
            counts=None if counted is None else _counted(counted, images, None),
            max_memory=max_memory,
            check=check,
        )
        counts = Counts(*(getattr(scores, name) for name in Counts._fields))
        return add_noisy(
            scores, judged_by, lambda: network if counted is None else counted, probe, counts
        )


def _classes(labels: Any, images: Any) -> Tensor | None:
    """Read the classes of images; None where none are given.

    Raises:
        ScoreError: they are not one integer from 0 for each image.
    """
    if labels is None or not isinstance(images, Tensor):
        return None
    try:
        found = torch.as_tensor(labels, device=images.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ScoreError(f"labels: {error}; expected one integer for each image") from error
    counts = not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)
    if not counts or found.shape != images.shape[:1] or bool((found < 0).any()):
        raise ScoreError(
            f"labels of shape {tuple(found.shape)} ({found.dtype}); expected one integer from 0 "
            f"for each of {len(images)} images"
        )
    return found.long()


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
        objectives: objectives to compute; None for the paper's three. Noisy ones are left out.
        counts: size of the network, where it is known already.
        max_memory: see `score`.
        check: see `score`; only the first initialisation is checked.

    Raises:
        ScoreError: see `score`.
        NetworkError: see `score`.
    """
    start = time.perf_counter()
    given = read_objectives(PAPER_OBJECTIVES) if objectives is None else objectives
    objectives = [objective for objective in given if not objective.noisy]
    rows: list[tuple[float, ...]] = []
    reasons: list[str] = []
    network, plans = None, PlanMemory()
    for build in builds:
        network = build()
        if not reasons:
            check_images(probe.images)
            reasons.append(probe.reason)
        measure = partial(
            measure_kernels, max_memory=max_memory, check=check and not rows, plans=plans
        )
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


def add_noisy(
    scores: Scores,
    objectives: Sequence[Objective],
    build: Callable[[], nn.Module],
    probe: Probe,
    counts: Counts,
) -> Scores:
    """Complete the scores of a network by noisy objectives, such as its latency.

    Args:
        scores: by all other objectives.
        objectives: all, in their order in F; those that are noisy are measured here.
        build: returns the network whose size is counted; called where something is measured.
        probe: the images.
        counts: the size of the network.

    Returns:
        the scores in the order of `objectives`; a degenerate network gets the worst values.
    """
    noisy = [objective for objective in objectives if objective.noisy]
    if not noisy:
        return scores
    found = dict(zip((o.name for o in noisy), worst_values(noisy, len(probe.images)), strict=True))
    reason, latency = scores.degenerate, None
    if not reason:
        measured = Measured(build(), probe, lambda: counts)
        judgements = {objective.name: objective.judge(measured) for objective in noisy}
        found = {name: judgement.value for name, judgement in judgements.items()}
        reason = next(filter(None, (judgement.reason for judgement in judgements.values())), "")
        latency = found.get("latency")
    values, spread = {**scores.objectives, **found}, {**dict.fromkeys(found, 0.0), **scores.spread}
    names = [objective.name for objective in objectives]
    return replace(
        scores,
        objectives={name: values[name] for name in names},
        spread={name: spread[name] for name in names},
        latency=latency,
        degenerate=reason,
    )


def _counted(network: nn.Module, images: Tensor, known: Counts | None) -> Counts:
    if known is not None:
        return known
    with preserved(network, eval_mode=True):
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
    measured = Measured(network, probe, count, kernels)
    if not measured.gradients.any():
        # The network must not win by its activations and weights before the gap.
        return worst, "output not connected to the input"
    judgements = [objective.judge(measured) for objective in objectives]
    # The last objective goes first: of the paper's, causes then precede a singular tangent kernel.
    reasons = [judgement.reason for judgement in reversed(judgements)]
    return tuple(judgement.value for judgement in judgements), next(filter(None, reasons), "")
