"""What an algorithm starts from and is made of, and what is refused before anything is scored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cheap_problems import Channels, nsga2, operators
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.soo.nonconvex.de import DE
from pymoo.algorithms.soo.nonconvex.pso import PSO
from pymoo.constraints.as_obj import ConstraintsAsObjective
from pymoo.core.population import Population
from pymoo.operators.crossover.nox import NoCrossover
from pymoo.operators.crossover.ux import UX
from pymoo.operators.mutation.nom import NoMutation
from pymoo.optimize import minimize

from pymoo_nas.errors import PymooNasError, SearchError
from pymoo_nas.scores import Objective
from pymoo_nas.search import (
    CallbackChain,
    DartsTournament,
    EvolutiveNAS,
    GenotypeCrossover,
    GenotypeDuplicates,
    GenotypeMutation,
    GenotypeSampling,
    NASProblem,
    RankSumSurvival,
    as_column,
    front_to_frame,
    history_to_frame,
)
from pymoo_nas.spaces import CellSpace

SPACE = CellSpace()
TEXT = "8000|0800|0080"
GENOTYPE = SPACE.parse(TEXT)


STARTS = {
    "array of texts": np.array([[TEXT], ["0800"], ["8800"]], dtype=object),
    "population of texts": Population.new("X", as_column([TEXT, "0800", "8800"])),
    "GenotypeSampling": GenotypeSampling([TEXT, "0800", "8800"]),
}


@pytest.mark.parametrize(
    "start", [*STARTS.values(), [TEXT, "0800", "8800"], (TEXT, "0800", "8800")]
)
def test_evolutive_starts_from_genotypes(start: Any, problem: NASProblem) -> None:
    """The first generation is what was given, however it is written."""
    result = minimize(problem, EvolutiveNAS(2, 4, sampling=start), ("n_gen", 2), seed=1)
    assert history_to_frame(result)["genotype"][:3].tolist() == [TEXT, "0800", "8800"]


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_nsga2_starts_from_texts(start: Any, problem: NASProblem) -> None:
    """Texts that pymoo takes as they are become parents like genotypes."""
    algorithm = nsga2(4, sampling=start)
    result = minimize(problem, algorithm, ("n_gen", 2), seed=1, save_history=True)
    assert history_to_frame(result)["genotype"][:3].tolist() == [TEXT, "0800", "8800"]
    assert len(front_to_frame(result)) == len(result.F)


@pytest.mark.parametrize("start", [[], ["80x0"], [0.5], np.array([[TEXT, TEXT]])])
def test_nothing_to_start_from(start: Any, problem: NASProblem) -> None:
    """No genotypes, malformed ones, numbers and two in a row are refused."""
    with pytest.raises(PymooNasError):
        minimize(problem, EvolutiveNAS(2, 4, sampling=start), ("n_gen", 2), seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("left_out", ["eliminate_duplicates", None])
def test_duplicates_need_not_be_given(left_out: str | None, problem: NASProblem) -> None:
    """Without eliminate_duplicates pymoo's algorithms find what they find with ours."""
    given = {name: operator for name, operator in operators().items() if name != left_out}
    result = minimize(problem, NSGA2(pop_size=4, **given), ("n_gen", 3), seed=1)
    expected = minimize(problem, nsga2(4), ("n_gen", 3), seed=1)
    assert np.array_equal(result.F, expected.F)


@pytest.mark.parametrize(
    ("algorithm", "named"),
    [
        (NSGA2(pop_size=4), "sampling"),
        (NSGA2(pop_size=4, sampling=GenotypeSampling()), "crossover"),
        (NSGA2(pop_size=4, sampling=GenotypeSampling(), crossover=GenotypeCrossover()), "mutation"),
        (NSGA2(pop_size=4, sampling=GenotypeSampling(), mutation=GenotypeMutation()), "crossover"),
        (
            NSGA2(
                pop_size=4,
                sampling=as_column(["8000", "0800"]),
                crossover=GenotypeCrossover(),
                mutation=GenotypeMutation(),
                eliminate_duplicates=False,
            ),
            None,
        ),
        (
            NSGA2(
                pop_size=4,
                sampling=as_column([GENOTYPE, SPACE.parse("0800")]),
                crossover=GenotypeCrossover(),
                mutation=GenotypeMutation(),
            ),
            "eliminate_duplicates",
        ),
        (
            NSGA2(pop_size=4, sampling=as_column([GENOTYPE]), eliminate_duplicates=False),
            "crossover",
        ),
        (DE(pop_size=4), "sampling"),
        (PSO(pop_size=4), "EvolutiveNAS"),
    ],
)
def test_operators_left_out(algorithm: Any, named: str | None, problem: NASProblem) -> None:
    """Pymoo's operators of numbers are refused by a message that names those to give."""
    if named is None:
        assert minimize(problem, algorithm, ("n_gen", 2), seed=1).F.shape[1] == 3
        return
    with pytest.raises(PymooNasError, match=named):
        minimize(problem, algorithm, ("n_gen", 2), seed=1)


@pytest.mark.parametrize("changes", [{"crossover": UX()}, {"crossover": NoCrossover()},
                                     {"mutation": NoMutation()}])  # fmt: skip
