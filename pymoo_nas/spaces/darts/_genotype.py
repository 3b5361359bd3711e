"""Genotypes of DARTS: text, connection, isomorphic cells (Liu 2018).

A genotype is a normal and a reduction cell. Nodes 0 and 1 of a cell are the outputs of the two
cells before it, nodes 2 to 5 are the *sum* of two operations on earlier nodes each, and the output
is the concatenation of nodes 2 to 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, NamedTuple, TypeAlias

from pymoo_nas.errors import GenotypeError
from pymoo_nas.spaces.cell._genotype import NO_NUMBER

N_INPUTS = 2
"""Nodes that are outputs of earlier cells."""

NODES = (2, 3, 4, 5)
"""Inner nodes."""

N_EDGES = 2 * len(NODES)
"""Edges of a cell; edges 2i and 2i + 1 lead into ``NODES[i]``."""

NONE = "none"
SKIP = "skip_connect"
OPERATION_NAMES = (
    NONE,
    "max_pool_3x3",
    "avg_pool_3x3",
    SKIP,
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""In the published order."""

SYNTAX = "Genotype"
"""The word that every text begins with."""


class Edge(NamedTuple):
    """An operation on an earlier node.

    Attributes:
        operation: one of `OPERATION_NAMES`.
        source: the node that it takes.
    """

    operation: str
    source: int


CellEdges: TypeAlias = tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class DARTSGenotype:
    """The edges of both cells: immutable, hashable.

    Args:
        normal: eight edges of the cell that keeps the size of the map; pairs (operation, source).
        reduce: eight edges of the cell that halves it.

    Raises:
        GenotypeError: another number of edges, an unknown operation, or a source that is no earlier
            node.

    >>> edges = (("sep_conv_3x3", 0), ("skip_connect", 1)) * 4
    >>> DARTSGenotype(edges, edges).normal[1]
    Edge(operation='skip_connect', source=1)
    """

    normal: CellEdges
    reduce: CellEdges

    def __post_init__(self) -> None:
        for part in ("normal", "reduce"):
            object.__setattr__(self, part, _checked(part, getattr(self, part)))

    @classmethod
    def parse(cls, text: str) -> DARTSGenotype:
        """Read ``Genotype(normal=[('op', 0), …], normal_concat=[2, 3, 4, 5], reduce=[…], …)``.

        Spaces and line breaks may stand between all signs, a comma before each closing bracket.
        ``range(2, 6)`` is read as ``[2, 3, 4, 5]``, and quotes may be double. Nothing is evaluated.

        Raises:
            GenotypeError: with the text, the position (from 1) and what was expected there.
        """
        if not isinstance(text, str):
            raise GenotypeError(
                f"genotype: expected text such as {SYNTAX}(normal=[('skip_connect', 0), …], …), "
                f"got {text!r}"
            )
        return cls(*_Reader(text).cells())

    def __str__(self) -> str:
        concat = list(NODES)
        normal, reduce = ([tuple(edge) for edge in cell] for cell in (self.normal, self.reduce))
        return (
            f"{SYNTAX}(normal={normal}, normal_concat={concat}, "
            f"reduce={reduce}, reduce_concat={concat})"
        )

    def __float__(self) -> float:
        """See `pymoo_nas.Genotype`.

        Raises:
            GenotypeError: always.
        """
        raise GenotypeError(NO_NUMBER.format(self))

    @property
    def is_connected(self) -> bool:
        """Whether the output of each of both cells depends on its inputs."""
        return is_connected(self.normal) and is_connected(self.reduce)

    def canonical(self) -> DARTSGenotype:
        """The one genotype that stands for all that spell the same network.

        The two edges into a node may be in either order, the inner nodes in any order in which
        every edge comes from an earlier one, and the source of ``none`` does not matter. Of all
        these spellings of a cell the smallest is taken, compared by source, then by the place of
        the operation in `OPERATION_NAMES`. Networks of the same canonical form differ in the order
        of channels only, and have the same sizes.

        Operations on a node that is always zero stay: their batch norms have parameters.
        """
        return DARTSGenotype(canonical_cell(self.normal), canonical_cell(self.reduce))


def flows(cell: CellEdges) -> Iterator[tuple[int, CellEdges]]:
    """(node, its two edges) of every inner node, in order."""
    for place, node in enumerate(NODES):
        yield node, cell[2 * place : 2 * place + 2]


