"""Strategies beside `EvolutiveNAS`: their course, their names, and searches that are continued."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cheap_problems import Channels, MadeScores
from command_line import Run
from hypothesis import given
from hypothesis import strategies as st
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.callback import Callback
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from pymoo.optimize import minimize

from pymoo_nas import (
    CellSpace,
    EvolutiveNAS,
    NASProblem,
    NSGA2Search,
    RandomSearch,
    RegularisedEvolution,
    RunFolder,
    Search,
    SearchError,
    SearchSettings,
    operators,
)
from pymoo_nas.runs._checkpoint import CHECKPOINT, read_checkpoint
from pymoo_nas.search import STRATEGIES, history_to_frame, log_rank_sum, make_strategy
from pymoo_nas.search._strategies import YoungestSurvival, fittest
from pymoo_nas.search._survival import order_population

OTHERS = [name for name in STRATEGIES if name != "evolutive"]


def texts(individuals: Any) -> list[str]:
    """The genotypes of individuals."""
    return [str(individual.X[0]) for individual in individuals]


def scored_by(algorithm: Any, n_gen: int, seed: int = 1) -> list[str]:
    """What a search scores of a problem that costs nothing, in order."""
    return texts(minimize(Channels(), algorithm, ("n_gen", n_gen), seed=seed).algorithm.scored)


# Random search -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_offsprings", "n_gen"), [(1, 24), (6, 4), (12, 2)])
def test_random_search_is_one_long_draw(n_offsprings: int, n_gen: int) -> None:
    """The candidates do not depend on how they are divided into generations."""
    divided = scored_by(RandomSearch(1, n_offsprings), n_gen)
    assert divided == scored_by(RandomSearch(1, 24), 1)
    assert len(set(divided)) == 24


def test_random_search_keeps_the_best_of_all() -> None:
    """In every generation the survivors are the head of all scored so far, in survival order."""
    algorithm = RandomSearch(4, 6)
    algorithm.setup(Channels(), termination=("n_gen", 6), seed=3)
    while algorithm.has_next():
        algorithm.next()
        expected = order_population(Population(algorithm.scored))[:4]
        assert texts(algorithm.pop) == texts(expected)


def test_random_search_ends_with_its_space() -> None:
    """Where no new genotype is left the search ends, with each scored once."""
    problem = Channels()
    problem.search_space = CellSpace(
        ["conv3x3"], max_nodes=1, sample_nodes=1, max_channels=8, channel_step=4
    )
    result = minimize(problem, RandomSearch(2, 1), ("n_gen", 100), seed=1)
    assert sorted(texts(result.algorithm.scored)) == ["4", "8"]
    assert result.algorithm.n_iter <= 4


# Regularised evolution ---------------------------------------------------------------------------


def test_regularised_evolution_keeps_the_youngest() -> None:
    """The population is the tail of what was scored, whatever the scores."""
    algorithm = RegularisedEvolution(6, 2)
    algorithm.setup(Channels(), termination=("n_gen", 9), seed=1)
    while algorithm.has_next():
        algorithm.next()
        assert texts(algorithm.pop) == texts(algorithm.scored[-6:])
    assert len(algorithm.scored) == 6 + 8 * 2


def test_winners_of_a_tournament_grow_old() -> None:
    """The youngest are found by their generation, however the population is ordered."""
    births = [3, 1, 2, 3]
    pop = Population([Individual(n_gen=birth) for birth in births])
    young = YoungestSurvival().do(Channels(), pop, n_survive=2)
    assert [individual.get("n_gen") for individual in young] == [3, 3]


def evaluated(scores: Any, violations: Any = None) -> Population:
    """Individuals with these objectives and constraint violations."""
    pop = Population.new("F", np.array(scores, dtype=float))
    for individual, excess in zip(pop, violations or [0.0] * len(pop), strict=True):
        individual.G = np.array([excess])
    return pop


@given(st.integers(0, 2**32 - 1))
def test_parents_are_the_fittest_of_their_sample(seed: int) -> None:
    """Of each row the first one with the smallest sum of log ranks is the parent, as in a loop."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 5, (12, 3))
    rows = rng.integers(0, 12, (6, 4))
    totals = log_rank_sum(scores.T)
    expected = [[min(row, key=lambda index: totals[index])] for row in rows.tolist()]
    assert fittest(evaluated(scores), rows).tolist() == expected


