"""Hypothesis strategies: genotypes, cell spaces, score matrices with ties."""

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from pymoo_nas.networks import OPERATIONS
from pymoo_nas.spaces import CellSpace, Genotype
from pymoo_nas.spaces.cell._genotype import MAX_CHANNELS

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def genotypes(
    draw: st.DrawFn,
    *,
    max_nodes: int = 5,
    max_operations: int = 5,
    n_operations: int | None = None,
    max_channels: int = MAX_CHANNELS,
) -> Genotype:
    """Genotypes of any valid shape, most counts zero, connected or not."""
    n_nodes = draw(st.integers(1, max_nodes))
    width = n_operations or draw(st.integers(1, max_operations))
    counts = st.one_of(
        st.just(0), st.integers(0, min(9, max_channels)), st.integers(0, max_channels)
    )
    block = st.tuples(*[counts] * width)
    n_blocks = n_nodes * (n_nodes + 1) // 2
    return Genotype(draw(st.tuples(*[block] * n_blocks)))


@st.composite
def spaces(draw: st.DrawFn) -> CellSpace:
    """Cell spaces over the whole range of settings, the smallest included."""
    max_nodes = draw(st.integers(1, 5))
    max_channels = draw(st.integers(1, 40))
    names = draw(st.lists(st.sampled_from(list(OPERATIONS)), min_size=1, max_size=5, unique=True))
    return CellSpace(
        names,
        max_nodes=max_nodes,
        max_channels=max_channels,
        channel_step=draw(st.one_of(st.just(1), st.integers(1, max_channels))),
        n_cells=draw(st.integers(1, 3)),
        widening=draw(st.integers(1, 2)),
        sample_nodes=draw(st.integers(1, max_nodes)),
        sample_operations=draw(st.integers(1, 6)),
    )


@st.composite
def genotypes_of(draw: st.DrawFn, space: CellSpace) -> Genotype:
    """Valid genotypes of a space in canonical form, multiples of its step or not."""
    genotype = draw(
        genotypes(
            max_nodes=space.max_nodes,
            n_operations=len(space.operations),
            max_channels=space.max_channels,
        ).filter(lambda drawn: drawn.is_connected)
    )
    return space.canonical(genotype)


@st.composite
def score_matrices(
    draw: st.DrawFn, *, min_rows: int = 0, max_rows: int = 12
) -> npt.NDArray[np.float64]:
    """(n, m) scores out of a few values, so that ties and duplicate rows are frequent."""
    n_objectives = draw(st.integers(1, 4))
    value = st.sampled_from([-2.5, 0.0, 1.0, 1.5, 7.0])
    row: Any = st.lists(value, min_size=n_objectives, max_size=n_objectives)
    rows = draw(st.lists(row, min_size=min_rows, max_size=max_rows))
    return np.array(rows, dtype=float).reshape(len(rows), n_objectives)
