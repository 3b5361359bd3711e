import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from paper_objectives import worst_scores
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.optimize import minimize
from torch import nn

from pymoo_nas.choice import build_final
from pymoo_nas.datasets import Dataset
from pymoo_nas.errors import (
    DatasetError,
    DeviceError,
    GenotypeError,
    NetworkError,
    PymooNasError,
    SearchError,
    WorkerError,
)
from pymoo_nas.networks import count_flops, count_parameters
from pymoo_nas.networks._size import count_acts
from pymoo_nas.scores import Scores, score
from pymoo_nas.search import (
    CandidateScorer,
    EvolutiveNAS,
    Executor,
    NASProblem,
    as_column,
    history_to_frame,
)
from pymoo_nas.spaces import CellSpace

GENOTYPE = "8,0,0,0|0,8,0,0|0,12,0,4"


@pytest.fixture(scope="module")
def problem() -> NASProblem:
    """Digits, few images."""
    return NASProblem("digits", n_images=16)


def evaluate(problem: NASProblem, *texts: str) -> dict[str, Any]:
    """Everything that the problem says of some genotypes."""
    column = as_column(map(problem.search_space.parse, texts))
    out: dict[str, Any] = problem.evaluate(column, return_as_dictionary=True)
    return out


def test_contract_of_scoring_by_hand(problem: NASProblem) -> None:
    """A column of one genotype gives F of shape (1, 3), and a text does so too."""
    genotype = problem.search_space.parse(GENOTYPE)
    x = np.empty((1, 1), dtype=object)
    x[0, 0] = genotype
    scores = problem.evaluate(x, return_values_of=["F"])
    assert scores.shape == (1, 3)
    x[0, 0] = GENOTYPE
    assert (problem.evaluate(x, return_values_of=["F"]) == scores).all()
    assert problem.objective_names == ["ntk", "activation", "correlation"]


def test_objectives_are_those_of_score(problem: NASProblem) -> None:
    """The network that is scored has the cell at every stage, seeded by the problem."""
    network = problem.build(problem.search_space.parse(GENOTYPE))
    expected = score(network, problem.probe.images)
    assert evaluate(problem, GENOTYPE)["F"][0].tolist() == pytest.approx(expected.values)


def test_repeats_are_averaged() -> None:
    """With R = 3, F is the mean over three seeded initialisations, in any order of candidates."""
    thrice = NASProblem("digits", n_images=16, n_inits=3)
    genotype = thrice.search_space.parse(GENOTYPE)
    each = [score(thrice.build(genotype, seed), thrice.probe.images).values for seed in range(3)]
    assert evaluate(thrice, GENOTYPE)["F"][0] == pytest.approx(np.mean(each, axis=0))
    two = evaluate(thrice, "8000", GENOTYPE)["F"]
    assert (evaluate(thrice, GENOTYPE, "8000")["F"] == two[::-1]).all()


def test_extra_outputs(problem: NASProblem) -> None:
    """Parameters, operations and acts of the network to train come with F, seconds and reasons."""
    out = evaluate(problem, GENOTYPE)
    network = build_final(GENOTYPE, problem=problem)
    assert out["params"][0] == count_parameters(network)
    assert out["flops"][0] == count_flops(network, problem.probe.images)
    assert out["acts"][0] == count_acts(network, problem.probe.images)
    assert out["seconds"][0] > 0
    assert out["degenerate"][0] == ""


def test_limits_become_constraints() -> None:
    """G is the excess as a share of the limit; a candidate over it is not scored."""
    limited = NASProblem("digits", n_images=16, max_params=3000, max_flops=10**9)
    assert limited.n_ieq_constr == 2
    out = evaluate(limited, "4000", GENOTYPE)
    assert out["G"][0, 0] == pytest.approx((out["params"][0] - 3000) / 3000)
    assert out["G"][0, 0] < 0 < out["G"][1, 0]
    assert out["F"][1].tolist() == list(limited.worst)
    assert "not scored" in out["degenerate"][1]


def test_limits_in_scientific_notation() -> None:
    """2e5 is a limit as 200000 is."""
    assert NASProblem("digits", n_images=16, max_params=2e5).limits == {"params": 200_000}


