"""Freezing a network so that samples do not influence each other: calibrate, then eval.

With fresh running statistics, eval mode makes a batch norm the identity, and train mode couples the
samples. So the statistics are reset, set to those of one batch, and then kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pymoo_nas.errors import NetworkError, PymooNasError, ScoreError


@contextmanager
def preserved(network: nn.Module) -> Iterator[None]:
    """Give the network back as it was: modes, buffers, momenta, which parameters are trained."""
    modes = [(module, module.training) for module in network.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    momenta = [(norm, norm.momentum) for norm in batch_norms(network).values()]
    trained = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        for norm, momentum in momenta:
            norm.momentum = momentum
        for parameter, requires_grad in trained:
            parameter.requires_grad_(requires_grad)


def calibrate(network: nn.Module, images: Tensor) -> Tensor:
    """Set every batch norm to the statistics of these images, then the network to eval mode.

    One forward pass without gradients, batch norms in train mode with cumulative momentum, all else
    (dropout, stochastic depth) in eval mode.

    Args:
        network: changed in place, see `preserved`.
        images: (N, C, H, W).

    Returns:
        the output of the pass.

    Raises:
        ScoreError: a batch norm that keeps no statistics, so that it cannot be frozen.
        NetworkError: the network cannot take the images.
    """
    network.eval()
    for name, norm in batch_norms(network).items():
        if not norm.track_running_stats:
            raise ScoreError(
                f"layer {name!r} ({norm}) mixes the images of a batch and cannot be frozen; "
                "build it with track_running_stats=True"
            )
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad(), network_errors(images):
        # A copy: the network may change its input in place.
        output: Tensor = network(images.clone())
    network.eval()
    return output


def batch_norms(network: nn.Module) -> dict[str, _BatchNorm]:
    """Every batch norm of the network, by its dotted name."""
    return {
        name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)
    }


@contextmanager
def network_errors(
    images: Tensor,
    failed: str = "take",
    remedy: str = "resize the images (image_size), or use a network for this size and number of "
    "channels",
) -> Iterator[None]:
    """Say which images a network could not take, instead of a bare error from inside it.

    Args:
        images: the images.
        failed: what the network could not do with them.
        remedy: what to do.

    Raises:
        NetworkError: whatever the network raised, but running out of memory.
    """
    try:
        yield
    except PymooNasError:
        raise
    except (RuntimeError, ValueError, IndexError, AssertionError, TypeError) as error:
        if is_out_of_memory(error):
            raise
        raise NetworkError(
            f"the network cannot {failed} images of shape {tuple(images.shape)} "
            f"({images.dtype}, {images.device}): {error}; {remedy}"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; on the CPU torch has no type of its own for it."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in text or "allocate memory" in text or "ALLOC_FAILED" in text)
    )
