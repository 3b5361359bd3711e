"""The paper's search space: its cells, their variation, and the network that each cell spells."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from torch import nn

from pymoo_nas._machine import positive, whole
from pymoo_nas.errors import GenotypeError, SearchError
from pymoo_nas.networks import CellNetwork, Operation, PatchStem, ReducingStem, operation_table
from pymoo_nas.spaces._base import SearchSpace
from pymoo_nas.spaces.cell._cell import Cell
from pymoo_nas.spaces.cell._genotype import (
    MAX_CHANNELS,
    MAX_NODES,
    Block,
    Genotype,
    edges,
    n_nodes_of,
    repair,
)

_Blocks: TypeAlias = list[list[int]]

REDUCTIONS = ("between", "inside")
"""Places where the map is halved: between or inside cells; the first is the default. Within the
same limits of parameters and multiply-accumulates searches then hand over more accurate networks
(studies/budgets.py); where acts are limited, inside may be better (studies/cifar10.py). Inside, all
but the first operations see a quarter of the pixels, so that a training of the same cell takes two
thirds of the time (studies/stages.py)."""

LARGEST_SIDE = 64
"""Smaller side of the largest images that the first cell sees as they are, in pixels; larger ones
are halved first, those of 224×224 to 56×56 as in residual networks (He 2016)."""

WIDEST = 64
"""Largest factor of the channel counts of a stage: what the largest `widening` gives the third."""

REMOVED = 0.1
"""Share of the steps of `CellSpace.shrink` that remove a node."""


class CellSpace(SearchSpace[Genotype]):
    """The paper's space: one cell, written as channel counts (Fig. 1), at every stage (Fig. 3).

    Args:
        operations: names or a table name → factory, see `operation_table`.
        max_nodes: largest number of nodes of a cell.
        max_channels: largest channel count of one operation in one block.
        channel_step: sampled and added channel counts are one or two times this step. Kernels are
            fastest on multiples of 8 (see studies/speed.py); the paper's value is 1. At most
            max_channels is used.
        n_cells: number of cells in the scored network, and in the final network.
        widening: factor of the channel counts from the first cell to the second, where the map is
            halved, and from the second to the third; later cells stay as wide. The paper's value
            is 1. With 2 all stages cost about the same time, and a network with as many parameters
            costs about a third of the time (see studies/speed.py).
        widths: factor of the channel counts of the first cell, of the second, and so on, rounded to
            whole channels, at least 1; later cells have the last one. It takes the place of
            `widening`. None is 1, widening, widening². (1, 1.5, 2) leaves fewer parameters to the
            last cells (studies/spaces.py).
        shortcut: whether the input of each cell is added to its output, see `Cell`. The paper's
            cells have no shortcut (studies/spaces.py).
        sample_nodes: largest number of nodes of a sampled cell; at most max_nodes is used.
        sample_operations: largest number of operations of a sampled block.
        reduction: place where the map is halved: "between" two cells, or "inside" the cell,
            behind the operations that take its input (see `REDUCTIONS`).
        stem: whether to put a `PatchStem` before the first cell of the network to train
            (studies/stages.py). The paper has no stem.
        halvings: how often images are halved before the first cell: by a `ReducingStem` in the
            network to train, by averages in the scored network. None leaves it to `for_images`,
            which finds the number anew for each size of images.

    Raises:
        OperationError: there are no operations, or they are unknown or unusable.
        SearchError: a limit is out of range.
    """

    mutation_kinds: Mapping[str, float] = {
        "grow": 0.6,
        "swap": 0.1,
        "shrink": 0.1,
        "add_node": 0.1,
        "remove_node": 0.1,
    }
    placing_kinds = frozenset({"grow", "add_node"})

    def __init__(
        self,
        operations: Mapping[str, Operation] | Iterable[str] | None = None,
        *,
        max_nodes: int = 4,
        max_channels: int = 64,
        channel_step: int = 8,
        n_cells: int = 3,
        widening: int = 2,
        widths: Sequence[float] | None = None,
        shortcut: bool = False,
        sample_nodes: int = 3,
        sample_operations: int = 2,
        reduction: str = REDUCTIONS[0],
        stem: bool = True,
        halvings: int | None = None,
    ) -> None:
        self.operations = operation_table(operations)
        self.operation_names = tuple(self.operations)
        if reduction not in REDUCTIONS:
            raise SearchError(
                f"search space: reduction={reduction!r}; expected one of {', '.join(REDUCTIONS)}"
            )
        self.reduction = reduction
        for name, value in (("stem", stem), ("shortcut", shortcut)):
            if not isinstance(value, bool):
                raise SearchError(f"search space: {name}={value!r}; expected true or false")
        self.stem = stem
        self.shortcut = shortcut
        if halvings is not None:
            halvings = whole("search space: halvings", halvings, 0, 10)
        self.halvings = halvings
        self._by_images = halvings is None
        max_nodes = whole("search space: max_nodes", max_nodes, 1, MAX_NODES)
        max_channels = whole("search space: max_channels", max_channels, 1, MAX_CHANNELS)
        channel_step = whole("search space: channel_step", channel_step)
        n_cells = whole("search space: n_cells", n_cells, 1, 100)
        widening = whole("search space: widening", widening, 1, 8)
        sample_nodes = whole("search space: sample_nodes", sample_nodes)
        sample_operations = whole("search space: sample_operations", sample_operations)
        self.max_nodes = max_nodes
        self.max_channels = max_channels
        self.channel_step = min(channel_step, max_channels)
        self.n_cells = n_cells
        self.widening = widening
        self.widths = None if widths is None else _checked_widths(widths)
        self.sample_nodes = min(sample_nodes, max_nodes)
        self.sample_operations = min(sample_operations, len(self.operations))

    @classmethod
    def looks_like(cls, text: str) -> bool:
        """Tell whether a text holds a separator of counts or blocks, or starts with a digit.

        Texts with the signs of the other spaces are theirs.

        >>> CellSpace.looks_like("0804"), CellSpace.looks_like("resnet18")
        (True, False)
        """
        others = "~" in text or text.lstrip().startswith("Genotype")
        return (bool(set(text) & set("|,")) or text[:1].isdigit()) and not others

    def parse(self, text: str) -> Genotype:
        """Read a genotype of this space; see `Genotype.parse`.

        Raises:
            GenotypeError: the text is malformed, or the cell is over the space's limits.
        """
        genotype = Genotype.parse(text, n_operations=len(self.operations))
        largest = max(map(max, genotype.blocks))
        if largest > self.max_channels:
            raise GenotypeError(
                f"genotype {text!r}: {largest} channels; expected at most {self.max_channels} "
                "(max_channels of the search space)"
            )
        if genotype.n_nodes > self.max_nodes:
            raise GenotypeError(
                f"genotype {text!r}: {genotype.n_nodes} nodes; expected at most {self.max_nodes} "
                "(max_nodes of the search space)"
            )
        return genotype

    def format(self, genotype: Genotype) -> str:
        """Write a genotype as text."""
        return str(genotype)

    def canonical(self, genotype: Genotype) -> Genotype:
        """Return the canonical form, see `Genotype.canonical`."""
        return genotype.canonical()

    def sample(self, rng: np.random.Generator) -> Genotype:
        """Draw a small random cell: cells from the whole space would start far from good cells."""
        n_nodes = int(rng.integers(1, self.sample_nodes + 1))
        blocks = []
        for _ in edges(n_nodes):
            block = [0] * len(self.operations)
            for index in rng.permutation(len(block))[: rng.integers(self.sample_operations + 1)]:
                block[index] = self._random_step(rng)
            blocks.append(tuple(block))
        return self._valid(Genotype(tuple(blocks)), int(rng.integers(len(self.operations))))

    def crossover(self, a: Genotype, b: Genotype, rng: np.random.Generator) -> Genotype:
        """Take each count from a random parent, and the number of nodes from a random parent.

        Where the parent with fewer nodes has no block, the other parent's counts are taken.
        """
        longer, shorter = sorted((a, b), key=lambda parent: -len(parent.blocks))
        n_blocks = len((longer, shorter)[rng.integers(2)].blocks)
        blocks: list[Block] = []
        for index, block in enumerate(longer.blocks[:n_blocks]):
            other = shorter.blocks[index] if index < len(shorter.blocks) else block
            first = rng.random(len(block)) < 0.5
            pairs = zip(first, block, other, strict=True)
            blocks.append(tuple(mine if chosen else theirs for chosen, mine, theirs in pairs))
        return self._valid(Genotype(tuple(blocks)), int(rng.integers(len(self.operations))))

    def mutate(
        self, genotype: Genotype, kind: str, operation: str, rng: np.random.Generator
    ) -> Genotype:
        """Make one step, see `mutation_kinds`; "grow" and "add_node" put `operation` somewhere.

        Raises:
            SearchError: this space does not know the kind.
            OperationError: this space does not know the operation.
        """
        self.check_mutation(kind, operation)
        index = self.operation_names.index(operation)
        blocks = [list(block) for block in genotype.blocks]
        change = getattr(self, f"_{kind}")
        changed = change(blocks, index, rng)
        return self._valid(Genotype(tuple(map(tuple, changed))), index)

    def shrink(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        """Take channels from an operation; of a cell with several nodes sometimes take a node."""
        removes = genotype.n_nodes > 1 and rng.random() < REMOVED
        kind = "remove_node" if removes else "shrink"
        return self.mutate(genotype, kind, self.operation_names[0], rng)

    def for_images(self, image_size: tuple[int, int]) -> CellSpace:
        """Return a space that halves images while their smaller side is above `LARGEST_SIDE`.

        It is the same space where it halves such images as often already, where `halvings` was
        given, and without a stem, as in the paper. A class of a user's own decides for itself.
        """
        if not (self._by_images and self.stem and type(self) is CellSpace):
            return self
        halvings, side = 0, min(image_size)
        while side > LARGEST_SIDE:
            halvings, side = halvings + 1, (side + 1) // 2
        if halvings == (self.halvings or 0):
            return self
        space = copy.copy(self)
        space.halvings = halvings or None
        return space

    def build(self, genotype: Genotype, in_channels: int, n_classes: int) -> nn.Module:
        """Build the `CellNetwork` that has this cell at every stage, without a stem.

        For `correlation` and `steadiness`, the gradients at the images tell a cell that blurs from
        a cell that does not. Behind a stem that whitens, they are rough for every cell.

        Raises:
            NetworkError: the output is not connected to the input.
            OperationError: an operation cannot make the channel counts.
        """
        return self.build_body([genotype] * self.n_cells, in_channels, n_classes)

    def build_cell(self, genotype: Genotype, in_channels: int) -> Cell:
        """Build the cell alone."""
        return self._cell(genotype, in_channels)

    def build_final(
        self, genotypes: Sequence[Genotype], in_channels: int, n_classes: int
    ) -> nn.Module:
        """Build the `CellNetwork` of these cells, in this order, wider from stage to stage."""
        halvings = self.halvings or 0
        stem: nn.Module | None = None
        if self.stem:
            stem = ReducingStem(in_channels, halvings) if halvings else PatchStem(in_channels)
        stages = self._stages(genotypes)
        return CellNetwork(stages, in_channels, n_classes, stem=stem, halvings=halvings)

    def build_body(
        self, genotypes: Sequence[Genotype], in_channels: int, n_classes: int
    ) -> nn.Module:
        """Build the network of `build_final`, but let the first cell see the images themselves."""
        stages = self._stages(genotypes)
        return CellNetwork(stages, in_channels, n_classes, halvings=self.halvings or 0)

    def settings(self) -> dict[str, Any]:
        """Return plain values for `config.json`, with operations by name.

        "halvings" is None where the images decide, whatever their size is now. Without "halvings"
        there are none: earlier versions never halved images before the cells. "widths" and
        "shortcut" are there only where they were given.
        """
        halvings: dict[str, int | None] = {"halvings": self.halvings} if self.halvings else {}
        # The constructor of a user's own class need not take the argument.
        if self._by_images and type(self) is CellSpace:
            halvings = {"halvings": None}
        widths = {} if self.widths is None else {"widths": list(self.widths)}
        shortcut = {"shortcut": True} if self.shortcut else {}
        return halvings | {
            "space": "cell",
            "operations": list(self.operation_names),
            "max_nodes": self.max_nodes,
            "max_channels": self.max_channels,
            "channel_step": self.channel_step,
            "n_cells": self.n_cells,
            "widening": self.widening,
            "sample_nodes": self.sample_nodes,
            "sample_operations": self.sample_operations,
            "reduction": self.reduction,
            "stem": self.stem,
            **widths,
            **shortcut,
        }

    def _stages(self, genotypes: Sequence[Genotype]) -> list[Callable[[int], Cell]]:
        widths = self.widths or tuple(self.widening**stage for stage in range(3))
        return [
            partial(self._cell, genotype, width=widths[min(stage, len(widths) - 1)])
            for stage, genotype in enumerate(genotypes)
        ]

    def _cell(self, genotype: Genotype, in_channels: int, width: float = 1) -> Cell:
        reduces = self.reduction == "inside"
        return Cell(
            genotype,
            self.operations,
            in_channels,
            width,
            reduces=reduces,
            shortcut=self.shortcut,
        )

    def _valid(self, genotype: Genotype, fallback_operation: int) -> Genotype:
        return repair(genotype, fallback_operation, channels=self.channel_step)

    def _random_step(self, rng: np.random.Generator, room: int | None = None) -> int:
        """Draw a small channel count: one or two steps, as many as fit `room` (max_channels)."""
        room = self.max_channels if room is None else room
        return min(int(rng.integers(1, 3)), room // self.channel_step) * self.channel_step

    def _grow(self, blocks: _Blocks, index: int, rng: np.random.Generator) -> _Blocks:
        """Add channels of one operation in one block."""
        block = blocks[rng.integers(len(blocks))]
        block[index] += self._random_step(rng, room=self.max_channels - block[index])
        return blocks

    def _shrink(self, blocks: _Blocks, _: int, rng: np.random.Generator) -> _Blocks:
        """Take channels from one used operation, or remove the operation altogether."""
        used = [(b, o) for b, block in enumerate(blocks) for o, count in enumerate(block) if count]
        block, operation = used[rng.integers(len(used))] if used else (0, 0)
        left = blocks[block][operation] - self._random_step(rng)
        blocks[block][operation] = max(0, left)
        return blocks

    def _swap(self, blocks: _Blocks, _: int, rng: np.random.Generator) -> _Blocks:
        """Exchange two blocks."""
        if len(blocks) > 1:
            first, second = rng.permutation(len(blocks))[:2]
            blocks[first], blocks[second] = blocks[second], blocks[first]
        return blocks

    def _add_node(self, blocks: _Blocks, index: int, rng: np.random.Generator) -> _Blocks:
        """Insert a node before the output, between the output and a random earlier node."""
        n_nodes = n_nodes_of(len(blocks))
        if n_nodes >= self.max_nodes:
            return blocks
        n_operations = len(blocks[0])
        inner = len(blocks) - n_nodes
        source = int(rng.integers(n_nodes))
        into_new = [[0] * n_operations for _ in range(n_nodes)]
        into_new[source][index] = self._random_step(rng)
        from_new = [0] * n_operations
        from_new[rng.integers(n_operations)] = self._random_step(rng)
        return [*blocks[:inner], *into_new, *blocks[inner:], from_new]

    def _remove_node(self, blocks: _Blocks, _: int, rng: np.random.Generator) -> _Blocks:
        """Remove one intermediate node with all its blocks."""
        n_nodes = n_nodes_of(len(blocks))
        if n_nodes == 1:
            return blocks
        gone = int(rng.integers(1, n_nodes))
        return [
            block
            for (source, target), block in zip(edges(n_nodes), blocks, strict=True)
            if gone not in (source, target)
        ]


def _checked_widths(widths: Sequence[float]) -> tuple[float, ...]:
    """Check factors of channel counts, one for each stage.

    Raises:
        SearchError: there is none, or one is no number over 0 and at most `WIDEST`.
    """
    if isinstance(widths, str) or not isinstance(widths, Sequence) or not widths:
        raise SearchError(
            f"search space: widths={widths!r}; expected a factor of the channel counts for each "
            "stage, such as (1, 1.5, 2)"
        )
    checked = tuple(positive("search space: widths", width) for width in widths)
    if max(checked) > WIDEST:
        raise SearchError(f"search space: widths={widths!r}; expected at most {WIDEST} each")
    return checked
