"""The choice of a run, ``choice.json``: which architectures are to be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from pymoo_nas._machine import read_object, unwritable, whole, write_json
from pymoo_nas.errors import RunError

MOST = 10**6
"""Most cells, and most generations, that a choice tells."""


class Choice(NamedTuple):
    """The architectures of a run that are to be trained.

    Attributes:
        genotypes: texts, in the order of the stages; repeated in turn.
        by: the method, one of `METHODS`.
        n_cells: number of cells that the choice is made for; None for as many as were scored.
        generations: number of generations that the search had done; None where it is not known.
    """

    genotypes: list[str]
    by: str = ""
    n_cells: int | None = None
    generations: int | None = None


def write_choice(path: Path, choice: Choice, **how: Any) -> None:
    """Write a choice of architectures, with plain values that tell how it was made.

    Raises:
        RunError: the folder cannot be written to.
    """
    try:
        write_json(path, {**choice._asdict(), **how})
    except OSError as error:
        raise unwritable(path.parent, error) from error


def read_choice(path: Path) -> Choice | None:
    """Read what `write_choice` wrote; None where nothing has been chosen.

    Raises:
        RunError: a damaged file.
    """
    again = "choose again, or remove it"
    if not path.is_file():
        return None
    try:
        kept = read_object(path, f"{path}: no such file", again)
        genotypes = list(kept["genotypes"])
        if not genotypes or not all(isinstance(text, str) for text in genotypes):
            raise TypeError("genotypes are no texts")
        numbers = {name: kept.get(name) for name in ("n_cells", "generations")}
        for name, value in numbers.items():
            if value is not None:
                whole(name, value, most=MOST, error=RunError)
        return Choice(genotypes, str(kept.get("by", "")), **numbers)
    except (KeyError, TypeError, RunError) as error:
        raise RunError(f"{path}: damaged ({error}); {again}") from error
