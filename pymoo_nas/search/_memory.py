"""The memory of a problem: scores that are kept in one file and not computed again.

The file is a database of SQLite, which several processes may use at the same time. It holds plain
JSON values, so that a file from someone else can run no code.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch

from pymoo_nas._machine import expanded, processor, versions
from pymoo_nas.errors import SearchError
from pymoo_nas.networks import Counts
from pymoo_nas.scores import NO_MEMORY, OBJECTIVES, Objective, Scores, is_failure
from pymoo_nas.search._code import code_of
from pymoo_nas.search._steadiness import FAILED, Steadiness
from pymoo_nas.spaces import space_description

APPLICATION = 0x6E617331
"""SQLite's ``application_id`` of these files: "nas1"."""

PATIENCE = 60.0
"""Seconds for which a process waits while another one writes."""

Kept = TypeVar("Kept", Scores, Steadiness)

TABLE = """
CREATE TABLE IF NOT EXISTS scores (
    context TEXT NOT NULL,
    genotype TEXT NOT NULL,
    scores TEXT NOT NULL,
    PRIMARY KEY (context, genotype)
) WITHOUT ROWID
"""


class ScoreMemory:
    """Scores by context and genotype, in one file, which each process and thread opens for itself.

    Args:
        path: the file; it is made when the first scores are kept.

    Raises:
        SearchError: a file that is damaged or that something else has made.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = expanded(path)
        self._own = threading.local()
        if os.path.exists(self.path):
            with self._connected():
                pass
        elif not os.path.isdir(self.path.parent):
            raise SearchError(
                f"memory {self.path}: there is no folder {self.path.parent}; make it, or name a "
                "file elsewhere"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    def __deepcopy__(self, memo: dict[int, Any]) -> ScoreMemory:
        return self

    def find(
        self, context: str, genotypes: Sequence[str], objectives: Sequence[Objective]
    ) -> dict[str, Scores]:
        """Look genotypes up.

        Args:
            context: see `context_of`.
            genotypes: texts of canonical genotypes.
            objectives: of the scores, in their order in F.

        Returns:
            genotype → its scores, for those that are kept.

        Raises:
            SearchError: a damaged file.
        """

        def read(values: dict[str, Any]) -> Scores:
            scores = Scores(**values)
            _check(scores, objectives)
            return scores

        return self._found(context, genotypes, read)

    def find_steadiness(self, context: str, genotypes: Sequence[str]) -> dict[str, Steadiness]:
        """Look up the steadiness of genotypes; arguments and errors as in `find`."""

        def read(values: dict[str, Any]) -> Steadiness:
            steadiness = Steadiness(**values)
            for number in values.values():
                if not isinstance(number, int | float):
                    raise ValueError(f"a value {number!r}")
            return steadiness

        return self._found(context, genotypes, read)

    def _found(
        self, context: str, genotypes: Sequence[str], read: Callable[[dict[str, Any]], Kept]
    ) -> dict[str, Kept]:
        if not self._is_open() and not os.path.exists(self.path):
            return {}
        found = {}
        with self._connected() as connection:
            for genotype in genotypes:
                row = connection.execute(
                    "SELECT scores FROM scores WHERE context = ? AND genotype = ?",
                    (context, genotype),
                ).fetchone()
                if row is not None:
                    found[genotype] = read(json.loads(row[0]))
        return found

    def keep(self, context: str, genotype: str, scores: Scores) -> None:
        """Keep scores, unless the genotype was not scored, memory ran out or an objective failed.

        Args:
            context: see `context_of`.
            genotype: text of the canonical genotype.
            scores: of it.

        Raises:
            SearchError: the file cannot be written to.
        """
        if not scores.scored or scores.degenerate == NO_MEMORY or is_failure(scores.degenerate):
            return
        self._put(context, genotype, scores)

    def keep_steadiness(self, context: str, genotype: str, steadiness: Steadiness) -> None:
        """Keep the steadiness of a genotype; arguments and errors as in `keep`."""
        self._put(context, genotype, steadiness)

    def _put(self, context: str, genotype: str, found: Scores | Steadiness) -> None:
        text = json.dumps(asdict(found))
        with self._connected() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", (context, genotype, text)
            )

    def __len__(self) -> int:
        """The number of scores and steadinesses that are kept, in all contexts."""
        if not os.path.exists(self.path):
            return 0
        with self._connected() as connection:
            return int(connection.execute("SELECT COUNT(*) FROM scores").fetchone()[0])

    def _is_open(self) -> bool:
        return getattr(self._own, "process", None) == os.getpid()

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """The connection of this process and thread; SQLite's errors in our words."""
        try:
            if not self._is_open():
                self._own.connection, self._own.process = _opened(self.path), os.getpid()
            yield self._own.connection
        except (sqlite3.Error, ValueError, TypeError, KeyError, OSError) as error:
            raise SearchError(
                f"memory {self.path}: not to be used, damaged, or no memory of scores ({error}); "
                "name another file, or move this one away"
            ) from error


def _opened(path: Path) -> sqlite3.Connection:
    """Open a memory, or make it.

    Raises:
        ValueError: another kind of database.
        sqlite3.Error: no database at all, or a damaged one.
    """
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    if _is_empty(connection):
        # Under the lock: another process may have begun to make it.
        connection.execute("BEGIN IMMEDIATE")
        if _is_empty(connection):
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(TABLE)
        connection.execute("COMMIT")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION:
        connection.close()
        raise ValueError("the database of another program")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _is_empty(connection: sqlite3.Connection) -> bool:
    return not connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]


