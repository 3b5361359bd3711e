"""Candidates scored in other processes, on real Dask clusters of this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import torch
from command_line import TINY, Run
from torch import Tensor, nn

from pymoo_nas.errors import ScoreError, WorkerError
from pymoo_nas.operations import OPERATIONS
from pymoo_nas.problem import NASProblem
from pymoo_nas.runs import RunFolder
from pymoo_nas.search_space import CellSpace
from pymoo_nas.workers import Workers

FILTER = pytest.mark.filterwarnings("ignore::Warning:distributed.*")
pytestmark = FILTER

SOUND = [
    "8,0,0,0,0",
    "16,0,0,0,0|0,0,0,0,0|8,0,0,0,0",
    "24,0,0,0,0",
    "8,0,0,0,0|8,0,0,0,0|8,0,0,0,0",
]


def strange_operations() -> Mapping[str, Callable[[int, int], nn.Module]]:
    """A sound operation, and four that hang, die, fill the memory, or mix images.

    Made in a function: so they travel to the workers by value, which cannot import this file.
    """

    class Misbehaving(nn.Module):
        def __init__(self, c_in: int, c_out: int, kind: str) -> None:
            super().__init__()
            self.layer, self.kind = nn.Conv2d(c_in, c_out, 1), kind

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 1:  # not while its multiply-accumulates are counted
                if self.kind == "hang":
                    time.sleep(600)
                if self.kind == "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                if self.kind == "fill":
                    kept = [torch.ones(1 << 22) for _ in range(1000)]
                    time.sleep(600 + len(kept))
                if self.kind == "mix":
                    x = x + x.mean(0, keepdim=True)
            return torch.relu(self.layer(x))

    def operation(kind: str) -> Callable[[int, int], nn.Module]:
        return lambda c_in, c_out: Misbehaving(c_in, c_out, kind)

    strange = {kind: operation(kind) for kind in ("hang", "die", "fill", "mix")}
    return {"conv3x3": OPERATIONS["conv3x3"], **strange}


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """Two processes that many tests share."""
    with Workers(2, seconds=6) as started:
        yield started


@pytest.fixture
def problem() -> NASProblem:
    """Digits, and a space in which not every operation behaves."""
    return NASProblem("digits", n_images=16, search_space=CellSpace(strange_operations()))


def scored(problem: NASProblem, texts: list[str]) -> list[Any]:
    """The scores of texts, without what differs from run to run."""
    rows = problem.score_genotypes([problem.search_space.parse(text) for text in texts])
    return [(row.values, row.spread, row.params, row.flops, row.degenerate) for row in rows]


def test_equal_to_one_process(problem: NASProblem, workers: Workers) -> None:
    """Two workers return the scores of this process to the bit, in the order asked for."""
    expected = scored(problem, SOUND)
    seen: list[int] = []
    other = NASProblem("digits", n_images=16, search_space=problem.search_space)
    other.workers, other.progress = workers, seen.append
    assert scored(other, SOUND) == expected
    assert seen == [1, 2, 3, 4]


def test_two_problems_one_after_the_other(workers: Workers) -> None:
    """The workers score on the probe of the problem that asks."""
    problems = [NASProblem("digits", n_images=n) for n in (8, 16)]
    expected = [scored(problem, ["8000"]) for problem in problems]
    for problem in problems:
        problem.workers = workers
    assert [scored(problem, ["8000"]) for problem in problems] == expected
    assert scored(problems[0], ["8000"]) == expected[0]


def test_users_mistakes_are_raised_here(problem: NASProblem, workers: Workers) -> None:
    """An operation that mixes images is refused as in one process, and the workers stay usable."""
    expected = scored(problem, SOUND[:1])
    problem.workers, problem.n_scored = workers, 0
    with pytest.raises(ScoreError, match="depends on the other images"):
        scored(problem, [*SOUND, "0,0,0,0,8"])
    assert scored(problem, SOUND[:1]) == expected


def test_a_genotype_over_the_limit_is_not_scored(workers: Workers) -> None:
    """Limits hold in the workers too."""
    problem = NASProblem("digits", n_images=16, max_params=100)
    problem.workers = workers
    ((values, _, params, _, reason),) = scored(problem, ["8000"])
    assert values == problem.worst
    assert params > 100
    assert "over the limit" in reason


@pytest.mark.slow
def test_hanging_and_dying_candidates(problem: NASProblem, workers: Workers) -> None:
    """Candidates that hang or kill their workers fail with a reason; all others are scored."""
    expected = scored(problem, SOUND)
    problem.workers = workers
    found = scored(problem, [*SOUND[:2], "0,8,0,0,0", "0,0,8,0,0", *SOUND[2:]])
    assert found[:2] + found[4:] == expected
    for values, _, _, _, reason in found[2:4]:
        assert values == problem.worst
        assert "every worker that tried it died" in reason
        assert "longer than 6 s" in reason


@pytest.mark.slow
def test_candidate_that_fills_the_memory(problem: NASProblem) -> None:
    """A candidate beyond a worker's memory fails; the others are scored."""
    expected = scored(problem, SOUND)
    with Workers(1, memory=3 << 29) as started:
        problem.workers = started
        found = scored(problem, [*SOUND, "0,0,0,8,0"])
    assert found[:4] == expected
    assert "out of memory" in found[4][-1]


@pytest.mark.slow
def test_worker_killed_in_the_middle(workers: Workers) -> None:
    """Killed between two results, a worker costs nothing but time."""
    problem = NASProblem("digits", n_images=16)
    texts = [f"{8 * n},0,0,0|0,0,0,0|{m},0,0,0" for n in range(1, 6) for m in range(8, 40, 8)]
    expected = scored(problem, texts)

    def kill_one(n_scored: int) -> None:
        if n_scored == 23:
            children = psutil.Process().children(recursive=True)
            victim = next(c for c in children if c.num_threads() > 3 and c.is_running())
            victim.kill()

    problem.workers, problem.progress = workers, kill_one
    assert scored(problem, texts) == expected


