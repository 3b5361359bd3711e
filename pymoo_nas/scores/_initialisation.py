"""Draw new initial weights for an existing network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pymoo_nas._machine import seeded


def reinitialize(network: nn.Module, seed: int) -> None:
    """Draw new weights in place, from a seed, by every module's ``reset_parameters``.

    Some weights are computed from parameters (parametrized, pruned, or normalised by a hook). They
    are drawn as in the plain layer, and the parameters are set so that they give these weights.
    Parameters of modules without ``reset_parameters`` keep their values.
    """
    # Without parameters there is nothing to draw; scoring refuses such a network later.
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    with seeded(device, seed), torch.no_grad():
        for module in network.modules():
            if parametrize.is_parametrized(module):
                _reset_parametrized(module)
            else:
                _reset_hooked(module)


def _reset(module: nn.Module) -> None:
    # Of torch's layers, only attention has this method with an underscore.
    reset = getattr(module, "reset_parameters", None)
    reset = reset or getattr(module, "_reset_parameters", None)
    if callable(reset):
        reset()


def _reset_parametrized(module: nn.Module) -> None:
    """Draw the weights that parametrizations return, and assign them: torch inverts the steps."""
    names = [
        name
        for name, steps in module.parametrizations.items()  # type: ignore[union-attr,operator]
        if all(hasattr(step, "right_inverse") for step in steps)
    ]
    with parametrize.cached():
        _reset(module)
        drawn = {name: getattr(module, name).detach().clone() for name in names}
    for name, value in drawn.items():
        setattr(module, name, value)


def _reset_hooked(module: nn.Module) -> None:
    """Draw the weights; set the parameters of a computed weight so that they give it."""
    computed = {name: value for name, value in vars(module).items() if isinstance(value, Tensor)}
    versions = {name: value._version for name, value in computed.items()}
    _reset(module)
    for name, value in computed.items():
        if value._version == versions[name]:
            continue
        own = module._parameters
        original, direction, norm = (own.get(f"{name}_{end}") for end in ("orig", "v", "g"))
        if original is not None:  # pruned, or nn.utils.spectral_norm
            original.copy_(value)
        elif direction is not None and norm is not None:  # nn.utils.weight_norm
            others = [dim for dim, size in enumerate(norm.shape) if size == 1] or None
            direction.copy_(value)
            norms = torch.linalg.vector_norm(value, dim=others, keepdim=others is not None)
            norm.copy_(norms)