@pytest.mark.parametrize("limit", [{"max_flops": 100_000}, {"max_acts": 1000}])
def test_one_limit(limit: dict[str, int]) -> None:
    """A limit on multiply-accumulates, or on acts, alone is one constraint."""
    limited = NASProblem("digits", n_images=16, **limit)
    out = evaluate(limited, "4000", GENOTYPE)
    assert out["G"].shape == (2, 1)
    assert out["G"][0, 0] <= 0 < out["G"][1, 0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("0500|0000|0000", "not connected"), ("0008", "no ReLU"), ("0000", "not connected")],
)
def test_degenerate_candidates_are_finite_and_worst(
    problem: NASProblem, text: str, reason: str
) -> None:
    """What cannot be judged gets the worst of all three and a reason, and any other beats it."""
    out = evaluate(problem, text, GENOTYPE)
    assert reason in out["degenerate"][0]
    assert out["F"][0].tolist() == list(worst_scores(16))
    assert (out["F"][1] < out["F"][0]).all()


def test_fewer_parameters_than_images() -> None:
    """A network with fewer parameters than images cannot win."""
    space = CellSpace(["conv3x3"], n_cells=1, stem=False)
    tiny = NASProblem("digits", n_images=64, search_space=space)
    out = evaluate(tiny, "1")
    assert out["params"][0] < 64
    assert out["degenerate"][0]
    assert out["F"][0].tolist() == list(tiny.worst)


def test_what_is_no_genotype_or_space() -> None:
    """Texts are read; pymoo's random numbers, and a space's name, are refused with the way out."""
    problem = NASProblem("digits", n_images=16)
    parsed = problem.search_space.parse(GENOTYPE)
    assert problem.score_genotype(GENOTYPE).values == problem.score_genotype(parsed).values
    with pytest.raises(GenotypeError, match=r"\*\*operators\(\)"):
        minimize(problem, NSGA2(pop_size=2), ("n_gen", 1), seed=1)
    with pytest.raises(SearchError, match=r"expected a SearchSpace, such as CellSpace\(\)"):
        NASProblem("digits", search_space="nasbench201")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("no kernel for this"), "no kernel for this"),
        (ZeroDivisionError("by nought"), "by nought"),
        (KeyError("lost"), "lost"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "does not fit in memory"),
        (MemoryError(), "does not fit in memory"),
    ],
)
@pytest.mark.parametrize("batch", [1, 16])
def test_errors_of_an_operation_cost_one_candidate(
    error: Exception, reason: str, batch: int
) -> None:
    """What an operation raises while it is counted or scored is a reason, not the search's end."""

    class Raising(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(x) == batch:
                raise error
            return torch.relu(super().forward(x))

    space = CellSpace({"raising": lambda c_in, c_out: Raising(c_in, c_out, 1)})
    problem = NASProblem("digits", n_images=16, search_space=space)
    scores = problem.score_genotype(space.parse("8"))
    assert reason in scores.degenerate
    assert scores.values == problem.worst


def overflowing(c_in: int, c_out: int) -> nn.Module:
    """An operation whose output is not finite."""

    class Overflow(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(super().forward(x)) * float("inf")

    return Overflow(c_in, c_out, 1)


def test_nan_is_flagged() -> None:
    """NaN in a candidate's output ends neither the run nor as a number that wins."""
    space = CellSpace({"overflow": overflowing})
    out = evaluate(NASProblem("digits", n_images=16, search_space=space), "8")
    assert "NaN" in out["degenerate"][0]
    assert np.isfinite(out["F"]).all()


def test_memory_that_does_not_suffice_changes_nothing(problem: NASProblem) -> None:
    """With little memory the images pass in pieces, to the same scores up to rounding."""
    small = NASProblem("digits", n_images=16, max_memory=60 << 20)
    assert evaluate(small, GENOTYPE)["F"] == pytest.approx(
        evaluate(problem, GENOTYPE)["F"], rel=1e-3
    )


def test_limit_of_memory_that_cannot_be_kept() -> None:
    """A candidate that needs more than `max_memory` has the worst scores, and says how much."""
    problem = NASProblem("digits", n_images=16, max_memory=200_000)
    scores = problem.score_genotype(problem.search_space.parse(GENOTYPE))
    assert "max_memory=200000" in scores.degenerate
    assert scores.values == problem.worst


def test_pickled_problem_scores_the_same(problem: NASProblem) -> None:
    """A worker process with a copy gives the same numbers to the bit."""
    copy = pickle.loads(pickle.dumps(problem))
    assert (evaluate(copy, GENOTYPE)["F"] == evaluate(problem, GENOTYPE)["F"]).all()


def test_scoring_leaves_global_generators_alone(problem: NASProblem) -> None:
    """Neither torch's nor numpy's global state moves."""
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    evaluate(problem, GENOTYPE)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


def arrays(size: int, n: int = 40) -> tuple[Any, Any]:
    """Random images of two classes."""
    rng = np.random.default_rng(0)
    return rng.random((n, size, size, 3)).astype(np.float32), np.arange(n) % 2


def test_arrays_and_data_sets_are_taken() -> None:
    """Images and labels in memory are a data set as well as a name is."""
    problem = NASProblem(arrays(8), n_images=8)
    assert isinstance(problem.dataset, Dataset)
    assert NASProblem(problem.dataset, n_images=8).dataset is problem.dataset
    assert np.isfinite(evaluate(problem, GENOTYPE)["F"]).all()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"dataset": "nosuch"}, DatasetError, "digits"),
        ({"dataset": arrays(8), "image_size": 3}, NetworkError, "--image-size HEIGHTxWIDTH"),
        ({"max_params": 0}, SearchError, "max_params"),
        ({"max_params": "5"}, SearchError, "max_params"),
        ({"max_params": True}, SearchError, "max_params"),
        ({"max_flops": float("nan")}, SearchError, "max_flops"),
        ({"n_inits": 0}, SearchError, "n_inits"),
        ({"n_images": 1}, SearchError, "n_images"),
        ({"n_images": 16.0}, SearchError, "n_images"),
        ({"seed": -1}, SearchError, "seed"),
        ({"device": "tpu"}, DeviceError, "cpu"),
    ],
)
def test_bad_input(arguments: Any, error: Any, match: str) -> None:
    """Each mistake is named before anything is computed."""
    with pytest.raises(error, match=match) as raised:
        NASProblem(**arguments)
    assert isinstance(raised.value, PymooNasError)


