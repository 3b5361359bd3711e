"""The interface of a search space, which the problem, the operators and the tournament use.

Every genotype that a space makes is valid (its output is connected to its input, it lies within the
limits) and canonical (equal networks have equal genotypes).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import numpy as np
from torch import nn

from pymoo_nas.errors import OperationError, SearchError

G = TypeVar("G", bound=Hashable)


class SearchSpace(ABC, Generic[G]):
    """A set of genotypes (immutable, hashable, of type G) with their variation and their networks.

    A user's own space has `parse`, `format`, `sample`, `crossover`, `mutate` and `build`.
    Everything else is optional. A space whose networks are made of cells also has `build_final`,
    which takes several genotypes, and `build_cell`, which a tournament needs. Without
    `build_final`, `n_cells` is 1 and no other number of cells is accepted.

    A run folder keeps the name of the class (``module:Class``), if it can be imported, and the
    `settings` of the space.

    Attributes:
        operation_names: candidate operations, in the order of the genotype.
        mutation_kinds: kind of mutation → its share before anything has been learned.
        placing_kinds: kinds of mutation that put a given operation somewhere.
        n_cells: number of cells in sequence in the scored network, and in the final network.
        any_n_cells: whether the final network may have more or fewer cells.
        limits_final: whether a search counts and limits the final network. Where this is false, it
            counts the scored network; a final network of several cells is then not checked again.
        chosen_by_gradients: whether `choose` goes by the gradients of the final network unless told
            otherwise; for spaces where these are known to tell what trains well.
        halvings: how often the networks halve images before the first cell, and a tournament
            before its first slot; None is as 0.
    """

    any_n_cells: bool = True
    limits_final: bool = True
    chosen_by_gradients: bool = False
    operation_names: tuple[str, ...] = ()
    mutation_kinds: Mapping[str, float] = MappingProxyType({"change": 1.0})
    placing_kinds: frozenset[str] = frozenset()
    n_cells: int = 3
    halvings: int | None = None

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if cls.build_final is SearchSpace.build_final:
            cls.n_cells, cls.any_n_cells = 1, False
        elif getattr(super(cls, cls), "build_final", None) is SearchSpace.build_final:
            # A class above it has no final network, and so one cell; this one begins anew.
            for name in ("n_cells", "any_n_cells"):
                if name not in vars(cls):
                    setattr(cls, name, getattr(SearchSpace, name))

    @classmethod
    def looks_like(cls, text: str) -> bool:
        """Tell whether a text is meant as a genotype of this space, well-formed or not.

        Only the package's own spaces are asked, for a text that may also be the name of a model.
        """
        del text
        return False

    @abstractmethod
    def parse(self, text: str) -> G:
        """Read a genotype as it is written; it is neither repaired nor made canonical.

        Raises:
            GenotypeError: the text is malformed; gives text, position and what was expected.
        """

    @abstractmethod
    def format(self, genotype: G) -> str:
        """Write a genotype as text: ``parse(format(g)) == g``."""

    def canonical(self, genotype: G) -> G:
        """Return the genotype that stands for all genotypes of one network; by default itself."""
        return genotype

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> G:
        """Draw a random genotype, valid and canonical."""

    @abstractmethod
    def crossover(self, a: G, b: G, rng: np.random.Generator) -> G:
        """Make a child that takes each of its parts from a random parent; valid and canonical."""

    @abstractmethod
    def mutate(self, genotype: G, kind: str, operation: str, rng: np.random.Generator) -> G:
        """Change a genotype; the child is valid and canonical.

        Where `kind` cannot be applied, the child is the same genotype.

        Args:
            genotype: the parent, which is not changed.
            kind: one of `mutation_kinds`.
            operation: one of `operation_names`, for the kinds that put an operation somewhere; ""
                where the space has no operations.
            rng: the only source of randomness.
        """

    def shrink(self, genotype: G, rng: np.random.Generator) -> G:
        """Change a genotype so that its network is likely to be smaller, for searches under limits.

        By default this is a random mutation. A repair takes it back where the network is larger.
        """
        kind = str(rng.choice(list(self.mutation_kinds)))
        operations = self.operation_names
        operation = str(rng.choice(list(operations))) if operations else ""
        return self.mutate(genotype, kind, operation, rng)

    def check_mutation(self, kind: str, operation: str) -> None:
        """Refuse a mutation that `mutate` cannot do.

        Raises:
            SearchError: this space does not know the kind.
            OperationError: this space does not know the operation.
        """
        if kind not in self.mutation_kinds:
            raise SearchError(
                f"mutation {kind!r} is unknown; expected one of {', '.join(self.mutation_kinds)}"
            )
        if operation not in (self.operation_names or ("",)):
            raise OperationError(
                f"operation {operation!r} is not in this search space; "
                f"expected one of {', '.join(self.operation_names)}"
            )

    def for_images(self, image_size: tuple[int, int]) -> SearchSpace[G]:
        """Return the space whose networks suit images of (H, W) pixels; by default itself.

        A problem, and an `Architecture` that is built, take this space in place of the given one.
        """
        del image_size
        return self

    @abstractmethod
    def build(self, genotype: G, in_channels: int, n_classes: int) -> nn.Module:
        """Build the network to score: (N, in_channels, H, W) → logits (N, n_classes).

        A genotype that has no network raises `NetworkError`, or an error such as ValueError, which
        is taken for one: the candidate is then degenerate, with the error as the reason.
        """

    def build_final(self, genotypes: Sequence[G], in_channels: int, n_classes: int) -> nn.Module:
        """Build the network to train: these cells in sequence (Fig. 3).

        By default this is the network of `build`, which has no cells.

        Raises:
            SearchError: by default, there is not exactly one genotype.
        """
        if len(genotypes) != 1:
            raise SearchError(_no_cells(self, len(genotypes)))
        return self.build(genotypes[0], in_channels, n_classes)

    def build_body(self, genotypes: Sequence[G], in_channels: int, n_classes: int) -> nn.Module:
        """Build the network to train without its stem, so that its cells see the images."""
        return self.build_final(genotypes, in_channels, n_classes)

    def build_cell(self, genotype: G, in_channels: int) -> nn.Module:
        """Build one cell for a slot of `TournamentNetwork`, with an attribute ``out_channels``.

        Raises:
            SearchError: by default, since a space need not have cells.
        """
        del genotype, in_channels
        raise SearchError(_no_slots(self))

    def check_n_cells(self, n_cells: int) -> None:
        """Refuse a number of cells that the final network cannot have.

        Raises:
            SearchError: the number is not `n_cells`, and the space allows no other.
        """
        if n_cells == self.n_cells or self.any_n_cells:
            return
        if type(self).build_final is SearchSpace.build_final:
            raise SearchError(_no_cells(self, n_cells))
        raise SearchError(
            f"{n_cells} cells: networks of this search space have {self.n_cells} stages; leave "
            "--cells (n_cells) out"
        )

    def check_slots(self) -> None:
        """Refuse a tournament where there are no cells to compete.

        Raises:
            SearchError: the space does not override `build_cell`.
        """
        if type(self).build_cell is SearchSpace.build_cell:
            raise SearchError(_no_slots(self))

    def settings(self) -> dict[str, Any]:
        """Return the arguments of the constructor that make this space again, as JSON values.

        By default these are all attributes of the instance without a leading underscore.
        """
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


def _no_cells(space: SearchSpace[Any], n_cells: int) -> str:
    return (
        f"{n_cells} cells: a network of {type(space).__name__} is one piece, not made of cells; "
        "leave --cells (n_cells) out, or give the class build_final"
    )


def _no_slots(space: SearchSpace[Any]) -> str:
    return (
        f"tournament: {type(space).__name__} has no cells that could compete; leave it out "
        "(--tournament-every 0, no DartsTournament), or give the class build_cell"
    )
