"""An algorithm of pymoo's that works on genotypes: its duplicate elimination and its operators."""

from __future__ import annotations

from typing import Any

from pymoo.core.duplicate import DefaultDuplicateElimination

from pymoo_nas.errors import SearchError
from pymoo_nas.search._duplicates import GenotypeDuplicates
from pymoo_nas.search._given import OPERATORS
from pymoo_nas.search._tournament import tournaments_in
from pymoo_nas.spaces import SearchSpace

UNFIT = ("pymoo.operators.crossover", "pymoo.operators.mutation")
"""Where pymoo's crossovers and mutations are; all compute with numbers but `FIT`."""

FIT = frozenset(
    {"NoCrossover", "NoMutation", "UniformCrossover", "UX", "HalfUniformCrossover", "HUX"}
)
"""Those that only exchange variables."""


def adopt(algorithm: Any, search_space: Any) -> None:
    """Let an algorithm's run have a `GenotypeDuplicates` of its own, and check its operators.

    It takes the place of pymoo's default, which compares numbers, in the archive too; other
    eliminations stay. Does nothing when it has been done for the run.

    Args:
        algorithm: of pymoo's, set up.
        search_space: of its problem.

    Raises:
        SearchError: pymoo's crossover or mutation of numbers, a class in place of an operator, or a
            tournament in a search space without cells.
    """
    # The generator of random numbers is made for every run, and copied with the algorithm.
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
    holders: list[Any] = [algorithm, getattr(algorithm, "initialization", None), mating]
    for holder in holders:
        given = getattr(holder, "eliminate_duplicates", None)
        if _is_unfit(given):
            given = GenotypeDuplicates()
        if isinstance(given, GenotypeDuplicates):
            if own is None:
                own = given if given.belongs_to(run) else given.of_run(run, search_space)
            holder.eliminate_duplicates = own


def _is_unfit(elimination: Any) -> bool:
    """Whether this is pymoo's default; its subclasses compare by functions of the user's."""
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
