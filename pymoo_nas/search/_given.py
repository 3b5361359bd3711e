"""Genotypes as users give them: objects, texts, rows and columns of arrays, populations, tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
from pymoo.core.individual import Individual
from pymoo.core.population import Population

from pymoo_nas.errors import GenotypeError, SearchError

OPERATORS = (
    "**operators(): sampling, crossover, mutation, repair and eliminate_duplicates for genotypes"
)
"""The arguments of pymoo's algorithms that let them work on genotypes."""

EXPECTED = (
    "a genotype, its text, an individual, a row of result.X, or a row of a table of candidates"
)


def read_genotype(space: Any, given: Any) -> Any:
    """Read one genotype, in any form in which a user may give it.

    Args:
        space: the search space of the genotype.
        given: a genotype; its text; a pymoo individual; an array, list or population of one of
            these, such as ``result.X[0]``; or a row of `front_to_frame`.

    Raises:
        GenotypeError: something else, several, a malformed text, or a genotype of another space.
    """
    one = unwrapped(given)
    if isinstance(one, str):
        return space.parse(str(one))
    if isinstance(one, Number | np.bool_):
        raise GenotypeError(
            f"got {one!r} for a genotype; give the algorithm operators that know them: {OPERATORS}"
        )
    try:
        read = space.parse(space.format(one))
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise GenotypeError(
            f"{_shown(one)} is no genotype of this search space ({error}); expected {EXPECTED}"
        ) from error
    if not isinstance(one, type(read)):
        raise GenotypeError(
            f"{_shown(one)} is no {type(read).__name__}, the genotype of this search space; "
            f"expected {EXPECTED}"
        )
    return one


def read_genotypes(space: Any, given: Any) -> list[Any]:
    """Read one genotype or several, in their order; see `read_genotype` for the forms of one.

    Args:
        space: the search space of the genotypes.
        given: one genotype; several as an array, list, population, column or table of candidates;
            or pymoo's ``Result`` or an algorithm, whose front is taken.

    Raises:
        GenotypeError: see `read_genotype`.
        SearchError: None, which pymoo returns for a front without a feasible candidate.
    """
    return [read_genotype(space, item) for item in items_in(space, given)]


def items_in(space: Any, given: Any) -> list[Any]:
    """List the items of what was given, where genotypes of a space may be tuples themselves."""
    if isinstance(given, tuple):
        # Any other tuple holds several genotypes.
        try:
            return [read_genotype(space, given)]
        except GenotypeError:
            given = list(given)
    return items_of(given)


def items_of(given: Any) -> list[Any]:
    """List the items that `read_genotypes` has to read."""
    if hasattr(given, "opt"):
        given = given.opt
    if given is None:
        raise SearchError(
            "got None for genotypes: pymoo's result holds None where no candidate is feasible; "
            "raise the limits, or take genotypes of result.pop"
        )
    if holds_one(given):
        return [given]
    if isinstance(given, pd.DataFrame):
        if "genotype" not in given:
            raise GenotypeError(
                f"a table with the columns {', '.join(map(str, given))}; expected a column genotype"
            )
        given = given["genotype"]
    return list(given)


def holds_one(given: Any) -> bool:
    """Whether this is one genotype, in any form, and not a collection of genotypes.

    An array of shape (1,), such as ``result.X[0]``, is one genotype. A list or a column with one
    element is a collection.
    """
    if isinstance(given, np.ndarray) and not isinstance(given, Population):
        return given.ndim == 0 or given.shape == (1,)
    if isinstance(given, pd.Series | Mapping):
        return "genotype" in given
    return isinstance(given, str | Individual) or not isinstance(given, Iterable)


def unwrapped(given: Any) -> Any:
    """Take the genotype or text out of an individual, a row or a collection of one item.

    Anything else is returned as it is.

    Raises:
        GenotypeError: a collection of no item or of several.
    """
    while True:
        if isinstance(given, Individual):
            given = given.X
        elif isinstance(given, pd.Series | Mapping) and "genotype" in given:
            given = given["genotype"]
        elif isinstance(given, np.ndarray | list | pd.Series):
            items = list(given.flat) if isinstance(given, np.ndarray) else list(given)
            if len(items) != 1:
                raise GenotypeError(f"got {len(items)} items for a genotype; expected {EXPECTED}")
            given = items[0]
        else:
            return given


def parsed(space: Any, genotype: Any) -> Any:
    """Parse the genotype of an individual where it is a text, as a user's sampling may give it."""
    return space.parse(str(genotype)) if isinstance(genotype, str) else genotype


def as_column(genotypes: Iterable[Any]) -> np.ndarray[Any, Any]:
    """Genotypes as an object array (n, 1); numpy would take tuples apart."""
    listed = list(genotypes)
    column = np.empty((len(listed), 1), dtype=object)
    for index, genotype in enumerate(listed):
        column[index, 0] = genotype
    return column


def space_of(problem: Any) -> Any:
    """The search space of a problem.

    Raises:
        SearchError: the problem has none.
    """
    try:
        return problem.search_space
    except AttributeError as error:
        raise SearchError(
            f"{type(problem).__name__} has no attribute search_space; expected a NASProblem, or a "
            "problem of your own with problem.search_space = CellSpace()"
        ) from error


def _shown(given: Any) -> str:
    """A short repr."""
    text = repr(given)
    return text if len(text) <= 80 else text[:77] + "..."
