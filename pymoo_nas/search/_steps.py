"""The steps that made a child, as individuals and tables hold them."""

from __future__ import annotations

from typing import NamedTuple


class MutationStep(NamedTuple):
    """One change of a genotype.

    Attributes:
        kind: one of the space's ``mutation_kinds``.
        operation: the operation that was placed; empty for kinds that place none.
    """

    kind: str
    operation: str = ""


class MutationSteps(tuple[MutationStep, ...]):
    """The changes that made a child, in order; tables hold their text.

    >>> str(MutationSteps([MutationStep("grow", "conv3x3"), MutationStep("swap")]))
    'grow:conv3x3;swap'
    """

    __slots__ = ()

    def __str__(self) -> str:
        return ";".join(":".join(filter(None, step)) for step in self)
