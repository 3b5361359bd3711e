"""One pass over a network agrees with one backward pass per image, or says why it cannot."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from autograd_reference import Reference, reference, relative_error
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_networks import (
    LAYER_NETWORKS,
    NASBENCH201_NETWORKS,
    OPERATION_NETWORKS,
    POPULAR_NETWORKS,
    Scaled,
    StartsInPlace,
    around,
    built,
    images_of,
)
from torch import Tensor, nn

from pymoo_nas.kernels import Kernels, measure_kernels
from pymoo_nas.kernels import _measure as kernels_module
from pymoo_nas.kernels._layer_plan import Steps
from pymoo_nas.kernels._memory_plan import _LiveBytes
from pymoo_nas.kernels._recording import Recording
from pymoo_nas.scores._from_kernels import (
    activation_score,
    correlation_score,
    ntk_score,
    squared_distances,
)

NETWORKS = {**OPERATION_NETWORKS, **NASBENCH201_NETWORKS, **LAYER_NETWORKS}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
SMALLEST = Steps(chunk=1, waiting=2000, columns=300, gram_entries=1, unfolded=0, checked=3000)
SMALL = Steps(chunk=3, waiting=3000, columns=500, gram_entries=100, unfolded=1000)
dtypes = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["float32", "float64"])


def assert_agree(kernels: Kernels, expected: Reference) -> None:
    tolerance = TOLERANCE[kernels.logits.dtype]
    assert relative_error(kernels.ntk, expected.ntk) < tolerance
    # Small gradients, with their larger rounding, weigh as much as the largest ones.
    assert relative_error(kernels.balanced, expected.balanced) < 100 * tolerance
    assert relative_error(kernels.input_gradients, expected.input_gradients) < tolerance
    # Logits may be small differences of large numbers: that they belong to these images is enough.
    assert relative_error(kernels.logits, expected.logits) < 100 * tolerance
    assert kernels.n_units == expected.n_units
    # A pre-activation of about zero may fall on either side in float32.
    different = (kernels.agreement - expected.agreement).abs().max()
    assert different <= (1e-4 * expected.n_units if tolerance > 1e-6 else 0)


def make(name: str, dtype: torch.dtype, n: int = 4) -> tuple[nn.Module, Tensor]:
    size = (8, 8) if name == "small vit" else (8, 6)
    return built(NETWORKS[name]).to(dtype), images_of(n, 3, size).to(dtype)


@dtypes
@pytest.mark.parametrize("name", NETWORKS)
def test_one_pass_equals_the_loop(name: str, dtype: torch.dtype) -> None:
    """All kernels equal the loop's, in one pass and in pieces of any size."""
    network, images = make(name, dtype)
    expected = reference(network, images)
    assert_agree(measure_kernels(network, images, check=True), expected)
    # One image and few of its gradients at a time, or some of both.
    steps = SMALLEST if dtype == torch.float64 else SMALL
    assert_agree(measure_kernels(network, images, steps=steps, check=True), expected)


@dtypes
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "mobilenet_v2" else pytest.mark.slow)
        for name in POPULAR_NETWORKS
        if name != "vit"
    ],
)
def test_popular_networks_equal_the_loop(name: str, dtype: torch.dtype) -> None:
    """All kernels of torchvision's networks equal the loop's."""
    build, size = POPULAR_NETWORKS[name]
    network, images = built(build).to(dtype), images_of(4, 3, size).to(dtype)
    expected = reference(network, images, together=dtype == torch.float32)
    assert_agree(measure_kernels(network, images, check=True), expected)
    if dtype == torch.float64:
        assert_agree(measure_kernels(network, images, steps=Steps(2, 1 << 20)), expected)


@settings(max_examples=8)
@given(
    name=st.sampled_from([*OPERATION_NETWORKS, "nasbench201 all convolutions", "used twice"]),
    n=st.integers(2, 7),
    size=st.tuples(st.integers(4, 11), st.integers(4, 11)),
    seed=st.integers(0, 1000),
    steps=st.builds(
        Steps,
        chunk=st.integers(1, 8),
        waiting=st.integers(400, 4000),
        columns=st.integers(100, 4000),
        gram_entries=st.integers(1, 4000),
        unfolded=st.integers(0, 40_000) | st.none(),
        checked=st.integers(500, 4000) | st.none(),
    ),
)
def test_random_shapes(name: str, n: int, size: tuple[int, int], seed: int, steps: Steps) -> None:
    """Any number of images of any shape, scored at once or in pieces, equal the loop."""
    network = built(NETWORKS[name], seed).double()
    images = images_of(n, 3, size, seed).double()
    kernels = measure_kernels(network, images, steps=steps, check=True)
    assert_agree(kernels, reference(network, images))


