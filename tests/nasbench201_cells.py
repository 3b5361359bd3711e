"""Cells of NAS-Bench-201 to test with, and a slow, obvious loop that computes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor

from pymoo_nas.spaces import NASBench201Space
from pymoo_nas.spaces.nasbench201._genotype import EDGES, OPERATION_NAMES, NASBench201Genotype

TABLE = Path(__file__).parents[2] / "shared" / "datasets" / "nasbench201_5000.csv"
needs_table = pytest.mark.skipif(not TABLE.exists(), reason=f"{TABLE} is absent")

SPACE = NASBench201Space()
BEST = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
)
CONVOLUTIONS = ("nor_conv_1x1", "nor_conv_3x3")


def spell(letters: str) -> NASBench201Genotype:
    """A genotype from six of: ``.`` none, ``s`` skip, ``1`` and ``3`` convolutions, ``p`` pool."""
    return NASBench201Genotype(tuple(OPERATION_NAMES[".s13p".index(char)] for char in letters))


genotypes = st.tuples(*[st.sampled_from(OPERATION_NAMES)] * 6).map(NASBench201Genotype)


def random_tensors(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def obvious_cell(
    genotype: NASBench201Genotype,
    x: Tensor,
    kernels: dict[tuple[tuple[int, int], str], Tensor],
) -> Tensor:
    """The cell edge by edge, with kernels per (edge, operation) and no batch norm."""
    nodes = [x, torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x)]
    for (source, target), name in zip(EDGES, genotype.operations, strict=True):
        if name == "skip_connect":
            nodes[target] = nodes[target] + nodes[source]
        elif name == "avg_pool_3x3":
            # Zeros around the map count neither in the sum nor in the number of pixels.
            ones = torch.ones_like(x)
            total, pixels = (9 * F.avg_pool2d(t, 3, 1, 1) for t in (nodes[source], ones))
            nodes[target] = nodes[target] + total / pixels
        elif name in CONVOLUTIONS:
            kernel = kernels[(source, target), name]
            padding = kernel.shape[-1] // 2
            nodes[target] = nodes[target] + F.conv2d(nodes[source].relu(), kernel, padding=padding)
    return nodes[3]
