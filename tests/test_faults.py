"""What goes wrong outside: runs that are killed, workers that die, folders that are damaged."""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from command_line import Run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strange_cells import SOUND, scored

from pymoo_nas._machine import Report
from pymoo_nas.errors import PymooNasError
from pymoo_nas.runs import RunFolder, final_of, load_trained, report, resume
from pymoo_nas.runs._checkpoint import CHECKPOINT, PREVIOUS
from pymoo_nas.runs._folder import PICTURES
from pymoo_nas.search import NASProblem, Workers

COMMAND = [sys.executable, "-m", "pymoo_nas", "search"]
SEARCH = ["--generations", "12", "--offspring", "8", "--population", "2", "--images", "16",
          "--tournament-every", "2", "--tournament-size", "2", "--seed", "7"]  # fmt: skip
KILLS = 25

TEXTS = ("config.json", "checkpoint.json", "front.csv", "history.csv", "tournaments.json")

OTHER = (b"", b"null", b"[]", b"{}", b'{"a": NaN}', b"\xff\xfe", b"a,b\n1")

KEPT = Path(__file__).parent / "data" / "before_rooms"

per_folder = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

pytestmark = pytest.mark.filterwarnings("ignore::Warning:distributed.*")


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


@pytest.mark.slow
def test_hanging_and_dying_candidates(strange_problem: NASProblem, two_workers: Workers) -> None:
    """Candidates that hang or kill their workers fail with a reason; all others are scored."""
    expected = scored(strange_problem, SOUND)
    strange_problem.workers = two_workers
    found = scored(strange_problem, [*SOUND[:2], "0,8,0,0,0", "0,0,8,0,0", *SOUND[2:]])
    assert found[:2] + found[4:] == expected
    for values, *_, reason in found[2:4]:
        assert values == strange_problem.worst
        assert "every worker that tried it died" in reason
        assert "longer than 6 s" in reason


@pytest.mark.slow
def test_candidate_that_fills_the_memory(strange_problem: NASProblem) -> None:
    """A candidate beyond a worker's memory fails; the others are scored."""
    expected = scored(strange_problem, SOUND)
    with Workers(1, memory=3 << 29) as started:
        strange_problem.workers = started
        found = scored(strange_problem, [*SOUND, "0,0,0,8,0"])
    assert found[:4] == expected
    assert "out of memory" in found[4][-1]


@pytest.mark.slow
def test_worker_killed_in_the_middle(two_workers: Workers) -> None:
    """Killed between two results, a worker costs nothing but time."""
    problem = NASProblem("digits", n_images=16)
    texts = [f"{8 * n},0,0,0|0,0,0,0|{m},0,0,0" for n in range(1, 6) for m in range(8, 40, 8)]
    expected = scored(problem, texts)

    def kill_one(report: Report) -> None:
        if report.done == 23:
            children = psutil.Process().children(recursive=True)
            victim = next(c for c in children if c.num_threads() > 3 and c.is_running())
            victim.kill()

    problem.workers, problem.progress = two_workers, kill_one
    assert scored(problem, texts) == expected


@pytest.mark.slow
def test_no_process_is_given_up(strange_problem: NASProblem) -> None:
    """A process that takes long to start again is waited for, whatever Dask's patience."""
    import dask

    expected = scored(strange_problem, SOUND)
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "10 ms"}):
        before = set(psutil.Process().children(recursive=True))
        with Workers(1) as strange_problem.workers:
            started = set(psutil.Process().children(recursive=True)) - before
            max(started, key=lambda process: process.num_threads()).kill()
            time.sleep(1)
            assert scored(strange_problem, SOUND) == expected
        assert dask.config.get("distributed.deploy.lost-worker-timeout") == "10 ms"


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A folder for copies of a finished run."""
    return tmp_path / "copy"


def fresh(finished: Path, path: Path) -> RunFolder:
    """An undamaged copy, in place of the last."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(finished, path)
    return RunFolder(path)


def damaged(data: bytes, draw: Any) -> bytes:
    """The bytes cut off, with some of them replaced, or something else altogether."""
    kind = draw(st.sampled_from(["cut", "flip", "insert", "other"]))
    if kind == "cut":
        return data[: draw(st.integers(0, len(data) - 1))]
    if kind == "other":
        return draw(
            st.sampled_from([b"", b"null", b"[]", b"{}", b'{"a": NaN}', b"\xff\xfe", b"a,b\n1"])
        )
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(changed) - 1))
        if kind == "flip":
            changed[place] = draw(st.integers(0, 255))
        else:
            changed[place:place] = draw(st.binary(min_size=1, max_size=6))
    return bytes(changed)


def read_all(folder: RunFolder) -> None:
    """Everything that the commands read of a run."""
    folder.config()
    folder.front()
    folder.history()
    folder.choice()
    folder.problem()


@given(data=st.data())
@per_folder
def test_damaged_files(finished: Path, copied: Path, data: st.DataObject) -> None:
    """A damaged file is read as it is or refused by this package's errors, and stays as it is."""
    folder = fresh(finished, copied)
    name = data.draw(st.sampled_from(TEXTS))
    path = folder.path / name
    path.write_bytes(damaged(path.read_bytes(), data.draw))
    before = {p.name: p.read_bytes() for p in folder.path.iterdir() if p.is_file()}
    with contextlib.suppress(PymooNasError):
        read_all(folder)
    after = {p.name: p.read_bytes() for p in folder.path.iterdir() if p.is_file()}
    assert after == before


