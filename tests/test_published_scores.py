"""Scores of others, sizes and times as objectives: against slow references and by hand."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scored_networks import around, built, images_of
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm

from pymoo_nas import NASProblem, Objective, latency_objective, measure_latency, score
from pymoo_nas.errors import NetworkError, ScoreError, SearchError
from pymoo_nas.networks import count_all, count_parameters
from pymoo_nas.scores._jacobian_covariance import jacob_cov_score, worst_jacob_cov
from pymoo_nas.scores._reference import seconds_beside_reference
from pymoo_nas.scores._zico import zico_score

IMAGES = images_of(6, 3, 6)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def network() -> nn.Sequential:
    """Two convolutions with a norm between them."""
    made = built(
        lambda: around(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
    )
    assert isinstance(made, nn.Sequential)
    return made


def state(of: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in of.state_dict().items()}


def test_published_scores_leave_the_network_as_it_was() -> None:
    """Weights, buffers and modes are those of before, whatever the objective does with them."""
    net = network()
    before, modes = state(net), [module.training for module in net.modules()]
    names = ["synflow", "zico", "jacob_cov", "latency", "peak_memory"]
    score(net, IMAGES, objectives=names, labels=LABELS)
    after = state(net)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [module.training for module in net.modules()] == modes
    assert all(parameter.grad is None for parameter in net.parameters())


def test_synflow_is_a_product_of_matrices() -> None:
    """For a chain of linear layers the sum over each layer is that over all paths, by hand."""
    chain = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        chain[1].weight.copy_(torch.arange(12.0).reshape(3, 4) - 5)
        chain[2].weight.copy_(torch.tensor([[1.0, -2, 3], [-4, 5, -6]]))
    first, second = (layer.weight.detach().abs().double() for layer in (chain[1], chain[2]))
    paths = float((second @ first).sum())
    found = score(chain, images_of(4, 1, 2), objectives=["synflow"], check=False)
    assert found.synflow == pytest.approx(-math.log10(2 * paths))


def test_synflow_leaves_norms_out() -> None:
    """A norm changes nothing: the signal passes it as it is."""
    with_norm, without = (
        built(lambda extra=extra: around(*extra, nn.ReLU()))
        for extra in ([nn.BatchNorm2d(4)], [nn.Identity()])
    )
    without.load_state_dict(with_norm.state_dict(), strict=False)
    without[-1].load_state_dict(with_norm[-1].state_dict())
    found = [score(net, IMAGES, objectives=["synflow"]).synflow for net in (with_norm, without)]
    assert found[0] == pytest.approx(found[1], abs=1e-9)


def test_synflow_without_signal_is_degenerate() -> None:
    """Weights of zero carry nothing."""
    net = network()
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias.zero_()
    found = score(net, IMAGES, objectives=["synflow"], check=False)
    assert found.degenerate


def test_jacobian_covariance_against_the_published_loop() -> None:
    """As in the published code: the eigenvalues of the correlation of the gradients."""
    rows = np.random.default_rng(0).normal(size=(5, 40))
    values, _ = np.linalg.eig(np.corrcoef(rows))
    expected = -sum(np.log(v + 1e-5) + 1.0 / (v + 1e-5) for v in values.real)
    assert jacob_cov_score(rows).value == pytest.approx(-expected)


def test_jacobian_covariance_of_equal_rows_is_worst_of_the_proper() -> None:
    """The more alike the rows, the larger; below the worst value; flat rows are degenerate."""
    rng = np.random.default_rng(1)
    base, noise = rng.normal(size=30), rng.normal(size=(4, 30))
    values = [jacob_cov_score(base + scale * noise).value for scale in (3.0, 0.1, 0.0)]
    assert values == sorted(values)
    assert values[-1] < worst_jacob_cov(4)
    assert jacob_cov_score(np.ones((4, 30))).reason
    assert jacob_cov_score(np.full((4, 30), math.nan)).value == worst_jacob_cov(4)


def test_zico_against_a_slow_loop() -> None:
    """Two batches by plain autograd, weight by weight."""
    net = network()
    found = score(net, IMAGES, objectives=["zico"], labels=LABELS).zico
    slow = copy.deepcopy(net).train()
    gradients: dict[str, list[Tensor]] = {}
    for images, labels in zip(IMAGES.chunk(2), LABELS.chunk(2), strict=True):
        slow.zero_grad()
        F.cross_entropy(slow(images), labels).backward()
        for name in ("0.weight", "3.weight", "7.weight"):
            gradient = slow.get_parameter(name).grad
            assert gradient is not None
            gradients.setdefault(name, []).append(gradient.flatten().double().clone())
    total = 0.0
    for one, other in gradients.values():
        layer = 0.0
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            spread = abs(a - b) / 2
            if spread > 0:
                layer += (abs(a) + abs(b)) / 2 / spread
        total += math.log(layer)
    assert found == pytest.approx(-total, rel=1e-4)


def test_zico_by_hand() -> None:
    """One weight differs, by 1 around a mean of 2; a layer in which nothing differs is left out."""
    layers = [np.array([[1.0, 2.0], [3.0, 2.0]]), np.ones((2, 3))]
    assert zico_score(layers) == pytest.approx(math.log(2))


def test_zico_needs_classes() -> None:
    """Without labels the message says how to give them; a problem has them."""
    with pytest.raises(ScoreError, match="labels=labels"):
        score(network(), IMAGES, objectives=["zico"])
    problem = NASProblem("digits", n_images=8, objectives=["zico"])
    assert not problem.score_genotype("8,0,0,0").degenerate


def test_zico_draws_nothing() -> None:
    """Dropout is off, so that a network has one score, and the global generator is left alone."""
    net = nn.Sequential(network()[:4], nn.Dropout2d(0.5), network()[4:])
    before = torch.get_rng_state()
    found = [score(net, IMAGES, objectives=["zico"], labels=LABELS).zico for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    plain = nn.Sequential(net[0], net[2])
    assert found == [score(plain, IMAGES, objectives=["zico"], labels=LABELS).zico] * 2


@pytest.mark.parametrize(
    ("parametrised", "name"),
    [
        (weight_norm, "zico"),
        (weight_norm, "synflow"),
        (spectral_norm, "zico"),
        (orthogonal, "zico"),
    ],
)
def test_parametrised_weights_count(parametrised: Callable[..., nn.Module], name: str) -> None:
    """The score is that of plain weights of the same values."""
    net, plain = network().eval(), network().eval()
    for index in (0, 3):
        parametrised(net[index])
        values = {part: getattr(net[index], part).detach() for part in ("weight", "bias")}
        plain[index].load_state_dict(values)
    found, expected = (
        getattr(score(of, IMAGES, objectives=[name], labels=LABELS), name) for of in (net, plain)
    )
    assert found == pytest.approx(expected, rel=1e-4)


class Residual(nn.Module):
    """x + conv(conv(x)), behind a convolution of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.a, self.b = (nn.Conv2d(c, 4, 3, padding=1, bias=False) for c in (1, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) → (N, 4, H, W)."""
        x = self.first(x)
        return x + self.b(self.a(x))


IMAGE, MAP = 4 * 16, 4 * 4 * 16
"""Bytes of a 4×4 image and of a map of four channels."""


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: nn.Conv2d(1, 4, 3, padding=1), IMAGE + MAP),
        # Norm and activation work in place.
        (
            lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
            IMAGE + MAP,
        ),
        # The image is gone when the second convolution runs.
        (lambda: nn.Sequential(*(nn.Conv2d(c, 4, 1) for c in (1, 4))), 2 * MAP),
        # The shortcut waits while both convolutions run.
        (Residual, 3 * MAP),
        # The indices of a pooling, which nothing reads, take no memory.
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 1), nn.MaxPool2d(2)), MAP + MAP // 4),
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 1), nn.Hardswish(), nn.PReLU()), IMAGE + MAP),
        (nn.Flatten, IMAGE),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), IMAGE + 8),
    ],
    ids=["one", "in place", "chain", "shortcut", "pooling", "activations", "view", "linear"],
)
def test_peak_memory_by_hand(made: type[nn.Module], expected: int) -> None:
    """The largest sum of the maps that live at one time, for one image of several."""
    assert count_all(made(), images_of(3, 1, 4)).peak_memory == expected


def test_peak_memory_is_that_of_the_meta_device() -> None:
    """What is counted without memory is the same."""
    with torch.device("meta"):
        counted = count_all(network(), torch.empty(1, 3, 6, 6))
    assert counted == count_all(network(), IMAGES)


def test_sizes_are_objectives() -> None:
    """F holds the sizes that the tables hold; degenerate candidates have the worst value."""
    names = ["flops", "params", "acts", "peak_memory", "activation"]
    problem = NASProblem("digits", n_images=8, objectives=names)
    scores = problem.score_genotype("8,0,0,0|0,8,0,0|0,16,0,4")
    assert scores.values[:4] == tuple(getattr(scores, name) for name in names[:4])
    poor = problem.score_genotype("0,0,0,8")
    assert poor.degenerate
    assert problem.evaluate("0,0,0,8", return_values_of=["F"]).tolist()[:4] == [1e18] * 4


class Convolved(nn.Module):
    """So many equal convolutions, each at the price of one; it may wait first."""

    def __init__(self, times: int, *, waits: bool = False) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(16, 16, 3, padding=1)
        self.times, self.waits = times, waits

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) → (N, 16, 16, 16)."""
        if self.waits:
            time.sleep(0.02)
        maps = torch.full((len(x), 16, 16, 16), 0.5)
        for _ in range(self.times):
            maps = self.convolution(maps)
        return maps


def test_latency_is_milliseconds_per_image() -> None:
    """Ten times the work takes about ten times as long, and so does it per image of a batch."""
    once, often = measure_latency(Convolved(20), IMAGES), measure_latency(Convolved(200), IMAGES)
    assert 5 < often / once < 20
    started = time.perf_counter()
    with torch.inference_mode():
        for _ in range(20):
            Convolved(200)(IMAGES[:1])
    assert often < 5 * 1000 * (time.perf_counter() - started) / 20
    batched = measure_latency(Convolved(200), IMAGES, batch_size=10)
    assert often / 4 < batched < 3 * often


def test_latency_of_one_thread_counts_no_waiting() -> None:
    """Waiting for the core is not counted with one thread; with more the wall clock is read."""
    assert measure_latency(Convolved(1, waits=True), IMAGES) < 10
    assert measure_latency(Convolved(1, waits=True), IMAGES, threads=2) >= 20


def test_a_measurement_draws_no_random_numbers() -> None:
    """Networks that are built after it have the weights that they would have had."""
    drawn = []
    for measured in (True, False):
        network = Convolved(1)
        torch.manual_seed(0)
        if measured:
            measure_latency(network, IMAGES)
        drawn.append(torch.rand(1))
    assert drawn[0] == drawn[1]


def test_the_reference_is_timed_once(tmp_path: Path) -> None:
    """Its time is kept and taken again; a damaged file is replaced."""
    kept = tmp_path / "reference.json"
    network = Convolved(10).eval()

    def run() -> Any:
        return network(IMAGES[:1])

    kept.write_text("{", "utf-8")
    first = seconds_beside_reference(run, kept)
    values = json.loads(kept.read_text("utf-8"))
    assert len(values) == 1
    doubled = {name: 2 * seconds for name, seconds in values.items()}
    kept.write_text(json.dumps(doubled), "utf-8")
    assert 1.2 < seconds_beside_reference(run, kept) / first < 3.3
    assert json.loads(kept.read_text("utf-8")) == doubled


def test_latency_refuses() -> None:
    """Numbers that are none, and images that the network cannot take."""
    with pytest.raises(SearchError, match="batch_size"):
        measure_latency(network(), IMAGES, batch_size=0)
    with pytest.raises(SearchError, match="threads"):
        latency_objective(threads=1.5)  # type: ignore[arg-type]
    with pytest.raises(NetworkError):
        measure_latency(network(), images_of(2, 1, 6))


def test_a_limit_of_latency_is_measured_and_kept() -> None:
    """The column is there without the objective, and G is its excess."""
    problem = NASProblem("digits", n_images=8, max_latency=1e-3, max_peak_memory=10**9)
    found = problem.evaluate("8,0,0,0", return_as_dictionary=True)
    assert found["latency"] > 1e-3
    assert found["G"][list(problem.limits).index("latency")] == pytest.approx(
        (found["latency"] - 1e-3) / 1e-3
    )
    assert problem.score_genotype("8,0,0,0").objectives.keys() == {
        "ntk",
        "activation",
        "correlation",
    }


def test_a_degenerate_candidate_is_not_timed() -> None:
    """It has the worst latency as an objective, and none in the tables."""
    problem = NASProblem("digits", n_images=8, objectives=["ntk", "latency"])
    scores = problem.score_genotype("0,0,0,8")
    assert scores.degenerate
    assert scores.latency is None
    assert scores.objectives["latency"] == problem.worst[1]


def test_a_noisy_objective_is_measured_by_this_process() -> None:
    """An executor elsewhere returns the others; what is noisy comes last, in its place in F."""
    order: list[str] = []

    class Executor:
        def score(self, scorer: Any, texts: Any, n_checked: int) -> Iterator[tuple[int, Any]]:
            del n_checked
            for index, text in enumerate(texts):
                scores = scorer.score(scorer.search_space.parse(text))
                order.append("scored")
                yield index, scores

    def measured(*_: object) -> float:
        order.append("measured")
        return 3.0

    noisy = Objective.of_network("energy", measured, 1e9, noisy=True)
    problem = NASProblem("digits", n_images=8, objectives=[noisy, "ntk"])
    problem.workers = Executor()
    values = problem.evaluate([["8,0,0,0"], ["0,8,0,0"]], return_values_of=["F"])
    assert order == ["scored", "scored", "measured", "measured"]
    assert values[:, 0].tolist() == [3.0, 3.0]


def test_functions_of_network_and_kernels_are_objectives() -> None:
    """A function of the network and the probe, or of the kernels, with its worst value."""
    objectives = [
        Objective.of_network("depth", lambda net, _: len(list(net.modules())), 1e6),
        Objective.of_network("shown", lambda _, probe: len(probe.images), 1e6),
        Objective.of_kernels("units", lambda kernels: -kernels.n_units, 0.0),
        Objective.of_network("grown", lambda net, _: next(net.parameters()).sum(), 1e6),
    ]
    scores = score(network(), IMAGES, objectives=objectives)
    assert scores.values[:3] == (9.0, 6.0, -(4 * 36 + 4 * 36))
    assert math.isfinite(scores.values[3])


def test_an_objective_that_fails_loses_one_candidate() -> None:
    """It gets the worst values and the reason, with a warning; the others are scored."""

    def fails_for_large(net: nn.Module, probe: object) -> float:
        del probe
        if count_parameters(net) > 20_000:
            raise KeyError("too large")
        return 1.0

    problem = NASProblem(
        "digits",
        n_images=8,
        objectives=["ntk", Objective.of_network("mine", fails_for_large, 1e6)],
    )
    with pytest.warns(UserWarning, match="mine.*KeyError"):
        found = problem.evaluate([["8,0,0,0"], ["32,0,0,0"]], return_as_dictionary=True)
    assert found["F"][0][1] == 1.0
    assert tuple(found["F"][1]) == problem.worst
    assert "KeyError" in found["degenerate"][1]
