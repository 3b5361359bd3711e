"""One pass over a network → the kernels from which the three objectives are computed.

One forward, in which the batch norms are calibrated, and one backward of the summed logits
(`measure_kernels`). From each layer's input and output gradient come all per-sample gradients,
layer by layer (`sample_gradients`), from each ReLU the signs of its pre-activations
(`activations`), and from the same backward pass the gradients at the images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pymoo_nas.calibration import (
    calibrate,
    calibrating,
    is_out_of_memory,
    network_errors,
    preserved,
)
from pymoo_nas.checks import check_coverage, check_images
from pymoo_nas.devices import exact_convolutions
from pymoo_nas.execution import as_written
from pymoo_nas.layer_plan import LayerPlan, plan_layers
from pymoo_nas.memory import free_memory
from pymoo_nas.recording import Products, Recording, join, record_pass

PLANNED = 5
"""Images of the pass in which the layers are watched: a number that few other dimensions have."""

CPU_MEMORY = 1 << 30
"""Bytes that one pass takes on the CPU at most, however many are free: larger pieces are hardly
faster, and the size of the pieces, and so the rounding, is the same on every machine that has them.
"""


@dataclass(frozen=True)
class Kernels:
    """What one pass over N images measured.

    Attributes:
        ntk: (N, N) float64, G Gᵀ of the gradients of the summed logits for all parameters.
        balanced: (N, N) float64, the same where every parameter tensor weighs alike: its G Gᵀ is
            divided by its trace.
        agreement: (N, N) float64, number of ReLU units on which two images agree.
        input_gradients: (N, D), gradients of the summed logits at the images.
        logits: (N, n_classes).
        n_parameters: trainable parameters, all of which the kernel covers.
        n_units: ReLU units per image.
    """

    ntk: Tensor
    balanced: Tensor
    agreement: Tensor
    input_gradients: Tensor
    logits: Tensor
    n_parameters: int
    n_units: int


def measure_kernels(
    network: nn.Module, images: Tensor, *, max_memory: int | None = None, check: bool = False
) -> Kernels:
    """Measure a network on a batch of images; the network is given back as it was.

    Args:
        network: (N, C, H, W) → logits (N, n_classes), at its initialisation.
        images: (N, C, H, W) floating point, on the network's device.
        max_memory: bytes to stay below; None takes half of what is free, on the CPU at most
            `CPU_MEMORY`. Beyond it the images pass in pieces, with the same result up to rounding.
        check: compare with plain autograd on two images that every gradient is covered and that
            images do not influence each other.

    Raises:
        ScoreError: no parameters, images that cannot be scored, a layer that mixes images.
        NetworkError: the network cannot take the images, or returns no (N, n_classes).
    """
    check_images(network, images)
    with preserved(network), exact_convolutions(images.device), as_written():
        few = images[:PLANNED]

        def forward() -> Tensor:
            with torch.no_grad(), calibrating(network), network_errors(images):
                output: Tensor = network(few.clone())
            return output

        plan = plan_layers(network, forward, len(few), len(images))
        if check:
            calibrate(network, images)
            check_coverage(network, plan, images[:2])
        budget = default_memory(images.device) if max_memory is None else max_memory
        chunk = max(1, min(len(images), len(images) * budget // max(plan.n_bytes, 1)))
        while True:
            try:
                return _accumulate(network, plan, images, chunk, budget)
            except (MemoryError, RuntimeError) as error:
                if chunk == 1 or not is_out_of_memory(error):
                    raise
                chunk //= 2


def _accumulate(
    network: nn.Module, plan: LayerPlan, images: Tensor, chunk: int, budget: int
) -> Kernels:
    """All images at once, each layer used as its gradient comes; or pieces, joined at the end."""
    n = len(images)
    products = Products(n, images.device)
    whole = chunk >= n
    together = whole and not plan.shared_norms
    if not together:
        calibrate(network, images)
    # Gradients that wait until the end are held for a piece of the parameters at a time.
    waiting = plan.repeated if whole else set(plan.sizes)
    pieces = plan.pieces(waiting, budget // (2 * n * images.element_size())) or [set()]
    pieces[0] = pieces[0] | (plan.sizes.keys() - waiting)
    first: list[Recording] = []
    # Pieces of equal size: torch prepares every layer anew for each number of images.
    parts = torch.tensor_split(images, math.ceil(n / chunk))
    for index, piece in enumerate(pieces):
        recordings = [
            record_pass(
                network,
                plan,
                part,
                wanted=piece,
                products=products if whole else None,
                with_codes=index == 0,
                calibrated=not together or index > 0,
            )
            for part in parts
        ]
        join(recordings, products)
        first = first or recordings
    return Kernels(
        ntk=products.ntk,
        balanced=products.balanced(),
        agreement=products.agreement,
        input_gradients=torch.cat([recording.input_gradients for recording in first]),
        logits=torch.cat([recording.logits for recording in first]),
        n_parameters=plan.n_parameters,
        n_units=products.n_units,
    )


def default_memory(device: torch.device) -> int:
    """Bytes that one pass may take: half of what is free, on the CPU at most `CPU_MEMORY`."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 2
    return int(min(free_memory() / 2, CPU_MEMORY))
