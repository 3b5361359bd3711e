"""The descent of a cell: its parents, their parents, and the mutations between."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

MAX_ANCESTORS = 60
"""Most ancestors that a report shows, the nearest first."""


@dataclass(frozen=True)
class Ancestor:
    """A candidate in the descent of a cell.

    Attributes:
        number: its row in the history, from 1.
        generation: in which it was scored.
        genotype: its text.
        mutation: the mutations that made it.
        parents: numbers of its parents; empty where it had none; None where they are not known.
        first: whether it is the cell itself.
    """

    number: int
    generation: int
    genotype: str
    mutation: str
    parents: tuple[int, ...] | None
    first: bool

    @property
    def made_by(self) -> str:
        """How it was made, in words."""
        if self.parents == ():
            return "of the first generation" if self.generation == 1 else "drawn at random"
        changes = self.mutation.replace(";", ", ").replace(":", " ")
        crossed = self.parents is not None and len(self.parents) > 1
        return "crossover" * crossed + ", " * bool(crossed and changes) + changes or "not known"

    @property
    def parents_in_words(self) -> str:
        """The numbers of its parents."""
        if self.parents is None:
            return "not known"
        return " and ".join(map(str, self.parents)) or "none"


def descent(history: pd.DataFrame, genotype: str, *, at_random: bool) -> list[Ancestor]:
    """List a cell of a search and its ancestors, the nearest first; empty where it was not scored.

    Args:
        history: every scored candidate, in order.
        genotype: text of the cell.
        at_random: whether the search drew every candidate at random.
    """
    rows: list[Any] = history.to_dict("records")
    texts = history["genotype"].tolist()
    if genotype not in texts:
        return []
    waiting = deque([texts.index(genotype) + 1])
    found: dict[int, Ancestor] = {}
    while waiting and len(found) < MAX_ANCESTORS:
        number = waiting.popleft()
        if number in found:
            continue
        row = rows[number - 1]
        parents = _parents(row, number, at_random)
        found[number] = Ancestor(
            number=number,
            generation=int(row["generation"]),
            genotype=str(row["genotype"]),
            mutation=str(row["mutation"]),
            parents=parents,
            first=not found,
        )
        waiting.extend(parents or ())
    return list(found.values())


def is_known(ancestors: Sequence[Ancestor]) -> bool:
    """Whether the parents of the cell itself are known."""
    return bool(ancestors) and ancestors[0].parents is not None


def _parents(row: Mapping[str, Any], number: int, at_random: bool) -> tuple[int, ...] | None:
    """The parents of a candidate; children of runs of earlier versions have none in the table."""
    kept = str(row.get("parents", "") or "")
    parts = kept.split(";") if kept else []
    numbers = tuple(int(part) for part in parts if part.isdecimal())
    if len(numbers) != len(parts) or not all(0 < parent < number for parent in numbers):
        return None  # edited by hand
    drawn = at_random or int(row["generation"]) == 1
    return numbers if numbers or drawn else None
