"""Searches in which candidates with steady gradients survive first, and what is made of them."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cheap_problems import Channels, MadeScores, MadeSteadiness, made_run
from command_line import ALONE, Run
from pymoo.core.evaluator import Evaluator
from pymoo.core.population import Population
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding
from pymoo.optimize import minimize

from pymoo_nas import (
    CallbackChain,
    CellSpace,
    DartsTournament,
    EvolutiveNAS,
    GenotypeSampling,
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
from pymoo_nas.errors import NetworkError, RunError, SearchError, WorkerError
from pymoo_nas.runs._choose import default_of_run
from pymoo_nas.search import log_rank_sum, preferred_rows, steadiness_of_rows
from pymoo_nas.search._steadiness import FAILED


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


def test_steady_ones_are_first_by_te_nas_too(result: Any) -> None:
    """The groups are those of the order by ranks; each has ranks of its own."""
    table, by_ranks = choose(result, "te-nas"), choose(result)
    groups = [
        np.where(one["steady"], 0, np.where(one["growth"].isna(), 1, 2))
        for one in (table, by_ranks)
    ]
    assert groups[0].tolist() == groups[1].tolist()
    for number in range(3):
        rows = table[groups[0] == number]
        assert rows["rank_sum"].tolist() == sorted(log_rank_sum([rows["ntk"], rows["activation"]]))


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


@pytest.mark.parametrize("inner", [RankSumSurvival, RankAndCrowding])
def test_parents_are_ranked_as_they_survive(inner: Any) -> None:
    """Steady ones have lower ranks than unsteady ones, and these than degenerate ones."""
    problem = MadeSteadiness(max_params=20_000)
    drawn = GenotypeSampling().do(problem, 60, random_state=np.random.default_rng(0))
    everyone = Evaluator().eval(problem, drawn)
    survivors = SteadyFirst(inner()).do(problem, everyone, n_survive=len(everyone))
    kinds: dict[str, list[int]] = {"steady": [], "unsteady": [], "rest": []}
    for one in survivors:
        growth = one.get("growth")
        known = growth is not None and Steadiness(growth, one.get("smoothness")).steady
        kinds["rest" if growth is None else "steady" if known else "unsteady"].append(
            one.get("rank")
        )
    assert all(kinds.values())
    assert max(kinds["steady"]) < min(kinds["unsteady"])
    assert max(kinds["unsteady"]) < min(kinds["rest"])


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


def test_nsga2_set_up_for_another_space_goes_by_dominance_again() -> None:
    """Its parents are chosen by rank only where steady ones survive first."""
    algorithm = NSGA2Search(4)
    space = NASBench201Space(width=4, final_width=4)
    for search_space, expected in ((space, "rank"), (None, "dom")):
        problem = NASProblem("digits", search_space=search_space, n_images=8, image_size=16)
        algorithm.setup(problem, termination=("n_gen", 1))
        assert algorithm.tournament_type == f"comp_by_{expected}_and_crowding"


def test_workers_that_lose_a_genotype_are_refused() -> None:
    """What an executor of the user's own leaves out is named."""
    problem = MadeSteadiness()
    problem.workers = Forgetful()
    with pytest.raises(WorkerError, match=r"Forgetful.*8000"):
        problem.steadiness_of(["8,0,0,0"])


class Forgetful:
    """Workers that return nothing."""

    def steadiness(self, scorer: Any, texts: Any) -> Any:
        """Nothing at all."""
        del scorer, texts
        return []
