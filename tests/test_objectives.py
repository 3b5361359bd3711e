"""Objectives: which a search has, their order, and what becomes of a user's own."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.optimize import minimize
from torch import nn

from pymoo_nas.choice import order_front, order_scored
from pymoo_nas.errors import RunError, ScoreError, SearchError
from pymoo_nas.networks import Counts
from pymoo_nas.plots import plot_evolution, plot_front, plot_offspring
from pymoo_nas.runs import RunFolder, Search, SearchSettings, choose, resume
from pymoo_nas.runs._checkpoint import read_checkpoint, restore, state_of, write_checkpoint
from pymoo_nas.scores import (
    ADDED,
    LATER_OBJECTIVES,
    NO_MEMORY,
    OBJECTIVES,
    PAPER_OBJECTIVES,
    Objective,
    column_types,
    is_sound,
    objectives_in,
    read_objectives,
    score,
    title_of_objective,
)
from pymoo_nas.scores._from_kernels import Judgement
from pymoo_nas.scores._objective import Measured
from pymoo_nas.search import (
    EvolutiveNAS,
    NASProblem,
    front_to_frame,
    history_to_frame,
    operators,
    read_frame,
    write_frame,
)

GENOTYPE = "8,0,0,0|0,0,0,8|0,8,0,0"


def thousands(measured: Measured) -> float:
    """Of parameters; counted when it is asked for."""
    return measured.counts.params / 1000


def depth(measured: Measured) -> Judgement:
    """Modules of the network itself."""
    return Judgement(float(sum(1 for _ in measured.network.modules())))


def million(n_images: int) -> float:
    """Worse than any."""
    return 1e6 + 0 * n_images


SIZE = Objective("size", "parameters", million, thousands, unit="thousands")
DEPTH = Objective("depth", "modules", million, depth)


def problem_of(*objectives: Any, **settings: Any) -> NASProblem:
    return NASProblem("digits", n_images=8, objectives=objectives, **settings)


def test_the_papers_are_the_default() -> None:
    """Three objectives, in the order of the paper."""
    assert NASProblem("digits", n_images=8).objective_names == list(PAPER_OBJECTIVES)
    assert PAPER_OBJECTIVES == ("ntk", "activation", "correlation")


def test_an_objective_is_the_same_beside_any_others() -> None:
    """Each value is that of a search by this objective alone, whatever its place."""
    names = ["correlation", "balanced_ntk", "ntk", "activation"]
    together = problem_of(*names).score_genotype(GENOTYPE)
    assert list(together.objectives) == names
    for name in names:
        assert problem_of(name).score_genotype(GENOTYPE).values == (together.objectives[name],)


def test_objectives_of_the_users_own() -> None:
    """They see the size and the network, and are a column of F and an attribute of the scores."""
    problem = problem_of("ntk", SIZE, DEPTH)
    scores = problem.score_genotype(GENOTYPE)
    assert scores.objectives["size"] == scores.params / 1000
    network = problem.build(GENOTYPE)
    assert scores.objectives["depth"] == len(list(network.modules()))
    found = problem.evaluate([[GENOTYPE]], return_as_dictionary=True)
    assert found["F"].tolist() == [list(scores.values)]
    assert scores.spread == {"ntk": 0, "size": 0, "depth": 0}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_degenerate(value: float) -> None:
    """It becomes the worst value in every objective, with the objective's name as the reason."""
    broken = Objective("broken", "nothing", lambda n: 7.0 * n, lambda _: value)
    problem = problem_of("activation", broken)
    scores = problem.score_genotype(GENOTYPE)
    assert scores.objectives["broken"] == 56
    assert "broken" in scores.degenerate
    assert problem.evaluate([[GENOTYPE]], return_values_of=["F"]).tolist() == [list(problem.worst)]


def test_a_value_above_the_worst_is_a_failure() -> None:
    """Otherwise a degenerate candidate would be better; the worst value itself is allowed."""
    small = Objective("small", "nothing", lambda _: 7.0, lambda _: 7.5)
    problem = problem_of("activation", small)
    with pytest.warns(UserWarning, match="'small' .7.5 is above worst=7"):
        scores = problem.score_genotype(GENOTYPE)
    assert scores.objectives["small"] == 7
    assert "failed objective 'small'" in scores.degenerate
    equal = Objective("equal", "nothing", lambda _: 7.0, lambda _: 7.0)
    assert not problem_of("activation", equal).score_genotype(GENOTYPE).degenerate


