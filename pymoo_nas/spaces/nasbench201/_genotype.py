"""Genotypes of NAS-Bench-201: text, live operations, isomorphic cells (Dong 2020).

A cell has nodes 0 (its input) to 3 (its output) and one of five operations on every edge, so there
are 5⁶ = 15,625 cells. A node is the *sum* of the outputs of all operations that lead to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

from pymoo_nas.errors import GenotypeError
from pymoo_nas.spaces.cell._genotype import NO_NUMBER, Genotype, block_index, edges

N_NODES = 3
"""Number of nodes without the input; the last node is the output."""

EDGES = tuple(edges(N_NODES))
"""(source, target) in the order of the text: 0→1 | 0→2, 1→2 | 0→3, 1→3, 2→3."""

NONE = "none"
SKIP = "skip_connect"
OPERATION_NAMES = (NONE, SKIP, "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""Names of the five operations, in the published order."""


@dataclass(frozen=True, slots=True)
class NASBench201Genotype:
    """The operations of one cell: immutable, hashable.

    Args:
        operations: six of `OPERATION_NAMES`, in the order of `EDGES`.

    Raises:
        GenotypeError: the number of operations is not six, or an operation is unknown.

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
        """Read ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``, and no other form.

        Raises:
            GenotypeError: the text has another form; gives text, position (from 1) and what was
                expected.
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
        """Yield (source, operation) of every edge into a node, in the order of the text."""
        first = block_index(0, target)
        return enumerate(self.operations[first : first + target])

    def live_edges(self) -> tuple[int, ...]:
        """List the indices into `EDGES` of operations on a path from the input to the output."""
        return _live_edges(tuple(name != NONE for name in self.operations))

    def __float__(self) -> float:
        """Refuse to be a number, see `Genotype`.

        Raises:
            GenotypeError: always.
        """
        raise GenotypeError(NO_NUMBER.format(self))

    @property
    def is_connected(self) -> bool:
        """Whether the input reaches the output through operations other than ``none``."""
        return bool(self.live_edges())

    def isomorphism_key(self) -> str:
        """Write the output's sum as text; cells that Dong 2020 calls isomorphic have the same text.

        The text is that of the published ``Structure.to_unique_str(consider_zero=True)``: the input
        is ``0``; an operation on a node is ``(node)@operation``; a skip connection is the node
        itself; ``none``, and any operation on a node that is literally ``#``, is ``#``. The terms
        of a node are sorted and joined. This gives 6,466 keys for the 15,625 cells. But equal keys
        and equal functions are not the same:

        * Different cells may have the same key. A node that is used twice reads like two nodes of
          equal design, so conv(x) + conv(x) reads the same with one convolution and with two. 430
          classes hold such cells. Within any class the function is the same if all convolutions of
          a kind share their weights (and have no bias, so that zeros stay zeros).
        * Equal cells may have different keys. Every ``#`` counts as a term, so a node 2 that
          nothing reaches, ``#+#``, is not ``#``. Terms are not sorted again after a skip connection
          has joined two sums. The pooling of a sum is not the sum of poolings. Compared without
          these effects, but with shared weights told apart, there are 5,260 cells, and 5,044 if
          pooling counts as linear.
        """
        sums = ["0"]
        for target in range(1, N_NODES + 1):
            terms = (_term(name, sums[source]) for source, name in self.flows(target))
            sums.append("+".join(sorted(terms)))
        return sums[-1]

    def canonical(self) -> NASBench201Genotype:
        """Return the smallest cell with the same `isomorphism_key`.

        Cells are ordered by (1) the number of operations on no path from the input to the output,
        fewest first; (2) the convolution weights on such paths, *most* first; (3) the positions of
        the operations in `OPERATION_NAMES`. So superfluous operations are dropped. Two convolutions
        are preferred to one convolution that is used twice, because two can do whatever one can.

        >>> text = "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|"
        >>> print(NASBench201Genotype.parse(text).canonical())
        |none~0|+|nor_conv_1x1~0|none~1|+|nor_conv_1x1~0|none~1|skip_connect~2|
        """
        return _representatives()[self.isomorphism_key()]


@cache
def connected_representatives() -> tuple[NASBench201Genotype, ...]:
    """List the 6,461 canonical genotypes that are connected."""
    return tuple(genotype for genotype in _representatives().values() if genotype.is_connected)


_KERNEL_SIZES = {"nor_conv_1x1": 1, "nor_conv_3x3": 9}
"""Weights of a convolution per pair of channels."""


def _expect(text: str, position: int, token: str) -> int:
    """Return the position after `token`, which must come next."""
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
    """Write the term that an edge adds to the sum of its target; see `isomorphism_key`."""
    if name == NONE or source == "#":
        return "#"
    return source if name == SKIP else f"({source})@{name}"


@cache
def _live_edges(used: tuple[bool, ...]) -> tuple[int, ...]:
    """List the used edges on a path from input to output, for one of 64 patterns of use."""
    nodes = Genotype(tuple((int(one),) for one in used)).live_nodes()
    return tuple(
        index
        for index, (source, target) in enumerate(EDGES)
        if used[index] and source in nodes and target in nodes
    )


def _rank(genotype: NASBench201Genotype) -> tuple[int, int, tuple[int, ...]]:
    """Return the sort key of `NASBench201Genotype.canonical`."""
    live = genotype.live_edges()
    dead = sum(name != NONE for name in genotype.operations) - len(live)
    weights = sum(_KERNEL_SIZES.get(genotype.operations[index], 0) for index in live)
    return dead, -weights, tuple(map(OPERATION_NAMES.index, genotype.operations))


@cache
def _representatives() -> dict[str, NASBench201Genotype]:
    """Map isomorphism key → canonical genotype, for all 15,625 cells; once, on first use."""
    every = map(NASBench201Genotype, product(OPERATION_NAMES, repeat=len(EDGES)))
    representatives: dict[str, NASBench201Genotype] = {}
    for genotype in sorted(every, key=_rank):
        representatives.setdefault(genotype.isomorphism_key(), genotype)
    return representatives
