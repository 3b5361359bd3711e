"""The cell of a genotype, against evaluations written out by hand."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from obvious_cells import evaluate
from scored_networks import images_of
from strategies import genotypes
from torch import nn

from pymoo_nas.errors import NetworkError
from pymoo_nas.networks import halve_features, operation_table
from pymoo_nas.spaces import Cell, Genotype

PAPER = operation_table()


pytestmark = pytest.mark.usefixtures("seeded_weights")


@settings(max_examples=40)
@given(
    genotype=genotypes(max_nodes=4, n_operations=4, max_channels=4),
    size=st.tuples(st.integers(4, 7), st.integers(4, 7)),
    channels=st.integers(1, 4),
)
def test_cell_against_obvious(genotype: Genotype, size: tuple[int, int], channels: int) -> None:
    """A cell computes what its genotype spells, and keeps the size of the map."""
    assume(genotype.is_connected)
    cell = Cell(genotype, PAPER, channels).eval()
    images = images_of(2, channels, size)
    output = cell(images)
    assert torch.equal(output, evaluate(cell, genotype, list(PAPER), images))
    into_output = [
        genotype.block(source, genotype.n_nodes) for source in genotype.live_nodes()[:-1]
    ]
    assert output.shape == (2, sum(map(sum, into_output)), *size)
    assert cell.out_channels == output.shape[1]


@settings(max_examples=40)
@given(
    genotype=genotypes(max_nodes=4, n_operations=4, max_channels=4),
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
)
def test_reducing_cell_against_obvious(genotype: Genotype, size: tuple[int, int]) -> None:
    """A cell that reduces halves what its input comes to, once, where the map is large enough."""
    assume(genotype.is_connected)
    cell = Cell(genotype, PAPER, 3, reduces=True).eval()
    images = images_of(2, 3, size)
    output = cell(images)
    assert torch.equal(output, evaluate(cell, genotype, list(PAPER), images, reduces=True))
    halved = [-(-side // 2) for side in size] if min(size) > 4 else list(size)
    assert list(output.shape[2:]) == halved


@settings(max_examples=40)
@given(
    genotype=genotypes(max_nodes=3, n_operations=4, max_channels=4),
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    channels=st.integers(1, 6),
    reduces=st.booleans(),
)
def test_shortcut_against_obvious(
    genotype: Genotype, size: tuple[int, int], channels: int, reduces: bool
) -> None:
    """A shortcut adds the halved input, projected only where the channels differ."""
    assume(genotype.is_connected)
    cell = Cell(genotype, PAPER, channels, reduces=reduces, shortcut=True).eval()
    images = images_of(2, channels, size)
    inside = evaluate(cell, genotype, list(PAPER), images, reduces=reduces)
    around = halve_features(images) if reduces else images
    projection = [module for module in cell.shortcut or () if isinstance(module, nn.Conv2d)]
    assert bool(projection) == (channels != cell.out_channels)
    if projection:
        assert projection[0].kernel_size == (1, 1)
        around = (cell.shortcut or nn.Identity())(around)
    assert torch.equal(cell(images), inside + around)


def test_cell_fig1_written_out() -> None:
    """5000|0001|0800: the output is the pooled image beside a residual block of a convolution."""
    cell = Cell(Genotype.parse("5000|0001|0800"), PAPER, 3).eval()
    images = images_of(2, 3, (6, 5))
    convolution = cell.operations["0->1 conv3x3"](images)
    pooled = cell.operations["0->2 avg_pool3x3"](images)
    residual = cell.operations["1->2 residual3x3"](convolution)
    assert torch.equal(cell(images), torch.cat([pooled, residual], dim=1))


def test_cell_builds_no_dead_node() -> None:
    """Nodes that cannot reach the output, or that nothing reaches, have no modules."""
    cell = Cell(Genotype.parse("5000|0000|0700|0003|0000|0000"), PAPER, 3)
    assert list(cell.operations) == ["0->3 avg_pool3x3"]


def test_cell_not_connected() -> None:
    """A cell whose output is not connected to its input is refused."""
    with pytest.raises(NetworkError, match="output not connected"):
        Cell(Genotype.parse("5000|0000|0000"), PAPER, 3)


def test_cell_of_other_operations() -> None:
    """A genotype with another number of counts is refused with both numbers and the names."""
    with pytest.raises(NetworkError, match=r"genotype 50: 2 counts.*expected 4.*conv3x3, residual"):
        Cell(Genotype.parse("50"), PAPER, 3)