def test_over_a_limit_every_objective_is_worst() -> None:
    """A candidate that is not scored has the worst value of a user's objective too."""
    problem = problem_of("ntk", SIZE, max_params=10)
    assert problem.score_genotype(GENOTYPE).values == problem.worst == (problem.worst[0], 1e6)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([], "objectives"),
        ("", "objectives"),
        (["ntk", "ntk"], "ntk"),
        (["ntk", "latencies"], "latencies"),
        ([SIZE, SIZE], "size"),
        ([3], "3"),
        (SIZE, "objectives"),
        (None, "objectives"),
    ],
)
def test_senseless_objectives_are_refused(given: Any, named: str) -> None:
    """None, twice the same, unknown ones: the message names them."""
    with pytest.raises(SearchError, match=named):
        NASProblem("digits", n_images=8, objectives=given)


@pytest.mark.parametrize("name", ["", "two words", "1st", "a-b", "genotype", "params", *ADDED])
def test_names_that_cannot_be_a_column_are_refused(name: str) -> None:
    """A name is an identifier, and not that of another column."""
    with pytest.raises(SearchError, match=name or "objective"):
        read_objectives([Objective(name, "label", million, thousands)])


def test_texts_are_read() -> None:
    """Names may be separated by commas and spaces."""
    names = [objective.name for objective in read_objectives("ntk, activation correlation")]
    assert names == list(PAPER_OBJECTIVES)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("paper", PAPER_OBJECTIVES),
        (["later"], LATER_OBJECTIVES),
        ("flops,later", ("flops", *LATER_OBJECTIVES)),
        (["paper", SIZE], (*PAPER_OBJECTIVES, "size")),
    ],
)
def test_one_name_stands_for_several(given: Any, names: tuple[str, ...]) -> None:
    """The paper's three and the later ones, alone, beside others and in their places."""
    assert tuple(objective.name for objective in read_objectives(given)) == names


@pytest.mark.parametrize("given", ["paper,ntk", "later later", "Later", "latter"])
def test_one_name_for_several_is_checked_as_they_are(given: str) -> None:
    """None of them may stand twice, and the name has to be right."""
    with pytest.raises(SearchError, match=r"ntk|later"):
        read_objectives(given)


def test_titles_of_axes() -> None:
    """Name and label; of an objective that is not the package's, the name."""
    assert title_of_objective("ntk") == "ntk: log10 condition number"
    assert title_of_objective("mine") == "mine"
    assert SIZE.title == "size: parameters [thousands]"
    others = "balanced_ntk jacob_cov synflow zico latency batch_latency"
    assert set(OBJECTIVES) == {
        *(*PAPER_OBJECTIVES, *LATER_OBJECTIVES),
        *(*others.split(), *Counts._fields),
    }


@pytest.mark.parametrize(
    "objectives",
    [["activation"], ["activation", "ntk"], ["ntk", "balanced_ntk", "correlation", SIZE, DEPTH]],
)
def test_any_number_of_objectives(objectives: list[Any], tmp_path: Path) -> None:
    """Search, tables, checkpoint, choice and pictures take one, two and five objectives."""
    problem = problem_of(*objectives)
    result = minimize(problem, EvolutiveNAS(3, 5), ("n_gen", 2), seed=1)
    names = problem.objective_names
    assert result.F.reshape(-1, len(names)).shape[1] == len(names)
    history, front = history_to_frame(result), front_to_frame(result)
    assert objectives_in(history) == objectives_in(front) == names
    assert list(history) == list(column_types(names))
    write_frame(history, tmp_path / "history.csv")
    pd.testing.assert_frame_equal(read_frame(tmp_path / "history.csv"), history)
    assert len(order_scored(history)) >= len(order_front(front)) >= 1
    assert order_front(front, weights={names[-1]: 1})[names[-1]].is_monotonic_increasing
    assert len(plot_evolution(history).axes) == len(names)
    write_checkpoint(tmp_path, result.algorithm)
    other = EvolutiveNAS(3, 5)
    other.setup(problem, termination=("n_gen", 3), seed=1)
    restore(other, read_checkpoint(tmp_path / "checkpoint.json"))
    assert state_of(other)["scored"] == state_of(result.algorithm)["scored"]


