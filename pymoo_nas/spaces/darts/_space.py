"""DARTS as a search space (Liu 2018, https://arxiv.org/abs/1806.09055).

Its variation of genotypes, and the networks that it builds of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pymoo_nas._machine import whole
from pymoo_nas.errors import SearchError
from pymoo_nas.spaces._base import SearchSpace
from pymoo_nas.spaces.darts._genotype import (
    N_EDGES,
    N_INPUTS,
    NODES,
    NONE,
    OPERATION_NAMES,
    SYNTAX,
    CellEdges,
    DARTSGenotype,
    Edge,
    is_connected,
    target_of,
)
from pymoo_nas.spaces.darts._networks import DARTSNetwork

PARTS = ("normal", "reduce")

MIN_LAYERS = 3
"""Fewest layers of which one is a normal cell and two are reduction cells."""


class DARTSSpace(SearchSpace[DARTSGenotype]):
    """All pairs of cells of DARTS, also with both inputs of a node from one source.

    A search scores a small network and counts its size, as in `NASBench201Space`: to count the
    network to train, the published one for CIFAR-10, takes longer than the scores. Limits so bound
    the small network, and `choose` goes by ranks. Tournaments are refused: a cell has two inputs,
    and a genotype two cells.

    Args:
        layers: cells of the network that is scored, at least 3: one normal cell, two reduction
            cells. Deeper and wider ones take longer and rank no better (studies/darts_scores.py).
        channels: of the nodes of its first cell.
        final_layers: cells of the final network; 20 is the published number.
        final_channels: of the nodes of its first cell; 36 is the published number.

    Raises:
        SearchError: a setting that is no integer, or too small.
    """

    n_cells = 1
    any_n_cells = False
    limits_final = False
    operation_names = OPERATION_NAMES
    mutation_kinds: Mapping[str, float] = {"change": 0.5, "rewire": 0.5}
    placing_kinds = frozenset({"change"})

    def __init__(
        self,
        *,
        layers: int = 3,
        channels: int = 4,
        final_layers: int = 20,
        final_channels: int = 36,
    ) -> None:
        self.layers = whole("DARTS: layers", layers, MIN_LAYERS)
        self.channels = whole("DARTS: channels", channels)
        self.final_layers = whole("DARTS: final_layers", final_layers, MIN_LAYERS)
        self.final_channels = whole("DARTS: final_channels", final_channels)

    @classmethod
    def looks_like(cls, text: str) -> bool:
        """Whether a text begins with the word that the published form begins with.

        >>> DARTSSpace.looks_like("Genotype(normal=["), DARTSSpace.looks_like("0804")
        (True, False)
        """
        return text.lstrip().startswith(SYNTAX)

    def parse(self, text: str) -> DARTSGenotype:
        """See `DARTSGenotype.parse`."""
        return DARTSGenotype.parse(text)

    def format(self, genotype: DARTSGenotype) -> str:
        """The text as the published code writes it."""
        return str(genotype)

    def canonical(self, genotype: DARTSGenotype) -> DARTSGenotype:
        """See `DARTSGenotype.canonical`."""
        return genotype.canonical()

    def sample(self, rng: np.random.Generator) -> DARTSGenotype:
        """Each node takes two different earlier ones; all operations are equally probable."""
        cells = []
        for _ in PARTS:
            edges: list[Edge] = []
            for node in NODES:
                for source in rng.permutation(node)[:2]:
                    edges.append(Edge(_random_name(rng, OPERATION_NAMES), int(source)))
            cells.append(tuple(edges))
        return _valid(DARTSGenotype(*cells), rng)

    def crossover(
        self, a: DARTSGenotype, b: DARTSGenotype, rng: np.random.Generator
    ) -> DARTSGenotype:
        """Each edge, operation and source together, at random from either parent's.

        A cell that is not connected takes more from one parent, edge by edge in random order, until
        it is.
        """
        cells = []
        for part in PARTS:
            pair: tuple[CellEdges, CellEdges] = getattr(a, part), getattr(b, part)
            child = [
                pair[choice][index] for index, choice in enumerate(rng.integers(2, size=N_EDGES))
            ]
            donor = pair[rng.integers(2)]
            for edge in rng.permutation(N_EDGES):
                if is_connected(tuple(child)):
                    break
                child[edge] = donor[edge]
            cells.append(tuple(child))
        return _valid(DARTSGenotype(*cells), rng)

    def mutate(
        self,
        genotype: DARTSGenotype,
        kind: str,
        operation: str,
        rng: np.random.Generator,
    ) -> DARTSGenotype:
        """The first, in random order, of all changes of a kind that leave a different, valid one.

        "change" puts `operation` on one edge, "rewire" gives one edge another source (Real 2019).

        Raises:
            SearchError: a kind that this space does not know.
            OperationError: an operation that this space does not know.
        """
        self.check_mutation(kind, operation)
        parent = _valid(genotype, rng)
        changed: list[DARTSGenotype] = list(
            _changes(parent, operation) if kind == "change" else _rewirings(parent)
        )
        for index in rng.permutation(len(changed)):
            child: DARTSGenotype = changed[int(index)].canonical()
            if child.is_connected and child != parent:
                return child
        return parent

    def build(self, genotype: DARTSGenotype, in_channels: int, n_classes: int) -> DARTSNetwork:
        """The network to score, of `layers` and `channels`."""
        return DARTSNetwork(
            genotype, in_channels, n_classes, layers=self.layers, channels=self.channels
        )

    def build_final(
        self, genotypes: Sequence[DARTSGenotype], in_channels: int, n_classes: int
    ) -> DARTSNetwork:
        """The network to train, of `final_layers` and `final_channels`.

        Raises:
            SearchError: another number of genotypes than one.
        """
        self.check_n_cells(len(genotypes))
        return DARTSNetwork(
            genotypes[0],
            in_channels,
            n_classes,
            layers=self.final_layers,
            channels=self.final_channels,
        )

    def check_n_cells(self, n_cells: int) -> None:
        """Refuse more than one genotype: a network repeats the two cells of one.

        Raises:
            SearchError: another number than 1.
        """
        if n_cells != self.n_cells:
            raise SearchError(
                f"{n_cells} cells: a network of DARTS repeats the two cells of one genotype, in "
                f"final_layers={self.final_layers} layers; leave --cells (n_cells) out"
            )

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor, and the name of the space."""
        return {"space": "darts", **vars(self)}


