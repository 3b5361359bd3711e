"""NAS-Bench-201: cells and networks against obvious loops and hand-made sums."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from nasbench201_cells import (
    BEST,
    CONVOLUTIONS,
    SPACE,
    genotypes,
    obvious_cell,
    random_tensors,
    spell,
)
from torch import nn

from pymoo_nas.errors import NetworkError
from pymoo_nas.networks import count_parameters
from pymoo_nas.spaces import NASBench201Space
from pymoo_nas.spaces.nasbench201._genotype import NASBench201Genotype
from pymoo_nas.spaces.nasbench201._networks import ReductionBlock

UNCONNECTED = "|skip_connect~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|"


@given(genotypes, st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**31))
def test_cell_equals_the_obvious_loop(
    genotype: NASBench201Genotype, height: int, width: int, seed: int
) -> None:
    """A cell is, edge by edge, ReLU–convolution–batch norm, pooling or identity, summed."""
    space = NASBench201Space(width=3)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        cell = space.build_cell(genotype, 3).double().eval()
    kernels = {}
    for key, operation in cell.operations.items():
        edge, name = key.split()
        source, target = map(int, edge.split("->"))
        if name in CONVOLUTIONS:
            # A fresh batch norm in eval mode divides by sqrt(1 + eps).
            kernels[(source, target), name] = operation[1].weight.detach() / math.sqrt(1 + 1e-5)
    (x,) = random_tensors(seed, (2, 3, height, width))
    torch.testing.assert_close(cell(x).detach(), obvious_cell(genotype, x, kernels))


def test_operations_begin_with_the_relu() -> None:
    """Convolutions are ReLU, convolution without bias, batch norm, as published."""
    cell = SPACE.build_cell(spell("3..1.."), 8)
    for operation, kernel in zip(cell.operations.values(), (3, 1), strict=True):
        relu, convolution, norm = operation
        assert isinstance(relu, nn.ReLU)
        assert isinstance(norm, nn.BatchNorm2d)
        assert convolution.kernel_size == (kernel, kernel)
        assert convolution.bias is None


def test_none_builds_nothing() -> None:
    """An edge without an operation has no module; nothing at all gives zeros."""
    cell = SPACE.build_cell(spell("......"), 8)
    assert not list(cell.modules())[2:]
    assert cell(torch.ones(2, 8, 3, 3)).equal(torch.zeros(2, 8, 3, 3))


@pytest.mark.parametrize("size", [(4, 4), (4, 9), (7, 5), (8, 8), (33, 17)])
@pytest.mark.parametrize(("in_channels", "n_classes"), [(1, 2), (3, 10), (5, 1)])
def test_network_takes_any_images(size: tuple[int, int], in_channels: int, n_classes: int) -> None:
    """Odd and oblong images of any number of channels become (N, n_classes) finite logits."""
    network = SPACE.build(SPACE.parse(BEST), in_channels, n_classes)
    logits = network(torch.rand(3, in_channels, *size))
    assert logits.shape == (3, n_classes)
    assert logits.isfinite().all()


@pytest.mark.parametrize("shape", [(2, 3, 3, 8), (2, 3, 8, 3), (3, 8, 8)])
def test_too_small_images_are_refused(shape: tuple[int, ...]) -> None:
    """Less than 4×4 pixels, or no batch, is a NetworkError that shows the shape."""
    network = SPACE.build(SPACE.parse(BEST), 3, 10)
    with pytest.raises(NetworkError, match=str(shape).replace("(", r"\(").replace(")", r"\)")):
        network(torch.zeros(shape))


@pytest.mark.parametrize(("in_channels", "n_classes"), [(0, 10), (3, 0), (-1, 10), (3, 2.0)])
def test_networks_without_channels_or_classes_are_refused(in_channels: int, n_classes: int) -> None:
    """Numbers of channels and classes are at least 1."""
    with pytest.raises(NetworkError, match="expected an integer of at least 1"):
        SPACE.build(SPACE.parse(BEST), in_channels, n_classes)


@given(st.integers(1, 20), st.integers(1, 20))
def test_reduction_halves_rounding_up(height: int, width: int) -> None:
    """Branch and shortcut agree on every size; on even sizes the shortcut is the published one."""
    block = ReductionBlock(2).eval()
    x = torch.ones(1, 2, height, width)
    assert block(x).shape == (1, 4, math.ceil(height / 2), math.ceil(width / 2))
    pooled = block.shortcut[0](x)
    torch.testing.assert_close(pooled, torch.ones_like(pooled))
    if height % 2 == width % 2 == 0:
        assert pooled.equal(F.avg_pool2d(x, 2))


def test_reduction_block_by_hand() -> None:
    """The block is conv(pool(x)) + BN(conv(ReLU(BN(conv(ReLU(x)))))), without a last ReLU."""
    block = ReductionBlock(3).double().eval()
    first, second = (block.branch[index][1].weight for index in (0, 1))
    (x,) = random_tensors(1, (2, 3, 6, 8))
    scale = 1 / math.sqrt(1 + 1e-5)
    hidden = scale * F.conv2d(x.relu(), first, stride=2, padding=1)
    branch = scale * F.conv2d(hidden.relu(), second, padding=1)
    shortcut = F.conv2d(F.avg_pool2d(x, 2), block.shortcut[1].weight)
    torch.testing.assert_close(block(x), branch + shortcut)


def test_unconnected_network_ignores_the_image() -> None:
    """Nothing reaches the output of the cell: logits are finite and the same for all images."""
    network = SPACE.build(SPACE.parse(UNCONNECTED), 3, 10)
    (images,) = random_tensors(0, (4, 3, 8, 8))
    logits = network.double()(images)
    assert logits.isfinite().all()
    torch.testing.assert_close(logits, logits[:1].expand(4, -1))
    logits.sum().backward()
    assert network.classifier.bias.grad.equal(torch.full((10,), 4.0, dtype=torch.float64))


@pytest.mark.parametrize("letters", ["s..s.s", "333333", "pppppp", "1s.3p3"])
def test_every_parameter_of_a_canonical_network_has_a_gradient(letters: str) -> None:
    """All parameters of a network of live operations get a finite gradient."""
    network = SPACE.build(spell(letters), 3, 10)
    network(torch.rand(4, 3, 8, 8)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("in_channels", [1, 3, 8, 20])
def test_cells_for_tournaments(in_channels: int) -> None:
    """A cell keeps (H, W) and says its channels; it is projected where the input has others."""
    cell = SPACE.build_cell(SPACE.parse(BEST), in_channels)
    assert cell.out_channels == 8
    assert cell(torch.rand(2, in_channels, 5, 3)).shape == (2, 8, 5, 3)
    projection = 0 if in_channels == 8 else in_channels * 8 + 2 * 8
    assert count_parameters(cell) == projection + 5 * (9 * 64 + 16)


def test_a_cell_of_no_channels_is_refused() -> None:
    """The input of a cell has at least one channel."""
    with pytest.raises(NetworkError, match="in_channels=0; expected an integer of at least 1"):
        SPACE.build_cell(SPACE.parse(BEST), 0)


def test_final_network_takes_genotypes_in_turn() -> None:
    """Stage i has genotypes[i modulo their number] in all its cells, of doubled width."""
    space = NASBench201Space(final_width=4, final_cells_per_stage=2)
    chosen = [spell("...1.."), spell("...3..")]
    network = space.build_final(chosen, 3, 10)
    cells = [m for m in network.body if hasattr(m, "operations")]
    names = [[key.split()[1] for key in cell.operations] for cell in cells]
    assert names == [["nor_conv_1x1"]] * 2 + [["nor_conv_3x3"]] * 2 + [["nor_conv_1x1"]] * 2
    assert [cell.out_channels for cell in cells] == [4, 4, 8, 8, 16, 16]
    alone = space.build_final(chosen[:1], 3, 10)
    assert count_parameters(alone) == count_parameters(space.build_final(chosen[:1] * 3, 3, 10))


def test_final_network_needs_a_genotype() -> None:
    """No genotype is a NetworkError."""
    with pytest.raises(NetworkError, match="no genotype given"):
        SPACE.build_final([], 3, 10)
