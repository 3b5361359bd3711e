"""Latency: how long a network takes for an image, measured on the device where it is.

Times are noisy. One network is timed at once on a machine, whatever number of searches runs there.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock
from torch import Tensor, nn

from pymoo_nas._machine import network_errors, whole
from pymoo_nas.scores._objective import Measured, Objective
from pymoo_nas.scores._reference import seconds_beside_reference

MIN_SECONDS = 0.1
"""Least time over which the runs of a network are repeated."""

WARM_UP = 3
"""Runs before the measurement, in which torch prepares its kernels."""

WORST_LATENCY = 1e9
"""Milliseconds of a degenerate network: more than eleven days for an image."""

BATCH_SIZE = 32
"""Images at once of the objective ``batch_latency``."""


class Latencies(NamedTuple):
    """Two latencies of a network.

    Attributes:
        latency: milliseconds for one image.
        batch_latency: milliseconds per image in a batch of `BATCH_SIZE`.
        threads: threads of torch on the CPU.
    """

    latency: float
    batch_latency: float
    threads: int

    def __str__(self) -> str:
        """In words.

        >>> str(Latencies(1.25, 0.5, 1))
        '1.25 ms for one image, 0.5 ms per image in a batch of 32, on 1 thread'
        """
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return (
            f"{self.latency:.3g} ms for one image, {self.batch_latency:.3g} ms per image in a "
            f"batch of {BATCH_SIZE}, on {threads}"
        )


def measure_latencies(network: nn.Module, images: Tensor, *, threads: int = 1) -> Latencies:
    """Time the forward pass of a network for one image, and for a batch of 32.

    Args:
        network: see `measure_latency`.
        images: see `measure_latency`.
        threads: see `measure_latency`.

    Raises:
        SearchError: see `measure_latency`.
        NetworkError: see `measure_latency`.
    """
    single, batch = (
        measure_latency(network, images, batch_size=size, threads=threads)
        for size in (1, BATCH_SIZE)
    )
    return Latencies(single, batch, threads)


def measure_latency(
    network: nn.Module, images: Tensor, *, batch_size: int = 1, threads: int = 1
) -> float:
    """Time the forward pass of a network: milliseconds per image, the median of many runs.

    The network runs in eval mode and without gradients, after a warm-up. A lock keeps other
    measurements of this user on the machine away, but no other work. On other devices than the CPU,
    and with more threads than one, the time is that of the wall clock, which other work makes
    longer. On one thread of the CPU, the network runs in turn with a convolution, and the time is
    that at the speed at which this convolution was first timed on the machine (see
    `seconds_beside_reference`): a slower core counts little, and waiting for a core not at all.

    Args:
        network: (N, C, H, W) → any output; every module's mode is given back.
        images: (N, C, H, W), on the network's device; repeated where N is below `batch_size`.
        batch_size: images at once.
        threads: threads of torch on the CPU.

    Raises:
        SearchError: numbers that are no integers of at least 1.
        NetworkError: the network cannot take the images.
    """
    batch_size = whole("batch_size", batch_size)
    threads = whole("threads", threads)
    repeats = -(-batch_size // len(images))
    batch = images.repeat(repeats, 1, 1, 1)[:batch_size].contiguous()
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with FileLock(_file("lock")), torch.inference_mode():
            with network_errors(images):
                network(batch[:1].clone())
            for _ in range(WARM_UP):
                network(batch)
            if threads == 1 and batch.device.type == "cpu":
                seconds = seconds_beside_reference(lambda: network(batch), _file("json"))
            else:
                seconds = _by_the_clock(network, batch, threads)
    finally:
        for module, training in modes:
            module.training = training
    return 1000 * float(seconds) / batch_size


def _by_the_clock(network: nn.Module, batch: Tensor, threads: int) -> float:
    """Seconds of a run, the median over many, by torch's timer."""
    names = {"network": network, "batch": batch}
    timer = _timer_class()("network(batch)", globals=names, num_threads=threads)
    return float(timer.blocked_autorange(min_run_time=MIN_SECONDS).median)


def _timer_class() -> Any:
    """Torch's timer, imported where it is needed: that takes long.

    Torch warns on its import where CUDA is installed and no card is there; that is no matter here.
    """
    logger = logging.getLogger("torch.utils.cpp_extension")
    with quiet(logger):
        from torch.utils.benchmark import Timer  # noqa: PLC0415
    return Timer


@contextmanager
def quiet(logger: logging.Logger) -> Iterator[None]:
    """Let a logger be silent for a while."""
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _file(kind: str) -> Path:
    """A file of this user on this machine: the lock, and the time of the reference."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"pymoo-nas-latency-{user}.{kind}"


@dataclass(frozen=True)
class Latency:
    """Computes the latency of a network; a class, so that it can be pickled."""

    batch_size: int
    threads: int

    def __call__(self, measured: Measured) -> float:
        """See `measure_latency`."""
        return measure_latency(
            measured.network,
            measured.images,
            batch_size=self.batch_size,
            threads=self.threads,
        )


def _worst(n_images: int) -> float:
    del n_images
    return WORST_LATENCY


def latency_objective(name: str = "latency", *, batch_size: int = 1, threads: int = 1) -> Objective:
    """The latency of the network that is trained, or counted, as an objective.

    Args:
        name: of the column.
        batch_size: see `measure_latency`.
        threads: see `measure_latency`.

    Raises:
        SearchError: numbers that are no integers of at least 1, or see `Objective`.
    """
    compute = Latency(whole("batch_size", batch_size), whole("threads", threads))
    images = "image" if batch_size == 1 else f"image in a batch of {batch_size}"
    return Objective(name, f"time per {images}", _worst, compute, unit="ms", noisy=True)
