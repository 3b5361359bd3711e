"""The genotype of a cell (Fig. 1 of the paper): channel counts, written as text.

A cell has its input (node 0), further nodes ``1..n``, and one *block* for every pair of nodes, in
the order 0→1 | 0→2, 1→2 | 0→3, 1→3, 2→3 | … A block holds one channel count per candidate
operation, in the order of the search space; 0 means that the operation is not used.

Text form: blocks separated by ``|``. When every count is a digit, a block is written compactly
(``5000|0001|0800``); otherwise all blocks are written with commas (``16,0,0,0|0,0,0,1|0,8,0,0``).
A block of only one operation then ends with a comma (``16,``). Both forms are read, also mixed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pymoo_nas.errors import GenotypeError

MAX_CHANNELS = 4096
"""Largest channel count that any genotype may hold; a search space usually allows far fewer."""

MAX_NODES = 8
"""Largest number of nodes: the canonical form compares all orders of the intermediate nodes."""

Block = tuple[int, ...]


NO_NUMBER = (
    "genotype {}: asked for a number; give the algorithm operators that know genotypes: "
    "crossover=GenotypeCrossover(), mutation=GenotypeMutation(), "
    "eliminate_duplicates=GenotypeDuplicates()"
)
"""Error message for pymoo's default operators, which compute with numbers."""


@dataclass(frozen=True, slots=True, order=True)
class Genotype:
    """The design of one cell: immutable, hashable, ordered.

    Args:
        blocks: n(n+1)/2 blocks in the order of `edges`, each with one channel count per operation.

    Raises:
        GenotypeError: the blocks fill no whole number of nodes, have different lengths, or hold
            something other than an integer from 0 to `MAX_CHANNELS`.

    >>> genotype = Genotype.parse("5000|0001|0800")
    >>> genotype.n_nodes, genotype.n_operations
    (2, 4)
    >>> str(Genotype(((16, 0), (0, 0), (0, 8))))
    '16,0|0,0|0,8'
    """

    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.blocks, tuple) or not all(isinstance(b, tuple) for b in self.blocks):
            raise GenotypeError(
                f"genotype: expected a tuple of tuples of channel counts, got {self.blocks!r}; "
                "use Genotype.parse for text"
            )
        _check_shape([len(block) for block in self.blocks], shown=repr(self.blocks))
        for index, block in enumerate(self.blocks):
            for count in block:
                if type(count) is not int or not 0 <= count <= MAX_CHANNELS:
                    raise GenotypeError(
                        f"genotype {self.blocks!r}: block {index + 1} holds {count!r}; "
                        f"expected an integer from 0 to {MAX_CHANNELS}"
                    )

    @classmethod
    def parse(cls, text: str, n_operations: int | None = None) -> Genotype:
        """Read a genotype from text.

        Args:
            text: compact digits or comma-separated counts, blocks separated by ``|``.
            n_operations: number of counts that each block must have; None takes the number in the
                first block.

        Raises:
            GenotypeError: the text is malformed; gives text, position and what was expected.
        """
        if not isinstance(text, str):
            raise GenotypeError(f"genotype: expected text such as 5000|0001|0800, got {text!r}")
        blocks: list[Block] = []
        position = 0
        for part in text.split("|"):
            block = _parse_block(text, position, part)
            expected = n_operations or len(blocks[0] if blocks else block)
            if len(block) != expected:
                raise _error_at(
                    text,
                    position,
                    f"{expected} channel counts, one per operation, as in every block",
                    f"{len(block)} ({part!r})",
                )
            blocks.append(block)
            position += len(part) + 1
        _check_shape([len(block) for block in blocks], shown=text)
        return cls(tuple(blocks))

    def __str__(self) -> str:
        if all(count <= 9 for block in self.blocks for count in block):
            return "|".join("".join(map(str, block)) for block in self.blocks)
        comma = "," if self.n_operations == 1 else ""
        return "|".join(",".join(map(str, block)) + comma for block in self.blocks)

    def __float__(self) -> float:
        """Refuse to be a number; pymoo's default operators ask for it.

        Raises:
            GenotypeError: always.
        """
        raise GenotypeError(NO_NUMBER.format(self))

    @property
    def n_nodes(self) -> int:
        """Number of nodes without the input; the last node is the output."""
        return n_nodes_of(len(self.blocks))

    @property
    def n_operations(self) -> int:
        """Number of channel counts per block."""
        return len(self.blocks[0])

    @property
    def n_channels(self) -> int:
        """Sum of all channel counts."""
        return sum(map(sum, self.blocks))

    def block(self, source: int, target: int) -> Block:
        """Return the block from one node to a later node."""
        return self.blocks[block_index(source, target)]

    def items(self) -> Iterator[tuple[int, int, Block]]:
        """Yield (source, target, block) in the order of the text."""
        for (source, target), block in zip(edges(self.n_nodes), self.blocks, strict=True):
            yield source, target, block

    def live_nodes(self) -> list[int]:
        """List the nodes that lie on a path from the input to the output, ascending.

        The list is empty when no path connects input and output.
        """
        used = [(source, target) for source, target, block in self.items() if any(block)]
        forward = {0}
        for source, target in used:
            if source in forward:
                forward.add(target)
        backward = {self.n_nodes}
        for source, target in reversed(used):
            if target in backward:
                backward.add(source)
        return sorted(forward & backward) if self.n_nodes in forward else []

    @property
    def is_connected(self) -> bool:
        """Whether a path leads from the input to the output."""
        return bool(self.live_nodes())

    def canonical(self) -> Genotype:
        """Return the genotype that stands for all genotypes of the same network.

        Nodes that lie on no path from the input to the output are dropped. The other nodes are
        numbered in the topological order that gives the smallest tuple of blocks. A genotype whose
        output is not connected becomes one block of zeros.

        >>> str(Genotype.parse("0000|0003|0800").canonical())
        '0003'
        """
        live = self.live_nodes()
        if not live:
            return Genotype(((0,) * self.n_operations,))
        inner, output = live[1:-1], live[-1]
        return min(
            self._renumbered((0, *order, output))
            for order in itertools.permutations(inner)
            if self._is_topological(order)
        )

    def _is_topological(self, order: Sequence[int]) -> bool:
        return not any(
            earlier > later and any(self.block(later, earlier))
            for earlier, later in itertools.combinations(order, 2)
        )

    def _renumbered(self, order: Sequence[int]) -> Genotype:
        """Give node `order[i]` the number i in the same cell; unused directions hold zeros."""
        nothing = (0,) * self.n_operations
        return Genotype(
            tuple(
                self.block(order[source], order[target])
                if order[source] < order[target]
                else nothing
                for source, target in edges(len(order) - 1)
            )
        )