def target_of(index: int) -> int:
    """The node into which the edge at an index leads."""
    return NODES[index // 2]


def is_connected(cell: CellEdges) -> bool:
    """Whether any inner node depends on an input of the cell."""
    reached = set(range(N_INPUTS))
    for node, edges in flows(cell):
        if any(edge.operation != NONE and edge.source in reached for edge in edges):
            reached.add(node)
    return len(reached) > N_INPUTS


def canonical_cell(cell: CellEdges) -> CellEdges:
    """See `DARTSGenotype.canonical`."""
    cell = tuple(Edge(NONE, 0) if edge.operation == NONE else edge for edge in cell)
    spellings = (_renumbered(cell, order) for order in permutations(range(len(NODES))))
    return min(filter(None, spellings), key=lambda spelling: list(map(_key, spelling)))


def _key(edge: Edge) -> tuple[int, int]:
    return edge.source, OPERATION_NAMES.index(edge.operation)


def _renumbered(cell: CellEdges, order: Sequence[int]) -> CellEdges:
    """The cell with the inner node at ``order[i]`` put at place i; empty if an edge runs back."""
    names = {node: node for node in range(N_INPUTS)}
    renumbered: list[Edge] = []
    for node, old in zip(NODES, order, strict=True):
        pair = cell[2 * old : 2 * old + 2]
        if not all(edge.source in names for edge in pair):
            return ()
        renumbered += sorted((Edge(name, names[source]) for name, source in pair), key=_key)
        names[NODES[old]] = node
    return tuple(renumbered)


def _checked(part: str, cell: Any) -> CellEdges:
    """The edges of a cell as `Edge`.

    Raises:
        GenotypeError: they are no cell.
    """
    if not isinstance(cell, tuple) or len(cell) != N_EDGES:
        raise GenotypeError(
            f"genotype: {part}={cell!r}; expected a tuple of {N_EDGES} pairs (operation, source); "
            "use DARTSGenotype.parse for text"
        )
    edges = []
    for index, pair in enumerate(cell):
        if not isinstance(pair, tuple) or len(pair) != 2 or pair[0] not in OPERATION_NAMES:
            raise GenotypeError(
                f"genotype: {part}[{index}] is {pair!r}; expected (operation, source), the "
                f"operation one of {', '.join(OPERATION_NAMES)}"
            )
        if type(pair[1]) is not int or not 0 <= pair[1] < target_of(index):
            raise GenotypeError(
                f"genotype: {part}[{index}] is {tuple(pair)!r}; expected a source from 0 to "
                f"{target_of(index) - 1}, a node before node {target_of(index)}"
            )
        edges.append(Edge(*pair))
    return tuple(edges)


_TOKEN = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|\w+|\S", re.ASCII)
"""A text in quotes, a name or a number, or any single sign."""

_QUOTED = {f"{quote}{name}{quote}": name for name in OPERATION_NAMES for quote in "'\""}
"""How an operation is written → its name."""


class _Reader:
    """Reads the text of a genotype from its beginning, token by token."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [(found.group(), found.start()) for found in _TOKEN.finditer(text)]
        self.place = 0

    def cells(self) -> tuple[CellEdges, CellEdges]:
        """Normal and reduction cell, up to the end of the text."""
        self._take(SYNTAX, "(")
        normal = self._cell("normal")
        self._take(",")
        reduce = self._cell("reduce")
        self._close(")")
        if self._next():
            raise self._error("the end of the text")
        return normal, reduce

    def _cell(self, part: str) -> CellEdges:
        """The edges of a cell, and its concatenation, which is always the same."""
        self._take(part, "=", "[")
        edges = []
        for index in range(N_EDGES):
            self._take(*([","] if index else []), "(")
            operation = self._one_of(_QUOTED, f"an operation ({', '.join(OPERATION_NAMES)})")
            self._take(",")
            last = target_of(index) - 1
            sources = {str(node): node for node in range(last + 1)}
            source = self._one_of(
                sources, f"a source from 0 to {last}, a node before node {target_of(index)}"
            )
            self._close(")")
            edges.append(Edge(operation, source))
        self._close("]")
        self._take(",", f"{part}_concat", "=")
        if self._next() == "range":
            self._take("range", "(", str(NODES[0]), ",", str(NODES[-1] + 1), ")")
        else:
            self._take("[", *", ".join(map(str, NODES)).replace(",", " ,").split())
            self._close("]")
        return tuple(edges)

    def _next(self, further: int = 0) -> str:
        """The token that comes next, or so many further on; "" at the end."""
        place = self.place + further
        return self.tokens[place][0] if place < len(self.tokens) else ""

    def _take(self, *tokens: str) -> None:
        """Go on behind these tokens, which must come next."""
        for token in tokens:
            if self._next() != token:
                raise self._error(repr(token))
            self.place += 1

    def _close(self, bracket: str) -> None:
        """Go on behind a closing bracket, before which a comma may stand."""
        if (self._next(), self._next(1)) == (",", bracket):
            self.place += 1
        self._take(bracket)

    def _one_of(self, values: dict[str, Any], expected: str) -> Any:
        """The value of the token that comes next."""
        token = self._next()
        if token not in values:
            raise self._error(expected)
        self.place += 1
        return values[token]

    def _error(self, expected: str) -> GenotypeError:
        got = self._next()
        start = self.tokens[self.place][1] if got else len(self.text)
        return GenotypeError(
            f"genotype {self.text!r}: at position {start + 1} expected {expected}, "
            f"got {got[:40] if got else 'nothing'}"
        )