def test_pictures_say_how_many_objectives_they_need() -> None:
    """A front needs two objectives, the three-dimensional picture three."""
    history = history_to_frame(
        minimize(problem_of("activation", "ntk"), EvolutiveNAS(2, 3), ("n_gen", 1), seed=1)
    )
    assert len([axes for axes in plot_front(history).axes if axes.get_xlabel()]) == 1
    with pytest.raises(SearchError, match=r"2 objectives .*needs 3"):
        plot_offspring(history)
    with pytest.raises(SearchError, match=r"1 objectives .*needs 2"):
        plot_front(history.drop(columns="ntk"))


def test_another_algorithm_takes_two_objectives() -> None:
    """NSGA-II searches by two objectives, one of them a user's own."""
    algorithm = NSGA2(pop_size=4, **operators())
    result = minimize(problem_of("activation", SIZE), algorithm, ("n_gen", 2), seed=1)
    front = front_to_frame(result)
    assert {tuple(row) for row in front[["activation", "size"]].to_numpy()} == {
        tuple(row) for row in np.atleast_2d(result.F)
    }


def test_score_takes_objectives() -> None:
    """Any network is scored by the objectives that are asked for."""
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    scores = score(network, torch.rand(4, 1, 8, 8), objectives=["activation", SIZE])
    assert list(scores.objectives) == ["activation", "size"]
    assert scores.objectives["size"] == scores.params / 1000


def test_the_nearest_name_is_offered() -> None:
    """A misspelt objective is answered with the one that was meant."""
    with pytest.raises(SearchError, match="did you mean latency"):
        read_objectives("ntk latncy")


def test_columns_are_declared_once() -> None:
    """A history has the columns of a candidate, with the objectives behind the genotype."""
    types = column_types(["mine"])
    assert [name for name in types if name != "mine"] == list(column_types([]))
    assert list(types)[2] == "mine"
    assert "survived" not in column_types(["mine"], survivors=True)


def test_objectives_of_tables_made_by_hand() -> None:
    """Without a genotype, or with nothing behind it, they are those that the package brings."""
    assert objectives_in(pd.DataFrame(columns=["x", "ntk", "params", "activation"])) == [
        "ntk",
        "activation",
    ]
    assert objectives_in(pd.DataFrame(columns=["ntk", "genotype", "params"])) == ["ntk"]
    assert objectives_in(pd.DataFrame(columns=["genotype", "mine", "params"])) == ["mine"]
    assert objectives_in(pd.DataFrame()) == []


def test_rows_that_may_be_judged() -> None:
    """Finite objectives and no reason, be it empty or missing."""
    table = pd.DataFrame(
        {
            "genotype": list("abcd"),
            "mine": [1.0, math.nan, 2.0, 3.0],
            "params": 1,
            "degenerate": ["", "", "no ReLU", math.nan],
        }
    )
    assert is_sound(table).tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("part", "value", "error", "named"),
    [
        ("worst", 1e9, SearchError, "worst"),
        ("compute", 3, SearchError, "compute"),
        ("name", "values", SearchError, "values"),
        ("name", "f2", SearchError, "f2"),
        ("name", "class", SearchError, "class"),
        ("name", "_hidden", SearchError, "_hidden"),
        ("worst", lambda _: math.inf, SearchError, "size"),
        ("compute", lambda _: None, ScoreError, "NoneType"),
        ("compute", lambda _: "low", ScoreError, "low"),
        ("compute", lambda _: np.zeros(2), ScoreError, "TypeError"),
        ("compute", lambda _: torch.zeros(2), ScoreError, "tensor"),
    ],
)
def test_a_broken_objective_is_named(
    part: str, value: Any, error: type[Exception], named: str
) -> None:
    """Whatever is wrong with an objective of one's own, the error names it."""

    def scored() -> None:
        problem_of("ntk", replace(SIZE, **{part: value})).score_genotype(GENOTYPE)

    with pytest.raises(error, match=named):
        scored()


@pytest.mark.parametrize(
    ("value", "number"),
    [(np.float32(3), 3), (torch.tensor(3.0, requires_grad=True), 3), (4, 4), (True, 1)],
)
def test_numbers_of_any_kind_are_taken(value: Any, number: float) -> None:
    """An objective may return a number of numpy or torch, by itself or in a Judgement."""
    for found in (value, Judgement(value)):
        objective = replace(SIZE, compute=lambda _, found=found: found)
        assert problem_of(objective).score_genotype(GENOTYPE).values == (number,)