@pytest.mark.slow
def test_no_process_is_given_up(problem: NASProblem) -> None:
    """A process that takes long to start again is waited for, whatever Dask's patience."""
    import dask

    expected = scored(problem, SOUND)
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "10 ms"}):
        before = set(psutil.Process().children(recursive=True))
        with Workers(1) as problem.workers:
            started = set(psutil.Process().children(recursive=True)) - before
            max(started, key=lambda process: process.num_threads()).kill()
            time.sleep(1)
            assert scored(problem, SOUND) == expected
        assert dask.config.get("distributed.deploy.lost-worker-timeout") == "10 ms"


@contextmanager
def cluster(folder: Path, n_workers: int) -> Iterator[str]:
    """A scheduler and workers by Dask's own commands; yields the address."""
    address_file = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    options = ["--scheduler-file", str(address_file), "--no-dashboard"]
    commands = [[*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *options]]
    if n_workers:
        workers = ["--nworkers", str(n_workers), "--nthreads", "1", "--host", "127.0.0.1"]
        commands.append([*dask, "worker", *workers, *options])
    started = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    try:
        deadline = time.monotonic() + 120
        while not address_file.exists() or not address_file.read_text("utf-8"):
            assert time.monotonic() < deadline, "no scheduler"
            time.sleep(0.2)
        address = str(pd.read_json(address_file, typ="series")["address"])
        if n_workers:
            wait_for_workers(address, n_workers)
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(60)


def wait_for_workers(address: str, n: int) -> None:
    """Until so many have registered."""
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(n, timeout=120)


@pytest.mark.slow
def test_search_on_a_running_cluster(run: Run, tmp_path: Path) -> None:
    """A search by a scheduler and two workers on loopback equals the serial one to the bit."""
    assert run("search", *TINY, "--threads", "1", "--out", "serial")[0] == 0
    with cluster(tmp_path, 2) as address:
        code, out, err = run("search", *TINY, "--dask", address, "--out", "cluster")
    assert code == 0, err
    assert "generation 3/3" in out
    for read in (RunFolder.history, RunFolder.front):
        one, other = (read(RunFolder(p)).drop(columns="seconds") for p in ("serial", "cluster"))
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert Path("serial/front.png").read_bytes() == Path("cluster/front.png").read_bytes()


@pytest.mark.slow
def test_cluster_without_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that has no workers is refused."""
    monkeypatch.setattr("pymoo_nas.workers.CONNECT_SECONDS", 5)
    with (
        cluster(tmp_path, 0) as address,
        pytest.raises(WorkerError, match="no workers"),
        Workers(address=address),
    ):
        pass


@pytest.mark.slow
def test_interrupted_search_with_workers(tmp_path: Path) -> None:
    """Ctrl-C ends a search with workers cleanly and leaves no process behind."""
    start = [sys.executable, "-c", "from pymoo_nas.cli import main; main()", "search", *TINY]
    command = [*start, "--generations", "500", "--workers", "2", "--out", str(tmp_path / "kept")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("generation 2/"):
                break
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2
        # As a terminal does it: to the whole group.
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "generations are kept" in err
    assert "Traceback" not in err
    gone, alive = psutil.wait_procs(family, timeout=30)
    assert gone
    assert not alive
    assert RunFolder(tmp_path / "kept").history()["generation"].max() >= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "expected one of the two"),
        ({"n": 2, "address": "tcp://127.0.0.1:1"}, "expected one of the two"),
        ({"n": 0}, "at least 1 process"),
        ({"n": 1, "threads": 0}, "threads=0"),
        ({"n": 1, "seconds": 0}, "seconds=0"),
        ({"n": 1, "memory": 0}, "memory=0"),
    ],
)
def test_senseless_settings(settings: dict[str, Any], message: str) -> None:
    """Settings that cannot be met are refused before anything is started."""
    with pytest.raises(WorkerError, match=message):
        Workers(**settings)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x", "127.0.0.1:1"])
def test_no_scheduler(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address at which nothing answers is refused with an example of one."""
    monkeypatch.setattr("pymoo_nas.workers.CONNECT_SECONDS", 1)
    with pytest.raises(WorkerError, match="no Dask scheduler answers"), Workers(address=address):
        pass


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Dask the message says how to install it."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(WorkerError, match=r"pip install 'pymoo-nas\[dask\]'"):
        Workers(2)


def test_closed_workers(problem: NASProblem) -> None:
    """Workers whose context is over say so."""
    problem.workers = Workers(1)
    with pytest.raises(WorkerError, match="are closed"):
        scored(problem, SOUND)


def test_unreachable_cluster_leaves_the_old_run(
    run: Run, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a wrong address and --overwrite the run that is there stays."""
    monkeypatch.setattr("pymoo_nas.workers.CONNECT_SECONDS", 1)
    shutil.copytree(finished, "run")
    address = "tcp://127.0.0.1:1"
    code, _, err = run("search", *TINY, "--overwrite", "--out", "run", "--dask", address)
    assert code == 2
    assert "no Dask scheduler answers" in err
    assert Path("run/front.csv").read_bytes() == (finished / "front.csv").read_bytes()


def test_time_limit_needs_workers(run: Run) -> None:
    """A limit of time for a candidate without workers is a mistake."""
    code, _, err = run("search", *TINY, "--candidate-seconds", "5")
    assert code == 2
    assert "add --workers" in err
