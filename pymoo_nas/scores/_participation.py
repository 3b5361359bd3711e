"""Participation: in how many directions images differ, forwards and backwards, at every ReLU."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from pymoo_nas._machine import network_errors
from pymoo_nas.kernels import ReluCalls, calibrating, preserved
from pymoo_nas.scores._from_kernels import Judgement
from pymoo_nas.scores._objective import Measured

WORST = 1.0
"""Above the participation of every network, which is at most 0 when it is minimised."""


def worst_participation(n_images: int) -> float:
    """Above `participation` of every network."""
    del n_images
    return WORST


def participation_ratio(rows: Tensor) -> float:
    """The effective number of directions in which rows differ.

    Args:
        rows: (N, D), one row for each image.

    Returns:
        (Σ λ)² / Σ λ² of the eigenvalues λ of the correlation matrix of the rows, from 1 (all alike,
        or opposite) to N (not correlated); 0 where every row is constant.

    >>> participation_ratio(torch.tensor([[1.0, -1, 0, 0], [0, 0, 1, -1]]))
    2.0
    """
    centred = rows - rows.mean(1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True)
    cosines = centred / torch.where(norms > 0, norms, 1.0)
    correlation = (cosines @ cosines.T).double()
    squares = float(correlation.square().sum())
    return float(correlation.trace()) ** 2 / squares if squares > 0 else 0.0


class _Ratios:
    """The ratio of the output of each ReLU, and of its gradient in the backward pass.

    Attributes:
        found: [ratio of the output, ratio of its gradient], in the order of the calls.
    """

    def __init__(self) -> None:
        self.found: list[list[float]] = []

    def take(self, output: Tensor) -> None:
        """Take the ratio of what a ReLU has returned, and later that of its gradient."""
        if not output.requires_grad or not output.dim():
            return
        ratios = [_ratio(output), 0.0]
        self.found.append(ratios)

        def backwards(gradient: Tensor) -> None:
            ratios[1] = _ratio(gradient)

        # What changes the output in place later on does not change this gradient.
        output.register_hook(backwards)


def _ratio(output: Tensor) -> float:
    return participation_ratio(output.detach().reshape(len(output), -1))


def participation(measured: Measured) -> Judgement:
    """Minus the participation of a network: activations times gradients (after Zhou 2026, InTrain).

    At each ReLU the participation ratio of its output over the images is multiplied by that of the
    gradients of the summed logits there. Norms are calibrated on the images.

    Returns:
        −Σ of the products, at most 0, minimised; at least −N² for each ReLU. The worst value with a
        reason where there is no ReLU or a number is not finite.
    """
    network = measured.network
    with preserved(network, eval_mode=True), torch.enable_grad():
        network.requires_grad_(False)
        images = measured.images.detach().requires_grad_(True)
        ratios = _Ratios()
        calls = ReluCalls(after=ratios.take)
        with calibrating(network) as has_shared_norms, network_errors(images), calls:
            logits = network(images.clone()).sum()
        if has_shared_norms():
            # Its first calls did not know the average over all of its calls.
            ratios.found.clear()
            with calls:
                logits = network(images.clone()).sum()
        if not logits.requires_grad:
            return Judgement(WORST, "output not connected to the input")
        torch.autograd.grad(logits, images)
    if not ratios.found:
        return Judgement(WORST, "no ReLU")
    total = float(np.sum([forwards * backwards for forwards, backwards in ratios.found]))
    if not math.isfinite(total):
        return Judgement(WORST, "NaN or overflow in the activations or gradients")
    return Judgement(-total)