@pytest.mark.parametrize("name", ["operation conv3x3", "nasbench201 all convolutions", "tied"])
def test_scores_agree_with_those_of_the_loop(name: str) -> None:
    """κ and both log-dets agree as well as the kernels do."""
    network, images = make(name, torch.float32)
    kernels, expected = measure_kernels(network, images), reference(network, images)
    distances = squared_distances(images.double().flatten(1).numpy())
    for score, got, loop in (
        (ntk_score, (kernels.ntk.numpy(),), (expected.ntk.numpy(),)),
        (activation_score, (kernels.agreement.numpy(),), (expected.agreement.numpy(),)),
        (
            correlation_score,
            (kernels.input_gradients.double().numpy(), distances),
            (expected.input_gradients.numpy(), distances),
        ),
    ):
        assert score(*got).value == pytest.approx(score(*loop).value, abs=1e-3)
        assert score(*got).reason == score(*loop).reason == ""


def test_two_images_one_weight() -> None:
    """f(x) = w · mean(x) on constant images 1 and 3: K = [[1, 3], [3, 9]], of rank one.

    The gradient for w is the mean of the image, so K = [1, 3]ᵀ[1, 3]; with a bias, whose gradient
    is 1, K = [[2, 4], [4, 10]].
    """
    images = torch.ones(2, 1, 4, 4) * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    for bias, expected in ((False, [[1, 3], [3, 9]]), (True, [[2, 4], [4, 10]])):
        network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1, bias=bias))
        kernels = measure_kernels(network, images)
        assert kernels.ntk.tolist() == expected
        assert kernels.n_parameters == 1 + bias
        assert kernels.n_units == 0


def test_two_images_two_units() -> None:
    """A ReLU on two pixels: images (1, −1) and (1, 2) agree on the first unit only."""
    images = torch.tensor([[[[1.0, -1.0]]], [[[1.0, 2.0]]]])
    network = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(2, 1))
    kernels = measure_kernels(network, images)
    assert kernels.agreement.tolist() == [[2, 1], [1, 2]]
    assert kernels.n_units == 2
    weight = network[2].weight[0]
    torch.testing.assert_close(
        kernels.input_gradients, torch.stack([weight * torch.tensor([1.0, 0.0]), weight]).detach()
    )


def test_many_images_of_small_maps_in_uneven_pieces() -> None:
    """Pieces of different length are treated alike, though one alone would be computed otherwise.

    With 2×2 maps the products of the second convolution are cheaper without its gradients for a
    piece of one image, not for the whole.
    """
    network = built(
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=4, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.Flatten(),
            nn.Linear(64, 5),
        )
    )
    network = network.double()
    images = images_of(23, 3, 8).double()
    expected = reference(network, images)
    for chunk in (1, 2, 7, 20):
        assert_agree(measure_kernels(network, images, steps=Steps(chunk, 3000)), expected)


def test_gradients_that_wait_are_held_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of fallbacks that wait until the end are as few as asked for."""
    layers = [lambda: nn.ConvTranspose2d(4, 4, 5, padding=2)] * 6
    network = built(lambda: around(*(layer() for layer in layers), nn.ReLU())).double()
    images = images_of(6, 3, 2).double()
    held: list[int] = []

    def listening(recordings: list[Recording], *others: Any) -> None:
        held.append(sum(rows.numel() for part in recordings for rows in part.rows.values()))
        join(recordings, *others)

    join = kernels_module.join
    monkeypatch.setattr(kernels_module, "join", listening)
    expected = reference(network, images)
    assert_agree(measure_kernels(network, images), expected)
    assert held == [6 * 6 * (4 * 4 * 25 + 4)]  # six images, six layers, weights and biases
    for chunk in (6, 4):
        held.clear()
        # Fewer than a layer has: its gradients are cut.
        assert_agree(measure_kernels(network, images, steps=Steps(chunk, 150)), expected)
        assert len(held) > 6
        assert max(held) == 6 * 150


class Exploding(nn.Module):
    """Multiplies gradients on their way to the images by a large number."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 1e9


def test_small_gradients_before_large_ones_are_rounding() -> None:
    """What is small beside gradients that come only later is not counted, as if they came first."""
    network = built(lambda: around(nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU())).double()
    images = images_of(5, 3, 6).double()
    layers = list(network)
    exploding = nn.Sequential(*layers[:2], Exploding(), *layers[2:])
    assert_agree(measure_kernels(exploding, images), reference(exploding, images))


def test_unused_parameters_are_counted() -> None:
    """Parameters without influence count as covered, with gradients of zero."""
    network = built(lambda: around(nn.ReLU()))
    images = images_of(4, 3, 6)
    before = measure_kernels(network, images)
    network.register_module("unused", nn.Linear(3, 5))
    network.register_parameter("own", nn.Parameter(torch.ones(2)))
    network.forward = lambda x: nn.Sequential.forward(network[:5], x)
    after = measure_kernels(network, images, check=True)
    assert torch.equal(before.ntk, after.ntk)
    assert after.n_parameters == before.n_parameters + 20 + 2


