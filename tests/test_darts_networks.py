"""DARTS: operations, cells and networks against formulas, hand-made sums and published sizes."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from autograd_reference import reference
from darts_cells import SMALL, SPACE, V2, both, genotypes, spell
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_networks import built, images_of
from test_kernels import assert_agree
from torch import Tensor, nn

from pymoo_nas.errors import NetworkError
from pymoo_nas.kernels import measure_kernels
from pymoo_nas.networks import count_all, count_parameters
from pymoo_nas.scores import score
from pymoo_nas.spaces import DARTSSpace
from pymoo_nas.spaces.darts._genotype import DARTSGenotype
from pymoo_nas.spaces.darts._networks import FACTORIES, DARTSCell, DARTSNetwork, FactorizedReduce

SCALE = 1 / math.sqrt(1 + 1e-5)
"""What a fresh batch norm multiplies by in eval mode."""

STRIDES = pytest.mark.parametrize("stride", [1, 2])
SKIPS = "s0s1 s0s1 s0s1 s0s1"


def normal_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- operations


@STRIDES
@pytest.mark.parametrize("name", ["sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"])
def test_convolutions_equal_their_formula(name: str, stride: int) -> None:
    """ReLU, depthwise, pointwise, batch norm; twice and dense, or once and of dilation 2."""
    operation = FACTORIES[name](4, stride).double().eval()
    kernel, dilation = int(name[-1]), 2 if name.startswith("dil") else 1
    x = expected = normal_tensor(2, 4, 7, 8)
    weights = [layer.weight for layer in operation if isinstance(layer, nn.Conv2d)]
    assert len(weights) == 4 // dilation
    for deep, point in zip(weights[::2], weights[1::2], strict=True):
        assert deep.shape == (4, 1, kernel, kernel)
        padding = dilation * (kernel // 2)
        expected = F.conv2d(expected.relu(), deep, None, stride, padding, dilation, groups=4)
        expected, stride = SCALE * F.conv2d(expected, point), 1
    torch.testing.assert_close(operation(x), expected)


@STRIDES
def test_poolings_and_skip_equal_their_formula(stride: int) -> None:
    """Poolings are 3×3, averages without the padding; a skip of stride 1 is the identity."""
    x = normal_tensor(2, 4, 7, 8).requires_grad_()
    pooled = FACTORIES["max_pool_3x3"](4, stride)(x)
    assert pooled.equal(F.max_pool2d(x, 3, stride, 1))
    average = FACTORIES["avg_pool_3x3"](4, stride)(x)
    torch.testing.assert_close(average, F.avg_pool2d(x, 3, stride, 1, count_include_pad=False))
    assert isinstance(FACTORIES["skip_connect"](4, 1), nn.Identity)
    assert isinstance(FACTORIES["skip_connect"](4, 2), FactorizedReduce)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(2, 5))
def test_factorized_reduce_equals_its_formula(height: int, width: int, channels: int) -> None:
    """Half of the channels see even pixels, half odd ones; beyond an odd map there are zeros."""
    reduce = FactorizedReduce(3, channels).double().eval()
    x = normal_tensor(2, 3, height, width)
    even = x.relu()[:, :, ::2, ::2]
    odd = torch.zeros_like(even)
    seen = x.relu()[:, :, 1::2, 1::2]
    odd[:, :, : seen.shape[2], : seen.shape[3]] = seen
    parts = [F.conv2d(even, reduce.straight.weight), F.conv2d(odd, reduce.shifted.weight)]
    torch.testing.assert_close(reduce(x), SCALE * torch.cat(parts, dim=1))


@pytest.mark.parametrize(
    ("name", "stride", "parameters"),
    [
        ("max_pool_3x3", 1, 0),
        ("avg_pool_3x3", 2, 0),
        ("skip_connect", 1, 0),
        ("skip_connect", 2, 8 * 8 + 2 * 8),
        ("sep_conv_3x3", 1, 2 * (9 * 8 + 8 * 8 + 2 * 8)),
        ("sep_conv_5x5", 2, 2 * (25 * 8 + 8 * 8 + 2 * 8)),
        ("dil_conv_3x3", 2, 9 * 8 + 8 * 8 + 2 * 8),
        ("dil_conv_5x5", 1, 25 * 8 + 8 * 8 + 2 * 8),
    ],
)
def test_parameters_of_an_operation(name: str, stride: int, parameters: int) -> None:
    """Depthwise k²C, pointwise C², batch norm 2C parameters, twice if separable."""
    assert count_parameters(FACTORIES[name](8, stride)) == parameters


# --- cells


def cell_of(letters: str, **arguments: Any) -> DARTSCell:
    settings = {"reduces": False, "follows_reduction": False, **arguments}
    return DARTSCell(spell(letters), (5, 6), 4, **settings).double().eval()


def test_cell_of_skips_by_hand() -> None:
    """With a and b from the inputs, 2 is a + b, 3 is a + 2, 4 is 2 + 3, 5 is 4 twice."""
    cell = cell_of("s0s1 s0s2 s2s3 s4s4")
    first, second = normal_tensor(2, 5, 3, 4), normal_tensor(2, 6, 3, 4, seed=1)
    a, b = cell.preprocess0(first), cell.preprocess1(second)
    expected = [a + b, 2 * a + b, 3 * a + 2 * b, 6 * a + 4 * b]
    torch.testing.assert_close(cell(first, second), torch.cat(expected, dim=1))
    torch.testing.assert_close(a, SCALE * F.conv2d(first.relu(), cell.preprocess0[1].weight))
    assert count_parameters(cell) == (5 + 6) * 4 + 2 * 2 * 4
    assert cell.out_channels == 16


def test_only_operations_on_inputs_have_a_stride() -> None:
    """A reduction cell halves the map on edges from its inputs, and nowhere else."""
    cell = cell_of("s0m1 a2s1 3230 s4d0", reduces=True)
    strides = {
        key: next((m.stride for m in operation.modules() if hasattr(m, "stride")), 1)
        for key, operation in cell.operations.items()
    }
    for key, stride in strides.items():
        assert stride in ((2, (2, 2)) if key[0] in "01" else (1, (1, 1))), key
    assert cell(normal_tensor(2, 5, 7, 8), normal_tensor(2, 6, 7, 8)).shape == (2, 16, 4, 4)


def test_input_from_before_a_reduction_is_halved() -> None:
    """The first input of a cell behind a reduction cell is twice as large, rounded up."""
    cell = cell_of(SKIPS, follows_reduction=True)
    assert cell(normal_tensor(2, 5, 7, 8), normal_tensor(2, 6, 4, 4)).shape == (2, 16, 4, 4)


@pytest.mark.parametrize("reduces", [False, True])
def test_none_is_nothing(reduces: bool) -> None:
    """``none`` has no module; what is made of it alone is zero, of the size of the others."""
    cell = cell_of("s0.0 .0.1 m3.0 .0s1", reduces=reduces)
    assert len(cell.operations) == 3
    size = (3, 4) if reduces else (6, 7)
    output = cell(normal_tensor(2, 5, 6, 7), normal_tensor(2, 6, 6, 7))
    assert output.shape == (2, 16, *size)
    assert [bool(node.any()) for node in output.split(4, dim=1)] == [True, False, False, True]


# --- networks


def test_published_parameters() -> None:
    """The paper's cells in 20 layers of 36 channels have 3,349,342 parameters, 528 M MACs."""
    network = SPACE.build_final([SPACE.parse(V2)], 3, 10)
    assert count_parameters(network) == 3_349_342
    assert round(count_all(network, torch.zeros(1, 3, 32, 32)).flops / 1e6) == 528


