"""Refuse images and networks that cannot be scored, and name the cause.

`check_images` and `check_trainable` are cheap and come before any work. `check_coverage` compares
one pass over a few images with plain autograd; it also refuses layers that mix images.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pymoo_nas._machine import network_errors, release_freed_memory
from pymoo_nas.errors import ScoreError
from pymoo_nas.kernels._layer_plan import LayerPlan, Piece
from pymoo_nas.kernels._recording import ROUNDING, Recording, check_sum, record_pass

REPEATS = 16
"""Passes over the same images that show whether drawn random numbers change an output; a flip of
every second batch is missed once in 65,536 times."""

QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torchao.")
"""Python packages in which torch keeps its modules with integer weights."""


def check_images(images: Tensor) -> None:
    """Refuse images that cannot be scored, before anything is computed.

    Raises:
        ScoreError: a property of the images does not fit; says which, and what to do.
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


def check_trainable(network: nn.Module, images: Tensor) -> None:
    """Refuse a network that cannot be scored on images, before anything is computed.

    Raises:
        ScoreError: a property of the network does not fit; says which, and what to do.
    """
    check_network(network)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ScoreError(f"{type(network).__name__}: no trainable parameters; nothing to score")
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.is_complex():
            raise ScoreError(
                f"{type(network).__name__}: parameter {name!r} is {parameter.dtype}; expected real "
                "ones (torch.view_as_real)"
            )
        if (parameter.device, parameter.dtype) != (images.device, images.dtype):
            raise ScoreError(
                f"{type(network).__name__}: parameter {name!r} is {parameter.dtype} on "
                f"{parameter.device}, images are {images.dtype} on {images.device}; convert one of "
                "them: network.to(...), images.to(...)"
            )


def check_network(network: nn.Module) -> None:
    """Refuse kinds of modules whose insides cannot be watched or differentiated.

    Raises:
        ScoreError: a module is of such a kind; names it, and what to give in its place.
    """
    if not isinstance(network, nn.Module):
        raise ScoreError(
            f"network: got {type(network).__name__}; expected the torch.nn.Module itself, not a "
            "program or a function that was made from it"
        )
    for name, module in network.named_modules():
        remedy = _remedy(module)
        if remedy:
            raise ScoreError(f"{_title(name, module)}: {remedy}")


