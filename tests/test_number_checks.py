"""Numbers that a user sets: numpy's are taken, what means nothing is refused by name."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import typer

from pymoo_nas.choice import build_final
from pymoo_nas.cli._options import BYTES, MILLISECONDS, quantity
from pymoo_nas.errors import SearchError, WorkerError
from pymoo_nas.runs import SearchSettings
from pymoo_nas.runs._config import MAY_BE_LEFT_OUT
from pymoo_nas.search import (
    DartsTournament,
    EvolutiveNAS,
    GenotypeCrossover,
    GenotypeMutation,
    NASProblem,
    RankSumSurvival,
    Workers,
)
from pymoo_nas.search._operators import MutationShares
from pymoo_nas.spaces import CellSpace, DARTSSpace, NASBench201Space

NAN = float("nan")
INFINITY = float("inf")

COUNTS = [0, -1, 2.5, 3.0, True, NAN, "3", None, 2**53 + 1, 10**5000]
"""No whole numbers of at least 1 that a float holds, too."""

WHOLE: dict[str, tuple[Any, list[str]]] = {
    "EvolutiveNAS": (EvolutiveNAS, ["pop_size", "n_offsprings"]),
    "GenotypeMutation": (GenotypeMutation, ["max_steps"]),
    "RankSumSurvival": (RankSumSurvival, ["max_age"]),
    "DartsTournament": (
        DartsTournament,
        ["every", "size", "n_steps", "batch_size", "n_images", "max_size"],
    ),
    "SearchSettings": (
        SearchSettings,
        ["generations", "population", "offspring", "max_age", "tournament_size"],
    ),
    "NASBench201Space": (
        NASBench201Space,
        ["width", "cells_per_stage", "final_width", "final_cells_per_stage"],
    ),
    "DARTSSpace": (
        DARTSSpace,
        ["layers", "channels", "final_layers", "final_channels"],
    ),
    "CellSpace": (
        CellSpace,
        ["max_nodes", "max_channels", "channel_step", "n_cells", "widening", "sample_nodes"],
    ),
}

REAL: dict[str, tuple[Any, list[str], list[Any]]] = {
    "share": (GenotypeMutation, ["prob"], [2.0, -0.1, NAN, INFINITY, "1", True]),
    "crossover": (GenotypeCrossover, ["prob"], [2.0, -0.1, NAN, INFINITY, "1", True]),
    "positive": (
        DartsTournament,
        ["learning_rate", "alpha_learning_rate"],
        [0, -1.0, NAN, INFINITY, "1", True, 10**400],
    ),
    "not negative": (
        DartsTournament,
        ["noise", "head_start"],
        [-1.0, NAN, INFINITY, "1", False, None, 10**400],
    ),
}


@pytest.mark.parametrize(
    ("made", "name"), [(made, name) for made, names in WHOLE.values() for name in names]
)
def test_whole_numbers(made: Any, name: str) -> None:
    """Numpy's whole numbers are taken and become Python's; all else is refused by name."""
    assert vars_of(made(**{name: np.int64(3)}), name) == 3
    for value in COUNTS:
        if value is None and name in MAY_BE_LEFT_OUT:
            continue
        with pytest.raises(SearchError, match=name):
            made(**{name: value})


def vars_of(made: Any, name: str) -> Any:
    """A setting, which has to be Python's own."""
    value = getattr(made, name)
    assert type(value) is int
    return value


@pytest.mark.parametrize(
    ("made", "name", "value"),
    [(made, n, v) for made, names, values in REAL.values() for n in names for v in values],
)
def test_real_numbers(made: Any, name: str, value: Any) -> None:
    """What is out of range, not finite or no number is refused by name."""
    with pytest.raises(SearchError, match=name):
        made(**{name: value})


def test_real_numbers_of_numpy() -> None:
    """Numbers of any kind within the range are taken."""
    assert GenotypeMutation(prob=np.float32(0.5)).prob.get() == 0.5
    assert GenotypeCrossover(prob=1).prob.get() == 1.0
    assert DartsTournament(noise=0, learning_rate=np.float64(0.1)).noise == 0.0


def test_settings_of_a_search_are_plain() -> None:
    """What a configuration file is to hold can be written to it; 0 is no tournament."""
    settings = SearchSettings(np.int64(2), tournament_every=0, seed=np.uint8(0))
    assert json.loads(json.dumps(asdict(settings)))["generations"] == 2
    for bad in ({"seed": -1}, {"tournament_every": -1}, {"seed": 0.5}):
        with pytest.raises(SearchError, match=next(iter(bad))):
            SearchSettings(**bad)


def test_a_problem_of_numpys_numbers() -> None:
    """Whole numbers of numpy give the scores of Python's."""
    given = NASProblem("digits", n_images=np.int64(16), n_inits=np.int8(2), seed=np.uint16(3))
    plain = NASProblem("digits", n_images=16, n_inits=2, seed=3, max_params=np.float64(1e9))
    assert given.score_genotype("8000").values == plain.score_genotype("8000").values
    assert plain.limits == {"params": 10**9}
    for name, value in {"max_memory": 0, "max_flops": 0.5, "max_acts": -1}.items():
        with pytest.raises(SearchError, match=name):
            NASProblem("digits", n_images=16, **{name: value})  # type: ignore[arg-type]
    for value in (0, 1.5, True, "2"):
        with pytest.raises(SearchError, match="n_cells"):
            build_final("8000", value, problem=plain)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [
        {"n": 1.5},
        {"n": True},
        {"n": 1, "threads": 0.5},
        {"n": 1, "seconds": NAN},
        {"n": 1, "memory": INFINITY},
    ],
)
def test_workers_numbers(bad: Any) -> None:
    """Halves of a process, and limits that are none, are refused by name."""
    with pytest.raises(WorkerError, match=list(bad)[-1]):
        Workers(**bad)


@pytest.mark.parametrize("kinds", [{}, {"a": 0.0}, {"a": -1.0, "b": 2.0}, {"a": NAN}, {"a": "1"}])
def test_shares_of_mutation_kinds(kinds: Any) -> None:
    """A space without kinds of mutation, or with shares that are none, is refused."""

    class Own(CellSpace):
        """A user's space."""

        mutation_kinds = kinds

    with pytest.raises(SearchError, match="mutation_kinds"):
        MutationShares(Own())


@pytest.mark.parametrize(
    ("text", "units", "expected"),
    [
        ("256KiB", BYTES, 262144),
        ("256kib", BYTES, 262144),
        ("1GB", BYTES, 1e9),
        ("7", BYTES, 7),
        ("5ms", MILLISECONDS, 5),
        ("5", MILLISECONDS, 5),
        ("1e-3 s", MILLISECONDS, 1),
        ("5\u03bcs", MILLISECONDS, 0.005),
        ("5\u00b5s", MILLISECONDS, 0.005),
    ],
)
def test_quantities_with_units(text: str, units: Any, expected: float) -> None:
    """Numbers with a unit, in the unit that counts 1; without a unit they are in it."""
    assert quantity(text, units) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "ms", "0", "-3", "1e999", "5 parsec", "nan", "3,5", "5m s"])
def test_no_quantities(text: str) -> None:
    """Other texts are refused with the units that there are."""
    with pytest.raises(typer.BadParameter, match="µs"):
        quantity(text, MILLISECONDS)