def test_channels_and_sizes_of_six_layers() -> None:
    """Layers 2 and 4 of six halve the map and double the channels; the stem has 3 times as many."""
    network = DARTSSpace(layers=6, channels=4).build(SPACE.parse(V2), 3, 10)
    shapes: list[tuple[int, ...]] = []
    for module in (network.stem, *network.cells):
        module.register_forward_hook(lambda _m, _x, y: shapes.append(tuple(y.shape[1:])))
    network(torch.rand(2, 3, 32, 32))
    assert shapes == [
        (12, 32, 32), (16, 32, 32), (16, 32, 32),
        (32, 16, 16), (32, 16, 16), (64, 8, 8), (64, 8, 8),
    ]  # fmt: skip
    kinds = [isinstance(cell.preprocess0, FactorizedReduce) for cell in network.cells]
    assert kinds == [False, False, False, True, False, True]


@pytest.mark.parametrize("size", [(4, 4), (4, 9), (7, 5), (8, 8), (33, 17)])
@pytest.mark.parametrize(("in_channels", "n_classes"), [(1, 2), (3, 10), (5, 1)])
def test_network_takes_any_images(size: tuple[int, int], in_channels: int, n_classes: int) -> None:
    """Odd and oblong images of any number of channels become (N, n_classes) finite logits."""
    network = SMALL.build(SPACE.parse(V2), in_channels, n_classes)
    logits = network(torch.rand(3, in_channels, *size))
    assert logits.shape == (3, n_classes)
    assert logits.isfinite().all()