@given(data=st.data())
@per_folder
def test_edited_checkpoints(finished: Path, copied: Path, data: st.DataObject) -> None:
    """A checkpoint that was cut off or edited is never continued from."""
    folder = fresh(finished, copied)
    path = folder.path / "checkpoint.json"
    sound = path.read_bytes()
    path.write_bytes(damaged(sound, data.draw))
    if _same_values(path.read_bytes(), sound):
        return
    with pytest.raises(PymooNasError, match=r"checkpoint\.json"):
        resume(folder.path)


@pytest.mark.parametrize(
    ("name", "place", "values"),
    [
        ("config.json", ("problem", "objectives"), [5, "ntk", {}]),
        ("config.json", ("problem", "dataset"), [10**30, [], None]),
        ("config.json", ("problem",), [None, [], 3]),
        ("config.json", ("search_space",), [None, "cell"]),
        ("config.json", ("search_space", "operations"), [5, None]),
        ("config.json", ("seconds",), ["x"]),
        ("choice.json", ("n_cells",), [10**30, 0, "3"]),
        ("final/training.json", ("network",), [5, "x"]),
        ("final/training.json", ("network", "genotypes"), [5]),
        ("final/training.json", ("best_epoch",), [None, "x"]),
        ("final/training.json", ("test_accuracy",), ["x"]),
    ],
)
def test_values_of_other_kinds_are_refused(
    tmp_path: Path, name: str, place: tuple[str, ...], values: list[Any]
) -> None:
    """A file that was edited is named, wherever it is read, by this package's errors."""
    shutil.copytree(KEPT / "run", tmp_path / "run")
    folder, path = RunFolder(tmp_path / "run"), tmp_path / "run" / name
    sound = json.loads(path.read_text("utf-8"))
    sound.get("problem", {}).pop("balanced_ntk", None)  # it would stand for the objectives
    reading: dict[str, Callable[[], Any]] = {
        "config.json": lambda: final_of(folder.path, None, 0),
        "choice.json": folder.choice,
        "final/training.json": lambda: load_trained(folder.path),
    }
    for value in values:
        edited = json.loads(json.dumps(sound))
        part = edited
        for key in place[:-1]:
            part = part[key]
        part[place[-1]] = value
        path.write_text(json.dumps(edited), "utf-8")
        for use in (folder.choice, folder.trained, lambda: report(folder), folder.problem):
            with contextlib.suppress(PymooNasError):
                use()
        with pytest.raises(PymooNasError):
            reading[name]()


def _same_values(one: bytes, other: bytes) -> bool:
    """Whether only the white space of the JSON differs."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


@pytest.mark.parametrize(
    "values",
    [
        {"genotype": "1e400"},
        {"genotypes": "8000"},
        {"genotypes": [1, 2]},
        {"genotypes": []},
        {"genotypes": ["8000|"]},
        {"genotypes": ["9" * 5000]},
        {"genotypes": ["8000"], "n_cells": -2},
        {"genotypes": ["8000"], "n_cells": 0},
        [],
        "8000",
    ],
)
def test_made_up_choice(run: Run, finished: Path, values: Any) -> None:
    """A choice that names no architecture is refused by `train` before anything is written."""
    shutil.copytree(finished, "run")
    Path("run/choice.json").write_text(json.dumps(values), encoding="utf-8")
    code, _, err = run("train", "run", "--epochs", "1")
    assert code == 2, err
    assert err.startswith("error: ")
    assert "choice.json" in err
    assert not Path("run/final").exists()


@pytest.mark.parametrize("name", ["mit Leerzeichen", "日本語", "-dash", "a'b\"c", "x" * 200])
def test_names_of_folders(run: Run, finished: Path, name: str) -> None:
    """Run folders may have any name that the file system takes."""
    shutil.copytree(finished, f"./{name}")
    assert run("plot", f"./{name}")[0] == 0
    assert run("choose", f"./{name}")[0] == 0
    assert RunFolder(name).choice()


@pytest.mark.parametrize("threads", ["1", 0, -3, 1.5, [1]])
def test_made_up_threads(run: Run, finished: Path, threads: Any) -> None:
    """A number of threads that is none is refused by name."""
    shutil.copytree(finished, "run")
    config = json.loads(Path("run/config.json").read_text("utf-8"))
    Path("run/config.json").write_text(json.dumps({**config, "threads": threads}), "utf-8")
    code, _, err = run("search", "--resume", "run")
    assert code == 2
    assert "threads" in err


@pytest.mark.slow
def test_first_candidate_of_a_process_has_as_much_time_as_others() -> None:
    """What a new worker imports at its first candidate takes nothing of that candidate's time."""
    timed = "import time, torch; a = time.perf_counter(); import torch._dynamo; "
    command = [sys.executable, "-c", f"{timed}print(time.perf_counter() - a)"]
    seconds = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    problem = NASProblem("digits", n_images=16)
    expected = scored(problem, ["8,0,0,0"])
    with Workers(1, seconds=seconds / 2) as problem.workers:
        assert scored(problem, ["8,0,0,0"]) == expected


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("name", ["checkpoint.json", "config.json"])
def test_numbers_that_json_does_not_have(
    finished: Path, copied: Path, name: str, number: str
) -> None:
    """A number beyond the finite ones, however it is written, is damage, and the file is named."""
    folder = fresh(finished, copied)
    path = folder.path / name
    text = path.read_text("utf-8")
    *_, last = re.finditer(r"(?<=: )\d+(?=[,}\s])", text)
    path.write_text(text[: last.start()] + number + text[last.end() :], "utf-8")
    with pytest.raises(PymooNasError, match=re.escape(name)):
        resume(folder.path)
