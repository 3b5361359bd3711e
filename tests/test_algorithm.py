import inspect
import re
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cheap_problems import Channels
from pymoo.operators.crossover.nox import NoCrossover
from pymoo.operators.mutation.nom import NoMutation
from pymoo.operators.selection.tournament import TournamentSelection
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding
from pymoo.optimize import minimize
from pymoo.visualization.pcp import PCP
from pymoo.visualization.scatter import Scatter

from pymoo_nas.cli._search import search
from pymoo_nas.errors import SearchError
from pymoo_nas.runs import SearchSettings
from pymoo_nas.search import (
    DartsTournament,
    EvolutiveNAS,
    GenotypeCrossover,
    GenotypeMutation,
    GenotypeSampling,
    NASProblem,
    history_to_frame,
)
from pymoo_nas.search._survival import survival_order
from pymoo_nas.spaces import CellSpace

DESIGN = Path(__file__).parents[2] / "shared" / "design.md"


@pytest.fixture(scope="module")
def problem() -> NASProblem:
    """Digits, few images."""
    return NASProblem("digits", n_images=16)


def run(problem: NASProblem, seed: int = 1, **changes: Any) -> Any:
    """A small search with a tournament."""
    algorithm = EvolutiveNAS(**{"pop_size": 3, "n_offsprings": 8, **changes})
    tournament = DartsTournament(size=2, n_steps=2, batch_size=16, n_images=64)
    return minimize(problem, algorithm, ("n_gen", 4), callback=tournament, seed=seed)


@pytest.mark.slow
def test_same_seed_same_front_to_the_bit(problem: NASProblem) -> None:
    """Two runs with one seed agree in every number but the time; another seed does not."""
    first, second, other = run(problem, 1), run(problem, 1), run(problem, 2)
    assert (first.F == second.F).all()
    frames = [history_to_frame(result).drop(columns="seconds") for result in (first, second)]
    assert frames[0].equals(frames[1])
    assert not frames[0]["genotype"].equals(history_to_frame(other)["genotype"])


def test_global_generators_are_left_alone(problem: NASProblem) -> None:
    """A search with a tournament moves neither torch's nor numpy's global state."""
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    run(problem)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


def test_nothing_is_scored_twice(problem: NASProblem) -> None:
    """Every generation scores as many new genotypes as asked for."""
    history = history_to_frame(run(problem))
    assert history["genotype"].is_unique
    assert history.groupby("generation").size().tolist() == [8, 8, 8, 8]


def test_without_tournament_the_best_of_each_generation_survive(problem: NASProblem) -> None:
    """(μ+λ): the population is the head of parents and offspring in survival order."""
    algorithm = EvolutiveNAS(3, 8)
    algorithm.setup(problem, termination=("n_gen", 3), seed=1)
    while algorithm.has_next():
        parents = list(algorithm.pop) if algorithm.pop is not None else []
        algorithm.next()
        everyone = parents + list(algorithm.off)
        order = np.concatenate(survival_order(np.array([i.F for i in everyone])))
        expected = [everyone[i].X[0] for i in order[:3]]
        assert [i.X[0] for i in algorithm.pop] == expected


@pytest.mark.slow
def test_learned_shares_are_in_the_result(problem: NASProblem) -> None:
    """Each generation's mutations are counted in data, and the exploration has shrunk."""
    data = run(problem).data["mutation"]
    assert sum(tried for tried, _ in data["kinds"].values()) > 8
    assert data["exploration"] < 0.5


def test_history_says_who_survived(problem: NASProblem) -> None:
    """In each generation at most pop_size of its candidates are marked, in the last those left."""
    result = run(problem)
    history = history_to_frame(result)
    assert history.groupby("generation")["survived"].sum().max() <= 3
    last = history[(history["generation"] == 4) & history["survived"]]
    left = {str(i.X[0]) for i in result.pop if i.get("n_gen") == 4}
    assert set(last["genotype"]) == left


@pytest.mark.slow
def test_every_operator_can_be_replaced(problem: NASProblem) -> None:
    """Pymoo's selection and survival, and settings of ours, take the defaults' places."""

    def better_rank(pop: Any, pairs: Any, **_: Any) -> Any:
        ranks = [[pop[i].get("rank") for i in pair] for pair in pairs]
        return pairs[np.arange(len(pairs)), np.argmin(ranks, axis=1)][:, None]

    result = run(
        problem,
        sampling=GenotypeSampling(),
        selection=TournamentSelection(func_comp=better_rank),
        crossover=GenotypeCrossover(prob=1.0),
        mutation=GenotypeMutation(max_steps=1),
        survival=RankAndCrowding(),
    )
    mutations = history_to_frame(result)["mutation"]
    assert not mutations.str.contains(";").any()