def test_columns_that_a_user_adds_are_no_objectives() -> None:
    """Accuracies and names that are merged into a history are not minimised."""
    result = minimize(problem_of("ntk", "activation"), EvolutiveNAS(2, 5), ("n_gen", 1), seed=1)
    history = history_to_frame(result)
    expected = order_scored(history)["genotype"].tolist()
    truth = pd.DataFrame({"genotype": history["genotype"], "accuracy": 1.0, "group": "a"})
    truth = truth.drop_duplicates()
    inserted = history.copy()
    inserted.insert(3, "top1", 1.0)
    for table in (truth.merge(history, on="genotype"), history.merge(truth), inserted):
        assert set(objectives_in(table)) <= {"ntk", "activation", "top1"}
    assert order_scored(truth.merge(history, on="genotype"))["genotype"].tolist() == expected
    assert objectives_in(inserted) == ["ntk", "activation"]


def test_a_run_goes_on_by_its_own_objectives(tmp_path: Path) -> None:
    """Other objectives, images or limits than the run's are refused, by name."""
    settings = SearchSettings(1, 2, 3, tournament_every=0)
    names = ["ntk", "size"]
    problem = problem_of("ntk", SIZE)
    config = {"problem": {"dataset": "digits", "n_images": 8}}
    folder = RunFolder(tmp_path / "run")
    folder.create()
    Search(folder, problem, settings, config).run()
    assert folder.config().objective_names() == names
    with pytest.raises(RunError, match="size"):
        resume(folder.path, 2)
    for other, named in (
        (problem_of(SIZE, "ntk"), "objectives"),
        (problem_of("ntk", SIZE, max_params=3000), "max_params"),
        (problem_of("ntk", SIZE, n_inits=2), "n_inits"),
        (NASProblem("digits", n_images=9, objectives=["ntk", SIZE]), "n_images"),
    ):
        with pytest.raises(RunError, match=named):
            resume(folder.path, 2, problem=other)
    result = resume(folder.path, 2, problem=problem)
    assert objectives_in(folder.history()) == names
    assert len(folder.history()) == 6 == result.algorithm.evaluator.n_eval
    assert choose(folder, weights={"size": np.int64(2)})["size"].is_monotonic_increasing


def test_others_scores_are_not_taken_over() -> None:
    """A population that was judged by other objectives is judged anew."""
    first = minimize(problem_of("ntk", "activation"), EvolutiveNAS(2, 3), ("n_gen", 1), seed=1)
    problem = problem_of("activation", "ntk")
    again = minimize(problem, EvolutiveNAS(2, 3, sampling=first.pop), ("n_gen", 1), seed=1)
    for row in history_to_frame(again).itertuples():
        scores = problem.score_genotype(row.genotype)
        assert (row.activation, row.ntk) == scores.values


def test_an_objective_called_size_has_a_rank_of_its_own() -> None:
    """The rank of size counts beside that of an objective of this name."""
    history = history_to_frame(
        minimize(problem_of("ntk", SIZE), EvolutiveNAS(2, 6), ("n_gen", 1), seed=1)
    )
    ranks = order_scored(history).set_index("genotype")["rank_sum"]
    usable = order_scored(history).set_index("genotype")
    columns = usable[["ntk", "size"]].assign(minus=-usable["flops"])
    expected = (columns.rank(pct=True) ** 8).sum(axis=1)
    pd.testing.assert_series_equal(ranks, expected, check_names=False)


def test_tables_of_a_choice_are_read_back(tmp_path: Path) -> None:
    """What a method adds comes back from CSV as numbers."""
    result = minimize(problem_of(*PAPER_OBJECTIVES), EvolutiveNAS(2, 5), ("n_gen", 1), seed=1)
    ordered = choose(result, "gradients", top=1)
    write_frame(ordered, tmp_path / "ordered.csv")
    pd.testing.assert_frame_equal(read_frame(tmp_path / "ordered.csv"), ordered)


@pytest.mark.parametrize("name", ["ntk", "flops", "latency", "batch_latency"])
def test_a_name_of_the_package_is_refused(name: str) -> None:
    """Another objective of that name would be taken for the package's when a run goes on."""
    with pytest.raises(SearchError, match=name):
        read_objectives([Objective.of_network(name, lambda *_: 1.0, 1e9)])


def test_a_noisy_objective_without_memory_loses_one_candidate() -> None:
    """As any other objective does."""

    def no_memory(*_: Any) -> float:
        raise MemoryError

    noisy = Objective.of_network("energy", no_memory, 1e9, noisy=True)
    scores = problem_of("ntk", noisy).score_genotype(GENOTYPE)
    assert scores.degenerate == NO_MEMORY
    assert scores.objectives["energy"] == 1e9
