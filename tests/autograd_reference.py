"""Slow and obvious: what one pass over a network must agree with, one image at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pymoo_nas.kernels._calibration import calibrating


@dataclass(frozen=True)
class Reference:
    """What the loop found, in float64: kernels (N, N), gradients (N, D), logits."""

    ntk: Tensor
    balanced: Tensor
    agreement: Tensor
    input_gradients: Tensor
    logits: Tensor
    n_units: int


def reference(network: nn.Module, images: Tensor, *, together: bool = False) -> Reference:
    """Calibrate, freeze, then differentiate the summed logits of every image by itself.

    Args:
        network: is not changed.
        images: (N, C, H, W).
        together: one forward pass of all images, as in the loop of TE-NAS. In float32 a large
            network has a few pre-activations so near zero that the rounding of a pass of one image
            switches their ReLU.
    """
    network = frozen(network, images)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    weight_rows, image_rows, codes, logits = [], [], [], []
    for piece in images.split(len(images) if together else 1):
        part = piece.clone().requires_grad_(True)
        seen: list[Tensor] = []
        with relu_inputs(seen):
            output = network(part.clone())
        for index in range(len(part)):
            sources = [part, *parameters]
            gradients: tuple[Tensor | None, ...] = (None,) * len(sources)
            if output.requires_grad:
                gradients = torch.autograd.grad(
                    output[index].sum(), sources, retain_graph=True, allow_unused=True
                )
            filled = [
                (torch.zeros_like(source) if gradient is None else gradient).double()
                for source, gradient in zip(sources, gradients, strict=True)
            ]
            image_rows.append(filled[0][index].flatten())
            weight_rows.append(torch.cat([gradient.flatten() for gradient in filled[1:]]))
            on_units = [(x[index] > 0).flatten() for x in seen]
            codes.append(torch.cat(on_units) if seen else torch.zeros(0))
            logits.append(output.detach()[index])
    rows, on = torch.stack(weight_rows), torch.stack(codes).double()
    parts = [part @ part.T for part in rows.split([p.numel() for p in parameters], dim=1)]
    largest = max(float(part.trace()) for part in parts)
    # What is zero but for rounding, such as the gradient of a bias before a norm, does not count.
    felt = [part for part in parts if part.trace() > 1e-10 * largest]
    return Reference(
        ntk=rows @ rows.T,
        balanced=sum((part / part.trace() for part in felt), torch.zeros_like(parts[0])),
        agreement=on @ on.T + (1 - on) @ (1 - on).T,
        input_gradients=torch.stack(image_rows),
        logits=torch.stack(logits),
        n_units=on.shape[1],
    )


def frozen(network: nn.Module, images: Tensor) -> nn.Module:
    """A calibrated copy (see test_calibration): on tiny maps rounding makes a large difference."""
    network = copy.deepcopy(network)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.requires_grad_(False)
    # With gradients, because torch takes other convolutions, with other rounding, without.
    with calibrating(network):
        network(images.clone().requires_grad_(True).clone())
    for parameter in trained:
        parameter.requires_grad_(True)
    return network


ACTIVATIONS = (
    *((F, name) for name in ("relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "celu")),
    *((F, name) for name in ("gelu", "silu", "mish", "hardswish", "hardtanh", "prelu")),
    *((torch, "relu"), (torch, "relu_"), (Tensor, "relu"), (Tensor, "relu_")),
    *((torch, "clamp"), (Tensor, "clamp"), (Tensor, "clamp_min")),
)
"""Where activation functions stand; modules look them up there when they are called."""


@contextmanager
def relu_inputs(seen: list[Tensor]) -> Iterator[None]:
    """Collect the input of every activation function, by putting a listening one in its place."""
    inside = False

    def listening(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            nonlocal inside
            # F.relu itself calls torch.relu: only the outermost call is a unit of the network.
            if inside:
                return function(x, *args, **kwargs)
            low = (*args, kwargs.get("min", kwargs.get("min_val")))[0]
            # What has no batch dimension is made of parameters: no unit that an image switches.
            if x.ndim > 1 and (name not in ("clamp", "clamp_min", "hardtanh") or low == 0):
                seen.append(x.detach().clone())
            inside = True
            try:
                return function(x, *args, **kwargs)
            finally:
                inside = False

        return call

    with ExitStack() as stack:
        for owner, name in ACTIVATIONS:
            stack.enter_context(
                mock.patch.object(owner, name, listening(name, getattr(owner, name)))
            )
        yield


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest expected entry."""
    scale = float(expected.abs().max())
    return float((got.double().cpu() - expected).abs().max()) / (scale if scale else 1.0)
