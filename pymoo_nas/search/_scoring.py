"""Score candidates for a problem: one by one, or by workers, and never what a memory knows."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pymoo_nas._machine import Progress, Report, release_freed_memory
from pymoo_nas.errors import WorkerError
from pymoo_nas.scores import Scores
from pymoo_nas.search._candidates import CandidateScorer, Executor
from pymoo_nas.search._given import read_genotype, read_genotypes
from pymoo_nas.search._memory import ProblemMemory
from pymoo_nas.search._repair import Sizes
from pymoo_nas.search._steadiness import Steadiness, steadiness
from pymoo_nas.spaces import SearchSpace

CHECKED = 10
"""Number of the first candidates of a run whose scores are checked with plain autograd. The check
refuses by name a user's operation that mixes images, or whose gradients cannot be followed."""

RELEASE_EVERY = 8
"""Candidates between two releases of freed memory; 30 large candidates left a gigabyte of holes."""

_ONE_AT_A_TIME = threading.RLock()
"""Lock for scoring: the threads of a runner share torch's global generator, which draws weights."""


class Scoring:
    """What a problem scores, and how; its attributes are those of `NASProblem`."""

    search_space: SearchSpace[Any]
    scorer: CandidateScorer
    workers: Executor | None
    progress: Progress | None
    n_scored: int
    n_remembered: int
    _sizes: Sizes
    _memory: ProblemMemory | None

    def score_genotype(self, genotype: Any) -> Scores:
        """See `CandidateScorer.score`; the first few of a problem are checked with autograd.

        Args:
            genotype: genotype in any form that `read_genotype` takes.

        Raises:
            GenotypeError: the argument is no genotype.
        """
        read = read_genotype(self.search_space, genotype)
        known = self._recalled([read])
        if known:
            return known[0]
        with _ONE_AT_A_TIME:
            counts = self._sizes.counts(read)
            scores = self.scorer.score(read, check=self.n_scored < CHECKED, counts=counts)
            scores = self.scorer.add_noisy(read, scores)
            if self.n_scored % RELEASE_EVERY == RELEASE_EVERY - 1:
                release_freed_memory()
            self.count_one(computed=True)
        self._keep(read, scores)
        return scores

    def score_genotypes(self, genotypes: Any) -> list[Scores]:
        """The scores of several genotypes, by the workers where there are any.

        Args:
            genotypes: genotypes in any form that `read_genotypes` takes.

        Raises:
            GenotypeError: an item is no genotype; then nothing has been scored.
            WorkerError: the workers lose a candidate.
        """
        read = read_genotypes(self.search_space, genotypes)
        rows = self._recalled(read)
        left = {index: genotype for index, genotype in enumerate(read) if index not in rows}
        if self.workers is None:
            rows |= {index: self.score_genotype(genotype) for index, genotype in left.items()}
        elif left:
            rows |= self._score_by_workers(left)
        return [rows[index] for index in range(len(read))]

    def steadiness(self, genotype: Any, *, seed: int = 0) -> Steadiness:
        """The change of gradients from the scored to the final network of a genotype.

        Args:
            genotype: genotype in any form that `read_genotype` takes.
            seed: seed of the first initialisation.

        Raises:
            GenotypeError: the argument is no genotype.
        """
        read = self.search_space.canonical(read_genotype(self.search_space, genotype))
        with _ONE_AT_A_TIME:
            return steadiness(read, self.scorer, seed=seed)

    def steadiness_of(self, genotypes: Any) -> list[Steadiness]:
        """The steadiness of several genotypes, by the workers where there are any.

        Args:
            genotypes: genotypes in any form that `read_genotypes` takes.

        Raises:
            GenotypeError: an item is no genotype; then nothing has been measured.
            WorkerError: the workers lose a genotype.
        """
        space = self.search_space
        texts = [
            space.format(space.canonical(genotype)) for genotype in read_genotypes(space, genotypes)
        ]
        known = {} if self._memory is None else self._memory.recall_steadiness(self, texts)
        left = [text for text in dict.fromkeys(texts) if text not in known]
        for done, (text, found) in enumerate(self._measured(left), 1):
            known[text] = found
            if self._memory is not None:
                self._memory.keep_steadiness(self, text, found)
            if self.progress is not None:
                self.progress(Report("gradients", done, len(left)))
        self._refuse_lost([text for text in left if text not in known], "steadiness")
        return [known[text] for text in texts]

    def _measured(self, texts: Sequence[str]) -> Iterator[tuple[str, Steadiness]]:
        """Each genotype and its steadiness, in any order, as soon as it is measured."""
        by_workers = getattr(self.workers, "steadiness", None)
        if by_workers is None:
            for text in texts:
                yield text, self.steadiness(text)
        elif texts:
            for place, found in by_workers(self.scorer, texts):
                yield texts[place], found

    def _score_by_workers(self, genotypes: Mapping[int, Any]) -> dict[int, Scores]:
        """The scores of genotypes, by the places that these have."""
        assert self.workers is not None
        places = list(genotypes)
        rows: dict[int, Scores] = {}
        texts = [self.search_space.format(genotype) for genotype in genotypes.values()]
        n_checked = max(0, CHECKED - self.n_scored)
        for index, scores in self.workers.score(self.scorer, texts, n_checked):
            rows[places[index]] = scores
            self.count_one(computed=True)
            if not self.scorer.is_noisy:
                self._keep(genotypes[places[index]], scores)
        lost = [text for place, text in zip(places, texts, strict=True) if place not in rows]
        self._refuse_lost(lost, "scores")
        if self.scorer.is_noisy:
            # When the workers have ended: a time is measured while nothing else is computed.
            for place, genotype in genotypes.items():
                rows[place] = self.scorer.add_noisy(genotype, rows[place])
                self._keep(genotype, rows[place])
        return rows

    def _refuse_lost(self, texts: Sequence[str], what: str) -> None:
        """Refuse workers that gave nothing of some candidates.

        Raises:
            WorkerError: there are some; names them.
        """
        if texts:
            raise WorkerError(
                f"{type(self.workers).__name__} gave no {what} of {', '.join(texts)}; expected "
                "those of every candidate"
            )

    def _recalled(self, genotypes: Sequence[Any]) -> dict[int, Scores]:
        """The scores that are remembered, by place; they count as candidates."""
        if self._memory is None:
            return {}
        found = self._memory.recall(self, genotypes)
        for _ in found:
            self.count_one(computed=False)
        return found

    def _keep(self, genotype: Any, scores: Scores) -> None:
        if self._memory is not None:
            self._memory.keep(self, genotype, scores)

    def count_one(self, *, computed: bool) -> None:
        """Count a candidate, and report the progress.

        Args:
            computed: whether its scores were computed, and not remembered.
        """
        self.n_scored += computed
        self.n_remembered += not computed
        if self.progress is not None:
            self.progress(Report("candidates", self.n_scored + self.n_remembered))
