"""Gradients of NaN cost a candidate, not the search; what cannot be scored is named before work."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from pymoo.optimize import minimize
from scored_networks import around, built, images_of
from test_refused_networks import assert_same_state, state
from torch import Tensor, nn

from pymoo_nas.errors import NetworkError, ScoreError
from pymoo_nas.kernels import check_network, measure_kernels
from pymoo_nas.networks import OPERATIONS, count_flops
from pymoo_nas.scores import score
from pymoo_nas.search import EvolutiveNAS, NASProblem, Workers
from pymoo_nas.spaces import CellSpace, NASBench201Space

IMAGES = images_of(6, 3, 8)

# --- gradients that are not finite behind an output that is

NAN_GRADIENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "root of the least": lambda y: (y - y.amin((2, 3), keepdim=True)).sqrt().relu(),
    "where": lambda y: torch.where(y > 0, y.sqrt(), torch.zeros_like(y)).relu(),
    "signed root": lambda y: y.sign() * (y.abs() - y.abs().amin((2, 3), keepdim=True)).sqrt(),
    "logarithm of zero": lambda y: torch.where(y > -1e9, y.relu(), (0 * y).log()),
    "power of zero": lambda y: y.relu() + (0 * y).abs().pow(0.5),
    "arc cosine of one": lambda y: y.relu() + torch.acos(0 * y + 1),
    "division by zero": lambda y: torch.where(y == 0, y / (0 * y), y.relu()),
    # Of the third image alone, which the check of two images does not see.
    "one image": lambda y: torch.cat([y[:2], (y[2:] - y[2:].amin(3, True)).sqrt()]).relu(),
}


def strange_space(function: Callable[[Tensor], Tensor]) -> CellSpace:
    """A convolution, and one behind which a function is applied."""

    class Strange(nn.Module):
        def __init__(self, c_in: int, c_out: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(c_in, c_out, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return function(self.conv(x))

    return CellSpace({"conv3x3": OPERATIONS["conv3x3"], "strange": Strange})


def strange_problem(function: Callable[[Tensor], Tensor]) -> NASProblem:
    return NASProblem("digits", n_images=16, search_space=strange_space(function))


@pytest.mark.parametrize("cell", ["0,8", "8,0|0,8|8,0"])
@pytest.mark.parametrize("name", NAN_GRADIENTS)
def test_gradient_that_is_not_finite_is_degenerate(name: str, cell: str) -> None:
    """A finite output with a gradient of NaN gives the worst scores and the reason."""
    problem = strange_problem(NAN_GRADIENTS[name])
    genotype = problem.search_space.parse(cell)
    for check in (True, False):
        scores = problem.scorer.score(genotype, check=check)
        assert scores.degenerate == "NaN or overflow in the gradients"
        assert (scores.ntk, scores.correlation) == (problem.worst[0], problem.worst[2])
    assert not problem.scorer.score(problem.search_space.parse("8,0"), check=True).degenerate


def test_search_goes_on_after_a_gradient_that_is_not_finite() -> None:
    """A search over a space with such an operation ends, with a front of other cells."""
    problem = strange_problem(NAN_GRADIENTS["where"])
    result = minimize(problem, EvolutiveNAS(pop_size=4, n_offsprings=6), ("n_gen", 3), seed=1)
    assert len(result.opt)
    for text in map(problem.search_space.format, result.opt.get("X")[:, 0]):
        assert all(block.endswith(",0") for block in text.split("|"))


@pytest.mark.slow
def test_workers_go_on_after_a_gradient_that_is_not_finite(two_workers: Workers) -> None:
    """Scored by other processes such a candidate has the reason and scores of one process."""
    problem = strange_problem(NAN_GRADIENTS["where"])
    genotypes = [problem.search_space.parse(text) for text in ("0,8", "8,0", "8,8")]
    expected = problem.score_genotypes(genotypes)
    problem = strange_problem(NAN_GRADIENTS["where"])
    problem.workers = two_workers
    got = problem.score_genotypes(genotypes)
    assert [row.degenerate for row in got] == [row.degenerate for row in expected]
    assert [row.values for row in got] == [row.values for row in expected]
    assert [bool(row.degenerate) for row in got] == [True, False, True]


def test_gradient_that_is_not_finite_is_not_steady() -> None:
    """Where the gradients are NaN, steadiness is denied."""
    problem = strange_problem(NAN_GRADIENTS["root of the least"])
    assert not problem.steadiness("0,8").steady
    assert isinstance(problem.steadiness("8,0").growth, float)


def test_finite_parameters_beside_gradients_that_are_not() -> None:
    """A module of one's own with one gradient of NaN and one of numbers is scored, not accused."""

    class Rooted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(4, 1, 1))
            self.scale = nn.Parameter(torch.ones(4, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return x.relu() * self.scale + (self.shift * x).abs().sqrt()

    scores = score(built(lambda: around(Rooted())), IMAGES)
    assert scores.degenerate == "NaN or overflow in the gradients"


# --- layers that are not the same twice


class Applied(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


class Counting(nn.Module):
    """Counts its calls, and returns something else each time."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


class Averaging(nn.Module):
    """Adds the average of all it has seen, kept in a buffer that it replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("average", torch.zeros(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        self.average = 0.5 * self.average + x.detach().mean((0, 2, 3))[:, None, None]
        return x + self.average


class NoisyWithWeights(nn.Module):
    """Dropout within a layer of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x * self.scale)


RANDOM: dict[str, Callable[[], nn.Module]] = {
    "dropout": lambda: Applied(F.dropout),
    "dropout with weights": NoisyWithWeights,
    "noise": lambda: Applied(lambda x: x + torch.randn_like(x)),
    "flips that the mean does not see": lambda: Applied(
        lambda x: x.flip(3) if torch.rand(()) < 0.5 else x
    ),
    "stochastic depth": lambda: Applied(
        lambda x: torchvision.ops.stochastic_depth(x, 0.5, "row") + x
    ),
    "leak": lambda: Applied(lambda x: F.rrelu(x - 1, 0.1, 0.9, training=True)),
}
CHANGING: dict[str, Callable[[], nn.Module]] = {"counter": Counting, "average": Averaging}


@pytest.mark.parametrize("name", [*RANDOM, *CHANGING])
def test_layer_that_is_not_the_same_twice_is_named(name: str) -> None:
    """A layer that is random in eval mode, or keeps something, is told from one that mixes."""
    make = {**RANDOM, **CHANGING}[name]
    network = built(lambda: around(nn.ReLU(), make(), nn.ReLU()))
    before = state(network)
    expected = "is random in eval mode" if name in RANDOM else "keeps something"
    with pytest.raises(ScoreError, match=rf"layer '2' \({type(network[2]).__name__}\) {expected}"):
        score(network, IMAGES)
    assert_same_state(network, before)


def test_a_norm_that_magnifies_rounding_mixes_nothing() -> None:
    """Maps of one pixel of two images vary so little that a frozen norm returns mostly rounding."""
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1)).astype(np.uint8)
    problem = NASProblem((images, np.arange(40) % 4), search_space=NASBench201Space(), n_images=2)
    text = (
        "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|+|avg_pool_3x3~0|nor_conv_1x1~1|"
        "nor_conv_1x1~2|"
    )
    genotype = problem.search_space.parse(text)
    assert problem.scorer.score(genotype, check=True).scored


def test_random_numbers_without_effect_are_allowed() -> None:
    """A layer that draws numbers and does not use them is scored."""

    def idle(x: Tensor) -> Tensor:
        torch.rand(3)
        return x

    assert not score(built(lambda: around(nn.ReLU(), Applied(idle))), IMAGES).degenerate


# --- modules that cannot be watched


def quantized() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(around(nn.ReLU()), {nn.Linear})


class Parallel(nn.DataParallel):
    """As on a machine with two devices."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.device_ids = [0, 1]


UNWATCHABLE: dict[str, tuple[Callable[[], Any], str]] = {
    "scripted": (lambda: torch.jit.script(around(nn.ReLU())), "RecursiveScriptModule: .*made from"),
    "traced": (lambda: torch.jit.trace(around(nn.ReLU()).eval(), IMAGES), "Traced.*made from"),
    "scripted within": (lambda: around(torch.jit.script(nn.Conv2d(4, 4, 1))), "'1' .*made from"),
    "scripted function": (
        lambda: around(Applied(torch.jit.trace(torch.relu, torch.ones(2)))),
        r"layer '1' \(Applied\): .*made from",
    ),
    "exported": (
        lambda: torch.export.export(around(nn.ReLU()).eval(), (IMAGES,)).module(),
        "GraphModule: .*made from",
    ),
    "program": (
        lambda: torch.export.export(around(nn.ReLU()).eval(), (IMAGES,)),
        "got ExportedProgram; expected the torch.nn.Module",
    ),
    "lazy": (lambda: around(nn.LazyConv2d(4, 1)), r"layer '1' \(LazyConv2d\): .*network\(images\)"),
    "quantized": (quantized, r"layer '4' \(Linear\): .*before it was quantized"),
    "several devices": (lambda: Parallel(around(nn.ReLU())), r"Parallel: .*\.module"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:Lazy modules", "ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("case", UNWATCHABLE)
def test_modules_that_cannot_be_watched_are_named(case: str) -> None:
    """Modules whose insides nobody sees are refused by name and remedy, before any work."""
    make, message = UNWATCHABLE[case]
    network = make()
    for n_inits in (1, 2):
        with pytest.raises(ScoreError, match=message):
            score(network, IMAGES, n_inits=n_inits)
    with pytest.raises(ScoreError, match=message):
        check_network(network)


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_operation_of_such_a_kind_is_named_in_a_search() -> None:
    """A search over a space with such an operation says so, also where limits are counted first."""
    space = CellSpace({"lazy": lambda _, c_out: nn.LazyConv2d(c_out, 1)})
    for limits in ({}, {"max_params": 10_000}):
        problem = NASProblem("digits", n_images=16, search_space=space, **limits)
        with pytest.raises(ScoreError, match="LazyConv2d"):
            problem.score_genotype(space.parse("8"))


@dataclass
class Output:
    """What some libraries return."""

    logits: Tensor


Named = namedtuple("Named", "logits")


@pytest.mark.parametrize("wrap", [Output, Named, lambda y: (y, y)])
def test_network_that_returns_no_tensor(wrap: Callable[[Tensor], Any]) -> None:
    """An output that holds the logits is refused with the remedy."""
    network = built(lambda: nn.Sequential(*around(nn.ReLU()), Applied(wrap)))
    with pytest.raises(NetworkError, match="returns the logits"):
        score(network, IMAGES)


# --- modules that are watched all the same


class Pair(nn.Module):
    """A layer of one's own that takes and gives a named tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, given: Any) -> Any:
        return Named(given.logits * self.scale)


class Extra(nn.Module):
    """Has a state of another kind, and a buffer that cannot be written to."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("one", torch.ones(1).expand(4)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return x * self.one

    def get_extra_state(self) -> Mapping[str, int]:
        return {"a": 1}


WATCHED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "one device": nn.DataParallel,
    "traced by fx": torch.fx.symbolic_trace,
    "extra state": lambda network: nn.Sequential(*network[:2], Extra(), *network[2:]),
    "named tuples": lambda network: nn.Sequential(
        *network[:2], Applied(Named), Pair(), Applied(lambda y: y.logits), *network[2:]
    ),
}


@pytest.mark.parametrize("name", WATCHED)
def test_wrapped_networks_have_the_scores_of_what_they_wrap(name: str) -> None:
    """What only wraps a network, or keeps state of its own, changes neither scores nor network."""
    network = built(lambda: around(nn.ReLU()))
    expected = measure_kernels(network, IMAGES, check=True)
    wrapped = WATCHED[name](network)
    before, weights = state(wrapped), [p.detach().clone() for p in network.parameters()]
    got = measure_kernels(wrapped, IMAGES, check=True)
    assert torch.equal(got.agreement, expected.agreement)
    assert torch.equal(got.input_gradients, expected.input_gradients)
    assert not score(wrapped, IMAGES, n_inits=2).degenerate
    del before["values"]
    after = state(wrapped)
    assert {name: after[name] for name in before} == before
    for value, original in zip(network.parameters(), weights, strict=True):
        assert torch.equal(value, original)


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False])
def test_compiled_networks_run_as_written(whole: bool) -> None:
    """A compiled network is scored without being compiled, with the scores of the original."""
    network = built(lambda: around(nn.BatchNorm2d(4), nn.ReLU()))
    expected, flops = score(network, IMAGES), count_flops(network, IMAGES)
    if whole:
        network = torch.compile(network)
    else:
        network.compile()
    assert score(network, IMAGES).values == expected.values
    assert count_flops(network, IMAGES) == flops