def test_tied_parameters_count_once() -> None:
    """A weight that two layers share is one set of parameters."""
    network, images = make("tied", torch.float32)
    kernels = measure_kernels(network, images)
    assert kernels.n_parameters == sum(p.numel() for p in network.parameters())


def test_results_are_deterministic() -> None:
    """The same network and images give the same kernels to the bit."""
    for name in ("operation residual3x3", "layer of one's own", "small vit"):
        network, images = make(name, torch.float32)
        first, second = measure_kernels(network, images), measure_kernels(network, images)
        assert torch.equal(first.ntk, second.ntk)
        assert torch.equal(first.agreement, second.agreement)
        assert torch.equal(first.input_gradients, second.input_gradients)


def test_images_pass_in_smaller_pieces_when_memory_runs_out() -> None:
    """A pass that does not fit is repeated with half of the images, with the same result."""

    class Hungry(nn.Module):
        largest = 10**9

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > self.largest and torch.is_grad_enabled():
                raise torch.OutOfMemoryError("CUDA out of memory")
            return x

    network = built(lambda: around(nn.ReLU(), Hungry())).double()
    images = images_of(7, 3, 6).double()
    expected = measure_kernels(network, images)
    network[2].largest = 2
    torch.testing.assert_close(measure_kernels(network, images).ntk, expected.ntk)
    network[2].largest = 0
    with pytest.raises(torch.OutOfMemoryError):
        measure_kernels(network, images)


def test_under_no_grad() -> None:
    """A caller's no_grad changes nothing."""
    network, images = make("layer of one's own", torch.float32)
    expected = measure_kernels(network, images)
    with torch.no_grad():
        kernels = measure_kernels(network, images, check=True)
    assert torch.equal(kernels.ntk, expected.ntk)
    assert torch.equal(kernels.agreement, expected.agreement)


def test_images_of_any_layout() -> None:
    """Images that are channels-last, require a gradient, or are changed by the network."""
    network, images = make("operation conv3x3", torch.float32)
    expected = measure_kernels(network, images)
    for other in (images.to(memory_format=torch.channels_last), images.clone().requires_grad_()):
        assert relative_error(measure_kernels(network, other).ntk, expected.ntk) < 1e-5
    before = images.clone()
    measure_kernels(built(StartsInPlace), images, check=True)
    assert torch.equal(images, before)


def test_check_passes_gradients_that_are_zero_but_for_rounding() -> None:
    """A bias before a normalisation, or of attention keys, has a gradient of mere rounding."""
    images = images_of(6, 3, 8)
    for layers in (
        [nn.InstanceNorm2d(4), nn.ReLU()],
        [Scaled(), nn.InstanceNorm2d(4), nn.ReLU()],
        [nn.ReLU(), Scaled(), nn.GroupNorm(4, 4), nn.ReLU()],
    ):
        network = built(lambda layers=layers: around(*layers))
        kernels = measure_kernels(network, images, check=True)
        assert relative_error(kernels.ntk, reference(network, images).ntk) < 1e-5


def test_parameters_with_as_many_rows_as_images() -> None:
    """Weights whose rows happen to be as many as the images are not taken for images."""
    for n in (2, 3, 4, 7):
        images = images_of(n, 3, 6).double()
        for layer in (
            nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)),
            nn.utils.parametrizations.orthogonal(nn.Conv2d(4, 4, 1)),
            Scaled(),
        ):
            network = built(lambda layer=layer: around(layer, nn.ReLU())).double()
            assert_agree(measure_kernels(network, images, check=True), reference(network, images))


def test_more_units_than_one_block_holds() -> None:
    """More units than one block holds are counted exactly."""
    products = kernels_module.Products(2, torch.device("cpu"))
    n = (1 << 22) + 5
    on = torch.zeros(2, n, dtype=torch.bool)
    on[0, ::2] = True
    products.add_codes(on)
    assert products.agreement.tolist() == [[n, n // 2], [n // 2, n]]
    assert products.n_units == n


def test_many_small_parameters_take_little_memory() -> None:
    """Products of many norms do not wait all at once, where N is large.

    Here, all of them would take 400 MiB.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 1), nn.Flatten(), nn.Linear(32, 2)]
    layers[1:1] = [nn.BatchNorm2d(8) for _ in range(50)]
    images = torch.randn(512, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    network = nn.Sequential(*layers)
    measure_kernels(network, images)  # torch keeps buffers of its own from the first pass
    live = _LiveBytes()
    with live:
        measure_kernels(network, images)
    assert live.peak < 100 << 20