def test_feasible_parents_go_first() -> None:
    """A parent within the limits beats one over them; of two over them the closer one wins."""
    pop = evaluated([[9, 9], [1, 1], [2, 2]], [0.0, 0.5, 0.2])
    assert fittest(pop, np.array([[0, 1], [1, 2], [1, 1]])).tolist() == [[0], [2], [1]]


@pytest.mark.parametrize("bad", [0, 2.5, True])
def test_sample_sizes_are_checked(bad: Any) -> None:
    """A sample without competitors is refused."""
    with pytest.raises(SearchError, match="sample_size"):
        RegularisedEvolution(sample_size=bad)


# NSGA-II -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 12])
def test_nsga2_takes_the_course_of_pymoos(limit: int) -> None:
    """The last population is that of pymoo's NSGA2 with the operators of this package."""
    problem = Channels(n_ieq_constr=1 if limit else 0, limit=limit)
    ours = minimize(problem, NSGA2Search(8), ("n_gen", 7), seed=5)
    pymoos = minimize(problem, NSGA2(8, **operators()), ("n_gen", 7), seed=5)
    assert texts(ours.pop) == texts(pymoos.pop)
    assert ours.F.tolist() == pymoos.F.tolist()


def test_nsga2_has_as_many_offspring_as_survivors() -> None:
    """Without a number of offspring that of the survivors is taken."""
    assert NSGA2Search(7).n_offsprings == 7
    assert NSGA2Search(7, 3).n_offsprings == 3


# Settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRATEGIES)
def test_defaults_score_as_many(name: str) -> None:
    """By default every strategy scores 135 candidates, and the algorithm's sizes are its own."""
    settings = SearchSettings(algorithm=name)
    first = max(settings.population, settings.offspring)
    assert first + (settings.generations - 1) * settings.offspring == 135
    own = STRATEGIES[name].make()
    assert (settings.population, settings.offspring) == (own.pop_size, own.n_offsprings)
    assert bool(settings.tournament_every) == (name == "evolutive")


def test_unknown_names_offer_the_nearest() -> None:
    """A misspelt name is refused with the one that was meant."""
    for wrong, meant in (("nsga-2", "nsga2"), ("regularized", "regularised-evolution")):
        with pytest.raises(SearchError, match=f"expected one of evolutive.*did you mean {meant}"):
            SearchSettings(algorithm=wrong)
    with pytest.raises(SearchError, match=r"nsga2$"):
        SearchSettings(algorithm=7)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OTHERS)
def test_ages_belong_to_evolutive(name: str) -> None:
    """A limit of age is refused where survivors have none."""
    with pytest.raises(SearchError, match="max_age 3 with the algorithm"):
        SearchSettings(algorithm=name, max_age=3)


def test_strategies_are_algorithms_of_pymoo() -> None:
    """Each works in pymoo's minimize and is told apart by its class."""
    kinds = [EvolutiveNAS, RandomSearch, RegularisedEvolution, NSGA2Search]
    assert [type(make_strategy(name)) for name in STRATEGIES] == kinds
    for name in STRATEGIES:
        result = minimize(Channels(), make_strategy(name, 3, 4), ("n_gen", 3), seed=1)
        assert len(history_to_frame(result)) == 12
        assert result.F.shape[1] == 3


# Run folders -------------------------------------------------------------------------------------


class StopAfter(Callback):
    """Ends a search as Ctrl-C does, in a generation that is not saved yet."""

    def __init__(self, generation: int) -> None:
        super().__init__()
        self.generation = generation

    def notify(self, algorithm: Any) -> None:
        if algorithm.n_iter > self.generation:
            raise KeyboardInterrupt


def begin(path: Path, name: str, problem: NASProblem, **changes: Any) -> Search:
    """A new search in a folder."""
    folder = RunFolder(path)
    folder.create()
    settings = {"generations": 6, "population": 4, "offspring": 4, "seed": 2, **changes}
    chosen = SearchSettings(algorithm=name, **settings)
    return Search(folder, problem, chosen, {"problem": {"dataset": "digits"}})


def kept(path: Path) -> Iterator[Any]:
    """What a folder holds but for the seconds that scoring took."""
    state = read_checkpoint(path / CHECKPOINT)
    for row in [state, *state["scored"]]:
        row.pop("seconds")
    yield state
    yield RunFolder(path).history().drop(columns="seconds")
    yield RunFolder(path).front().drop(columns="seconds")


