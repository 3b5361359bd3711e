"""Freeze the batch norms of a network, so that samples do not influence each other.

Train mode couples the samples. Eval mode with fresh running statistics makes a batch norm the
identity. So `calibrate` gives every batch norm the statistics of one batch, as constants. After an
epoch of a training, `recalibrate` gives it the statistics over many batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pymoo_nas._machine import network_errors, uncompiled
from pymoo_nas.errors import ScoreError


@contextmanager
def preserved(network: nn.Module, *, eval_mode: bool = False) -> Iterator[None]:
    """Restore the network at the end: modes, buffers, and which parameters are trained.

    Args:
        network: any network.
        eval_mode: whether the network is called in eval mode only. Torch's batch norms then do not
            write to their statistics, which need not be copied (`calibrating` replaces them).
    """
    modes = [(module, module.training) for module in network.modules()]
    buffers = [(module, dict(module._buffers)) for module in network.modules()]
    trained = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    statistics = {
        id(buffer)
        for norm in batch_norms(network).values()
        if type(norm).forward is _BatchNorm.forward  # a subclass may write to any buffer
        for buffer in (norm.running_mean, norm.running_var, norm.num_batches_tracked)
    }
    copied = [b for b in network.buffers() if not (eval_mode and id(b) in statistics)]
    try:
        with values_preserved(copied):
            yield
    finally:
        for module, training in modes:
            module.training = training
        for module, own in buffers:
            module._buffers.update(own)  # the module may have replaced its buffers
        for parameter, requires_grad in trained:
            parameter.requires_grad_(requires_grad)


@contextmanager
def values_preserved(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Restore the values of tensors at the end, in place."""
    # An expanded tensor cannot be written to, so its values have not changed.
    before = [(tensor, tensor.detach().clone()) for tensor in tensors if not _expanded(tensor)]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)


def _expanded(tensor: Tensor) -> bool:
    """Tell whether several elements of a tensor are one number in memory."""
    strided = zip(tensor.shape, tensor.stride(), strict=True)
    return any(size > 1 and stride == 0 for size, stride in strided)


def calibrate(network: nn.Module, images: Tensor) -> Tensor:
    """Set every batch norm to the statistics of these images, and all modules to eval mode.

    This takes one forward pass without gradients.

    Args:
        network: changed in place; `preserved` restores it.
        images: (N, C, H, W).

    Returns:
        the output of the pass.

    Raises:
        ScoreError: a batch norm keeps no statistics, so that it cannot be frozen.
        NetworkError: the network cannot take the images.
    """
    with torch.no_grad(), calibrating(network), network_errors(images):
        # A copy: the network may change its input in place.
        output: Tensor = network(images.clone())
    return output


def recalibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give batch norms the statistics over several batches, in place of a moving average.

    Each batch is normalised by its own statistics, as in training; all other modules are in eval
    mode. In the end a norm holds the mean and the biased variance over all images that it was
    given. Frozen norms (in eval mode or without statistics) and all batch counts stay as they are.

    Args:
        network: given in the mode in which it is trained, left in eval mode.
        batches: tensors (b, C, H, W); they are not read where no norm needs them.

    Raises:
        NetworkError: the network cannot take a batch.
    """
    norms = [
        norm
        for norm in batch_norms(network).values()
        if norm.training and norm.track_running_stats and norm.running_mean is not None
    ]
    network.eval()
    if not norms:
        return
    totals = [_Totals() for _ in norms]
    hooks = [
        norm.register_forward_pre_hook(total, with_kwargs=True)
        for norm, total in zip(norms, totals, strict=True)
    ]
    try:
        with torch.no_grad(), uncompiled():
            for batch in batches:
                with network_errors(batch):
                    network(batch)
            for norm, total in zip(norms, totals, strict=True):
                total.put(norm)
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def calibrating(network: nn.Module) -> Iterator[Callable[[], bool]]:
    """Let each batch norm take the statistics of its own input, as long as the context lasts.

    The statistics are constants: gradients do not go through them. A batch norm that is called
    several times takes the average over its calls so far. A network with such a norm needs a pass
    of its own (`calibrate`); other networks are calibrated in the pass that is differentiated.

    Yields:
        a function that tells, after a pass, whether a norm was called several times.

    Raises:
        ScoreError: a batch norm keeps no statistics.
    """
    norms = batch_norms(network)
    for name, norm in norms.items():
        if not norm.track_running_stats:
            raise ScoreError(
                f"layer {name!r} ({norm}) mixes the images of a batch and cannot be frozen; "
                "build it with track_running_stats=True"
            )
    network.eval()
    taken = [_Statistics() for _ in norms]
    hooks = [
        norm.register_forward_pre_hook(statistics, with_kwargs=True)
        for norm, statistics in zip(norms.values(), taken, strict=True)
    ]
    try:
        yield lambda: any(statistics.calls > 1 for statistics in taken)
    finally:
        for hook in hooks:
            hook.remove()


class _Statistics:
    """Forward pre-hook that averages the statistics of one batch norm over its calls.

    The norm gets new buffers: to clear and to fill the old ones takes several operations more.
    """

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self, norm: _BatchNorm, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]
    ) -> None:
        self.calls += 1
        with torch.no_grad():
            mean, variance = _moments(args, kwargs)
            if self.calls > 1:
                old_mean, old_variance = _buffers(norm)
                mean = torch.lerp(old_mean, mean, 1 / self.calls)
                variance = torch.lerp(old_variance, variance, 1 / self.calls)
        norm.running_mean, norm.running_var = mean, variance


class _Totals:
    """Forward pre-hook that gives each call of a norm its own statistics, and sums them all."""

    def __init__(self) -> None:
        self.n_images = 0
        self.mean = self.variance = torch.zeros(())

    def __call__(
        self, norm: _BatchNorm, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]
    ) -> None:
        mean, variance = _moments(args, kwargs)
        for buffer, value in zip(_buffers(norm), (mean, variance), strict=True):
            buffer.copy_(value)
        n_images = len(args[0] if args else kwargs["input"])
        self.n_images += n_images
        share = n_images / self.n_images
        shift = mean - self.mean.to(mean)
        # Means that differ between batches are part of the variance over all images.
        spread = shift.square() * (share * (1 - share))
        self.mean = self.mean.to(mean) + share * shift
        self.variance = torch.lerp(self.variance.to(mean), variance, share) + spread

    def put(self, norm: _BatchNorm) -> None:
        """Give the norm the statistics over all calls; a norm that was not called keeps its own."""
        if self.n_images:
            for buffer, value in zip(_buffers(norm), (self.mean, self.variance), strict=True):
                buffer.copy_(value)


def _moments(args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Compute the mean and the biased variance of every input channel of a norm, each (C,)."""
    x = args[0] if args else kwargs["input"]
    if x.device.type != "cpu":  # one operation, which starts one kernel
        variance, mean = torch.var_mean(x, (0, *range(2, x.ndim)), correction=0)
        return mean, variance
    values = x.flatten(2) if x.ndim > 2 else x.unsqueeze(2)
    mean = values.mean((0, 2))
    # Several times faster than torch.var on a CPU, and as stable: the mean is subtracted.
    norms = torch.linalg.vector_norm(values - mean[:, None], dim=2)
    # Division comes first: the square of a sum over a map overflows in half precision.
    return mean, (norms / values.shape[2] ** 0.5).square().mean(0)


def _buffers(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return the buffers in which a norm keeps its mean and its variance."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None  # the callers have looked at track_running_stats
    assert variance is not None
    return mean, variance


def batch_norms(network: nn.Module) -> dict[str, _BatchNorm]:
    """Find every batch norm of the network, by its dotted name."""
    return {
        name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)
    }
