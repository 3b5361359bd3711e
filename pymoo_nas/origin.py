"""What a network was built from: plain values that travel with it, so that it can be built again.

They are kept in ``training.json`` beside the weights, from which `load_trained` rebuilds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from pymoo_nas.search_space import SearchSpace
from pymoo_nas.spaces import space_description

_ATTRIBUTE = "pymoo_nas_origin"


def note_model(network: nn.Module, model: str, space: SearchSpace[Any] | None = None) -> None:
    """Note on a network the name that it was built from, and for a genotype its space."""
    _note(network, {"model": model}, space)


def note_cells(network: nn.Module, genotypes: list[str], space: SearchSpace[Any]) -> None:
    """Note on a network the genotypes that it was built from, and their space."""
    _note(network, {"genotypes": genotypes}, space)


def origin_of(network: nn.Module) -> dict[str, Any] | None:
    """What was noted: "model" or "genotypes", and "search_space"; None on a user's own network."""
    origin: dict[str, Any] | None = vars(network).get(_ATTRIBUTE)
    return origin


def title_of(origin: Mapping[str, Any] | None) -> str:
    """What `origin_of` returned, in words for people.

    >>> title_of({"genotypes": ["8", "8", "8"]}), title_of({"model": "resnet20"}), title_of(None)
    ('8 × 3', 'resnet20', "a network of the user's own")
    """
    if origin is None:
        return "a network of the user's own"
    if "model" in origin:
        return str(origin["model"])
    return cells_in_words(list(map(str, origin["genotypes"])))


def cells_in_words(texts: Sequence[str]) -> str:
    """Genotypes in the order of their cells; one that stands at every stage is written once.

    >>> cells_in_words(["8", "8"]), cells_in_words(["8", "4"])
    ('8 × 2', '8 → 4')
    """
    return f"{texts[0]} × {len(texts)}" if len(set(texts)) == 1 else " → ".join(texts)


def design_of(network: nn.Module) -> str:
    """A checksum of a network's layers and their settings, also of those without weights."""
    return hashlib.sha256(repr(network).encode()).hexdigest()


def _note(network: nn.Module, origin: Mapping[str, Any], space: SearchSpace[Any] | None) -> None:
    settings = None if space is None else space_description(space)
    if space is None or settings is not None:
        vars(network)[_ATTRIBUTE] = {**origin, "search_space": settings}
