"""Find a device by its name, and control its rounding and its global random numbers."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pymoo_nas._machine._number_checks import whole
from pymoo_nas.errors import DeviceError


def resolve_device(name: str | torch.device) -> torch.device:
    """Find a device by its name.

    Args:
        name: ``cpu``; ``cuda`` (the current CUDA device) or ``cuda:0``, ``cuda:1``, …; or ``auto``,
            which is CUDA where the machine has it, and the CPU otherwise.

    Raises:
        DeviceError: the name is unknown, or this machine does not have the device.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    text = str(name)
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if text == "auto":
        return torch.device("cuda" if n_cuda else "cpu")
    matched = re.fullmatch(r"cpu|cuda(?::([0-9]{1,3}))?", text)
    available = ", ".join(["cpu", *(f"cuda:{index}" for index in range(n_cuda))])
    if matched is None:
        raise DeviceError(
            f"device {text!r} is unknown; expected auto, cpu, cuda or cuda:<number>; "
            f"available here: {available}"
        )
    if text != "cpu" and int(matched[1] or 0) >= n_cuda:
        raise DeviceError(
            f"device {text!r} is not there; available here: {available}; take one of these, or auto"
        )
    return torch.device(text)


@contextmanager
def exact_convolutions(device: torch.device) -> Iterator[None]:
    """Switch TF32 off on CUDA for a while: cuDNN would round inputs to ten bits of mantissa.

    Args:
        device: device that computes; nothing happens on devices other than CUDA.
    """
    if device.type != "cuda":
        yield
        return
    settings: Any = torch.backends.cudnn
    switch: str = "allow_tf32"
    exact: bool | str = False
    try:
        before = settings.allow_tf32
    except RuntimeError:
        # Torch raises where a user has set the newer switch, which is for convolutions alone.
        settings, switch, exact = settings.conv, "fp32_precision", "ieee"
        before = settings.fp32_precision
    setattr(settings, switch, exact)
    try:
        yield
    finally:
        setattr(settings, switch, before)


MAX_THREADS = 4096
"""Most threads that are asked of torch."""

MAX_SEED = 2**63 - 1
"""The largest seed of torch's generators."""


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's global generators for a while, then restore their state.

    Operations such as dropout take no generator of their own and need this.

    Args:
        device: device that computes; the CPU's generator is always seeded too.
        seed: from 0 to `MAX_SEED`.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        # Not torch.manual_seed: it would also seed CUDA devices that are not restored.
        torch.default_generator.manual_seed(seed)
        for cuda in devices:
            with torch.cuda.device(cuda):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def threads_set(threads: int | None) -> Iterator[None]:
    """Give torch so many threads for a while; None leaves them as they are.

    Raises:
        SearchError: a number that is not from 1 to `MAX_THREADS`.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if threads is None else whole("threads", threads, 1, MAX_THREADS))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def processor(device: torch.device) -> str:
    """The kind of processor or card that a device is."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (named or [platform.processor() or platform.machine()])[0]