def assert_continued_is_the_same(
    path: Path, problem: NASProblem, name: str, **changes: Any
) -> None:
    """A search that is cut off in its third generation ends as one that is not."""
    begin(path / "whole", name, problem, **changes).run()
    with pytest.raises(KeyboardInterrupt):
        begin(path / "cut", name, problem, **changes).run(StopAfter(2))
    assert RunFolder(path / "cut").history()["generation"].max() == 2
    Search.continued(RunFolder(path / "cut"), problem=problem).run()
    (state, *tables), (other, *others) = kept(path / "whole"), kept(path / "cut")
    assert state == other
    for table, its_copy in zip(tables, others, strict=True):
        pd.testing.assert_frame_equal(table, its_copy, check_exact=True)


@pytest.mark.parametrize("name", STRATEGIES)
def test_continued_search_is_the_same(tmp_path: Path, name: str) -> None:
    """Cut off and continued, a search ends to the bit where it would have."""
    problem = MadeScores(max_params=60_000)
    assert_continued_is_the_same(tmp_path, problem, name, tournament_every=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_continued_search_with_tournaments_is_the_same(tmp_path: Path, name: str) -> None:
    """Tournaments change nothing of that, and are held by other strategies too."""
    changes = {"generations": 4, "tournament_every": 2, "tournament_size": 2}
    assert_continued_is_the_same(tmp_path, MadeScores(), name, **changes)
    assert RunFolder(tmp_path / "cut").tournaments() == [2, 4]


def test_tables_leave_the_individuals_alone(tmp_path: Path) -> None:
    """A search that keeps tables takes the course of one that keeps none."""
    search = begin(tmp_path, "nsga2", MadeScores())
    search.run()
    result = minimize(MadeScores(), NSGA2Search(4), ("n_gen", 6), seed=2)
    assert texts(search.algorithm.scored) == texts(result.algorithm.scored)


def test_infinite_crowding_is_kept(tmp_path: Path) -> None:
    """The ends of a front, whose crowding distance is infinite, are so after a continuation."""
    begin(tmp_path, "nsga2", MadeScores(), generations=2).run()
    again = Search.continued(RunFolder(tmp_path), problem=MadeScores()).algorithm.pop
    assert np.isinf(again.get("crowding").astype(float)).any()


TINY = ["--generations", "2", "--population", "2", "--offspring", "2", "--images", "8"]


def test_search_by_name(run: Run) -> None:
    """The run keeps its strategy, holds no tournament, and goes on with no other."""
    assert run("search", "--algorithm", "nsga2", *TINY, "--out", "a")[0] == 0
    config = json.loads(Path("a/config.json").read_text("utf-8"))
    assert config["algorithm"]["algorithm"] == "nsga2"
    assert config["algorithm"]["tournament_every"] == 0
    code, _, err = run("search", "--resume", "a", "--algorithm", "random")
    assert code == 2
    assert "algorithm 'random' (the run has 'nsga2')" in err


def test_runs_of_before_are_evolutive(run: Run, tmp_path: Path) -> None:
    """A folder without the entry is one of evolutive, and goes on as nothing else."""
    begin(tmp_path / "a", "evolutive", MadeScores(), generations=1, tournament_every=0).run()
    path = tmp_path / "a" / "config.json"
    config = json.loads(path.read_text("utf-8"))
    del config["algorithm"]["algorithm"]
    path.write_text(json.dumps(config), "utf-8")
    assert RunFolder("a").config().settings().algorithm == "evolutive"
    code, _, err = run("search", "--resume", "a", "--algorithm", "nsga2")
    assert code == 2
    assert "algorithm 'nsga2' (the run has 'evolutive')" in err


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--algorithm", "randon"], "did you mean random"),
        (["--algorithm", "random", "--max-age", "2"], "max_age 2 with the algorithm random"),
        (["--algorithm", "nsga2", "--tournament-size", "3"], "without tournaments"),
    ],
)
def test_mistakes_exit_with_2(run: Run, arguments: list[str], match: str) -> None:
    """A name or a setting that does not fit is refused in one line."""
    code, _, err = run("search", *arguments)
    assert code == 2
    assert match in err
    assert "Traceback" not in err
