"""Build networks from genotypes of a search space, or from the name of a model.

An `Architecture` builds every network that is made of it. It describes itself in plain values, and
these values make it again: ``training.json`` keeps them beside the weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import nn

from pymoo_nas._machine import is_out_of_memory, seeded
from pymoo_nas.errors import NetworkError, PymooNasError, SearchError
from pymoo_nas.networks import FACTORY_ERRORS
from pymoo_nas.spaces._base import SearchSpace
from pymoo_nas.spaces._by_name import SPACES, space_description, space_from_settings, space_of_text
from pymoo_nas.spaces._models import build_model

ROLES = ("scored", "counted", "trained", "body", "slot")
"""Purposes of a network: it is scored untrained; or counted, for sizes and limits; or trained; or
the gradients in the cells of the network to train are measured ("body", without a stem); or it is
one cell for the slot of a tournament."""

_ATTRIBUTE = "pymoo_nas_origin"


class Images(Protocol):
    """Images that a network is built for; a `Dataset` has them."""

    @property
    def in_channels(self) -> int:
        """Number of channels of the images, or of the maps that a slot takes."""

    @property
    def n_classes(self) -> int:
        """Number of classes."""


@dataclass(frozen=True, eq=False)
class Architecture:
    """Cells of a search space in sequence, or a model by its name.

    Attributes:
        space: search space of the genotypes; None for a model.
        genotypes: genotypes of the cells, in order; a single one for a space without cells.
        model: name, or text of the genotype, by which the architecture was asked for; "" where
            no text was given.
    """

    space: SearchSpace[Any] | None
    genotypes: tuple[Any, ...]
    model: str = ""

    @classmethod
    def of(cls, space: SearchSpace[Any], genotype: Any) -> Architecture:
        """Make the architecture with one genotype at every stage."""
        return cls(space, (genotype,) * space.n_cells)

    @classmethod
    def of_cells(cls, space: SearchSpace[Any], genotypes: Sequence[Any]) -> Architecture:
        """Make the architecture of these cells, in this order.

        Raises:
            SearchError: there are no cells, or more or fewer than networks of the space can have.
        """
        if not genotypes:
            raise SearchError("no genotypes given; expected at least one")
        space.check_n_cells(len(genotypes))
        return cls(space, tuple(genotypes))

    @classmethod
    def read(cls, text: str, space: SearchSpace[Any] | None = None) -> Architecture:
        """Make an architecture from its name.

        Args:
            text: a genotype (``5000|0001|0800``), one of NAS-Bench-201 (``|nor_conv_3x3~0|+|…``) or
                of DARTS (``Genotype(normal=[…], …)``), or any other name, see `build_model`.
            space: search space of the genotypes. A user's own space reads every text. None takes
                the package's space that the text looks like.

        Raises:
            GenotypeError: the genotype is malformed.
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
        """Make an architecture from the values that `describe` returned.

        Raises:
            SearchError: the search space cannot be made again, see `space_from_settings`.
            GenotypeError: a text is no genotype of the space.
            KeyError: a value is missing.
        """
        settings = description["search_space"]
        space = None if settings is None else space_from_settings(settings)
        if "model" in description:
            return cls.read(str(description["model"]), space)
        if space is None:
            raise SearchError("genotypes without a search space")
        return cls(space, tuple(map(space.parse, description["genotypes"])))

    def describe(self) -> dict[str, Any] | None:
        """Return plain JSON values: "model" or "genotypes" (texts), and "search_space".

        The result is None where the space, or an operation of the space, is a user's own and has
        no name by which it can be imported.
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
        """Title of the architecture, in words for people."""
        if self.model or self.space is None:
            return self.model
        return cells_in_words([self.space.format(genotype) for genotype in self.genotypes])

    def build(self, role: str, images: Images, *, seed: int | None = 0) -> nn.Module:
        """Build an untrained network; a network to train carries its description.

        Args:
            role: one of `ROLES`; a model is the same in all roles but "slot", which it lacks.
            images: images that give the numbers of channels and classes, and their (H, W) in
                ``image_size`` where they have it, see `SearchSpace.for_images`.
            seed: seed of the initial weights; None takes torch's generator in its present state.

        Returns:
            (N, C, H, W) → logits (N, n_classes), or → (N, C', H', W') for a slot; on the CPU.

        Raises:
            SearchError: the role is unknown, or the search space has no network for it.
            NetworkError: the name is unknown, the network cannot take the images, the output of a
                cell is not connected, or a search space raises another error than this package's.
            OperationError: an operation cannot be built.
        """
        if role not in ROLES:
            raise SearchError(f"role {role!r}; expected one of {', '.join(ROLES)}")
        image_size = getattr(images, "image_size", None)
        suited = self
        if self.space is not None and image_size is not None:
            suited = replace(self, space=self.space.for_images(image_size))
        with nullcontext() if seed is None else seeded(torch.device("cpu"), seed):
            try:
                network = suited._built(role, images.in_channels, images.n_classes)
            except FACTORY_ERRORS as error:
                if isinstance(error, PymooNasError) or is_out_of_memory(error):
                    raise
                raise NetworkError(
                    f"{self.title}: its network cannot be built ({type(error).__name__}: {error})"
                ) from error
        description = suited.describe() if role == "trained" else None
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
    """Return a network's description by `Architecture.describe`; None for a user's own network.

    The network carries plain values, so that copies and pickles of it need no search space.
    """
    description: dict[str, Any] | None = vars(network).get(_ATTRIBUTE)
    return description


def title_of(description: Mapping[str, Any] | None) -> str:
    """Put the description of an `Architecture` into words for people; no search space is made.

    >>> title_of({"genotypes": ["8", "8", "8"]}), title_of({"model": "resnet20"}), title_of(None)
    ('8 × 3', 'resnet20', "a network of the user's own")
    """
    if description is None:
        return "a network of the user's own"
    if "model" in description:
        return str(description["model"])
    return cells_in_words(list(map(str, description["genotypes"])))


def cells_in_words(texts: Sequence[str]) -> str:
    """Write genotypes in the order of their cells; if all are the same, write the genotype once.

    >>> cells_in_words(["8", "8"]), cells_in_words(["8", "4"])
    ('8 × 2', '8 → 4')
    """
    return f"{texts[0]} × {len(texts)}" if len(set(texts)) == 1 else " → ".join(texts)


def design_of(network: nn.Module) -> str:
    """Compute a checksum of a network's layers and settings; layers without weights count too."""
    return hashlib.sha256(repr(network).encode()).hexdigest()
