"""What must stay equal from version to version: to the bit on one platform, closely elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from command_line import TINY, Run

from pymoo_nas.search import NASProblem, read_frame
from pymoo_nas.spaces import CellSpace, NASBench201Space

PLATFORM = ("2.14.1", "AVX512", "AuthenticAMD", "25", "17")
"""Torch, its kernels, and the processor's vendor, family and model that the bits below are of."""

SCORES = {
    "5000|0001|0800": (
        "0x1.21d8a0ccbd26fp+1",
        "-0x1.ac5a9c02dee17p+8",
        "0x1.e47294c403a4ep+4",
    ),
    "8,16,0,0|0,0,0,0|0,0,8,0": (
        "0x1.da18d5f0650c3p+0",
        "-0x1.df74d64ac7becp+8",
        "0x1.a1c5affb26193p+4",
    ),
    "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|none~1|avg_pool_3x3~2|": (
        "0x1.0b72f5dee487cp+1",
        "-0x1.add05b6d40baap+8",
        "0x1.f9cba743549f2p+4",
    ),
}
"""Text → the three scores on digits, seed 0, one thread, as hexadecimal floats; of the paper's
cells those that halve the map inside, as all did by default when the bits were written."""

BETWEEN = {
    "5000|0001|0800": (2.370360082225816, -442.82717803887255, 29.018464328956178),
    "8,16,0,0|0,0,0,0|0,0,8,0": (1.9185393233733292, -476.3580563100788, 26.46172197466487),
}
"""The same of cells between which the map is halved, on another platform."""

FRONT = ("24,16,0,0|16,0,0,24|0,16,0,0", "16,0,0,8|16,16,0,0|0,16,8,0")
"""The front of `TINY`, of cells that halve the map inside."""


def platform() -> tuple[str, ...]:
    """Of this machine, as `PLATFORM`."""
    info = Path("/proc/cpuinfo")
    text = info.read_text("utf-8") if info.is_file() else ""
    found = (
        re.search(rf"^{name}\s*: (\S+)$", text, re.MULTILINE)
        for name in ("vendor_id", "cpu family", "model")
    )
    processor = (match[1] if match else "" for match in found)
    torch_version = str(torch.__version__).partition("+")[0]
    return (torch_version, torch.backends.cpu.get_cpu_capability(), *processor)


@pytest.mark.parametrize("text", SCORES)
def test_scores(text: str) -> None:
    """Scores are those of earlier versions: to six digits, on the same platform to the bit."""
    space = NASBench201Space() if text.startswith("|") else CellSpace(reduction="inside")
    problem = NASProblem("digits", search_space=space)
    values = problem.score_genotype(space.parse(text)).values
    expected = [float.fromhex(value) for value in SCORES[text]]
    assert values == pytest.approx(expected, rel=1e-4)
    if platform() == PLATFORM:
        assert [value.hex() for value in values] == list(SCORES[text])


@pytest.mark.parametrize("text", BETWEEN)
def test_scores_by_default(text: str) -> None:
    """Scores of the default space are those of earlier versions to six digits."""
    problem = NASProblem("digits")
    assert problem.score_genotype(text).values == pytest.approx(BETWEEN[text], rel=1e-4)


def test_front(run: Run) -> None:
    """On the same platform a small search ends with the front of earlier versions."""
    if platform() != PLATFORM:
        pytest.skip(f"the front is known for {PLATFORM}; this is {platform()}")
    search = ["search", *TINY, "--reduction", "inside", "--threads", "1", "--out", "run"]
    assert run(*search)[0] == 0
    front: pd.DataFrame = read_frame("run/front.csv")
    assert tuple(front["genotype"]) == FRONT
