from typing import Any

import numpy as np
import pytest
import torch
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.callback import Callback, CallbackCollection
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from pymoo.optimize import minimize
from torch import nn

from pymoo_nas.errors import SearchError
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
    front_to_frame,
    history_to_frame,
)
from pymoo_nas.search import _tournament as module
from pymoo_nas.search._survival import order_population
from pymoo_nas.search._tournament import deal, standings
from pymoo_nas.spaces import CellSpace, NASBench201Space


def short(**changes: Any) -> DartsTournament:
    """A tournament of few steps."""
    settings = {"n_steps": 2, "batch_size": 16, "n_images": 64, "size": 2}
    return DartsTournament(**{**settings, **changes})


@pytest.fixture(scope="module")
def problem() -> NASProblem:
    """Digits, few images."""
    return NASProblem("digits", n_images=16)


class Spy(DartsTournament):
    """Keeps what every tournament saw and chose."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**{"n_steps": 2, "batch_size": 16, "n_images": 64, "size": 2, **changes})
        self.seen: list[dict[str, Any]] = []

    def hold(self, algorithm: Any) -> None:
        generation = list(algorithm.generation)
        super().hold(algorithm)
        chosen = [individual.X[0] for individual in algorithm.pop]
        self.seen.append({"generation": generation, "chosen": chosen, "n": algorithm.n_iter})


def run(problem: NASProblem, callback: Any, n_gen: int = 3, **changes: Any) -> Any:
    """A small search."""
    algorithm = EvolutiveNAS(**{"pop_size": 3, "n_offsprings": 8, **changes})
    return minimize(problem, algorithm, ("n_gen", n_gen), callback=callback, seed=1)


@pytest.mark.slow
def test_contenders_are_the_best_each_in_one_slot(problem: NASProblem) -> None:
    """The best pop_size × size of parents and offspring compete, nobody twice."""
    spy = Spy()
    result = run(problem, spy)
    spy = result.algorithm.callback
    (held,), (seen,) = spy.data["tournaments"], spy.seen
    sound = [i for i in seen["generation"] if not i.get("degenerate")]
    best = [problem.search_space.format(i.X[0]) for i in order_population(Population(sound))[:6]]
    met = [text for slot in held["slots"] for text in slot]
    assert sorted(met) == sorted(best)
    assert [len(slot) for slot in held["slots"]] == [2, 2, 2]


def test_winners_have_the_largest_alpha_and_are_the_population(problem: NASProblem) -> None:
    """In each slot the largest share wins, and the winners are what the run returns."""
    result = run(problem, short(size=3))
    (held,) = result.algorithm.callback.data["tournaments"]
    for slot, alphas, winner in zip(held["slots"], held["alphas"], held["winners"], strict=True):
        assert winner == slot[int(np.argmax(alphas))]
        assert sum(alphas) == pytest.approx(1)
        assert len(set(alphas)) > 1
    population = {problem.search_space.format(i.X[0]) for i in result.pop}
    assert population == set(held["winners"])


def test_standings_by_hand() -> None:
    """Ranks are summed over the scores and standardised over all contenders, the best ahead."""
    scores = [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]]
    first, second, third = (Individual(X=[None], F=np.array(row)) for row in scores)
    slots = [[second, first], [third]]
    step = np.sqrt(1.5)
    assert standings(slots)[0] == pytest.approx([0.0, step])
    assert standings(slots)[1] == pytest.approx([-step])
    assert standings([[first], [first]]) == [[0.0], [0.0]]


@pytest.mark.slow
def test_a_head_start_decides_what_the_training_does_not(problem: NASProblem) -> None:
    """With alphas that do not learn, the best by the scores wins its slot."""
    still = {"size": 3, "alpha_learning_rate": 1e-12}
    result = run(problem, Spy(**still))
    spy = result.algorithm.callback
    (held,), (seen,) = spy.data["tournaments"], spy.seen
    form = problem.search_space.format
    individuals = {form(i.X[0]): i for i in seen["generation"]}
    slots = [[individuals[text] for text in slot] for slot in held["slots"]]
    for slot, ahead, alphas in zip(slots, standings(slots), held["alphas"], strict=True):
        expected = np.exp(ahead) / np.exp(ahead).sum()
        assert alphas == pytest.approx(expected.tolist(), rel=1e-5)
        assert form(slot[int(np.argmax(ahead))].X[0]) in held["winners"]
    equal = run(problem, short(**still, head_start=0.0)).algorithm.callback.data["tournaments"]
    assert np.ptp(equal[0]["alphas"][0]) < 1e-6


@pytest.mark.slow
def test_a_tournament_in_the_last_generation_shows_everywhere(problem: NASProblem) -> None:
    """Result, optimum, pymoo's history, our history and the front agree on the winners."""
    algorithm = EvolutiveNAS(pop_size=3, n_offsprings=8)
    result = minimize(problem, algorithm, ("n_gen", 3), callback=short(), seed=1, save_history=True)
    winners = set(result.algorithm.callback.data["tournaments"][-1]["winners"])
    form = problem.search_space.format
    assert {form(i.X[0]) for i in result.history[-1].pop} == winners
    assert {form(x[0]) for x in result.X} <= winners
    assert {form(i.X[0]) for i in result.history[-1].opt} == {form(x[0]) for x in result.X}
    front, history = front_to_frame(result), history_to_frame(result)
    assert set(front["genotype"]) == {form(x[0]) for x in result.X}
    assert front["alpha"].notna().all()
    last = history[history["generation"] == 3]
    assert set(last[last["survived"]]["genotype"]) == set(last["genotype"]) & winners


