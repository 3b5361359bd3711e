"""Candidates with steady gradients survive first, and only what could survive is measured."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cheap_problems import Channels, MadeScores, made_run
from command_line import ALONE, Run
from hypothesis import given
from hypothesis import strategies as st
from pymoo.algorithms.moo.nsga2 import RankAndCrowding
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from pymoo.optimize import minimize

from pymoo_nas import (
    CallbackChain,
    CellSpace,
    DartsTournament,
    EvolutiveNAS,
    NASBench201Space,
    NASProblem,
    NSGA2Search,
    RandomSearch,
    RankSumSurvival,
    RegularisedEvolution,
    RunFolder,
    SearchSettings,
    Steadiness,
    SteadyFirst,
    Workers,
    choose,
    front_to_frame,
    history_to_frame,
    order_scored,
    plot_front,
    read_frame,
    resume,
)
from pymoo_nas._machine import threads_set
from pymoo_nas.errors import NetworkError, RunError, SearchError
from pymoo_nas.runs._choose import default_of_run
from pymoo_nas.search import preferred_rows, read_genotype, steadiness_of_rows
from pymoo_nas.search._steadiness import FAILED
from pymoo_nas.search._steady import measured_front

GOOD, BAD, WORSE = Steadiness(0.1, -0.1), Steadiness(1.1, -0.1), Steadiness(2.0, 0.1)


class Told:
    """A problem that knows the steadiness of each genotype, and notes which are asked for."""

    def __init__(self, steadiness: list[Steadiness]) -> None:
        self.search_space = self
        self.known = steadiness
        self.asked: list[int] = []

    def steadiness_of(self, genotypes: list[int]) -> list[Steadiness]:
        self.asked += genotypes
        return [self.known[genotype] for genotype in genotypes]

    def has_constraints(self) -> bool:
        return False


def population(scores: Any, *, infeasible: Any = (), degenerate: Any = ()) -> Population:
    """Evaluated individuals whose genotypes are their places."""
    everyone = []
    for place, row in enumerate(scores):
        one = Individual(X=np.array([place], dtype=object), F=np.atleast_1d(np.array(row, float)))
        one.CV = np.array([float(place in infeasible)])
        one.set("degenerate", "none" if place in degenerate else "")
        everyone.append(one)
    return Population(everyone)


def places(pop: Any) -> list[int]:
    return [one.X[0] for one in pop]


def test_the_next_best_takes_the_place_of_what_is_not_steady() -> None:
    """Of five by one score the second is not steady: 0, 2, 3 survive, and 4 is never measured."""
    problem = Told([GOOD, BAD, GOOD, GOOD, GOOD])
    survivors = SteadyFirst(RankSumSurvival()).do(problem, population([1, 2, 3, 4, 5]), n_survive=3)
    assert places(survivors) == [0, 2, 3]
    assert problem.asked == [0, 1, 2, 3]


def test_too_few_are_steady() -> None:
    """The least unsteady follow, then degenerate and infeasible ones; neither is measured."""
    problem = Told([WORSE, BAD, GOOD, GOOD, GOOD])
    pop = population([1, 2, 3, 4, 5], infeasible=[4], degenerate=[3])
    survivors = SteadyFirst(RankSumSurvival()).do(problem, pop)
    assert places(survivors) == [2, 1, 0, 3, 4]
    assert sorted(problem.asked) == [0, 1, 2]
    assert [one.get("rank") for one in survivors[:3]] == [0, 1, 2]


def test_a_gradient_that_cannot_be_measured_is_not_steady() -> None:
    """Where growth or smoothness is NaN, the individual is measured once and comes last."""
    problem = Told([Steadiness(math.nan, math.nan), Steadiness(-math.inf, math.nan), BAD])
    pop = population([1, 2, 3])
    survival = SteadyFirst(RankSumSurvival())
    assert places(survival.do(problem, pop, n_survive=2)) == [2, 0]
    assert places(survival.do(problem, pop, n_survive=2)) == [2, 0]
    assert sorted(problem.asked) == [0, 1, 2]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([GOOD, BAD, WORSE])), min_size=1),
    st.integers(1, 6),
)
def test_by_one_score_it_is_the_slow_sort(rows: Any, n_survive: int) -> None:
    """Survivors are those of a sort by steadiness, then score, that measures everything."""
    problem = Told([steadiness for _, steadiness in rows])
    pop = population([score for score, _ in rows])
    survivors = SteadyFirst(RankSumSurvival()).do(problem, pop, n_survive=n_survive)
    keys = [
        (not steadiness.steady, 0 if steadiness.steady else steadiness.excess, score)
        for score, steadiness in rows
    ]
    expected = sorted(keys)[:n_survive]
    found = [keys[place] for place in places(survivors)]
    assert [key[:2] for key in found] == [key[:2] for key in expected]
    assert [key for key in found if not key[0]] == [key for key in expected if not key[0]]


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from([GOOD, BAD])), min_size=1
    )
)
def test_the_front_is_that_of_all_steady_ones(rows: Any) -> None:
    """Without a measurement of what is dominated, it is the front that a brute force finds."""
    problem = Told([steadiness for *_, steadiness in rows])
    pop = population([row[:2] for row in rows])
    front = measured_front(pop, problem)
    usable = [place for place, row in enumerate(rows) if row[2].steady] or range(len(rows))
    values = np.array([row[:2] for row in rows])

    def dominated(place: int) -> bool:
        others = values[list(usable)]
        better = (others <= values[place]).all(1) & (others < values[place]).any(1)
        return bool(better.any())

    assert sorted(places(front)) == [place for place in usable if not dominated(place)]
    assert len(problem.asked) == len(set(problem.asked))


def test_what_the_other_survival_lets_die_does_not_come_back() -> None:
    """With a limit of age, an old individual dies, steady or not."""
    problem = Told([BAD, GOOD, GOOD, BAD])
    pop = population([1, 2, 3, 4])
    for one, birth in zip(pop, (1, 1, 8, 8), strict=True):
        one.set("n_gen", birth)
    survival = SteadyFirst(RankSumSurvival(max_age=3))
    found = survival.do(problem, pop, n_survive=3, algorithm=SimpleNamespace(n_iter=8))
    assert places(found) == [2, 3]


def test_parents_of_nsga2_are_steady() -> None:
    """Its tournament of parents goes by the rank that survival gave."""
    problem = Told([BAD, GOOD])
    pop = SteadyFirst(RankAndCrowding()).do(problem, population([[0, 0], [1, 1]]))
    algorithm = NSGA2Search(4, steady=True)
    algorithm.setup(MadeSteadiness(), termination=("n_gen", 1))
    chosen = algorithm.mating.selection.do(
        problem, pop, 20, 1, algorithm=algorithm, random_state=np.random.default_rng(0)
    )
    pairs = [parent.X[0] for row in chosen for parent in row]
    assert pairs.count(0) < 10  # both competitors were the bad one


def test_pymoos_survival_can_be_wrapped() -> None:
    """Rank and crowding of NSGA-II choose among the steady ones."""
    problem = Told([BAD, GOOD, GOOD, GOOD])
    pop = population([[0, 0], [1, 2], [2, 1], [3, 3]])
    survivors = SteadyFirst(RankAndCrowding()).do(problem, pop, n_survive=2)
    assert sorted(places(survivors)) == [1, 2]


class MadeSteadiness(MadeScores):
    """Made scores, and a steadiness that is made of the text of the genotype; half are steady."""

    def steadiness(self, genotype: Any, *, seed: int = 0) -> Steadiness:
        """Random growth and smoothness."""
        text = self.search_space.format(read_genotype(self.search_space, genotype))
        rng = np.random.default_rng([seed, *text.encode()])
        return Steadiness(rng.uniform(0, 1.2), rng.uniform(-0.2, 0.05))


def _noting(told: list[str], measure: Any, genotype: Any, **arguments: Any) -> Steadiness:
    """Measure, and note what was asked for."""
    told.append(str(genotype))
    found: Steadiness = measure(genotype, **arguments)
    return found


HISTORY = pd.DataFrame(
    {
        "genotype": ["4", "8"],
        "ntk": [2.0, 1.0],
        "params": [1, 2],
        "flops": [1, 2],
        "feasible": True,
        "degenerate": "",
    }
)


@pytest.fixture(scope="module")
def result() -> Any:
    algorithm = EvolutiveNAS(4, 10, steady=True)
    return minimize(MadeSteadiness(), algorithm, ("n_gen", 6), seed=3)


def noted(front: Any) -> list[Steadiness]:
    return [Steadiness(one.get("growth"), one.get("smoothness")) for one in front]


def test_the_front_of_a_search_is_steady(result: Any) -> None:
    """Survivors, front and archive are measured and steady; most of what is scored is neither."""
    history = history_to_frame(result)
    measured = history["growth"].notna()
    assert 0 < measured.sum() < len(history)
    assert (history["smoothness"].notna() == measured).all()
    assert all(one.steady for front in (result.opt, result.archive) for one in noted(front))
    assert len(result.opt) == len(result.F) == len(front_to_frame(result))
    for row in front_to_frame(result).itertuples():
        again = result.problem.steadiness(row.genotype)
        assert (row.growth, row.smoothness) == (again.growth, again.smoothness)


def test_what_a_search_has_measured_is_chosen_by(result: Any) -> None:
    """By default steady ones come first, by ranks; each group has an order of its own."""
    table = choose(result)
    pd.testing.assert_frame_equal(table, order_scored(history_to_frame(result)))
    group = np.where(table["steady"], 0, np.where(table["growth"].isna(), 1, 2))
    assert (np.diff(group) >= 0).all()
    assert set(group) == {0, 1, 2}
    for number in range(3):
        assert table["rank_sum"][group == number].is_monotonic_increasing


def test_what_is_known_is_not_measured_again(result: Any) -> None:
    """The choice by gradients takes what the search has measured."""
    known = history_to_frame(result).dropna(subset="growth")
    before = {*known["genotype"]}
    told: list[str] = []
    problem = result.problem
    problem.steadiness = partial(_noting, told, problem.steadiness)
    try:
        table = choose(result, "gradients", top=2)
    finally:
        del problem.steadiness
    assert not {*told} & before
    assert table["steady"].iloc[0]
    left = dict(zip(table["genotype"], table["growth"], strict=True))
    assert {name: left[name] for name in before} == dict(
        zip(known["genotype"], known["growth"], strict=True)
    )


def test_in_nasbench201_it_is_the_default() -> None:
    """There the search measures gradients, and the choice does not; steady=False turns it round."""
    space = NASBench201Space(width=4, final_width=4)
    problem = NASProblem("digits", search_space=space, n_images=16, image_size=16)
    result = minimize(problem, EvolutiveNAS(2, 3), ("n_gen", 1), seed=0)
    assert result.algorithm.steady
    for front in (result.opt, result.archive):
        for one, found in zip(front, noted(front), strict=True):
            assert found == problem.steadiness(one.X[0])
    pd.testing.assert_frame_equal(choose(result), choose(result, "ranks"))
    result = minimize(problem, EvolutiveNAS(2, 3, steady=False), ("n_gen", 1), seed=0)
    assert "growth" not in history_to_frame(result)
    assert "growth" in choose(result, top=1)


@pytest.mark.parametrize("make", [RandomSearch, NSGA2Search])
def test_other_strategies(make: Any) -> None:
    """Random search and NSGA-II let steady ones survive first too."""
    result = minimize(MadeSteadiness(), make(3, 6, steady=True), ("n_gen", 4), seed=1)
    assert all(one.steady for one in noted(result.opt))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RegularisedEvolution(steady=True),
        lambda: SteadyFirst(RankSumSurvival),
        lambda: SearchSettings(steady="yes"),  # type: ignore[arg-type]
        lambda: SearchSettings(steady=True, algorithm="regularised-evolution"),
        lambda: EvolutiveNAS(steady="no"),  # type: ignore[arg-type]
        lambda: order_scored(HISTORY.assign(growth="much", smoothness=0.0)),
    ],
    ids=["survival by age", "a class", "a word", "settings", "another word", "text"],
)
def test_refused(wrong: Any) -> None:
    """Survival by age, no survival, and what is no truth value."""
    with pytest.raises(SearchError):
        wrong()


def test_a_problem_without_images_is_refused() -> None:
    """It has no gradients to measure; left to the problem, nothing is measured."""
    with pytest.raises(SearchError, match="Channels"):
        EvolutiveNAS(steady=True).setup(Channels(), termination=("n_gen", 1))
    algorithm = EvolutiveNAS().setup(Channels(), termination=("n_gen", 1))
    assert algorithm.steady is False


def test_a_resumed_search_measures_the_same(tmp_path: Path) -> None:
    """Its tables are those of a search that was not interrupted; nothing is measured twice."""
    settings = {"population": 3, "offspring": 6, "steady": True}
    whole = made_run(tmp_path / "whole", MadeSteadiness(), generations=5, **settings)
    halted = made_run(tmp_path / "halted", MadeSteadiness(), generations=2, **settings)
    told: list[str] = []
    problem = MadeSteadiness()
    problem.progress = lambda report: told.append(report.work)
    before = pd.read_csv(halted / "history.csv")["growth"].notna().sum()
    resume(halted, 5, problem=problem)
    for name in ("history.csv", "front.csv", "archive.csv"):
        tables = [read_frame(folder / name) for folder in (whole, halted)]
        pd.testing.assert_frame_equal(*(table.drop(columns="seconds") for table in tables))
    after = read_frame(halted / "history.csv")["growth"].notna().sum()
    assert told.count("gradients") == after - before > 0


def test_runs_of_earlier_versions_go_on_as_they_began(tmp_path: Path) -> None:
    """Without the setting, nothing is measured, whatever the search space."""
    folder = made_run(tmp_path / "run", steady=None)
    config = json.loads((folder / "config.json").read_text())
    del config["algorithm"]["steady"]
    (folder / "config.json").write_text(json.dumps(config))
    assert RunFolder(folder).config().settings().steady is False


def test_a_memory_keeps_what_was_measured(tmp_path: Path) -> None:
    """A second search with the same memory measures nothing, and finds the same."""
    told: list[str] = []
    tables = []
    for _ in range(2):
        told.clear()
        problem = MadeSteadiness(memory=tmp_path / "scores.sqlite")
        problem.steadiness = partial(_noting, told, problem.steadiness)
        result = minimize(problem, EvolutiveNAS(3, 6, steady=True), ("n_gen", 2), seed=1)
        tables.append(history_to_frame(result))
        assert bool(told) == (len(tables) == 1)
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.slow
def test_workers_measure_the_same() -> None:
    """Two processes measure what this one measures, to the bit."""
    space = NASBench201Space(width=4, final_width=4)
    problem = NASProblem("digits", search_space=space, n_images=16, image_size=16)
    rng = np.random.default_rng(0)
    genotypes = [space.sample(rng) for _ in range(4)]
    with threads_set(1):
        here = problem.steadiness_of(genotypes)
    with Workers(2, threads=1) as problem.workers:
        assert problem.steadiness_of(genotypes) == here


def test_the_command_line_says_what_was_measured(tmp_path: Path, run: Run) -> None:
    """A search with --steady tells how many are steady; the run folder keeps the setting."""
    words = "search --space nasbench201 --image-size 16 --images 8 --generations 1 --offspring 2"
    code, out, _ = run(*words.split(), "--population", "1", *ALONE, "--out", tmp_path / "run")
    assert code == 0
    assert re.search(r"gradients measured of \d of 2 candidates", out)
    assert RunFolder(tmp_path / "run").config().settings().steady is True
    for option, expected in (("--steady", 0), ("--no-steady", 2)):
        code, _, err = run("search", "--resume", tmp_path / "run", option)
        assert (code, "steady" in err) == (expected, bool(expected))


def test_pictures_and_reports_leave_unsteady_ones_out_of_the_front(result: Any) -> None:
    """What is not steady is in no front, though its scores may be the best."""
    history = history_to_frame(result)
    usable = np.ones(len(history), dtype=bool)
    hopeful = preferred_rows(history, usable)
    measured = steadiness_of_rows(history)
    unsteady = {name for name, one in measured.items() if not one.steady}
    assert {*history["genotype"][~hopeful]} == unsteady
    assert (preferred_rows(history.drop(columns="growth"), usable) == usable).all()
    assert plot_front(history)._suptitle.get_text().startswith("Pareto front of steady ones:")
    only = history[history["genotype"].isin(unsteady)]
    assert preferred_rows(only, usable[: len(only)]).all()


def test_a_measurement_that_fails_is_not_steady(tmp_path: Path) -> None:
    """The search goes on; and the failure is not kept in a memory."""

    class Failing(CellSpace):
        """A space whose deep network cannot be built."""

        def build_body(self, *_: Any) -> Any:
            raise NetworkError("too deep")

    problem = MadeScores(search_space=Failing(max_channels=8, max_nodes=2, widening=1))
    assert problem.steadiness("8,0,0,0") == FAILED
    assert not FAILED.steady
    result = minimize(problem, EvolutiveNAS(2, 4, steady=True), ("n_gen", 1), seed=0)
    assert np.isinf(front_to_frame(result)["growth"]).all()
    kept = MadeSteadiness(memory=tmp_path / "scores.sqlite")
    kept.workers = Lost()
    assert kept.steadiness_of(["8,0,0,0"]) == [FAILED]
    kept.workers = None
    assert kept.steadiness_of(["8,0,0,0"]) == [kept.steadiness("8,0,0,0")]


class Lost:
    """Workers that die at everything."""

    def steadiness(self, scorer: Any, texts: Any) -> Any:
        """Nothing can be measured."""
        del scorer
        return [(place, FAILED) for place in range(len(texts))]


def test_a_tournament_without_contest_is_not_held() -> None:
    """Where few are known to be steady, the population keeps its size."""
    tournament = DartsTournament(1, 2, n_steps=1, batch_size=4, n_images=8)
    sizes = []
    callback = CallbackChain(tournament, lambda algorithm: sizes.append(len(algorithm.pop)))
    algorithm = EvolutiveNAS(6, 8, steady=True)
    minimize(MadeSteadiness(), algorithm, ("n_gen", 5), callback=callback, seed=0)
    assert sizes == [6] * 5
    assert all(len(row["winners"]) == 6 for row in tournament.data["tournaments"])


def test_notes_of_an_earlier_search_are_no_part_of_the_next(result: Any) -> None:
    """A search that starts from measured individuals and does not measure has no such columns."""
    sampling = Population(result.algorithm.scored[:6])
    algorithm = EvolutiveNAS(4, 6, sampling=sampling, steady=False)
    again = minimize(MadeSteadiness(), algorithm, ("n_gen", 2), seed=0)
    assert "growth" not in history_to_frame(again)


def test_regularised_evolution_leaves_the_choice_to_gradients(tmp_path: Path) -> None:
    """It measures nothing, so that the default choice of its run folder does."""
    folder = made_run(tmp_path / "run", algorithm="regularised-evolution")
    assert RunFolder(folder).config().settings().steady is False
    config = json.loads((folder / "config.json").read_text())
    config["search_space"] = {"space": "nasbench201"}
    (folder / "config.json").write_text(json.dumps(config))
    assert default_of_run(RunFolder(folder).config()) == "gradients"


def test_damaged_columns_are_refused(tmp_path: Path) -> None:
    """A growth that is text makes a table that cannot be read."""
    folder = made_run(tmp_path / "run", MadeSteadiness(), steady=True)
    path = folder / "history.csv"
    nothing = read_frame(path).assign(growth=None, smoothness=None)
    table = pd.read_csv(path).astype({"growth": object})
    table["growth"] = "abc"
    table.to_csv(path, index=False)
    with pytest.raises(RunError, match=r"history\.csv"):
        read_frame(path)
    assert len(order_scored(nothing)) > 0


def test_setting_up_twice_measures_as_the_second_problem_asks() -> None:
    """The answer of the first search space does not stay, and survival is wrapped once."""
    space = NASBench201Space(width=4, final_width=4)
    algorithm = EvolutiveNAS()
    for search_space, expected in ((space, True), (None, False), (space, True)):
        problem = NASProblem("digits", search_space=search_space, n_images=8, image_size=16)
        algorithm.setup(problem, termination=("n_gen", 1))
        assert algorithm.steady is expected
        assert isinstance(algorithm.survival, SteadyFirst) is expected
    assert isinstance(algorithm.survival.survival, RankSumSurvival)
