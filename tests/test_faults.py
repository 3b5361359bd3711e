"""Runs that are killed at any moment, as by a power cut."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from pymoo_nas.checkpoint import CHECKPOINT, PREVIOUS
from pymoo_nas.runs import PICTURES, RunFolder

COMMAND = [sys.executable, "-c", "from pymoo_nas.cli import main; main()", "search"]
SEARCH = ["--generations", "12", "--offspring", "8", "--population", "2", "--images", "16",
          "--tournament-every", "2", "--tournament-size", "2", "--seed", "7"]  # fmt: skip
KILLS = 25


def run_and_kill(arguments: list[str], seconds: float) -> bool:
    """Start a search and kill it so long after its first line; whether it was killed."""
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # says what is searched: importing is over
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        _, err = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), err
    return process.returncode != 0


@pytest.mark.slow
def test_kills_at_random_moments(tmp_path: Path) -> None:
    """Killed 25 times or more, a run ends with the tables and pictures of an undisturbed one."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    start = time.perf_counter()
    subprocess.run([*COMMAND, *SEARCH, "--out", whole], check=True, capture_output=True)
    longest = (time.perf_counter() - start) / 8
    moments = random.Random(0)
    killed, path = 0, cut
    while killed < KILLS:
        if run_and_kill(continuing(path), moments.uniform(0, longest)):
            killed += 1
        else:  # it got through before it was killed
            assert_equal(path, whole)
            path = tmp_path / f"cut after {killed} kills"
    assert not run_and_kill(continuing(path), 600)
    assert_equal(path, whole)


def continuing(path: Path) -> list[str]:
    """Arguments that continue a run, or begin it where there is nothing to continue from."""
    if (path / CHECKPOINT).exists() or (path / PREVIOUS).exists():
        return ["--resume", str(path)]
    return [*SEARCH, "--out", str(path), "--overwrite"]


def assert_equal(one: Path, other: Path) -> None:
    """Tables are equal but for the seconds, pictures to the bit."""
    for read in (RunFolder.history, RunFolder.front):
        first, second = (read(RunFolder(path)).drop(columns="seconds") for path in (one, other))
        pd.testing.assert_frame_equal(first, second, check_exact=True)
    for name in (*PICTURES, "tournaments.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
