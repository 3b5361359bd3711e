"""Names of devices, and their random numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pymoo_nas._machine import exact_convolutions, resolve_device, seeded
from pymoo_nas.errors import DeviceError
from pymoo_nas.search import NASProblem


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


def test_convolutions_are_exact_within() -> None:
    """No rounding to TF32 on CUDA, whatever a cell sets besides; it all comes back."""
    cudnn: Any = torch.backends.cudnn
    assert cudnn.allow_tf32
    with exact_convolutions(torch.device("cuda")):
        assert not cudnn.allow_tf32
        with cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            assert not cudnn.allow_tf32
    assert cudnn.allow_tf32
    with exact_convolutions(torch.device("cpu")):
        assert cudnn.allow_tf32


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch before 2.9")
@pytest.mark.parametrize("chosen", ["ieee", "tf32"])
def test_switch_of_convolutions_alone(chosen: str) -> None:
    """Where a user has set the newer switch, that one is turned, and comes back."""
    cudnn: Any = torch.backends.cudnn
    found = cudnn.conv.fp32_precision
    cudnn.conv.fp32_precision = chosen
    try:
        with exact_convolutions(torch.device("cuda")):
            assert cudnn.conv.fp32_precision in ("ieee", "none")
        assert cudnn.conv.fp32_precision == chosen
    finally:
        cudnn.conv.fp32_precision = found


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_scores_on_cuda_are_those_on_the_cpu() -> None:
    """Six digits agree, which they would not with TF32."""
    here, there = (NASProblem("digits", device=name) for name in ("cpu", "cuda"))
    for text in ("8,0,0,0", "5000|0001|0800", "8,16,0,0|0,0,8,0|0,16,0,8"):
        one, other = (problem.score_genotype(text).values for problem in (here, there))
        assert other == pytest.approx(one, rel=1e-5)
