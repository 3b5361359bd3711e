"""Prepare an algorithm of pymoo for genotypes: its duplicate elimination and its operators."""

from __future__ import annotations

from typing import Any

from pymoo.core.duplicate import DefaultDuplicateElimination

from pymoo_nas.errors import SearchError
from pymoo_nas.search._duplicates import GenotypeDuplicates
from pymoo_nas.search._given import OPERATORS
from pymoo_nas.search._tournament import tournaments_in
from pymoo_nas.spaces import SearchSpace

UNFIT = ("pymoo.operators.crossover", "pymoo.operators.mutation")
"""Modules of pymoo's crossovers and mutations. All operators except `FIT` compute with numbers."""

FIT = frozenset(
    {"NoCrossover", "NoMutation", "UniformCrossover", "UX", "HalfUniformCrossover", "HUX"}
)
"""Operators of pymoo that only exchange variables."""


def adopt(algorithm: Any, search_space: Any) -> None:
    """Give the run of an algorithm its own `GenotypeDuplicates`, and check its operators.

    The new elimination replaces pymoo's default, which compares numbers, in the archive too. Other
    eliminations stay. A second call for the same run changes nothing.

    Args:
        algorithm: an algorithm of pymoo, set up.
        search_space: the search space of its problem.

    Raises:
        SearchError: a crossover or mutation of pymoo that computes with numbers, a class in place
            of an operator, or a tournament in a search space without cells.
    """
    # Every run has a random generator of its own, which is copied with the algorithm.
    run = getattr(algorithm, "random_state", None)
    mating = getattr(algorithm, "mating", None)
    if run is None:
        return
    holds_tournaments = tournaments_in(getattr(algorithm, "callback", None))
    if holds_tournaments and isinstance(search_space, SearchSpace):
        search_space.check_slots()
    for name in ("crossover", "mutation"):
        _check_operator(name, getattr(mating, name, None))
    archive: Any = getattr(algorithm, "archive", None)
    if _is_unfit(getattr(archive, "duplicate_elimination", None)):
        archive.duplicate_elimination = GenotypeDuplicates().of_run(run, search_space)
    own: GenotypeDuplicates | None = None
    others = (getattr(algorithm, name, None) for name in ("initialization", "new_genotypes"))
    holders: list[Any] = [algorithm, mating, *others]
    for holder in holders:
        given = getattr(holder, "eliminate_duplicates", None)
        if _is_unfit(given):
            given = GenotypeDuplicates()
        if isinstance(given, GenotypeDuplicates):
            if own is None:
                own = given if given.belongs_to(run) else given.of_run(run, search_space)
            holder.eliminate_duplicates = own


def _is_unfit(elimination: Any) -> bool:
    """Whether this is pymoo's default elimination; its subclasses compare by a user's function."""
    return type(elimination) is DefaultDuplicateElimination


def _check_operator(name: str, operator: Any) -> None:
    if isinstance(operator, type):
        raise SearchError(f"{name}={operator.__name__}: a class; expected {operator.__name__}()")
    kind = type(operator)
    if kind.__module__.startswith(UNFIT) and kind.__name__ not in FIT:
        raise SearchError(
            f"{name}: pymoo's {kind.__name__} computes with numbers, not with genotypes; give the "
            f"algorithm {OPERATORS}"
        )
