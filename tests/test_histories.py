"""Histories that pymoo keeps: as long as the search, however many generations there are."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from cheap_problems import Channels, nsga2, operators
from pymoo.algorithms.moo.dnsga2 import DNSGA2
from pymoo.optimize import minimize

from pymoo_nas.errors import SearchError
from pymoo_nas.plots import plot_evolution, plot_front, plot_offspring
from pymoo_nas.search import (
    DartsTournament,
    EvolutiveNAS,
    NASProblem,
    front_to_frame,
    history_to_frame,
    write_frame,
)

MAKERS = {"EvolutiveNAS": lambda: EvolutiveNAS(4, 10), "NSGA2": lambda: nsga2(10)}


def with_history(make: Any, generations: int) -> Any:
    """The result of a cheap search that keeps its history."""
    return minimize(Channels(), make(), ("n_gen", generations), seed=1, save_history=True)


@pytest.mark.slow
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_history_grows_with_the_generations(make: Any) -> None:
    """Four times the generations take about four times the room, not sixteen times."""
    sizes = [len(pickle.dumps(with_history(make, n).history)) for n in (8, 32)]
    assert sizes[1] < 5.5 * sizes[0]


def test_entries_hold_what_was_scored_up_to_then() -> None:
    """Each entry of a history tells the candidates until its generation, and its own front."""
    result = with_history(MAKERS["EvolutiveNAS"], 5)
    whole = history_to_frame(result)
    for generation, entry in enumerate(result.history, 1):
        until = history_to_frame(entry)
        assert until["genotype"].tolist() == whole["genotype"][: 10 * generation].tolist()
        assert len(front_to_frame(entry)) == len(entry.opt)
        assert entry.scored[-1] is result.algorithm.scored[10 * generation - 1]
        assert len(entry.scored[2:4]) == 2
        with pytest.raises(IndexError):
            entry.scored[10 * generation]
    copied = copy.deepcopy(result.history)
    assert [len(entry.scored) for entry in copied] == [10, 20, 30, 40, 50]


def test_a_copy_outside_a_history_is_whole() -> None:
    """The individuals of a copied search are its own, those of the population among them."""
    algorithm = MAKERS["EvolutiveNAS"]()
    algorithm.setup(Channels(), termination=("n_gen", 5), seed=1)
    for _ in range(2):
        algorithm.next()
    other = copy.deepcopy(algorithm)
    assert {id(i) for i in other.pop} <= {id(i) for i in other.scored}
    assert not {id(i) for i in other.scored} & {id(i) for i in algorithm.scored}
    other.run()
    assert len(other.scored) == 50
    assert len(algorithm.scored) == 20


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_history_of_any_algorithm(make: Any) -> None:
    """The result, the algorithm and the list of entries give the same table."""
    result = with_history(make, 4)
    expected = history_to_frame(result)
    assert expected["genotype"].tolist() == [str(g) for g in result.problem.seen]
    assert expected["generation"].tolist() == [n for n in range(1, 5) for _ in range(10)]
    for given in (result.history, result.algorithm):
        frame = history_to_frame(given)
        assert frame.equals(expected)
    last = expected[expected["generation"] == 4]
    left = {str(i.X[0]) for i in result.pop if i.get("n_gen") == 4}
    assert set(last["genotype"][last["survived"]]) == left


def test_histories_that_are_not_whole() -> None:
    """What is no history, is not kept, or lacks candidates is refused; nothing is left out."""
    plain = minimize(Channels(), nsga2(), ("n_gen", 2), seed=1)
    for given in (plain, plain.history, plain.pop, plain.X, None, [1, 2]):
        with pytest.raises(SearchError):
            history_to_frame(given)
    dynamic = DNSGA2(pop_size=6, **operators())
    result = minimize(Channels(), dynamic, ("n_gen", 3), seed=1, save_history=True)
    with pytest.raises(SearchError, match=r"holds 6 of the \d+ candidates"):
        history_to_frame(result)


def test_fronts_of_populations() -> None:
    """A population gives its non-dominated candidates, where the problem is given too."""
    result = minimize(Channels(), EvolutiveNAS(6, 10), ("n_gen", 3), seed=1)
    for population in (result.pop, result.opt):
        frame = front_to_frame(population, result.problem)
        assert set(frame["genotype"]) == set(front_to_frame(result)["genotype"])
        with pytest.raises(SearchError, match="problem"):
            front_to_frame(population)
    for given in (result.X, result.F, None, front_to_frame(result)):
        with pytest.raises(SearchError, match="pass"):
            front_to_frame(given)


@pytest.mark.slow
def test_plots_of_results() -> None:
    """Every picture of a search takes its result, its history or its table."""
    problem = NASProblem("digits", n_images=16)
    tournament = DartsTournament(2, 2, n_steps=1, batch_size=16, n_images=64)
    result = minimize(
        problem, EvolutiveNAS(3, 6), ("n_gen", 2), seed=1, callback=tournament, save_history=True
    )
    table = history_to_frame(result)
    for plot in (plot_front, plot_evolution, plot_offspring):
        titles = {
            plot(given).get_suptitle()
            for given in (table, result, result.algorithm, result.history)
        }
        assert len(titles) == 1
        for given in (result.F, result.pop, "front.csv", None):
            with pytest.raises(SearchError, match="pass"):
                plot(given)
    with pytest.raises(SearchError, match="to write"):
        write_frame(result, "front.csv")
    other = minimize(problem, nsga2(), ("n_gen", 1), seed=1)
    assert plot_front(other).axes
    assert plot_front(result, kept=result).axes
