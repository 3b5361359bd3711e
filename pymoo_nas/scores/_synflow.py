"""SynFlow: how much signal all paths of a network carry together (Tanaka 2020)."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pymoo_nas.scores._from_kernels import Judgement
from pymoo_nas.scores._objective import Measured, layer_weights

LARGEST = 350.0
"""Above −log10 of every positive double."""

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)
"""Layers that are left out: they would divide the signal by itself."""


def worst_synflow(n_images: int) -> float:
    """Above `synflow` of every network."""
    del n_images
    return LARGEST


def synflow(measured: Measured) -> Judgement:
    """Minus the log10 of Σ |θ · ∂R/∂θ| over the weights of convolutions and linear layers.

    R is the sum of the logits for an image of ones, when every weight is replaced by its absolute
    value and norms are left out (Tanaka 2020; as a score of architectures Abdelfattah 2021). The
    data play no part. Larger sums are better, so the objective is their negative logarithm.

    Returns:
        the value, minimised; the worst one with a reason where no signal arrives.
    """
    network = copy.deepcopy(measured.network).double().eval()
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.abs_()
    hooks = [
        module.register_forward_hook(_pass_on)
        for module in network.modules()
        if isinstance(module, NORMS)
    ]
    ones = torch.ones_like(measured.images[:1], dtype=torch.float64)
    # A parametrised weight is another tensor each time, but for this context.
    with torch.enable_grad(), parametrize.cached():
        network.requires_grad_(True)
        total = network(ones).sum()
        weights = layer_weights(network)
        gradients = torch.autograd.grad(total, weights, allow_unused=True)
    for hook in hooks:
        hook.remove()
    found = sum(
        float((weight.detach() * gradient).abs().sum())
        for weight, gradient in zip(weights, gradients, strict=True)
        if gradient is not None
    )
    if not found > 0 or not math.isfinite(found):
        return Judgement(LARGEST, f"SynFlow is {found:g}")
    return Judgement(-math.log10(found))


def _pass_on(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    del module, output
    return inputs[0]