def _random_name(rng: np.random.Generator, names: Sequence[str]) -> str:
    return names[int(rng.integers(len(names)))]


def _valid(genotype: DARTSGenotype, rng: np.random.Generator) -> DARTSGenotype:
    """The canonical form; a cell that is not connected first gets a random operation on an edge."""
    for part in PARTS:
        cell: CellEdges = getattr(genotype, part)
        if not is_connected(cell):
            first = Edge(_random_name(rng, OPERATION_NAMES[1:]), int(rng.integers(N_INPUTS)))
            genotype = replace(genotype, **{part: (first, *cell[1:])})
    return genotype.canonical()


def _changes(genotype: DARTSGenotype, operation: str) -> Iterator[DARTSGenotype]:
    """The genotype with each operation that differs replaced; ``none`` had no source: any one."""
    for part, index, edge in _edges(genotype):
        if edge.operation == NONE:
            sources: Sequence[int] = range(target_of(index))
        else:
            sources = (edge.source,)
        if edge.operation != operation:
            for source in sources:
                yield _with(genotype, part, index, Edge(operation, source))


def _rewirings(genotype: DARTSGenotype) -> Iterator[DARTSGenotype]:
    """The genotype with the source of each edge replaced by each other one."""
    for part, index, edge in _edges(genotype):
        for source in range(target_of(index)):
            if edge.operation != NONE and source != edge.source:
                yield _with(genotype, part, index, Edge(edge.operation, source))


def _edges(genotype: DARTSGenotype) -> Iterator[tuple[str, int, Edge]]:
    """(part, index, edge) of all edges."""
    for part in PARTS:
        for index, edge in enumerate(getattr(genotype, part)):
            yield part, index, edge


def _with(genotype: DARTSGenotype, part: str, index: int, edge: Edge) -> DARTSGenotype:
    """The genotype with one edge replaced."""
    cell: CellEdges = getattr(genotype, part)
    return replace(genotype, **{part: (*cell[:index], edge, *cell[index + 1 :])})
