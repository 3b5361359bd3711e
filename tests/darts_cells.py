"""Cells of DARTS to test with."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import strategies as st

from pymoo_nas.spaces import DARTSSpace
from pymoo_nas.spaces.darts._genotype import (
    NODES,
    OPERATION_NAMES,
    CellEdges,
    DARTSGenotype,
    Edge,
)

TABLE = Path(__file__).parents[2] / "shared" / "datasets" / "darts_500.csv"
needs_table = pytest.mark.skipif(not TABLE.exists(), reason=f"{TABLE} is absent")

SPACE = DARTSSpace()
SMALL = DARTSSpace(layers=3, channels=4, final_layers=4, final_channels=2)
V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], "
    "reduce_concat=[2, 3, 4, 5])"
)
"""The cells that the paper's second-order search found."""

NAMES = dict(zip(".mas35de", OPERATION_NAMES, strict=True))
"""Letter → operation: none, max, average, skip; separable of 3 and 5, dilated of 3 and 5."""


def spell(letters: str) -> CellEdges:
    """A cell from eight pairs of a letter of `NAMES` and a source: ``s0s1 30m2 …``."""
    signs = letters.replace(" ", "")
    pairs = zip(signs[::2], signs[1::2], strict=True)
    return tuple(Edge(NAMES[letter], int(source)) for letter, source in pairs)


def both(letters: str) -> DARTSGenotype:
    """A genotype whose cells are the same."""
    return DARTSGenotype(spell(letters), spell(letters))


operations = st.sampled_from(OPERATION_NAMES)
cells = st.tuples(
    *[st.builds(Edge, operations, st.integers(0, node - 1)) for node in NODES for _ in range(2)]
)
genotypes = st.builds(DARTSGenotype, cells, cells)