def test_verbose_prints_a_line_per_generation(
    problem: NASProblem, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table shows the three objectives."""
    minimize(problem, EvolutiveNAS(2, 4), ("n_gen", 2), seed=1, verbose=True)
    printed = capsys.readouterr().out
    assert re.search(r"ntk.*activation.*correlation", printed)
    assert re.search(r"^ +2 \|", printed, re.MULTILINE)


def test_limits_that_nothing_keeps() -> None:
    """The run ends with a warning that says how close the best came."""
    limited = NASProblem("digits", n_images=16, max_params=20)
    with pytest.warns(UserWarning, match=r"closest, .* has [\d,]+ params \(limit 20\)"):
        result = minimize(limited, EvolutiveNAS(2, 4), ("n_gen", 2), seed=1)
    assert result.F is None


def test_only_the_broken_limit_is_named() -> None:
    """A candidate over one limit has not been measured for the other, and no number is made up."""
    limited = NASProblem("digits", n_images=16, max_params=20, max_flops=20)
    with pytest.warns(UserWarning, match="limit 20") as caught:
        minimize(limited, EvolutiveNAS(2, 4), ("n_gen", 1), seed=1)
    assert "flops" not in str(caught[0].message).split(";")[1]


def test_nothing_that_can_be_judged() -> None:
    """A run whose limits only degenerate candidates keep says so and why."""
    limited = NASProblem("digits", n_images=64, max_params=400, search_space=CellSpace(widening=1))
    with pytest.warns(UserWarning, match=r"none of 12 candidates .*judged .*no ReLU.*max_params"):
        result = minimize(limited, EvolutiveNAS(2, 4), ("n_gen", 3), seed=1)
    assert result.F.tolist() == [list(limited.worst)] * len(result.F)


@pytest.mark.parametrize("channels", [4, 8])
def test_an_exhausted_space_ends_the_run(problem: NASProblem, channels: int) -> None:
    """One or two genotypes in all: each is scored once, then the run ends, tournaments or not."""
    space = CellSpace(
        ["conv3x3"], max_nodes=1, sample_nodes=1, max_channels=channels, channel_step=4
    )
    small = NASProblem(problem.dataset, n_images=16, search_space=space)
    tournament = DartsTournament(1, 2, n_steps=1, batch_size=16, n_images=64)
    result = minimize(small, EvolutiveNAS(3, 8), ("n_gen", 9), callback=tournament, seed=1)
    history = history_to_frame(result)
    assert sorted(history["genotype"]) == ["4", "8"][: channels // 4]
    assert len(result.pop) == channels // 4


def test_a_search_goes_on_where_parents_have_no_new_children() -> None:
    """Without variation, every generation after the first one is of new genotypes."""
    algorithm = EvolutiveNAS(2, 4, crossover=NoCrossover(), mutation=NoMutation())
    result = minimize(Channels(), algorithm, ("n_gen", 4), seed=1)
    history = history_to_frame(result)
    assert len(history) == 16
    assert history["genotype"].is_unique
    assert (history["parents"] == "").all()


def test_history_does_not_copy_the_callback(problem: NASProblem) -> None:
    """Pymoo's history works with a tournament that reports to what cannot be copied."""
    lock = threading.Lock()
    tournament = DartsTournament(size=2, n_steps=1, batch_size=16, n_images=64)
    tournament.progress = partial(lambda held, *_: held.locked(), lock)
    algorithm = EvolutiveNAS(2, 4)
    result = minimize(
        problem, algorithm, ("n_gen", 3), callback=tournament, seed=1, save_history=True
    )
    assert [len(entry.pop) for entry in result.history] == [2, 2, 2]


def test_limits_are_kept() -> None:
    """Everything on the front keeps the limit, whatever was tried."""
    limited = NASProblem("digits", n_images=16, max_params=9000)
    result = minimize(limited, EvolutiveNAS(3, 8, repair=False), ("n_gen", 3), seed=1)
    assert max(i.get("params") for i in result.opt) <= 9000
    assert (history_to_frame(result)["params"] > 9000).any()


def test_no_termination_is_refused(problem: NASProblem) -> None:
    """Pymoo's default would never end."""
    with pytest.raises(SearchError, match="n_gen"):
        minimize(problem, EvolutiveNAS())


@pytest.mark.parametrize("arguments", [(0, 30), (5, 0), (2.5, 30)])
def test_sizes_below_one_are_refused(arguments: Any) -> None:
    """A population without members is refused."""
    with pytest.raises(SearchError, match="at least 1"):
        EvolutiveNAS(*arguments)


@pytest.mark.slow
def test_max_age_renews_the_population(problem: NASProblem) -> None:
    """With a limit of two generations nobody in the last population is older."""
    from pymoo_nas.search import RankSumSurvival

    algorithm = EvolutiveNAS(3, 8, survival=RankSumSurvival(max_age=2))
    result = minimize(problem, algorithm, ("n_gen", 5), seed=1)
    assert min(i.get("n_gen") for i in result.pop) >= 4


@pytest.mark.slow
def test_pymoo_plots_take_the_front(problem: NASProblem) -> None:
    """Scatter and PCP draw res.F with the problem's names."""
    result = run(problem)
    for plot in (Scatter, PCP):
        drawn = plot(labels=problem.objective_names).add(result.F)
        drawn.do()
        assert drawn.fig is not None


@pytest.mark.slow
def test_contract_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The script of the design notes runs as written, with fewer generations."""
    if not DESIGN.is_file():
        pytest.skip(f"{DESIGN} is absent")
    script = next(
        block
        for block in re.findall(r"```python\n(.*?)```", DESIGN.read_text("utf-8"), re.DOTALL)
        if "minimize(" in block
    )
    head = (
        "from pymoo.optimize import minimize\nfrom pymoo.visualization.scatter import Scatter\n"
        "from pymoo_nas import *\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setattr("matplotlib.pyplot.show", lambda *_, **__: None)
    namespace: dict[str, Any] = {}
    exec(head + script.replace('("n_gen", 30)', '("n_gen", 3)'), namespace)
    assert namespace["res"].F.shape[1] == 3
    assert (tmp_path / "front.csv").is_file()
    assert "n_gen" in capsys.readouterr().out


def test_defaults_are_those_of_the_command() -> None:
    """Population and offspring are the same in Python, in a run folder and on the command line."""
    algorithm, settings = EvolutiveNAS(), SearchSettings()
    assert (algorithm.pop_size, algorithm.n_offsprings) == (settings.population, settings.offspring)
    command = inspect.signature(search).parameters
    for name in ("generations", "population", "offspring", "tournament_every"):
        assert command[name].default is None  # left to the settings
    for name in ("tournament_size", "algorithm"):
        assert command[name].default == getattr(settings, name)