def test_fewer_images_than_asked_for() -> None:
    """Where there are fewer images, all of the training part are the probe, with a warning."""
    with pytest.warns(UserWarning, match=r"36 images asked for .* scored on 32"):
        problem = NASProblem(arrays(8), n_images=36)
    assert len(problem.probe.images) == 32


class Backwards:
    """Scores the last candidate first, in this process."""

    def __init__(self) -> None:
        self.n_checked: list[int] = []

    def score(
        self, scorer: CandidateScorer, texts: Sequence[str], n_checked: int
    ) -> Iterator[tuple[int, Scores]]:
        """Each by itself."""
        self.n_checked.append(n_checked)
        for place in reversed(range(len(texts))):
            yield place, scorer.score(scorer.search_space.parse(texts[place]))


def test_an_executor_of_the_users_own() -> None:
    """Whatever scores the candidates, in whatever order, a search finds the same."""

    def searched(workers: Executor | None) -> pd.DataFrame:
        problem = NASProblem("digits", n_images=8)
        problem.workers = workers
        result = minimize(problem, EvolutiveNAS(2, 4), ("n_gen", 2), seed=1)
        return history_to_frame(result).drop(columns="seconds")

    backwards = Backwards()
    pd.testing.assert_frame_equal(searched(backwards), searched(None), check_exact=True)
    assert backwards.n_checked[0] > backwards.n_checked[1]


class Losing:
    """Loses the first candidate."""

    def score(
        self, scorer: CandidateScorer, texts: Sequence[str], n_checked: int
    ) -> Iterator[tuple[int, Scores]]:
        """All but the first."""
        assert n_checked >= 0
        for place in range(1, len(texts)):
            yield place, scorer.score(scorer.search_space.parse(texts[place]))


def test_an_executor_that_loses_a_candidate_is_named() -> None:
    """The error names the executor and the candidate."""
    problem = NASProblem("digits", n_images=8)
    problem.workers = Losing()
    with pytest.raises(WorkerError, match=r"Losing .*8000"):
        problem.score_genotypes(["8,0,0,0", "0,8,0,0"])
