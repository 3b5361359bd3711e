"""One pass over a network → the kernels from which objectives are computed.

One forward, in which the batch norms are calibrated, and one backward of the summed logits
(`measure_kernels`). From each layer's input and output gradient come all per-sample gradients,
layer by layer (`sample_gradients`), from each ReLU the signs of its pre-activations
(`activations`), and from the same backward pass the gradients at the images.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pymoo_nas._machine import (
    as_written,
    exact_convolutions,
    free_memory,
    is_out_of_memory,
    network_errors,
    release_freed_memory,
)
from pymoo_nas.kernels._calibration import calibrate, calibrating, preserved
from pymoo_nas.kernels._checks import check_coverage, check_images
from pymoo_nas.kernels._layer_plan import LayerPlan, Piece, Steps, plan_layers
from pymoo_nas.kernels._memory_plan import default_steps, measured_steps
from pymoo_nas.kernels._products import Products
from pymoo_nas.kernels._recording import Recording, join, record_pass

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
    network: nn.Module,
    images: Tensor,
    *,
    max_memory: int | None = None,
    steps: Steps | None = None,
    check: bool = False,
) -> Kernels:
    """Measure a network on a batch of images; the network is given back as it was.

    Args:
        network: (N, C, H, W) → logits (N, n_classes), at its initialisation.
        images: (N, C, H, W) floating point, on the network's device.
        max_memory: bytes to stay below; None takes half of what is free, on the CPU at most
            `CPU_MEMORY`. Beyond it the images pass in pieces, with the same result up to rounding.
            A given limit is kept by measuring what a pass holds, None by an estimate.
        steps: how much is done at a time, in place of `max_memory`.
        check: compare with plain autograd on two images that every gradient is covered and that
            images do not influence each other.

    Raises:
        ScoreError: no parameters, images that cannot be scored, a layer that mixes images.
        MemoryLimitError: `max_memory` is too low for this network and so many images.
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
        if steps is None:
            steps = (
                default_steps(plan, images, default_memory(images.device))
                if max_memory is None
                else measured_steps(network, plan, images, max_memory)
            )
        if check:
            calibrate(network, images)
            check_coverage(network, plan, images[:2], steps.checked)
        return _in_steps(network, plan, images, steps)


def _in_steps(network: nn.Module, plan: LayerPlan, images: Tensor, steps: Steps) -> Kernels:
    """Measure with the given steps, or smaller ones where memory runs out."""
    largest = 0.0
    while True:
        try:
            products = Products(
                len(images),
                images.device,
                columns=steps.columns,
                gram_entries=steps.gram_entries,
                largest=largest,
            )
            kernels = _accumulate(network, plan, images, steps, products)
        except (MemoryError, RuntimeError) as error:
            if steps.chunk == 1 or not is_out_of_memory(error):
                raise
            steps = replace(steps, chunk=min(steps.chunk, len(images)) // 2)
        else:
            if not products.hasty:
                return kernels
            largest = products.largest


def _accumulate(
    network: nn.Module, plan: LayerPlan, images: Tensor, steps: Steps, products: Products
) -> Kernels:
    """All images at once, each layer used as its gradient comes; or pieces, joined at the end."""
    whole = steps.chunk >= len(images)
    together = whole and not plan.shared_norms
    if not together:
        calibrate(network, images)
    apart = None if whole else plan.kept_apart(steps)
    pieces = _pieces(plan, steps.waiting, apart)
    first: list[Recording] = []
    # Pieces of equal size: torch prepares every layer anew for each number of images.
    parts = torch.tensor_split(images, math.ceil(len(images) / steps.chunk))
    for index, piece in enumerate(pieces):
        recordings = [
            record_pass(
                network,
                plan,
                part,
                wanted=piece,
                apart=apart,
                products=products if whole else None,
                with_codes=index == 0,
                calibrated=not together or index > 0,
            )
            for part in parts
        ]
        ended = {key for key, (_, stop) in piece.items() if stop == plan.sizes[key]}
        if not whole:
            release_freed_memory()
        join(recordings, products, steps, ended)
        if not whole:
            release_freed_memory()
        first = first or recordings
    return Kernels(
        ntk=products.ntk,
        balanced=products.balanced,
        agreement=products.agreement,
        input_gradients=torch.cat([recording.input_gradients for recording in first]),
        logits=torch.cat([recording.logits for recording in first]),
        n_parameters=plan.n_parameters,
        n_units=products.n_units,
    )


def _pieces(plan: LayerPlan, most: int, apart: Collection[int] | None) -> list[Piece]:
    """What each pass records: parameters that do not wait in the first, the others in turn.

    Args:
        plan: how the network is recorded.
        most: numbers per image that wait at once.
        apart: weights that wait as their layer's input and output; None where all images pass at
            once, so that only repeated parameters wait.
    """
    waiting = plan.repeated if apart is None else plan.sizes.keys()
    sizes = {key: size for key, size in plan.sizes.items() if key in waiting}
    sizes |= {key: plan.needs[key].held for key in apart or ()}
    pieces = plan.pieces(sizes, most, apart or ())
    pieces[0] |= {key: (0, size) for key, size in plan.sizes.items() if key not in waiting}
    return pieces


def default_memory(device: torch.device) -> int:
    """Bytes that one pass may take: half of what is free, on the CPU at most `CPU_MEMORY`."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 2
    return int(min(free_memory() / 2, CPU_MEMORY))