@pytest.mark.slow
def test_every_third_generation(problem: NASProblem) -> None:
    """By default generations 3, 6, 9 end in a tournament."""
    assert DartsTournament().every == 3
    result = run(problem, short(), n_gen=7, n_offsprings=6)
    held = result.algorithm.callback.data["tournaments"]
    assert [row["generation"] for row in held] == [3, 6]


@pytest.mark.slow
def test_a_default_tournament_takes_five_steps(problem: NASProblem) -> None:
    """Five losses of each kind are kept; more steps chose no better (studies/tournaments.py)."""
    result = run(problem, DartsTournament())
    (held,) = result.algorithm.callback.data["tournaments"]
    assert len(held["alpha_losses"]) == len(held["weight_losses"]) == 5


def test_weights_and_alphas_see_different_images(
    problem: NASProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two halves share no image."""
    halves: list[Any] = []
    original = module.batches

    def spying(dataset: Any, indices: Any, *rest: Any) -> Any:
        halves.append(set(indices.tolist()))
        return original(dataset, indices, *rest)

    monkeypatch.setattr(module, "batches", spying)
    run(problem, short())
    assert len(halves) == 2
    assert len(halves[0]) == len(halves[1]) == 32
    assert not halves[0] & halves[1]


def test_alternation_moves_only_its_own_parameters(
    problem: NASProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step on the alphas leaves the weights, a step on the weights the alphas."""
    original = module._step
    calls: list[str] = []

    def spying(network: Any, optimizer: Any, batch: Any) -> float:
        before = [parameter.detach().clone() for parameter in network.parameters()]
        loss = original(network, optimizer, batch)
        moved = {
            id(parameter)
            for parameter, old in zip(network.parameters(), before, strict=True)
            if not torch.equal(parameter.detach(), old)
        }
        alphas = {id(alpha) for alpha in network.alphas}
        assert moved <= alphas or not moved & alphas
        calls.append("alpha" if moved <= alphas else "weight")
        return loss

    monkeypatch.setattr(module, "_step", spying)
    run(problem, short())
    assert calls == ["alpha", "weight"] * 2


@pytest.mark.slow
def test_deterministic(problem: NASProblem) -> None:
    """The same seed gives the same alphas to the bit."""
    first, second = (run(problem, short()) for _ in range(2))
    rows = [result.algorithm.callback.data["tournaments"] for result in (first, second)]
    assert rows[0] == rows[1]


def test_degenerate_candidates_do_not_compete(problem: NASProblem) -> None:
    """Only sound candidates are in a slot, also when that leaves some empty."""
    result = run(problem, Spy(size=9), n_offsprings=6)
    (seen,) = result.algorithm.callback.seen
    (held,) = result.algorithm.callback.data["tournaments"]
    bad = {problem.search_space.format(i.X[0]) for i in seen["generation"] if i.get("degenerate")}
    met = [text for slot in held["slots"] for text in slot]
    assert not bad & set(met)
    assert len(met) == len(set(met)) < 27


def test_deal_without_enough_contenders() -> None:
    """Two contenders fill two of five slots; seven fill three by 3, 2, 2."""
    people = [Individual() for _ in range(7)]
    rng = np.random.default_rng(0)
    assert [len(slot) for slot in deal(people[:2], 5, rng)] == [1, 1]
    slots = deal(people, 3, rng)
    assert [len(slot) for slot in slots] == [3, 2, 2]
    assert {id(i) for slot in slots for i in slot} == {id(i) for i in people}


def test_under_nsga2(problem: NASProblem) -> None:
    """As the callback of pymoo's own algorithm the winners are the population too."""
    algorithm = NSGA2(
        pop_size=4,
        sampling=GenotypeSampling(),
        crossover=GenotypeCrossover(),
        mutation=GenotypeMutation(),
        survival=RankSumSurvival(),
        eliminate_duplicates=GenotypeDuplicates(),
    )
    result = minimize(problem, algorithm, ("n_gen", 3), callback=short(), seed=1)
    (held,) = result.algorithm.callback.data["tournaments"]
    form = problem.search_space.format
    assert {form(i.X[0]) for i in result.pop} == set(held["winners"])
    assert len(result.F) >= 1


class Counting(Callback):
    """A user's callback."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def notify(self, algorithm: Any) -> None:
        del algorithm
        self.n += 1


@pytest.mark.parametrize("collection", [CallbackChain, CallbackCollection])
def test_in_a_collection(problem: NASProblem, collection: Any) -> None:
    """The tournament takes place in our chain and in pymoo's collection."""
    result = run(problem, collection(short(), Counting()))
    held, counting = result.algorithm.callback.callbacks
    assert len(held.data["tournaments"]) == 1
    if collection is CallbackChain:
        assert counting.n == 3


def test_another_callback_does_not_lose_the_tournament(problem: NASProblem) -> None:
    """A tournament given to the algorithm stays beside the callback given to minimize."""
    algorithm = EvolutiveNAS(3, 8, callback=short())
    result = minimize(problem, algorithm, ("n_gen", 3), callback=Counting(), seed=1)
    held, counting = result.algorithm.callback.callbacks
    assert len(held.data["tournaments"]) == 1
    assert counting.n == 3


def test_a_lost_tournament_is_warned_of(problem: NASProblem) -> None:
    """Replacing the callback of a running algorithm says what to do instead."""
    algorithm = EvolutiveNAS(3, 6, callback=short())
    algorithm.setup(problem, termination=("n_gen", 3), seed=1)
    algorithm.callback = Counting()
    with pytest.warns(UserWarning, match="CallbackChain"):
        algorithm.run()


@pytest.mark.slow
def test_nas_bench_201(problem: NASProblem) -> None:
    """The second search space competes by the same tournament."""
    bench = NASProblem(problem.dataset, n_images=16, search_space=NASBench201Space(width=4))
    result = run(bench, short())
    assert len(result.algorithm.callback.data["tournaments"]) == 1
    assert result.F.shape[1] == 3


@pytest.mark.parametrize("name", ["every", "size", "n_steps", "batch_size", "learning_rate"])
def test_settings_that_are_not_positive(name: str) -> None:
    """Each is refused by name."""
    with pytest.raises(SearchError, match=name):
        DartsTournament(**{name: 0})


@pytest.mark.parametrize("name", ["noise", "head_start"])
@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_settings_that_may_be_zero(name: str, value: float) -> None:
    """Below zero each is refused by name."""
    DartsTournament(**{name: 0})
    with pytest.raises(SearchError, match=name):
        DartsTournament(**{name: value})


def test_too_few_images() -> None:
    """One image makes no two halves."""
    with pytest.raises(SearchError, match="n_images=1"):
        DartsTournament(n_images=1)


@pytest.mark.slow
def test_a_diverging_tournament_is_decided_by_its_sound_steps(problem: NASProblem) -> None:
    """With an absurd learning rate the alphas stay finite, as do all numbers that are kept."""
    with pytest.warns(UserWarning, match="diverged in step"):
        result = run(problem, short(n_steps=6, learning_rate=1e30))
    (held,) = result.algorithm.callback.data["tournaments"]
    assert len(held["weight_losses"]) < 6
    assert np.isfinite([*held["weight_losses"], *held["alpha_losses"]]).all()
    assert np.isfinite(np.concatenate(held["alphas"])).all()
    assert front_to_frame(result)["alpha"].notna().all()


class HalfUsed(nn.Module):
    """An operation with a frozen parameter and one that its output does not depend on."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.frozen = nn.Parameter(torch.ones(c_out, 1, 1), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.convolution(x)) * self.frozen


def test_frozen_and_unused_parameters(problem: NASProblem) -> None:
    """A user's operation may hold parameters that have no gradient."""
    space = CellSpace({"half": HalfUsed})
    odd = NASProblem(problem.dataset, n_images=16, search_space=space)
    result = run(odd, short())
    assert len(result.algorithm.callback.data["tournaments"]) == 1


def even(c_in: int, c_out: int) -> nn.Module:
    """An operation that takes images, and else no width that an image was concatenated to."""
    if c_in % 2 and c_in > 33:
        raise ValueError("odd width")
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1), nn.ReLU())