def test_operators_that_only_exchange(changes: dict[str, Any]) -> None:
    """Pymoo's operators that compute nothing are taken."""
    assert minimize(Channels(), nsga2(**changes), ("n_gen", 3), seed=1).F.shape[1] == 3


def test_a_problem_without_a_space() -> None:
    """The attribute that is missing is named."""

    class Bare(Channels):
        def __init__(self) -> None:
            super().__init__()
            del self.search_space

    for algorithm in (EvolutiveNAS(2, 4), nsga2()):
        with pytest.raises(SearchError, match="search_space"):
            minimize(Bare(), algorithm, ("n_gen", 2), seed=1)


def test_classes_in_place_of_operators() -> None:
    """Forgotten brackets are named."""
    classes = {"sampling": GenotypeSampling, "survival": RankSumSurvival,
               "eliminate_duplicates": GenotypeDuplicates, "callback": DartsTournament}  # fmt: skip
    for name, given in classes.items():
        with pytest.raises(SearchError, match=f"{name}={given.__name__}: a class"):
            EvolutiveNAS(2, 4, **{name: given})
    for name, given in {"crossover": GenotypeCrossover, "mutation": GenotypeMutation}.items():
        for algorithm in (EvolutiveNAS(2, 4, **{name: given}), nsga2(**{name: given})):
            with pytest.raises(SearchError, match=f"{name}={given.__name__}: a class"):
                minimize(Channels(), algorithm, ("n_gen", 2), seed=1)


@pytest.mark.parametrize("callback", [DartsTournament, [DartsTournament()], 3])
def test_what_is_no_callback(callback: Any) -> None:
    """A class, a list and a number are refused before anything is scored."""
    problem = Channels()
    with pytest.raises(SearchError, match="callback="):
        minimize(problem, EvolutiveNAS(2, 4), ("n_gen", 2), callback=callback)
    with pytest.raises(SearchError, match="callback="):
        CallbackChain(DartsTournament(), callback)
    assert not problem.seen


def test_starting_from_a_result(result: Any, problem: NASProblem) -> None:
    """A search goes on from the front of another one, without scoring it again."""
    again = minimize(problem, EvolutiveNAS(3, 6, sampling=result), ("n_gen", 1), seed=2)
    assert again.algorithm.evaluator.n_eval == 0
    assert set(front_to_frame(again)["genotype"]) == set(front_to_frame(result)["genotype"])


def other_size(network: Any, probe: Any) -> float:
    """An objective under a name that stands for another one elsewhere."""
    del probe
    return -float(sum(weight.numel() for weight in network.parameters()))


def size(network: Any, probe: Any) -> float:
    return -other_size(network, probe)


def judged_by(function: Any) -> list[Any]:
    return ["ntk", Objective.of_network("size", function, 1e9)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"max_params": 8000}),
        ({"max_params": 20_000}, {"max_params": 8000}),
        ({"max_params": 8000}, {}),
        ({}, {"n_images": 16}),
        ({}, {"seed": 5}),
        ({"objectives": judged_by(size)}, {"objectives": judged_by(other_size)}),
        ({}, {}),
    ],
)
def test_starting_from_the_result_of_another_problem(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Everything is scored anew, under the limits of the new problem."""
    first = NASProblem("digits", **{"n_images": 8, **before})
    second = NASProblem("digits", **{"n_images": 8, **after})
    given = minimize(first, EvolutiveNAS(3, 4, repair=False), ("n_gen", 1), seed=1).pop
    algorithm = EvolutiveNAS(3, 4, sampling=given)
    result = minimize(second, algorithm, ("n_gen", 1), seed=2)
    expected = second.evaluate(result.pop.get("X"), return_as_dictionary=True)
    np.testing.assert_array_equal(result.pop.get("F"), expected["F"])
    none = np.zeros((len(result.pop), 0))
    np.testing.assert_array_equal(result.pop.get("G"), expected.get("G", none))
    with pytest.raises(SearchError, match="another problem"):
        minimize(second, NSGA2(3, **operators(sampling=given)), ("n_gen", 2), seed=1)


@pytest.mark.parametrize("drawn", ["1234567890123456", "12e4567890123456", "000000e000000000"])
def test_a_mark_that_looks_like_a_number(drawn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pymoo turns what can be read as a number into one; the mark of a problem stays a text."""
    monkeypatch.setattr("secrets.token_hex", lambda _: drawn)
    problem = NASProblem("digits", n_images=8)
    result = minimize(problem, EvolutiveNAS(3, 4), ("n_gen", 2), seed=1)
    assert {individual.get("scored_by") for individual in result.pop} == {problem.scored_by}


def test_starting_from_the_result_of_a_wrapper() -> None:
    """Pymoo's wrapper adds an objective: what was scored without it, or with it, is scored anew."""
    problem = NASProblem("digits", n_images=8, max_params=8000)
    wrapped = ConstraintsAsObjective(problem)
    for source, target, n_obj in ((problem, wrapped, 4), (wrapped, problem, 3)):
        given = minimize(source, EvolutiveNAS(3, 4), ("n_gen", 1), seed=1).pop
        result = minimize(target, EvolutiveNAS(3, 4, sampling=given), ("n_gen", 2), seed=2)
        assert result.pop.get("F").shape[1] == n_obj