def repair(genotype: Genotype, fallback_operation: int = 0, channels: int = 1) -> Genotype:
    """Make a genotype valid: canonical, with its output connected to its input.

    Where no path reaches the output, the last node that the input reaches is joined to the output
    by `channels` channels of the operation at `fallback_operation`. The result is canonical; a
    connected genotype is only brought into canonical form.

    >>> str(repair(Genotype.parse("0500|0000|0000"), fallback_operation=2, channels=3))
    '0500|0000|0030'
    """
    if not genotype.is_connected:
        reached = {0}
        for source, target, block in genotype.items():
            if source in reached and any(block):
                reached.add(target)
        joint = [0] * genotype.n_operations
        joint[fallback_operation] = channels
        blocks = list(genotype.blocks)
        blocks[block_index(max(reached), genotype.n_nodes)] = tuple(joint)
        genotype = Genotype(tuple(blocks))
    return genotype.canonical()


def edges(n_nodes: int) -> list[tuple[int, int]]:
    """List (source, target) of every block of a cell, in the order of the text.

    >>> edges(2)
    [(0, 1), (0, 2), (1, 2)]
    """
    return [(source, target) for target in range(1, n_nodes + 1) for source in range(target)]


def block_index(source: int, target: int) -> int:
    """Find the position of the block from one node to a later node."""
    return target * (target - 1) // 2 + source


def n_nodes_of(n_blocks: int) -> int:
    """Count the nodes of a cell with so many blocks, rounded down."""
    return (math.isqrt(8 * n_blocks + 1) - 1) // 2


def _parse_block(text: str, start: int, part: str) -> Block:
    if not part:
        raise _error_at(text, start, "a block of channel counts", "nothing")
    numbers: Iterable[str]
    if "," in part:
        # Only a single count ends with a comma: "8,4," may be a block whose last count is missing.
        numbers = (part.removesuffix(",") if part.count(",") == 1 else part).split(",")
        step = 1
    else:
        numbers = part
        step = 0
    counts = []
    position = start
    for number in numbers:
        if not (number.isascii() and number.isdigit()):
            raise _error_at(text, position, "a channel count", repr(number))
        if len(number) > 1 and number[0] == "0":
            raise _error_at(text, position, "a channel count without leading zeros", number[:20])
        # The length is checked first: Python refuses to convert thousands of digits.
        if len(number) > len(str(MAX_CHANNELS)) or int(number) > MAX_CHANNELS:
            raise _error_at(text, position, f"at most {MAX_CHANNELS} channels", number[:20])
        counts.append(int(number))
        position += len(number) + step
    return tuple(counts)


def _check_shape(lengths: list[int], shown: str) -> None:
    n_blocks = len(lengths)
    nodes = n_nodes_of(n_blocks)
    if n_blocks == 0 or nodes * (nodes + 1) // 2 != n_blocks:
        raise GenotypeError(
            f"genotype {shown}: {n_blocks} blocks; expected n(n+1)/2 of them: 1 for one node, "
            "3 for two, 6 for three, 10 for four, …"
        )
    if nodes > MAX_NODES:
        raise GenotypeError(f"genotype {shown[:60]}…: {nodes} nodes; expected at most {MAX_NODES}")
    if len(set(lengths)) > 1 or lengths[0] == 0:
        raise GenotypeError(
            f"genotype {shown}: blocks of {lengths} counts; "
            "expected the same number, one per operation, in each"
        )


def _error_at(text: str, position: int, expected: str, got: str) -> GenotypeError:
    return GenotypeError(
        f"genotype {text!r}: at position {position + 1} expected {expected}, got {got}"
    )