def context_of(settings: Mapping[str, Any], objectives: Sequence[Objective]) -> str:
    """The checksum of everything besides the genotype on which scores depend.

    Args:
        settings: plain values: search space, images, probe, initialisations, versions, threads.
        objectives: in their order in F. A user's own objective counts by its name and its code.

    Raises:
        SearchError: an objective of which versions cannot be told apart, see `code_of`.
    """
    named = [[one.name, _code_of(one)] for one in objectives]
    text = json.dumps({**settings, "objectives": named}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _code_of(objective: Objective) -> str:
    if objective == OBJECTIVES.get(objective.name):
        return ""
    function = getattr(objective.compute, "function", objective.compute)
    settings = "" if function is objective.compute else repr(objective.compute.attributes)  # type: ignore[attr-defined]
    return code_of(function, f"objective {objective.name!r}") + settings


def _check(scores: Scores, objectives: Sequence[Objective]) -> None:
    """Refuse scores that no problem with these objectives can have kept.

    Raises:
        ValueError: other objectives, or values that are no finite numbers.
    """
    if list(scores.objectives) != [objective.name for objective in objectives]:
        raise ValueError(f"objectives {list(scores.objectives)}")
    numbers = [*scores.objectives.values(), *scores.spread.values(), scores.seconds]
    numbers += [getattr(scores, name) for name in Counts._fields]
    numbers += [] if scores.latency is None else [scores.latency]
    for number in numbers:
        if not isinstance(number, int | float) or not math.isfinite(number):
            raise ValueError(f"a value {number!r}")


class ProblemMemory:
    """The memory of one `NASProblem`.

    Args:
        path: see `ScoreMemory`.
    """

    def __init__(self, path: str | Path) -> None:
        self._kept = ScoreMemory(path)
        self._contexts: dict[tuple[int, bool], str] = {}

    def recall(self, problem: Any, genotypes: Sequence[Any]) -> dict[int, Scores]:
        """Find the scores that are remembered.

        Args:
            problem: a `NASProblem`.
            genotypes: of its search space.

        Returns:
            place of a genotype → its scores within the limits of the problem.

        Raises:
            SearchError: see `ScoreMemory` and `context_of`.
        """
        texts = [_text_of(problem, genotype) for genotype in genotypes]
        known = self._kept.find(self._context(problem), texts, problem.objectives)
        return {
            index: problem.scorer.within_limits(known[text])
            for index, text in enumerate(texts)
            if text in known
        }

    def keep(self, problem: Any, genotype: Any, scores: Scores) -> None:
        """Keep the scores of a genotype, see `ScoreMemory.keep`."""
        self._kept.keep(self._context(problem), _text_of(problem, genotype), scores)

    def recall_steadiness(self, problem: Any, genotypes: Sequence[str]) -> dict[str, Steadiness]:
        """Find what is remembered of the steadiness of genotypes.

        Args:
            problem: a `NASProblem`.
            genotypes: texts of canonical genotypes of its search space.

        Raises:
            SearchError: see `ScoreMemory` and `context_of`.
        """
        return self._kept.find_steadiness(self._context(problem, of_steadiness=True), genotypes)

    def keep_steadiness(self, problem: Any, genotype: str, steadiness: Steadiness) -> None:
        """Keep the steadiness of a genotype, given by its text, unless it could not be measured."""
        if steadiness == FAILED:
            return
        context = self._context(problem, of_steadiness=True)
        self._kept.keep_steadiness(context, genotype, steadiness)

    def _context(self, problem: Any, *, of_steadiness: bool = False) -> str:
        """The context now; what is kept depends on the number of threads in its last bits."""
        threads = getattr(problem.workers, "threads", None) or torch.get_num_threads()
        key = (threads, of_steadiness)
        if key in self._contexts:
            return self._contexts[key]
        space = space_description(problem.search_space)
        if space is None:
            raise SearchError(
                "memory: the search space, or an operation of it, cannot be imported by name, so "
                "that its versions cannot be told apart; put it into a module, or leave memory out"
            )
        kinds = [type(problem.search_space), *_operations_of(problem.search_space)]
        settings = {
            "search_space": space,
            "code": [code_of(kind, f"{getattr(kind, '__name__', kind)}") for kind in kinds],
            "processor": processor(problem.device),
            "data": problem.dataset.fingerprint,
            "n_images": problem.n_images,
            "n_inits": problem.n_inits,
            "seed": problem.seed,
            "versions": versions(),
            "threads": threads,
        }
        if of_steadiness:
            # By images, initialisations and limits of its own; objectives have no part in it.
            del settings["n_inits"]
            settings["of"] = "steadiness"
            context = context_of(settings, ())
        else:
            # A latency is measured where there is a limit of it, and None elsewhere.
            settings["timed"] = problem.scorer.is_noisy
            context = context_of(settings, problem.objectives)
        self._contexts[key] = context
        return context


def _operations_of(space: Any) -> list[Any]:
    """The operations of cells, which may be a user's own."""
    operations = getattr(space, "operations", None)
    return list(operations.values()) if isinstance(operations, Mapping) else []


def _text_of(problem: Any, genotype: Any) -> str:
    # As it is scored: genotypes of one canonical form may have different sizes and weights.
    return str(problem.search_space.format(genotype))
