"""New weights reach the layer, also where it computes its weight from others."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from scored_networks import images_of
from torch import nn
from torch.nn.utils import parametrizations, prune

from pymoo_nas.scores._initialisation import reinitialize

IMAGES = images_of(2, 3, 6)


def pruned(layer: nn.Module) -> nn.Module:
    """Without the smaller half of its weights."""
    prune.l1_unstructured(layer, "weight", 0.5)
    return layer


def normalised(layer: nn.Module, name: str) -> nn.Module:
    """By torch's older functions, which are deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped: nn.Module = getattr(nn.utils, name)(layer)
    return wrapped


COMPUTED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "older weight norm": lambda layer: normalised(layer, "weight_norm"),
    "older spectral norm": lambda layer: normalised(layer, "spectral_norm"),
    "pruned": pruned,
}


@pytest.mark.parametrize("name", COMPUTED)
def test_computed_weights_are_drawn_anew(name: str) -> None:
    """A layer whose weight is computed gets another one from another seed."""
    layer = COMPUTED[name](nn.Conv2d(3, 4, 3, bias=False)).eval()
    outputs = []
    for seed in (1, 2, 1):
        reinitialize(layer, seed)
        outputs.append(layer(IMAGES).detach())
    assert torch.equal(outputs[0], outputs[2])
    assert not torch.allclose(outputs[0], outputs[1], rtol=0.1)


@pytest.mark.parametrize("name", ["weight norm", "older weight norm"])
def test_normalised_weights_are_those_of_the_plain_layer(name: str) -> None:
    """The weight that is drawn is that of the plain layer, whatever it is computed from."""
    plain = nn.Conv2d(3, 4, 3, bias=False)
    layer = COMPUTED[name](nn.Conv2d(3, 4, 3, bias=False))
    for module in (plain, layer):
        reinitialize(module, 5)
    torch.testing.assert_close(layer(IMAGES), plain(IMAGES))
