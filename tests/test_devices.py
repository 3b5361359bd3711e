"""Names of devices, and their random numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pymoo_nas.devices import exact_convolutions, resolve_device, seeded
from pymoo_nas.errors import DeviceError
from pymoo_nas.kernels import measure_kernels


def fake_cuda(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        ("cpu", 0, "cpu"),
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda"),
        ("cuda", 1, "cuda"),
        ("cuda:1", 2, "cuda:1"),
        (torch.device("cuda:0"), 1, "cuda:0"),
    ],
)
def test_devices_are_resolved(
    monkeypatch: pytest.MonkeyPatch, name: str, count: int, expected: str
) -> None:
    """Names of devices that are there, and auto, give a device."""
    fake_cuda(monkeypatch, count)
    assert resolve_device(name) == torch.device(expected)


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("tpu", 0, "'tpu' is unknown.*available here: cpu$"),
        ("", 0, "unknown"),
        ("cuda:", 1, "unknown"),
        ("cuda:-1", 1, "unknown"),
        ("cpu:0", 0, "unknown"),
        ("cuda", 0, "not there; available here: cpu;"),
        ("cuda:2", 2, "not there; available here: cpu, cuda:0, cuda:1;"),
    ],
)
def test_unusable_devices_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, count: int, message: str
) -> None:
    """Unknown and absent devices are errors that say what is available."""
    fake_cuda(monkeypatch, count)
    with pytest.raises(DeviceError, match=message):
        resolve_device(name)


def test_seeded_restores_the_global_generator() -> None:
    """Inside, global numbers follow the seed; outside, they go on, also after an error."""
    before = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with seeded(torch.device("cpu"), 7):
            draws.append(torch.rand(3))
    with pytest.raises(RuntimeError), seeded(torch.device("cpu"), 7):
        raise RuntimeError
    assert torch.equal(*draws)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("before", ["tf32", "ieee"])
def test_convolutions_are_exact_within(before: str) -> None:
    """No rounding to TF32 while a network is measured; what was set comes back."""
    settings: Any = torch.backends.cudnn
    found = settings.conv.fp32_precision
    settings.conv.fp32_precision = before
    try:
        with exact_convolutions():
            assert settings.conv.fp32_precision == "ieee"
        assert settings.conv.fp32_precision == before
    finally:
        settings.conv.fp32_precision = found


def test_networks_are_measured_exactly() -> None:
    """Scoring runs its passes with exact convolutions."""
    seen: list[str] = []

    class Asking(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            settings: Any = torch.backends.cudnn
            seen.append(settings.conv.fp32_precision)
            return super().forward(x)

    network = nn.Sequential(Asking(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    measure_kernels(network, torch.randn(5, 1, 4, 4))
    assert set(seen) == {"ieee"}
