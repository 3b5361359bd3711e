"""NAS-Bench-201 as a search space (Dong 2020, https://arxiv.org/abs/2001.00326).

A cell has nodes 0 (its input) to 3 (its output) and one of five operations on every edge, so there
are 5⁶ = 15,625 cells; a node is the *sum* of all that flows into it. Three stages of such cells,
with a residual reduction block between two stages, make the network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from pymoo_nas.errors import (
    DatasetError,
    GenotypeError,
    NetworkError,
    OperationError,
    PymooNasError,
    SearchError,
)
from pymoo_nas.genotype import Genotype, block_index, edges
from pymoo_nas.networks import check_size
from pymoo_nas.search_space import SearchSpace

N_NODES = 3
"""Nodes over the input; the last one is the output."""

N_STAGES = 3
"""Stages of the network; the map is halved and the width doubled between two of them."""

EDGES = tuple(edges(N_NODES))
"""(source, target) in the order of the text: 0→1 | 0→2, 1→2 | 0→3, 1→3, 2→3."""

NONE = "none"
SKIP = "skip_connect"
OPERATION_NAMES = (NONE, SKIP, "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""In the published order."""

TABLE_COLUMNS = ("arch", "cifar10_test", "params_m", "flops_m")


@dataclass(frozen=True, slots=True)
class NASBench201Genotype:
    """The operations of one cell: immutable, hashable.

    Args:
        operations: six of `OPERATION_NAMES`, in the order of `EDGES`.

    Raises:
        GenotypeError: another number of operations, or an unknown one.

    >>> text = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|"
    >>> NASBench201Genotype.parse(text).operations[2]
    'skip_connect'
    """

    operations: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.operations, tuple) or len(self.operations) != len(EDGES):
            raise GenotypeError(
                f"genotype {self.operations!r}: expected a tuple of {len(EDGES)} operation names; "
                "use NASBench201Genotype.parse for text"
            )
        for (source, target), name in zip(EDGES, self.operations, strict=True):
            if name not in OPERATION_NAMES:
                raise GenotypeError(
                    f"genotype {self.operations!r}: edge {source}→{target} holds {name!r}; "
                    f"expected one of {', '.join(OPERATION_NAMES)}"
                )

    @classmethod
    def parse(cls, text: str) -> NASBench201Genotype:
        """Read ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``, and nothing that differs from it.

        Raises:
            GenotypeError: with the text, the position (from 1) and what was expected there.
        """
        if not isinstance(text, str):
            raise GenotypeError(
                f"genotype: expected text such as |op~0|+|op~0|op~1|+|op~0|op~1|op~2|, got {text!r}"
            )
        position = 0
        operations = []
        for source, target in EDGES:
            if source == 0:
                position = _expect(text, position, "|" if target == 1 else "+|")
            name = re.split(r"[~|+]", text[position:], maxsplit=1)[0]
            if name not in OPERATION_NAMES:
                known = f"an operation ({', '.join(OPERATION_NAMES)})"
                raise _error_at(text, position, known, name)
            operations.append(name)
            position = _expect(text, position + len(name), f"~{source}|")
        if position < len(text):
            raise _error_at(text, position, "the end of the text", text[position:])
        return cls(tuple(operations))

    def __str__(self) -> str:
        return "+".join(
            "|" + "".join(f"{name}~{source}|" for source, name in self.flows(target))
            for target in range(1, N_NODES + 1)
        )

    def flows(self, target: int) -> Iterator[tuple[int, str]]:
        """(source, operation) of every edge into a node, in the order of the text."""
        first = block_index(0, target)
        return enumerate(self.operations[first : first + target])

    def live_edges(self) -> tuple[int, ...]:
        """Indices into `EDGES` of the operations on a path from the input to the output."""
        return _live_edges(tuple(name != NONE for name in self.operations))

    @property
    def is_connected(self) -> bool:
        """Whether the input reaches the output through operations other than ``none``."""
        return bool(self.live_edges())

    def isomorphism_key(self) -> str:
        """The sum that the output spells; equal for cells that Dong 2020 calls isomorphic.

        Written as in the published ``Structure.to_unique_str(consider_zero=True)``: the input is
        ``0``, an operation on a node ``(node)@operation``, a skip connection the node itself,
        ``none`` (and any operation on a node that is literally ``#``) is ``#``; the terms of a
        node are sorted and joined. This gives 6,466 keys for the 15,625 cells, but it is not
        equality of functions:

        * It joins cells that differ. A node used twice reads like two nodes of equal design, so
          conv(x) + conv(x) with one convolution and with two are the same. 430 classes hold such
          cells; within any class the function is the same if all convolutions of a kind share
          their weights (and are without bias, so that they make nothing of nothing).
        * It keeps equal cells apart: every ``#`` counts as a term, so a node 2 that nothing
          reaches, ``#+#``, is not ``#``; terms are not sorted again after a skip connection has
          joined two sums; the pooling of a sum is not the sum of poolings. Compared without these,
          but with shared weights told apart, there are 5,260 cells, and 5,044 when it is used
          that pooling is linear.
        """
        sums = ["0"]
        for target in range(1, N_NODES + 1):
            terms = (_term(name, sums[source]) for source, name in self.flows(target))
            sums.append("+".join(sorted(terms)))
        return sums[-1]

    def canonical(self) -> NASBench201Genotype:
        """The smallest cell of the same `isomorphism_key`.

        Cells are ordered by (1) how many operations lie on no path from the input to the output,
        fewest first; (2) the convolution weights on such paths, *most* first; (3) the tuple of
        positions of the operations in `OPERATION_NAMES`. So what is superfluous goes first, and of
        one convolution used twice and two convolutions the two are kept: among the 5,000 rows of
        the table, the cells with more weights are better in 79 % of the 129 pairs that share a key
        but not the number of weights, by 0.35 points of accuracy on average.

        >>> text = "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|"
        >>> print(NASBench201Genotype.parse(text).canonical())
        |none~0|+|nor_conv_1x1~0|none~1|+|nor_conv_1x1~0|none~1|skip_connect~2|
        """
        return _representatives()[self.isomorphism_key()]


