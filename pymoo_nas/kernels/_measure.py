"""Measure the kernels of a network, from which objectives are computed, in one pass.

The pass (`measure_kernels`) is one forward, in which the batch norms are calibrated, and one
backward of the summed logits. Each layer's input and output gradient give its per-sample gradients
(`sample_gradients`). Each ReLU gives the signs of its pre-activations (`activations`). The same
backward pass gives the gradients at the images.
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
from pymoo_nas.errors import ScoreError
from pymoo_nas.kernels._calibration import calibrate, preserved
from pymoo_nas.kernels._checks import (
    check_coverage,
    check_images,
    check_repeatable,
    check_trainable,
)
from pymoo_nas.kernels._layer_plan import LayerPlan, Piece, Steps, plan_layers
from pymoo_nas.kernels._memory_plan import default_steps, measured_steps
from pymoo_nas.kernels._plan_memory import PlanMemory
from pymoo_nas.kernels._products import Products
from pymoo_nas.kernels._recording import Recording, join, record_pass

PLANNED = 5
"""Images in the planning pass, which watches the layers; few other dimensions have this size."""

CPU_MEMORY = 1 << 30
"""Most bytes that one pass takes on the CPU, even if more are free: larger pieces are hardly
faster. Every machine with so much memory then uses pieces of the same size, and rounds alike."""


@dataclass(frozen=True)
class Kernels:
    """Measurements of one pass over N images.

    Attributes:
        ntk: (N, N) float64, G Gᵀ; row n of G holds the gradients of image n's summed logits for
            all parameters.
        balanced: (N, N) float64, the same, but every parameter tensor weighs alike: its G Gᵀ is
            divided by the trace of G Gᵀ.
        agreement: (N, N) float64, number of ReLU units on which two images agree.
        input_gradients: (N, D), gradients of the summed logits at the images.
        logits: (N, n_classes).
        n_parameters: number of trainable parameters; the kernel covers them all.
        n_units: number of ReLU units per image.
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
    plans: PlanMemory | None = None,
) -> Kernels:
    """Measure the kernels of a network on a batch of images, and leave the network as it was.

    Args:
        network: (N, C, H, W) → logits (N, n_classes), at its initialisation.
        images: (N, C, H, W) floating point, on the network's device.
        max_memory: limit in bytes; None stands for half of the free memory, on the CPU at most
            `CPU_MEMORY`. Where all images need more, they pass in pieces, with the same result up
            to rounding. With a limit the memory of a pass is measured, with None it is estimated.
        steps: limits on how much is computed at a time, in place of `max_memory`.
        check: compare with plain autograd on two images that every gradient is covered and that
            images do not influence each other.
        plans: knows the plan where another initialisation of the network was measured before.

    Raises:
        ScoreError: there are no parameters, the images cannot be scored, or a layer mixes them.
        MemoryLimitError: `max_memory` is too low for this network and so many images.
        NetworkError: the network cannot take the images, or returns no (N, n_classes).
    """
    check_images(images)
    check_trainable(network, images)
    with preserved(network, eval_mode=True), exact_convolutions(images.device), as_written():
        few = images[:PLANNED]

        def forward() -> Tensor:
            network.eval()
            with torch.no_grad(), network_errors(images):
                output: Tensor = network(few.clone())
            return output

        plan = (PlanMemory() if plans is None else plans).plan(
            network, images, lambda: plan_layers(network, forward, len(few), len(images))
        )
        if steps is None:
            steps = (
                default_steps(plan, images, default_memory(images.device))
                if max_memory is None
                else measured_steps(network, plan, images, max_memory)
            )
        try:
            kernels = _in_steps(network, plan, images, steps)
        except ScoreError:
            if check:  # the cause may be a layer that is not the same twice, which this names
                check_repeatable(network, images[:2])
            raise
        if check:  # the pass has calibrated the norms
            check_coverage(network, plan, images[:2], steps.checked)
        return kernels


def _in_steps(network: nn.Module, plan: LayerPlan, images: Tensor, steps: Steps) -> Kernels:
    """Measure with the given steps, or with smaller steps where memory runs out."""
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
    """Measure all images at once, or piece by piece with the products computed at the end."""
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
    """Divide the parameters among passes; the first pass records all that do not wait.

    Args:
        plan: plan by which the network is recorded.
        most: most numbers per image that wait at once.
        apart: weights that wait as their layer's input and output gradient; None where all images
            pass at once, so that only repeated parameters wait.
    """
    waiting = plan.repeated if apart is None else plan.sizes.keys()
    sizes = {key: size for key, size in plan.sizes.items() if key in waiting}
    sizes |= {key: plan.needs[key].held for key in apart or ()}
    pieces = plan.pieces(sizes, most, apart or ())
    pieces[0] |= {key: (0, size) for key, size in plan.sizes.items() if key not in waiting}
    return pieces


def default_memory(device: torch.device) -> int:
    """Compute the bytes that one pass may take: half of the free, on the CPU up to `CPU_MEMORY`."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 2
    return int(min(free_memory() / 2, CPU_MEMORY))
