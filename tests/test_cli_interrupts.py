"""Searches from the command line that are interrupted and continued."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import TINY, Run

from pymoo_nas._machine import Report
from pymoo_nas.cli._progress import SearchProgress
from pymoo_nas.runs import RunFolder
from pymoo_nas.runs import _folder as runs
from pymoo_nas.search import CandidateScorer, read_frame
from pymoo_nas.training import Trainer


def test_resume_refuses_other_settings(run: Run, finished: Path) -> None:
    """A run is continued as it was begun; what differs is named, what is equal may be repeated."""
    again = ["search", "--resume", str(finished)]
    code, _, err = run(*again, "--seed", "9", "--max-params", "5000", "--images", "16")
    assert code == 2
    assert re.search("seed 9 .the run has 0.*max_params 5000 .the run has None", err)
    assert "n_images" not in err
    code, _, err = run(*again, "--out", "elsewhere")
    assert code == 2
    assert "new run" in err
    assert not Path("elsewhere").exists()
    code, _, err = run(*again, "--generations", "2")
    assert code == 2
    assert "3 generations are done, 2 asked for" in err
    assert run("search", "--resume", "nosuch")[0] == 2


@pytest.mark.slow
def test_interrupted_run_is_resumed(
    run: Run, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that an interrupted search names ends it as if nothing had happened."""
    original = SearchProgress._take

    def pressing(self: SearchProgress, report: Report) -> None:
        if report.done == 9:
            signal.raise_signal(signal.SIGINT)
        original(self, report)

    with monkeypatch.context() as patched:
        patched.setattr(SearchProgress, "_take", pressing)
        code, _, err = run("search", *TINY, "--out", "cut")
    assert code == 130
    assert "after the candidate in hand" in err
    assert "pymoo-nas search --resume cut" in err
    assert len(RunFolder("cut").history()) == 6
    code, out, _ = run("search", "--resume", "cut")
    assert code == 0
    assert "generation 2/3" in out
    assert "generation 1/3" not in out
    assert (finished / "front.png").read_bytes() == Path("cut/front.png").read_bytes()


@pytest.mark.slow
def test_time_is_up(run: Run, finished: Path) -> None:
    """No generation begins after the given time; the rest ends as if nothing had happened."""
    code, out, err = run("search", *TINY, "--minutes", "1e-12", "--out", "short")
    assert (code, err) == (0, "")
    assert "1 of 3 generations; continue with: pymoo-nas search --resume short" in out
    assert "wrote short/front.png" in out
    assert RunFolder("short").config()["generations_done"] == 1
    code, out, _ = run("search", "--resume", "short", "--minutes", "60")
    assert (code, "minutes have passed" in out) == (0, False)
    assert (finished / "evolution.png").read_bytes() == Path("short/evolution.png").read_bytes()
    limits = ("--minutes", "1e-12", "--max-params", "20", "--out", "none")
    code, out, err = run("search", *TINY, *limits)
    assert (code, err) == (0, "")
    assert "1 of 3 generations; continue with" in out
    for minutes in ("0", "-1", "nan"):
        code, _, err = run("search", "--minutes", minutes)
        assert (code, "expected more than 0" in err) == (2, True)


def test_interrupt_keeps_finished_generations(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the third generation keeps two, and says where."""
    original = CandidateScorer.score
    scored: list[Any] = []

    def interrupting(self: CandidateScorer, genotype: Any, **how: Any) -> Any:
        if len(scored) == 14:
            raise KeyboardInterrupt
        scored.append(genotype)
        return original(self, genotype, **how)

    monkeypatch.setattr(CandidateScorer, "score", interrupting)
    code, _, err = run("search", *TINY, "--out", "kept")
    assert code == 130
    assert "2 generations are kept in kept" in err
    assert read_frame("kept/history.csv")["generation"].tolist() == [1] * 6 + [2] * 6


@pytest.mark.slow
def test_nothing_is_left_open(run: Run) -> None:
    """A search leaves no open file, thread or process behind."""

    def held() -> tuple[int, int, int]:
        process = psutil.Process()
        files = len(process.open_files())
        return files, threading.active_count(), len(process.children(recursive=True))

    assert run("search", *TINY, "--out", "first")[0] == 0  # what is loaded once stays
    before = held()
    assert run("search", *TINY, "--out", "second")[0] == 0
    assert held() == before


@pytest.mark.slow
def test_interrupt_while_saving(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between two tables of the second generation leaves them agreeing on it."""
    original = runs.front_to_frame
    calls: list[int] = []

    def interrupting(given: Any, problem: Any = None) -> Any:
        if problem is None:  # the front, not the archive
            calls.append(given.n_iter)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(given, problem)

    monkeypatch.setattr(runs, "front_to_frame", interrupting)
    code, _, err = run("search", *TINY, "--tournament-every", "0", "--out", "kept")
    assert code == 130
    assert "2 generations are kept" in err
    kept = RunFolder("kept")
    assert kept.config()["generations_done"] == kept.history()["generation"].max() == 2
    assert set(kept.front()["genotype"]) <= set(kept.history()["genotype"])


@pytest.mark.slow
def test_installed_command_is_interrupted(tmp_path: Path) -> None:
    """Ctrl-C in a terminal ends the installed command with 130, what was finished is kept."""
    command = Path(sys.executable).with_name("pymoo-nas")
    if not command.is_file():
        pytest.skip(f"{command} is absent: the package is not installed")
    arguments = ["search", *TINY, "--generations", "500", "--out", str(tmp_path / "kept")]
    with subprocess.Popen(
        [command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("generation 2/"):
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "generations are kept" in err
    assert "Traceback" not in err
    kept = RunFolder(tmp_path / "kept")
    assert kept.history()["generation"].max() == kept.config()["generations_done"] >= 1


def test_interrupted_training_is_continued(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the second epoch of a training says how to go on, and --resume does."""
    command = ("train", "--model", "8000", "--epochs", "3", "--out", "net")
    original = Trainer._run_epoch

    def interrupting(self: Trainer, epoch: int, report: Any) -> Any:
        if epoch == 2:
            raise KeyboardInterrupt
        return original(self, epoch, report)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_run_epoch", interrupting)
        code, _, err = run(*command)
    assert code == 130
    assert "same command and --resume" in err
    code, out, _ = run(*command, "--resume")
    assert code == 0
    assert "epoch 1/3" not in out
    assert "test accuracy" in out
    code, _, err = run(*command, "--resume")
    assert (code, "no training was interrupted" in err) == (2, True)