class NASBench201Cell(nn.Module):
    """The cell that a genotype spells; every operation keeps channels and (H, W).

    Operations that cannot reach the output are built and run too, as in the published networks,
    whose parameters and FLOPs count them; only 177 canonical genotypes have any. ``none`` is no
    module at all.

    Attributes:
        out_channels: as many as the input has.
    """

    def __init__(self, genotype: NASBench201Genotype, channels: int) -> None:
        super().__init__()
        self.operations = nn.ModuleDict()
        self.inputs: dict[int, list[tuple[int, str]]] = {}
        for target in range(1, N_NODES + 1):
            self.inputs[target] = []
            for source, name in genotype.flows(target):
                if name != NONE:
                    key = f"{source}->{target} {name}"
                    self.operations[key] = _FACTORIES[name](channels)
                    self.inputs[target].append((source, key))
        self.out_channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H, W); zeros where nothing reaches the output."""
        nodes = [x]
        for flows in self.inputs.values():
            parts = [self.operations[key](nodes[source]) for source, key in flows]
            nodes.append(sum(parts[1:], start=parts[0]) if parts else torch.zeros_like(x))
        return nodes[-1]


class ProjectedCell(nn.Sequential):
    """A 1×1 convolution and batch norm to the channels of a cell, then the cell."""

    def __init__(self, in_channels: int, cell: NASBench201Cell) -> None:
        width = cell.out_channels
        super().__init__(nn.Conv2d(in_channels, width, 1, bias=False), nn.BatchNorm2d(width), cell)
        self.out_channels = width


class ReductionBlock(nn.Module):
    """Residual block of stride 2 between two stages: (N, C, H, W) → (N, 2C, ⌈H/2⌉, ⌈W/2⌉)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            relu_conv_bn(channels, 2 * channels, kernel=3, stride=2),
            relu_conv_bn(2 * channels, 2 * channels, kernel=3),
        )
        # Rounding up makes shortcut and branch agree on odd sizes; even ones are as published.
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(channels, 2 * channels, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Sum of branch and shortcut, without a ReLU: the next operation begins with one."""
        summed: Tensor = self.branch(x) + self.shortcut(x)
        return summed


class NASBench201Network(nn.Module):
    """The published skeleton around cells: images (N, C, H, W) → logits (N, n_classes).

    Args:
        genotypes: stage i is made of genotypes[i modulo their number]; those after the third are
            not used.
        in_channels: channels of the images.
        n_classes: number of logits.
        width: channels of the first stage, doubled twice.
        cells_per_stage: cells of each of the three stages.

    Raises:
        NetworkError: no genotype, or no channels or classes; in `forward`, images smaller than 4×4.
    """

    def __init__(
        self,
        genotypes: Sequence[NASBench201Genotype],
        in_channels: int,
        n_classes: int,
        *,
        width: int,
        cells_per_stage: int,
    ) -> None:
        super().__init__()
        if not genotypes:
            raise NetworkError("network: no genotype given; expected at least one")
        _check_positive(NetworkError, in_channels=in_channels, n_classes=n_classes)
        stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        body: list[nn.Module] = [stem, nn.BatchNorm2d(width)]
        for stage in range(N_STAGES):
            if stage > 0:
                body.append(ReductionBlock(width))
                width *= 2
            genotype = genotypes[stage % len(genotypes)]
            body += [NASBench201Cell(genotype, width) for _ in range(cells_per_stage)]
        self.body = nn.Sequential(*body, nn.BatchNorm2d(width), nn.ReLU())
        self.classifier = nn.Linear(width, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) → logits (N, n_classes)."""
        check_size(images)
        logits: Tensor = self.classifier(self.body(images).mean((2, 3)))
        return logits


class NASBench201Space(SearchSpace[NASBench201Genotype]):
    """All cells of NAS-Bench-201; see `NASBench201Genotype` for what counts as a duplicate.

    Args:
        width: channels of the first stage of the network that is scored.
        cells_per_stage: its cells per stage; one ranks as well as five, in a tenth of the time.
        final_width: channels of the first stage of the final network; 16 is the published one.
        final_cells_per_stage: its cells per stage; 5 is the published number.

    Raises:
        SearchError: a setting that is no positive integer.
    """

    operation_names = OPERATION_NAMES
    mutation_kinds: Mapping[str, float] = {"change": 0.8, "swap": 0.2}

    def __init__(
        self,
        *,
        width: int = 8,
        cells_per_stage: int = 1,
        final_width: int = 16,
        final_cells_per_stage: int = 5,
    ) -> None:
        self.width = width
        self.cells_per_stage = cells_per_stage
        self.final_width = final_width
        self.final_cells_per_stage = final_cells_per_stage
        _check_positive(SearchError, **vars(self))

    def parse(self, text: str) -> NASBench201Genotype:
        """See `NASBench201Genotype.parse`."""
        return NASBench201Genotype.parse(text)

    def format(self, genotype: NASBench201Genotype) -> str:
        """The text as the published tables write it."""
        return str(genotype)

    def canonical(self, genotype: NASBench201Genotype) -> NASBench201Genotype:
        """See `NASBench201Genotype.canonical`."""
        return genotype.canonical()

    def sample(self, rng: np.random.Generator) -> NASBench201Genotype:
        """One of the 6,461 connected canonical genotypes, each equally probable."""
        genotypes = _connected_representatives()
        return genotypes[rng.integers(len(genotypes))]

    def crossover(
        self, a: NASBench201Genotype, b: NASBench201Genotype, rng: np.random.Generator
    ) -> NASBench201Genotype:
        """The operation of each edge at random from either parent's.

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
        """The first, in random order, of all changes of a kind that leave a different, valid cell.

        "change" puts `operation` on one edge, "swap" exchanges the operations of two edges.

        Raises:
            SearchError: a kind that this space does not know.
            OperationError: an operation that this space does not know.
        """
        if kind not in self.mutation_kinds:
            raise SearchError(
                f"mutation {kind!r} is unknown; expected one of {', '.join(self.mutation_kinds)}"
            )
        if operation not in OPERATION_NAMES:
            raise OperationError(
                f"operation {operation!r} is not in this search space; "
                f"expected one of {', '.join(OPERATION_NAMES)}"
            )
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
        """The network to score, of `width` and `cells_per_stage`."""
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
        """One cell of `width` channels, behind a projection where the input has another number."""
        _check_positive(NetworkError, in_channels=in_channels)
        cell = NASBench201Cell(genotype, self.width)
        return cell if in_channels == self.width else ProjectedCell(in_channels, cell)

    def build_final(
        self, genotypes: Sequence[NASBench201Genotype], in_channels: int, n_classes: int
    ) -> NASBench201Network:
        """The network to train, of `final_width` and `final_cells_per_stage`.

        One genotype makes every cell; of several, stage i takes genotypes[i modulo their number].
        """
        return NASBench201Network(
            genotypes,
            in_channels,
            n_classes,
            width=self.final_width,
            cells_per_stage=self.final_cells_per_stage,
        )

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor, and the name of the space."""
        return {"space": "nasbench201", **vars(self)}


def relu_conv_bn(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """ReLU, k×k convolution without bias, batch norm: the order of Dong 2020."""
    convolution = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), convolution, nn.BatchNorm2d(c_out))


