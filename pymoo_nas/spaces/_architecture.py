"""What a network is built from: genotypes of a search space, or the name of a model.

An `Architecture` builds every network that is made of it. It describes itself in plain values, from
which it is made again: ``training.json`` keeps them beside the weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import nn

from pymoo_nas._machine import seeded
from pymoo_nas.errors import SearchError
from pymoo_nas.spaces._base import SearchSpace
from pymoo_nas.spaces._by_name import SPACES, space_description, space_from_settings, space_of_text
from pymoo_nas.spaces._models import build_model

ROLES = ("scored", "counted", "trained", "body", "slot")
"""What a network is built for: to be scored untrained; to be counted, for sizes and limits; to be
trained; to see what comes of gradients in its cells when they are trained, without a stem; and for
the slot of a tournament, which takes one cell."""

_ATTRIBUTE = "pymoo_nas_origin"


class Images(Protocol):
    """What a network is built for; a `Dataset` is one."""

    @property
    def in_channels(self) -> int:
        """Channels of the images, or of the maps that a slot takes."""

    @property
    def n_classes(self) -> int:
        """Number of classes."""


@dataclass(frozen=True, eq=False)
class Architecture:
    """Cells of a search space in sequence, or a model by its name.

    Attributes:
        space: of the genotypes; None for a model.
        genotypes: of the cells, in order; of a space without cells one.
        model: the name, or the text of the genotype, by which it was asked for; "" where it was
            not.
    """

    space: SearchSpace[Any] | None
    genotypes: tuple[Any, ...]
    model: str = ""

    @classmethod
    def of(cls, space: SearchSpace[Any], genotype: Any) -> Architecture:
        """One genotype at every stage."""
        return cls(space, (genotype,) * space.n_cells)

    @classmethod
    def of_cells(cls, space: SearchSpace[Any], genotypes: Sequence[Any]) -> Architecture:
        """These cells, in this order.

        Raises:
            SearchError: none, or a number that the networks of the space cannot have.
        """
        if not genotypes:
            raise SearchError("no genotypes given; expected at least one")
        space.check_n_cells(len(genotypes))
        return cls(space, tuple(genotypes))

    @classmethod
    def read(cls, text: str, space: SearchSpace[Any] | None = None) -> Architecture:
        """An architecture by its name.

        Args:
            text: a genotype (``5000|0001|0800``), a NAS-Bench-201 cell (``|nor_conv_3x3~0|+|…``),
                or any other name, see `build_model`.
            space: of the genotypes. Of a user's own, it reads every text; None takes that of the
                package's spaces which the text looks like.

        Raises:
            GenotypeError: a malformed genotype.
        """
        if space is not None and type(space) not in SPACES.values():
            return replace(cls.of(space, space.parse(text)), model=text)
        kind = space_of_text(text)
        if kind is None:
            return cls(None, (), text)
        space = space if isinstance(space, kind) else kind()
        return replace(cls.of(space, space.parse(text)), model=text)

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Architecture:
        """An architecture from what `describe` returned.

        Raises:
            SearchError: a search space that cannot be made again, see `space_from_settings`.
            GenotypeError: texts that are no genotypes of it.
            KeyError: something is missing.
        """
        settings = description["search_space"]
        space = None if settings is None else space_from_settings(settings)
        if "model" in description:
            return cls.read(str(description["model"]), space)
        if space is None:
            raise SearchError("genotypes without a search space")
        return cls(space, tuple(map(space.parse, description["genotypes"])))

    def describe(self) -> dict[str, Any] | None:
        """Plain JSON values: "model" or "genotypes" (texts), and "search_space".

        None where the space, or an operation of it, is of a user's own and has no name by which it
        can be imported.
        """
        if self.space is None:
            return {"model": self.model, "search_space": None}
        settings = space_description(self.space)
        if settings is None:
            return None
        if self.model:
            return {"model": self.model, "search_space": settings}
        texts = [self.space.format(genotype) for genotype in self.genotypes]
        return {"genotypes": texts, "search_space": settings}

    @property
    def title(self) -> str:
        """In words, for people."""
        if self.model or self.space is None:
            return self.model
        return cells_in_words([self.space.format(genotype) for genotype in self.genotypes])

    def build(self, role: str, images: Images, *, seed: int | None = 0) -> nn.Module:
        """Build a network, untrained. One that is to be trained carries its description.

        Args:
            role: one of `ROLES`; a model is the same in all but "slot".
            images: gives channels and classes.
            seed: of the initial weights; None draws them from torch's generator as it stands.

        Returns:
            (N, C, H, W) → logits (N, n_classes), or (N, C', H', W') of a slot; on the CPU.

        Raises:
            SearchError: another role, or one that the search space has no network for.
            NetworkError: an unknown name, images that the network cannot take, or a cell whose
                output is not connected.
            OperationError: an operation that cannot be built.
        """
        if role not in ROLES:
            raise SearchError(f"role {role!r}; expected one of {', '.join(ROLES)}")
        with nullcontext() if seed is None else seeded(torch.device("cpu"), seed):
            network = self._built(role, images.in_channels, images.n_classes)
        description = self.describe() if role == "trained" else None
        if description is not None:
            vars(network)[_ATTRIBUTE] = description
        return network

    def _built(self, role: str, in_channels: int, n_classes: int) -> nn.Module:
        space = self.space
        if space is None and role == "slot":
            raise SearchError(f"model {self.model!r} is no cell for the slot of a tournament")
        if space is None:
            return build_model(self.model, in_channels, n_classes)
        if role == "counted":
            role = "trained" if space.limits_final else "scored"
        if role == "trained":
            return space.build_final(self.genotypes, in_channels, n_classes)
        if role == "body":
            return space.build_body(self.genotypes, in_channels, n_classes)
        if len(set(self.genotypes)) > 1:
            raise SearchError(f"{self.title}: cells that differ have no network that is {role}")
        if role == "slot":
            return space.build_cell(self.genotypes[0], in_channels)
        return space.build(self.genotypes[0], in_channels, n_classes)


def description_of(network: nn.Module) -> dict[str, Any] | None:
    """What `Architecture.describe` said of a network to train; None of a user's own network.

    The network carries plain values, so that copies and pickles of it need no search space.
    """
    description: dict[str, Any] | None = vars(network).get(_ATTRIBUTE)
    return description


def title_of(description: Mapping[str, Any] | None) -> str:
    """What an `Architecture` was described by, in words for people; makes no search space.

    >>> title_of({"genotypes": ["8", "8", "8"]}), title_of({"model": "resnet20"}), title_of(None)
    ('8 × 3', 'resnet20', "a network of the user's own")
    """
    if description is None:
        return "a network of the user's own"
    if "model" in description:
        return str(description["model"])
    return cells_in_words(list(map(str, description["genotypes"])))


def cells_in_words(texts: Sequence[str]) -> str:
    """Genotypes in the order of their cells; one that stands at every stage is written once.

    >>> cells_in_words(["8", "8"]), cells_in_words(["8", "4"])
    ('8 × 2', '8 → 4')
    """
    return f"{texts[0]} × {len(texts)}" if len(set(texts)) == 1 else " → ".join(texts)


def design_of(network: nn.Module) -> str:
    """A checksum of a network's layers and their settings, also of those without weights."""
    return hashlib.sha256(repr(network).encode()).hexdigest()
