"""NAS-Bench-201 as a search space (Dong 2020, https://arxiv.org/abs/2001.00326).

The space varies genotypes, and builds networks from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from pymoo_nas._machine import whole
from pymoo_nas.errors import NetworkError
from pymoo_nas.spaces._base import SearchSpace
from pymoo_nas.spaces.cell._genotype import block_index
from pymoo_nas.spaces.nasbench201._genotype import (
    EDGES,
    N_NODES,
    OPERATION_NAMES,
    NASBench201Genotype,
    connected_representatives,
)
from pymoo_nas.spaces.nasbench201._networks import (
    NASBench201Cell,
    NASBench201Network,
    ProjectedCell,
)


class NASBench201Space(SearchSpace[NASBench201Genotype]):
    """All cells of NAS-Bench-201; see `NASBench201Genotype.canonical` for duplicates.

    Args:
        width: channels of the first stage of the scored network.
        cells_per_stage: cells per stage of the scored network; one cell takes less time than the
            five of the final network.
        final_width: channels of the first stage of the final network; 16 is the published number.
        final_cells_per_stage: cells per stage of the final network; 5 is the published number.

    Raises:
        SearchError: a setting is not a positive integer.
    """

    any_n_cells = False
    limits_final = False
    chosen_by_gradients = True
    operation_names = OPERATION_NAMES
    mutation_kinds: Mapping[str, float] = {"change": 0.8, "swap": 0.2}
    placing_kinds = frozenset({"change"})

    def __init__(
        self,
        *,
        width: int = 8,
        cells_per_stage: int = 1,
        final_width: int = 16,
        final_cells_per_stage: int = 5,
    ) -> None:
        self.width = whole("NAS-Bench-201: width", width)
        self.cells_per_stage = whole("NAS-Bench-201: cells_per_stage", cells_per_stage)
        self.final_width = whole("NAS-Bench-201: final_width", final_width)
        self.final_cells_per_stage = whole(
            "NAS-Bench-201: final_cells_per_stage", final_cells_per_stage
        )

    @classmethod
    def looks_like(cls, text: str) -> bool:
        """Tell whether a text holds the sign that stands between an operation and its source.

        >>> NASBench201Space.looks_like("|nor_conv_3x3~0|+|"), NASBench201Space.looks_like("0804")
        (True, False)
        """
        return "~" in text and not text.lstrip().startswith("Genotype")

    def parse(self, text: str) -> NASBench201Genotype:
        """Read a genotype, see `NASBench201Genotype.parse`."""
        return NASBench201Genotype.parse(text)

    def format(self, genotype: NASBench201Genotype) -> str:
        """Write a genotype as the published tables do."""
        return str(genotype)

    def canonical(self, genotype: NASBench201Genotype) -> NASBench201Genotype:
        """Return the canonical form, see `NASBench201Genotype.canonical`."""
        return genotype.canonical()

    def sample(self, rng: np.random.Generator) -> NASBench201Genotype:
        """Draw one of the 6,461 connected canonical genotypes, each equally probable."""
        genotypes = connected_representatives()
        return genotypes[rng.integers(len(genotypes))]

    def crossover(
        self, a: NASBench201Genotype, b: NASBench201Genotype, rng: np.random.Generator
    ) -> NASBench201Genotype:
        """Take the operation of each edge from a random parent.

        An unconnected child takes more from one parent, edge by edge in random order, until it is
        connected.
        """
        both = zip(a.operations, b.operations, strict=True)
        child = [
            pair[choice]
            for pair, choice in zip(both, rng.integers(2, size=len(EDGES)), strict=True)
        ]
        donor = (a, b)[rng.integers(2)]
        for edge in rng.permutation(len(EDGES)):
            if NASBench201Genotype(tuple(child)).is_connected:
                break
            child[edge] = donor.operations[edge]
        return _connected(NASBench201Genotype(tuple(child)), rng)

    def mutate(
        self,
        genotype: NASBench201Genotype,
        kind: str,
        operation: str,
        rng: np.random.Generator,
    ) -> NASBench201Genotype:
        """Make a random change of a kind that leaves a different, valid cell.

        "change" puts `operation` on one edge, "swap" exchanges the operations of two edges. Where
        no change leaves such a cell, the parent is returned.

        Raises:
            SearchError: this space does not know the kind.
            OperationError: this space does not know the operation.
        """
        self.check_mutation(kind, operation)
        parent = _connected(genotype, rng)
        changed = _changes(genotype, operation) if kind == "change" else _swaps(genotype)
        for index in rng.permutation(len(changed)):
            child = NASBench201Genotype(changed[index]).canonical()
            if child.is_connected and child != parent:
                return child
        return parent

    def build(
        self, genotype: NASBench201Genotype, in_channels: int, n_classes: int
    ) -> NASBench201Network:
        """Build the network to score, with `width` and `cells_per_stage`."""
        return NASBench201Network(
            [genotype],
            in_channels,
            n_classes,
            width=self.width,
            cells_per_stage=self.cells_per_stage,
        )

    def build_cell(
        self, genotype: NASBench201Genotype, in_channels: int
    ) -> NASBench201Cell | ProjectedCell:
        """Build one cell of `width` channels, behind a projection if the input has others."""
        in_channels = whole("NAS-Bench-201: in_channels", in_channels, error=NetworkError)
        cell = NASBench201Cell(genotype, self.width)
        return cell if in_channels == self.width else ProjectedCell(in_channels, cell)

    def build_final(
        self, genotypes: Sequence[NASBench201Genotype], in_channels: int, n_classes: int
    ) -> NASBench201Network:
        """Build the network to train, with `final_width` and `final_cells_per_stage`.

        A single genotype makes every cell. With several, stage i takes genotypes[i modulo their
        number].
        """
        return NASBench201Network(
            genotypes,
            in_channels,
            n_classes,
            width=self.final_width,
            cells_per_stage=self.final_cells_per_stage,
        )

    def settings(self) -> dict[str, Any]:
        """Return the arguments of the constructor, and the name of the space."""
        return {"space": "nasbench201", **vars(self)}


def _connected(genotype: NASBench201Genotype, rng: np.random.Generator) -> NASBench201Genotype:
    """Return the canonical form; an unconnected cell first gets a random operation on 0→3."""
    if not genotype.is_connected:
        operations = list(genotype.operations)
        operations[block_index(0, N_NODES)] = OPERATION_NAMES[rng.integers(1, len(OPERATION_NAMES))]
        genotype = NASBench201Genotype(tuple(operations))
    return genotype.canonical()


def _changes(genotype: NASBench201Genotype, operation: str) -> list[tuple[str, ...]]:
    """List all cells in which `operation` replaces one different operation."""
    names = genotype.operations
    return [
        (*names[:index], operation, *names[index + 1 :])
        for index, name in enumerate(names)
        if name != operation
    ]


def _swaps(genotype: NASBench201Genotype) -> list[tuple[str, ...]]:
    """List all cells in which two different operations are exchanged."""
    swapped = []
    for first, second in combinations(range(len(EDGES)), 2):
        names = list(genotype.operations)
        if names[first] != names[second]:
            names[first], names[second] = names[second], names[first]
            swapped.append(tuple(names))
    return swapped