@pytest.mark.parametrize("shape", [(2, 3, 3, 8), (2, 3, 8, 3), (3, 8, 8)])
def test_too_small_images_are_refused(shape: tuple[int, ...]) -> None:
    """Less than 4×4 pixels, or no batch, is a NetworkError that shows the shape."""
    with pytest.raises(NetworkError, match=str(shape).replace("(", r"\(").replace(")", r"\)")):
        SMALL.build(SPACE.parse(V2), 3, 10)(torch.zeros(shape))


@pytest.mark.parametrize(("in_channels", "n_classes"), [(0, 10), (3, 0), (-1, 10), (3, 2.0)])
def test_networks_without_channels_or_classes_are_refused(in_channels: int, n_classes: int) -> None:
    """Numbers of channels and classes are at least 1."""
    with pytest.raises(NetworkError, match="expected an integer of at least 1"):
        SPACE.build(SPACE.parse(V2), in_channels, n_classes)


def filled(network: nn.Module) -> nn.Module:
    """Weights that depend on their shape only, alike for all nodes that a cell concatenates."""
    with torch.no_grad():
        for parameter in network.parameters():
            first, *others = parameter.shape
            repeats = 4 if others and others[0] % 4 == 0 else 1
            sizes = [others[0] // repeats, *others[1:]] if others else []
            block = normal_tensor(first, *sizes, seed=first)
            parameter.copy_(torch.cat([block] * repeats, dim=1) if others else block)
    return network.double().eval()


@settings(max_examples=12)
@given(genotypes)
def test_canonical_form_computes_the_same(genotype: DARTSGenotype) -> None:
    """With equal weights a genotype and its canonical form give equal logits, and equal sizes.

    The memory of the maps depends on the order in which the nodes are computed.
    """
    images = normal_tensor(2, 3, 8, 8)
    networks = [SMALL.build(one, 3, 4) for one in (genotype, genotype.canonical())]
    first, second = (filled(network) for network in networks)
    torch.testing.assert_close(first(images), second(images), rtol=1e-6, atol=1e-9)
    sizes = [count_all(network, images)._replace(peak_memory=0) for network in (first, second)]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("letters", [SKIPS, "3051 m2a1 d0e3 s2s4"])
def test_every_parameter_has_a_gradient(letters: str) -> None:
    """All parameters of a network in which every cell is used get a finite gradient."""
    network = DARTSSpace(layers=4, channels=4).build(both(letters), 3, 10)
    network(torch.rand(4, 3, 8, 8)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


# --- scores

MIXED = DARTSGenotype(spell("30a1 .0.0 m2e1 s0d4"), spell("s051 a0.2 m1s0 d2s3"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_pass_equals_the_loop(dtype: torch.dtype) -> None:
    """Kernels of a network with all eight operations equal those of a pass per image."""
    network = built(lambda: SMALL.build(MIXED, 3, 4)).to(dtype)
    images = images_of(4, 3, (8, 6)).to(dtype)
    assert_agree(measure_kernels(network, images, check=True), reference(network, images))


@pytest.mark.parametrize(
    ("genotype", "reason"),
    [
        (both(SKIPS), ""),
        (both(".0.0 .0.0 .0.0 .0.0"), "output not connected to the input"),
        (both(".0.0 32.0 33.0 s2s4"), "output not connected to the input"),
    ],
)
def test_degenerate_cells(genotype: DARTSGenotype, reason: str) -> None:
    """Cells of skips can be judged; those that no image reaches are degenerate, and say why."""
    network = DARTSSpace(layers=4, channels=4).build(genotype, 3, 4)
    assert score(network, images_of(6, 3, 8), n_inits=1).degenerate == reason


def test_networks_are_picklable() -> None:
    """A network can be sent to another process, and gives the same there."""
    images = torch.rand(2, 3, 8, 8)
    for module in (SMALL.build(MIXED, 3, 4), SMALL.build_final([MIXED], 3, 4)):
        assert isinstance(module, DARTSNetwork)
        assert pickle.loads(pickle.dumps(module.eval()))(images).equal(module(images))
