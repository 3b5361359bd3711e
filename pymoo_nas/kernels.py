"""One pass over a network → the kernels from which the three objectives are computed.

One forward, in which the batch norms are calibrated, and one backward of the summed logits
(`measure_kernels`). From each layer's input and output gradient come all per-sample gradients,
layer by layer (`sample_gradients`), from each ReLU the signs of its pre-activations
(`activations`), and from the same backward pass the gradients at the images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pymoo_nas.calibration import (
    calibrate,
    calibrating,
    is_out_of_memory,
    network_errors,
    preserved,
)
from pymoo_nas.devices import exact_convolutions
from pymoo_nas.errors import ScoreError
from pymoo_nas.layer_plan import LayerPlan, plan_layers
from pymoo_nas.memory import free_memory
from pymoo_nas.recording import ROUNDING, Products, Recording, check_sum, join, record_pass

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
    with preserved(network), exact_convolutions(images.device):
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


def check_images(network: nn.Module, images: Tensor) -> None:
    """Refuse what cannot be scored.

    Raises:
        ScoreError: says which property of images or network does not fit, and what to do.
    """
    if not isinstance(images, Tensor) or images.ndim != 4:
        shape = tuple(getattr(images, "shape", ()))
        raise ScoreError(
            f"images: expected a tensor (N, C, H, W), got {type(images).__name__} {shape}"
        )
    if not images.is_floating_point():
        raise ScoreError(
            f"images: expected floating point, normalised, got {images.dtype}; "
            "subtract the mean and divide by the standard deviation first"
        )
    if len(images) < 2:
        raise ScoreError(f"images: {len(images)} given; expected at least 2 to compare")
    if not bool(torch.isfinite(images).all()):
        raise ScoreError("images: NaN or infinite pixels; clean the data first")
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters:
        raise ScoreError(f"{type(network).__name__}: no trainable parameters; nothing to score")
    for parameter in parameters:
        if (parameter.device, parameter.dtype) != (images.device, images.dtype):
            raise ScoreError(
                f"{type(network).__name__} is {parameter.dtype} on {parameter.device}, images are "
                f"{images.dtype} on {images.device}; move one of them: images.to(...)"
            )


def check_coverage(network: nn.Module, plan: LayerPlan, images: Tensor) -> None:
    """Compare a calibrated network's per-image gradients with plain autograd, layer by layer.

    Args:
        network: frozen by `calibrate`.
        plan: the plan to check.
        images: a few images (n, C, H, W).

    Raises:
        ScoreError: images influence each other, or a parameter's gradients are not all covered;
            names the parameter.
    """
    trained = [
        (name, parameter)
        for name, parameter in network.named_parameters()
        if id(parameter) in plan.sizes
    ]
    recording = record_pass(network, plan, images)
    if not _check_apart(network, images):
        return  # NaN or overflow: the scores will say so
    rows = dict(recording.rows)
    for key, use in recording.uses.items():
        rows[key] = use.rows()
    for _, parameter in trained:
        parameter.requires_grad_(True)
    with torch.enable_grad():
        total = network(images.clone()).sum()
    gradients: tuple[Tensor | None, ...] = (None,) * len(trained)
    if total.requires_grad:
        gradients = torch.autograd.grad(
            total, [parameter for _, parameter in trained], allow_unused=True
        )
    largest = max((float(g.abs().max()) for g in gradients if g is not None), default=0.0)
    floor = ROUNDING * torch.finfo(images.dtype).eps * largest
    for (name, parameter), gradient in zip(trained, gradients, strict=True):
        expected = torch.zeros_like(parameter) if gradient is None else gradient
        nothing = torch.zeros(1, parameter.numel(), dtype=images.dtype, device=images.device)
        check_sum(f"parameter {name!r}", rows.get(id(parameter), nothing), expected, floor)


def _check_apart(network: nn.Module, images: Tensor) -> bool:
    """Refuse a network in which images influence each other.

    Returns:
        whether the output is finite; where it is not, nothing was compared.

    Raises:
        ScoreError: names the first module of which that is true.
    """
    images = images.detach().requires_grad_(True)
    with torch.enable_grad():
        together = network(images.clone())
        first = together[0].sum()
    if not bool(torch.isfinite(together).all()):
        return False
    mixed = False
    if first.requires_grad:
        with network_errors(images, "be differentiated on", "use operations out of place"):
            (gradient,) = torch.autograd.grad(first, images, allow_unused=True)
        # Other images' gradients are zero to the bit where images are apart, in any precision.
        mixed = gradient is not None and bool(gradient[1:].any())
    with torch.no_grad():
        alone = network(images[:1].clone())
        if not mixed and _agree(alone, together.detach(), 1e-2):
            return True
        outputs = [_outputs(network, images[:1]), _outputs(network, images)]
    tolerance = 10 * ROUNDING * torch.finfo(images.dtype).eps
    culprit = next(
        (
            name
            for (name, one), (_, both) in zip(*outputs, strict=False)
            if not _agree(one, both, tolerance)
        ),
        "",
    )
    module = network.get_submodule(culprit)
    raise ScoreError(
        f"layer {culprit!r} ({type(module).__name__}): its output for an image depends on the "
        "other images of the batch; replace it by one that can be frozen (nn.BatchNorm2d)"
    )


def _outputs(network: nn.Module, images: Tensor) -> list[tuple[str, Tensor]]:
    """Names and outputs of all modules, innermost first, in the order in which they return."""
    outputs: list[tuple[str, Tensor]] = []

    def returned(name: str, output: Any) -> None:
        if isinstance(output, Tensor):
            outputs.append((name, output.clone()))

    hooks = [
        module.register_forward_hook(lambda _module, _, output, name=name: returned(name, output))
        for name, module in network.named_modules()
    ]
    try:
        network(images.clone())
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


def _agree(one: Tensor, both: Tensor, tolerance: float) -> bool:
    """Whether the output for one image is the first row of that for several."""
    if one.shape[1:] != both.shape[1:] or not both.numel():
        return True
    difference = (both[:1] - one).abs().max()
    return bool(difference <= tolerance * both.abs().max())


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
