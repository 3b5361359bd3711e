"""Build and score one candidate: everything that another process needs to judge a genotype."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from pymoo_nas._machine import is_out_of_memory
from pymoo_nas.errors import MemoryLimitError, NetworkError, OperationError
from pymoo_nas.kernels import check_network
from pymoo_nas.networks import Counts, count_all, count_parameters
from pymoo_nas.scores import (
    LATENCY,
    NO_MEMORY,
    Objective,
    Probe,
    Scores,
    add_noisy,
    score_builds,
    worst_values,
)
from pymoo_nas.search._limits import Limits
from pymoo_nas.spaces import Architecture, SearchSpace

OVER = "over the limit: not scored"
"""Reason of a candidate that breaks a limit of a size."""


class Executor(Protocol):
    """An executor scores several candidates elsewhere; `Workers` is one.

    Where it has a method ``steadiness`` too, as `Workers` has, that measures gradients in searches
    with steady ones first; else the process of the problem does.
    """

    def score(
        self, scorer: CandidateScorer, texts: Sequence[str], n_checked: int
    ) -> Iterable[tuple[int, Scores]]:
        """Return the place of each genotype among the texts and its scores, in any order.

        Args:
            scorer: builds and scores one genotype; it can be pickled.
            texts: texts of the genotypes.
            n_checked: number of genotypes, from the first, that are checked with plain autograd.
        """


@dataclass(frozen=True)
class CandidateScorer:
    """A scorer judges any genotype of a search space on one probe.

    Attributes:
        search_space: the search space of the genotypes.
        probe: the images; the networks are built on their device.
        n_classes: number of classes, which is the number of logits of a network.
        n_inits: number of initialisations over which scores are averaged, R.
        seed: seed of the first initialisation; the same for every candidate.
        limits: limits on the network whose size the search space counts.
        max_memory: see `score`.
        objectives: the objectives that are computed, in their order in F.
    """

    search_space: SearchSpace[Any]
    probe: Probe
    n_classes: int
    n_inits: int
    seed: int
    limits: Limits
    max_memory: int | None
    objectives: tuple[Objective, ...]

    @property
    def worst(self) -> tuple[float, ...]:
        """Objectives of a candidate that is degenerate or was not scored."""
        return worst_values(self.objectives, len(self.probe.images))

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return self.probe.images.shape[1]

    def on(self, device: torch.device) -> CandidateScorer:
        """Return the same scorer for another device."""
        return replace(self, probe=self.probe.to(device))

    def build(self, genotype: Any, seed: int | None = None) -> nn.Module:
        """Build the network that is scored for a genotype, on the probe's device.

        Args:
            genotype: a genotype of the search space.
            seed: seed of the initialisation; None takes the first seed of scoring.
        """
        return self._built("scored", genotype, seed)

    def score(self, genotype: Any, *, check: bool = False, counts: Counts | None = None) -> Scores:
        """Score one genotype by all objectives that are not noisy.

        A network that cannot be scored gets the worst scores and a reason.

        Such a network is over a limit, is not connected, cannot be built, or does not fit into
        `max_memory`.

        Args:
            genotype: a genotype of the search space.
            check: compare with plain autograd, see `pymoo_nas.score`.
            counts: the size of the network, where it is known already.

        Raises:
            ScoreError: an operation of a user's own that mixes images, is random, hides its
                gradients, or is of a kind that cannot be scored.
        """
        start = time.perf_counter()
        try:
            scores = self._score(genotype, check, counts)
        except (NetworkError, OperationError, MemoryLimitError) as error:
            scores = self.not_scored(str(error))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            scores = self.not_scored(NO_MEMORY)
        return replace(scores, seconds=time.perf_counter() - start)

    @property
    def is_noisy(self) -> bool:
        """Whether anything is measured that is not equal from run to run."""
        return "latency" in self.limits or any(one.noisy for one in self.objectives)

    def add_noisy(self, genotype: Any, scores: Scores) -> Scores:
        """Complete scores by noisy objectives, and by the latency where there is a limit of it.

        Args:
            genotype: of the search space.
            scores: what `score` returned, in this process or another.
        """
        if not self.is_noisy:
            return scores
        names = [objective.name for objective in self.objectives]
        measured = list(self.objectives)
        if "latency" in self.limits and "latency" not in names:
            measured.append(LATENCY)
        start = time.perf_counter()
        counts = Counts(*(getattr(scores, name) for name in Counts._fields))
        build = partial(self._built, "counted", genotype)
        try:
            found = add_noisy(scores, measured, build, self.probe, counts)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            found = self.not_scored(NO_MEMORY, counts)
        return replace(
            found,
            objectives={name: found.objectives[name] for name in names},
            spread={name: found.spread[name] for name in names},
            seconds=scores.seconds + time.perf_counter() - start,
        )

    def not_scored(self, reason: str, counts: Counts | None = None) -> Scores:
        """Return the worst scores, with the reason for them."""
        names = [objective.name for objective in self.objectives]
        return Scores(
            objectives=dict(zip(names, self.worst, strict=True)),
            spread=dict.fromkeys(names, 0.0),
            **(counts or Counts())._asdict(),
            degenerate=reason,
            scored=False,
        )

    def within_limits(self, scores: Scores) -> Scores:
        """Scores as this scorer gives them: the worst ones where they break a limit of a size."""
        counts = Counts(*(getattr(scores, name) for name in Counts._fields))
        if counts.params > self.limits.get("params", counts.params):
            return self.not_scored(OVER, Counts(counts.params))
        return scores if self.limits.kept_by(counts._asdict()) else self.not_scored(OVER, counts)

    def _score(self, genotype: Any, check: bool, counts: Counts | None) -> Scores:
        params = self._parameters(genotype) if counts is None else counts.params
        if params > self.limits.get("params", params):
            # The count took no memory, so that a huge candidate costs none.
            return self.not_scored(OVER, Counts(params))
        counted = self._built("counted", genotype)
        check_network(counted)
        if counts is None:
            counts = count_all(counted, self.probe.images)
        if not self.limits.kept_by(counts._asdict()):
            return self.not_scored(OVER, counts)
        return score_builds(
            [partial(self.build, genotype, self.seed + index) for index in range(self.n_inits)],
            self.probe,
            objectives=self.objectives,
            counts=counts,
            max_memory=self.max_memory,
            check=check,
        )

    def counts_without_memory(self, genotype: Any) -> Counts | None:
        """Count all sizes without memory for weights and maps.

        Returns:
            the sizes; None where the network cannot be built, or cannot be counted so.
        """
        images = torch.empty(1, *self.probe.images.shape[1:], device="meta")
        try:
            return count_all(self._without_memory(genotype), images)
        except Exception:  # a user's network may need memory; its faults are told when it is scored
            return None

    def params_without_memory(self, genotype: Any) -> int | None:
        """Count trainable parameters without memory for them; None as in the count of all sizes."""
        try:
            return count_parameters(self._without_memory(genotype))
        except Exception:  # as above
            return None

    def _without_memory(self, genotype: Any) -> nn.Module:
        with torch.device("meta"):
            return Architecture.of(self.search_space, genotype).build("counted", self)

    def _parameters(self, genotype: Any) -> int:
        """Count trainable parameters without memory for them; 0 where there is no limit."""
        if "params" not in self.limits:
            return 0
        counted = self._without_memory(genotype)
        check_network(counted)
        return count_parameters(counted)

    def _built(self, role: str, genotype: Any, seed: int | None = None) -> nn.Module:
        architecture = Architecture.of(self.search_space, genotype)
        network = architecture.build(role, self, seed=self.seed if seed is None else seed)
        return network.to(self.probe.images.device)