def test_a_tournament_that_cannot_be_built_leaves_the_scores_choice(problem: NASProblem) -> None:
    """An operation that refuses the width it meets in a tournament does not end the run."""
    space = CellSpace({"even": even}, channel_step=8, max_channels=8, max_nodes=1, sample_nodes=1)
    picky = NASProblem(problem.dataset, n_images=16, search_space=space)
    genotype = space.parse("8")
    algorithm = EvolutiveNAS(2, 2)
    algorithm.setup(picky, termination=("n_gen", 1), seed=1)
    algorithm.next()
    (individual,) = algorithm.pop
    assert individual.X[0] == genotype
    assert not individual.get("degenerate")
    tournament = short()

    def refusing(*_: Any) -> Any:
        return picky.search_space.build_cell(genotype, 35)

    tournament._contenders = lambda _: [individual, individual]  # type: ignore[method-assign]
    tournament.compete = refusing  # type: ignore[method-assign]
    with pytest.warns(UserWarning, match=r"no tournament in generation .*odd width"):
        tournament.hold(algorithm)
    assert list(algorithm.pop) == [individual]
    assert not tournament.data["tournaments"]


@pytest.mark.parametrize(
    ("error", "survives"),
    [
        (torch.OutOfMemoryError("no"), True),
        pytest.param(MemoryError(), True, marks=pytest.mark.slow),
        pytest.param(RuntimeError("bug"), False, marks=pytest.mark.slow),
    ],
)
def test_memory_that_runs_out_does_not_end_the_run(
    problem: NASProblem, monkeypatch: pytest.MonkeyPatch, error: Exception, survives: bool
) -> None:
    """Without memory for a tournament the scores choose; any other fault is not hidden."""

    def failing(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(module, "TournamentNetwork", failing)
    if survives:
        with pytest.warns(UserWarning, match="no tournament in generation 3"):
            assert run(problem, short()).F is not None
    else:
        with pytest.raises(RuntimeError, match="bug"):
            run(problem, short())


@pytest.mark.slow
def test_large_images_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images with a side over max_size enter the tournament at half size, others as they are."""
    rng = np.random.default_rng(0)
    arrays = rng.random((40, 20, 12, 3)).astype(np.float32), np.arange(40) % 2
    problem = NASProblem(arrays, n_images=16)
    shapes = []
    original = module._step

    def spying(network: Any, optimizer: Any, batch: Any) -> float:
        shapes.append(tuple(batch[0].shape[2:]))
        return original(network, optimizer, batch)

    monkeypatch.setattr(module, "_step", spying)
    run(problem, short(max_size=16))
    run(problem, short(max_size=20))
    assert set(shapes[:4]) == {(10, 6)}
    assert set(shapes[4:]) == {(20, 12)}
