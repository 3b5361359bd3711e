"""Measure the gradients that a network sends back to its images: their size and smoothness.

A plain stack of layers multiplies the gradient with every layer, and a stack of poolings blurs it
(Yang 2019, Balduzzi 2017). A scored network of few cells hides both effects. The network to train
repeats the same cells many times, and shows both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pymoo_nas._machine import network_errors
from pymoo_nas.kernels import calibrating, check_images, check_trainable, preserved


@dataclass(frozen=True)
class GradientFlow:
    """Size and smoothness of the gradients of the summed logits at the images.

    Attributes:
        size: log10 of the gradient's norm, mean over the images.
        smoothness: correlation of the gradient at neighbouring pixels, mean over rows and columns;
            near 0 without poolings. NaN where the gradient is the same at every pixel.
    """

    size: float
    smoothness: float


def gradient_flow(network: nn.Module, images: Tensor) -> GradientFlow:
    """Measure a network with batch norms set to the images' statistics; leave it as it was.

    Args:
        network: (N, C, H, W) → logits (N, n_classes).
        images: (N, C, H, W) floating point, normalised, on the network's device.

    Raises:
        ScoreError: the images cannot be scored.
        NetworkError: the network cannot take the images.
    """
    check_images(images)
    check_trainable(network, images)
    with preserved(network, eval_mode=True), torch.enable_grad():
        network.requires_grad_(False)
        images = images.detach().requires_grad_(True)
        with calibrating(network) as has_shared_norms, network_errors(images):
            logits = network(images.clone()).sum()
        if has_shared_norms():
            # Its first calls did not know the average over all of its calls.
            logits = network(images.clone()).sum()
        if not logits.requires_grad:
            return GradientFlow(-math.inf, math.nan)
        (gradient,) = torch.autograd.grad(logits, images)
    size = gradient.flatten(1).norm(dim=1).log10().mean()
    centred = gradient - gradient.mean((2, 3), keepdim=True)
    across = (centred[..., 1:] * centred[..., :-1]).sum()
    down = (centred[..., 1:, :] * centred[..., :-1, :]).sum()
    return GradientFlow(float(size), float((across + down) / (2 * centred.square().sum())))