def load_table(path: str | Path) -> pd.DataFrame:
    """Read the trained accuracies: columns `TABLE_COLUMNS`, one row per cell.

    ``arch`` is the text of a genotype, ``cifar10_test`` the accuracy in %, ``params_m`` and
    ``flops_m`` millions of parameters and of multiply-accumulates.

    Raises:
        DatasetError: no readable CSV file there, a column missing, or a number that is none.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"table {path}: {error}; expected a CSV file with {', '.join(TABLE_COLUMNS)}"
        ) from error
    missing = [column for column in TABLE_COLUMNS if column not in table.columns]
    if missing:
        raise DatasetError(
            f"table {path}: no column {', '.join(missing)}; it has "
            f"{', '.join(map(str, table.columns))}; expected {', '.join(TABLE_COLUMNS)}"
        )
    table = table[list(TABLE_COLUMNS)]
    for column in TABLE_COLUMNS[1:]:
        if not pd.api.types.is_numeric_dtype(table[column]) or table[column].isna().any():
            raise DatasetError(f"table {path}: column {column} holds something that is no number")
    return table


_FACTORIES: Mapping[str, Callable[[int], nn.Module]] = MappingProxyType(
    {
        SKIP: lambda _: nn.Identity(),
        "nor_conv_1x1": lambda channels: relu_conv_bn(channels, channels, kernel=1),
        "nor_conv_3x3": lambda channels: relu_conv_bn(channels, channels, kernel=3),
        "avg_pool_3x3": lambda _: nn.AvgPool2d(3, 1, padding=1, count_include_pad=False),
    }
)
"""Operation → factory of a module that keeps so many channels and (H, W)."""

_KERNEL_SIZES = {"nor_conv_1x1": 1, "nor_conv_3x3": 9}
"""Weights of a convolution per pair of channels."""


def _expect(text: str, position: int, token: str) -> int:
    """The position after `token`, which must come next."""
    for char in token:
        if text[position : position + 1] != char:
            raise _error_at(text, position, repr(char), text[position : position + 1])
        position += 1
    return position


def _error_at(text: str, position: int, expected: str, got: str) -> GenotypeError:
    return GenotypeError(
        f"genotype {text!r}: at position {position + 1} expected {expected}, "
        f"got {repr(got[:40]) if got else 'nothing'}"
    )


def _term(name: str, source: str) -> str:
    """What an edge adds to the sum of its target; see `isomorphism_key`."""
    if name == NONE or source == "#":
        return "#"
    return source if name == SKIP else f"({source})@{name}"


@cache
def _live_edges(used: tuple[bool, ...]) -> tuple[int, ...]:
    """The used edges on a path from the input to the output, for one of 64 patterns of use."""
    nodes = Genotype(tuple((int(one),) for one in used)).live_nodes()
    return tuple(
        index
        for index, (source, target) in enumerate(EDGES)
        if used[index] and source in nodes and target in nodes
    )


def _rank(genotype: NASBench201Genotype) -> tuple[int, int, tuple[int, ...]]:
    """The order of `NASBench201Genotype.canonical`."""
    live = genotype.live_edges()
    dead = sum(name != NONE for name in genotype.operations) - len(live)
    weights = sum(_KERNEL_SIZES.get(genotype.operations[index], 0) for index in live)
    return dead, -weights, tuple(map(OPERATION_NAMES.index, genotype.operations))


@cache
def _representatives() -> dict[str, NASBench201Genotype]:
    """Isomorphism key → canonical genotype, for all 15,625; made once, on first use."""
    every = map(NASBench201Genotype, product(OPERATION_NAMES, repeat=len(EDGES)))
    representatives: dict[str, NASBench201Genotype] = {}
    for genotype in sorted(every, key=_rank):
        representatives.setdefault(genotype.isomorphism_key(), genotype)
    return representatives


@cache
def _connected_representatives() -> tuple[NASBench201Genotype, ...]:
    return tuple(genotype for genotype in _representatives().values() if genotype.is_connected)


def _connected(genotype: NASBench201Genotype, rng: np.random.Generator) -> NASBench201Genotype:
    """The canonical form; a cell that is not connected first gets a random operation on 0→3."""
    if not genotype.is_connected:
        operations = list(genotype.operations)
        operations[block_index(0, N_NODES)] = OPERATION_NAMES[rng.integers(1, len(OPERATION_NAMES))]
        genotype = NASBench201Genotype(tuple(operations))
    return genotype.canonical()


def _changes(genotype: NASBench201Genotype, operation: str) -> list[tuple[str, ...]]:
    """The operations with each one that differs from `operation` replaced by it."""
    names = genotype.operations
    return [
        (*names[:index], operation, *names[index + 1 :])
        for index, name in enumerate(names)
        if name != operation
    ]


def _swaps(genotype: NASBench201Genotype) -> list[tuple[str, ...]]:
    """The operations with each two that differ exchanged."""
    swapped = []
    for first, second in combinations(range(len(EDGES)), 2):
        names = list(genotype.operations)
        if names[first] != names[second]:
            names[first], names[second] = names[second], names[first]
            swapped.append(tuple(names))
    return swapped


def _check_positive(error: type[PymooNasError], **values: int) -> None:
    for name, value in values.items():
        if type(value) is not int or value < 1:
            raise error(f"NAS-Bench-201: {name}={value!r}; expected an integer of at least 1")
