"""ZiCo: whether the gradients of a loss agree between batches (Li 2023)."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils import parametrize

from pymoo_nas.errors import ScoreError
from pymoo_nas.kernels import preserved
from pymoo_nas.scores._from_kernels import Judgement, Matrix
from pymoo_nas.scores._objective import Measured, layer_weights, numbers

N_BATCHES = 2
"""Batches that the probe is divided into, as published."""

LARGEST = 1e6
"""Above the negative ZiCo of every network that can be built."""


def worst_zico(n_images: int) -> float:
    """Above `zico` of every network."""
    del n_images
    return LARGEST


def zico_score(layers: list[Matrix]) -> float:
    """The ZiCo of a network, from the gradients of its layers.

    Args:
        layers: of each layer (batches, weights), gradients of the loss of each batch.

    Returns:
        Σ over the layers of log Σ mean|g| / std(g), over the weights whose gradients differ between
        the batches; layers without such a weight are left out. Larger is better.

    >>> zico_score([np.array([[1.0, 2.0], [3.0, 2.0]])]) == math.log(2.0)
    True
    """
    total = 0.0
    for gradients in layers:
        spread = gradients.std(axis=0)
        differ = spread > 0
        ratios = np.abs(gradients).mean(axis=0)[differ] / spread[differ]
        if ratios.sum() > 0:
            total += math.log(ratios.sum())
    return total


def zico(measured: Measured) -> Judgement:
    """Minus the ZiCo of a network: cross-entropy on two halves of the probe, norms in train mode.

    Everything else is in eval mode, so that no dropout draws.

    Returns:
        the value, minimised; the worst one with a reason where a gradient is not finite or no layer
        has gradients that differ.

    Raises:
        ScoreError: the classes of the images are not known.
    """
    labels = measured.probe.labels
    if labels is None:
        raise ScoreError(
            "zico needs the classes of the images: score(network, images, labels=labels)"
        )
    network = measured.network
    halves = zip(measured.images.chunk(N_BATCHES), labels.chunk(N_BATCHES), strict=True)
    with preserved(network), torch.enable_grad():
        network.eval()
        for module in network.modules():
            if isinstance(module, _NormBase):
                module.train()
        batches = []
        for images, classes in halves:
            # A parametrised weight is another tensor each time, but for this context.
            with parametrize.cached():
                loss = F.cross_entropy(network(images), classes)
                layers = [weight for weight in layer_weights(network) if weight.requires_grad]
                batches.append(torch.autograd.grad(loss, layers, allow_unused=True))
    found = [
        np.stack([numbers(gradient.flatten()) for gradient in of_layer])
        for of_layer in zip(*batches, strict=True)
        if all(gradient is not None for gradient in of_layer)
    ]
    if not all(np.isfinite(gradients).all() for gradients in found):
        return Judgement(LARGEST, "NaN or overflow in the gradients")
    if not any((gradients.std(axis=0) > 0).any() for gradients in found):
        return Judgement(LARGEST, "all gradients are equal in both batches")
    return Judgement(-zico_score(found))