def _remedy(module: nn.Module) -> str:
    """Say why a module cannot be scored and what to do; empty where it can be scored."""
    own, several = vars(module), isinstance(module, nn.DataParallel) and len(module.device_ids) > 1
    reasons = {
        "a scripted or traced module cannot be watched; give the module it was made from": (
            isinstance(module, torch.jit.ScriptModule)
        ),
        "a scripted function cannot be watched; give the function it was made from": (
            any(isinstance(value, torch.jit.ScriptFunction) for value in own.values())
        ),
        "an exported module has a fixed mode; give the module it was made from": (
            isinstance(module, torch.fx.GraphModule) and "eval" in own
        ),
        "its weights have no shape yet; call the network once with images: network(images)": (
            any(map(nn.parameter.is_lazy, module.parameters(recurse=False)))
        ),
        "a quantized layer has no gradients; give the network before it was quantized": (
            type(module).__module__.startswith(QUANTIZED)
        ),
        "its copies on several devices cannot be watched; give the network within: .module": (
            several or isinstance(module, nn.parallel.DistributedDataParallel)
        ),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def check_coverage(
    network: nn.Module, plan: LayerPlan, images: Tensor, most: int | None = None
) -> None:
    """Compare a calibrated network's per-image gradients with plain autograd, layer by layer.

    Nothing is compared where the output or a gradient is not finite: the scores report that.

    Args:
        network: frozen by `calibrate`; its parameters' ``requires_grad`` are changed.
        plan: the plan to check.
        images: a few images (n, C, H, W).
        most: number of parameters that are compared in one pass; None for all of them.

    Raises:
        ScoreError: the network is random, images influence each other, or a parameter's gradients
            are not all covered; names the layer or the parameter.
    """
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    output, random_numbers = _first_pass(network, images)
    pieces = [None] if most is None else plan.pieces(plan.sizes, most)
    for index, piece in enumerate(pieces):
        recording = record_pass(network, plan, images, wanted=piece)
        if index == 0:
            _refuse_changing(network, images, output, recording.logits, random_numbers)
        _ask_for_gradients(network, plan, piece)
        given = images.detach().requires_grad_(index == 0)
        with torch.enable_grad():
            together = network(given.clone())
        if index == 0 and not _check_apart(network, given, together):
            return
        _compare(network, plan, together, recording, piece)
        del recording, together
        if most is not None:
            release_freed_memory()


def _ask_for_gradients(network: nn.Module, plan: LayerPlan, piece: Piece | None) -> None:
    """Let the parameters of a piece take part in the next pass of autograd, and no others."""
    wanted = plan.sizes if piece is None else piece
    for parameter in network.parameters():
        parameter.requires_grad_(id(parameter) in wanted)


def _compare(
    network: nn.Module,
    plan: LayerPlan,
    together: Tensor,
    recording: Recording,
    piece: Piece | None,
) -> None:
    """Compare recorded gradients with the gradients of plain autograd.

    Args:
        network: the parameters of the piece require gradients.
        plan: the plan to check.
        together: output of the network for all images, by autograd.
        recording: of the same images.
        piece: parameters, or parts of them, that are compared; None for all.

    Raises:
        ScoreError: the gradients of a parameter differ; names it.
    """
    wanted = {key: (0, size) for key, size in plan.sizes.items()} if piece is None else piece
    trained = [
        (n, parameter) for n, parameter in network.named_parameters() if id(parameter) in wanted
    ]
    gradients: tuple[Tensor | None, ...] = (None,) * len(trained)
    with torch.enable_grad():
        total = together.sum()
    if total.requires_grad:
        gradients = torch.autograd.grad(
            total, [parameter for _, parameter in trained], allow_unused=True
        )
    largest = max((float(g.abs().max()) for g in gradients if g is not None), default=0.0)
    floor = ROUNDING * torch.finfo(together.dtype).eps * largest
    rows = recording.rows | {key: use.rows() for key, use in recording.uses.items()}
    for (name, parameter), gradient in zip(trained, gradients, strict=True):
        start, stop = wanted[id(parameter)]
        expected = torch.zeros_like(parameter) if gradient is None else gradient
        nothing = torch.zeros(1, stop - start, dtype=together.dtype, device=together.device)
        got = rows.get(id(parameter), nothing)
        got = got if got.shape[1] == stop - start else got[:, start:stop]
        check_sum(f"parameter {name!r}", got, expected.flatten()[start:stop], floor)


def _check_apart(network: nn.Module, images: Tensor, together: Tensor) -> bool:
    """Refuse a network in which images influence each other.

    Args:
        network: that gave the output.
        images: leaves of autograd.
        together: output of the network for them.

    Returns:
        whether output and gradients at the images are finite.

    Raises:
        ScoreError: images influence each other; names the first module in which they do.
    """
    if not bool(torch.isfinite(together).all()):
        return False
    gradient = None
    with torch.enable_grad():
        first = together[0].sum()
    if first.requires_grad:
        with network_errors(images, "be differentiated on", "use operations out of place"):
            (gradient,) = torch.autograd.grad(first, images, retain_graph=True, allow_unused=True)
    finite = gradient is None or bool(torch.isfinite(gradient).all())
    # Where images do not mix, the gradients at the other images are exactly zero, in any
    # precision. They are NaN where an infinite slope is multiplied by zero.
    mixed = gradient is not None and finite and bool(gradient[1:].any())
    with torch.no_grad():
        alone = network(images[:1].clone())
        if mixed or not _agree(alone, together.detach(), 1e-2):
            pair = _outputs(network, images[:1]), _outputs(network, images)
            name = _first_different(*pair, _tolerance(images)) or ""
            # A frozen norm cannot mix; where a channel hardly varies, it magnifies rounding.
            if mixed or not _is_frozen_norm(dict(network.named_modules()).get(name)):
                _refuse_mixing(network, name)
    return finite


def _is_frozen_norm(module: nn.Module | None) -> bool:
    """Whether a module is a batch norm of torch's own that takes kept statistics."""
    return (
        isinstance(module, _BatchNorm)
        and type(module).forward is _BatchNorm.forward
        and not module.training
        and module.running_mean is not None
    )


def check_repeatable(network: nn.Module, images: Tensor) -> None:
    """Refuse a network whose output for the same images changes from call to call.

    Args:
        network: in eval mode; its parameters' ``requires_grad`` are changed.
        images: a few images (n, C, H, W).

    Raises:
        ScoreError: the output changes; names the first module whose output differs.
    """
    output, random_numbers = _first_pass(network, images)
    again, _ = _first_pass(network, images)
    _refuse_changing(network, images, output, again, random_numbers)


@torch.no_grad()
def _first_pass(network: nn.Module, images: Tensor) -> tuple[Tensor, bool]:
    """Give the output of a network, and tell whether it has drawn random numbers."""
    before = _random_states(images.device)
    output: Tensor = network(images.clone())
    return output, _random_states(images.device) != before


@torch.no_grad()
def _refuse_changing(
    network: nn.Module, images: Tensor, output: Tensor, again: Tensor, random_numbers: bool
) -> None:
    """Refuse a network whose output for the same images changes from call to call.

    Args:
        network: in eval mode; called more often where it draws random numbers.
        images: (n, C, H, W).
        output: of the network for the images.
        again: of another pass over the same images.
        random_numbers: whether the network has drawn random numbers.

    Raises:
        ScoreError: the output changes; names the first module whose output differs.
    """
    tolerance = _tolerance(images)
    if not random_numbers and _agree(output, again, tolerance):
        return
    # Modules are compared even where the logits agree: a mirrored map has the same mean, but the
    # signs of its ReLUs differ.
    seen = _outputs(network, images)
    others = (_outputs(network, images) for _ in range(REPEATS))
    found = (_first_different(seen, other, tolerance) for other in others)
    name = next((name for name in found if name is not None), None)
    if name is None and random_numbers:
        return  # the random numbers change no output
    name = name or ""
    title = _title(name, network.get_submodule(name))
    if random_numbers:
        raise ScoreError(
            f"{title} is random in eval mode: two passes over the same images differ; let it be "
            "so in training only (self.training), or score the network without it"
        )
    raise ScoreError(
        f"{title} keeps something from call to call: two passes over the same images differ; "
        "score a network whose output depends on its images and weights alone"
    )


def _refuse_mixing(network: nn.Module, culprit: str) -> NoReturn:
    raise ScoreError(
        f"{_title(culprit, network.get_submodule(culprit))}: its output for an image depends on "
        "the other images of the batch; replace it by one that can be frozen (nn.BatchNorm2d)"
    )


def _outputs(network: nn.Module, images: Tensor) -> list[tuple[str, Tensor]]:
    """List names and outputs of all modules in the order in which they return, innermost first."""
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


def _first_different(
    seen: list[tuple[str, Tensor]], other: list[tuple[str, Tensor]], tolerance: float
) -> str | None:
    """Find the name of the first module whose outputs differ; None where none do."""
    for (name, one), (called, both) in zip(seen, other, strict=False):
        if name != called:  # a module in between was called in one of the passes only
            return name.rpartition(".")[0]
        if not _agree(one, both, tolerance):
            return name
    return None


def _agree(one: Tensor, both: Tensor, tolerance: float) -> bool:
    """Tell whether an output, for one image or for all, agrees with the first rows of `both`."""
    if one.shape[1:] != both.shape[1:] or not both.numel() or len(one) > len(both):
        return True
    # Inside a network there may be NaN that a later layer drops.
    one, both = (
        torch.nan_to_num(x.to(torch.complex128) if x.is_complex() else x.double())
        for x in (one, both)
    )
    difference = (both[: len(one)] - one).abs().max()
    return bool(difference <= tolerance * both.abs().max())


def _tolerance(images: Tensor) -> float:
    return 10 * ROUNDING * torch.finfo(images.dtype).eps


def _random_states(device: torch.device) -> tuple[Any, ...]:
    """Read the states of all global generators from which a network may draw."""
    return tuple(_generator_states(device))


def _generator_states(device: torch.device) -> Iterator[Any]:
    yield torch.get_rng_state().numpy().tobytes()
    if device.type == "cuda":
        yield torch.cuda.get_rng_state(device).numpy().tobytes()
    yield random.getstate()
    state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002  others may draw from it
    yield state["key"].tobytes(), state["pos"]


def _title(name: str, module: nn.Module) -> str:
    return f"layer {name!r} ({type(module).__name__})" if name else type(module).__name__
