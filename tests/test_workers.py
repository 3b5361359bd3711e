"""Candidates scored in other processes, on real Dask clusters of this machine."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from command_line import TINY, Run
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.optimize import minimize
from strange_cells import SOUND, scored

from pymoo_nas._machine import Report
from pymoo_nas.errors import ScoreError, SearchError, WorkerError
from pymoo_nas.runs import RunFolder
from pymoo_nas.search import (
    EvolutiveNAS,
    NASProblem,
    Workers,
    front_to_frame,
    history_to_frame,
    operators,
)

pytestmark = pytest.mark.filterwarnings("ignore::Warning:distributed.*")


def test_equal_to_one_process(strange_problem: NASProblem, two_workers: Workers) -> None:
    """Two workers return the scores of this process to the bit, in the order asked for."""
    expected = scored(strange_problem, SOUND)
    seen: list[Report] = []
    other = NASProblem("digits", n_images=16, search_space=strange_problem.search_space)
    other.workers, other.progress = two_workers, seen.append
    assert scored(other, SOUND) == expected
    assert seen == [Report("candidates", n) for n in (1, 2, 3, 4)]


def test_threads_of_workers_sleep_while_they_wait(two_workers: Workers) -> None:
    """Processes that are started here have the policy of waiting, or that of the user."""
    assert two_workers.n == 2
    children = psutil.Process().children(recursive=True)
    policies = [child.environ().get("OMP_WAIT_POLICY") for child in children]
    expected = os.environ.get("OMP_WAIT_POLICY", "PASSIVE")
    assert policies.count(expected) >= 2, policies


def test_two_problems_one_after_the_other(two_workers: Workers) -> None:
    """The workers score on the probe of the problem that asks."""
    problems = [NASProblem("digits", n_images=n) for n in (8, 16)]
    expected = [scored(problem, ["8000"]) for problem in problems]
    for problem in problems:
        problem.workers = two_workers
    assert [scored(problem, ["8000"]) for problem in problems] == expected
    assert scored(problems[0], ["8000"]) == expected[0]


def test_users_mistakes_are_raised_here(strange_problem: NASProblem, two_workers: Workers) -> None:
    """An operation that mixes images is refused as in one process, and the workers stay usable."""
    expected = scored(strange_problem, SOUND[:1])
    strange_problem.workers, strange_problem.n_scored = two_workers, 0
    with pytest.raises(ScoreError, match="depends on the other images"):
        scored(strange_problem, [*SOUND, "0,0,0,0,8"])
    assert scored(strange_problem, SOUND[:1]) == expected


def test_a_genotype_over_the_limit_is_not_scored(two_workers: Workers) -> None:
    """Limits hold in the workers too."""
    problem = NASProblem("digits", n_images=16, max_params=100)
    problem.workers = two_workers
    ((values, _, params, *_, reason),) = scored(problem, ["8000"])
    assert values == problem.worst
    assert params > 100
    assert "over the limit" in reason


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
    monkeypatch.setattr("pymoo_nas.search._dask_workers.CONNECT_SECONDS", 5)
    with (
        cluster(tmp_path, 0) as address,
        pytest.raises(WorkerError, match="no workers"),
        Workers(address=address),
    ):
        pass


@pytest.mark.slow
def test_lost_scheduler(strange_problem: NASProblem, tmp_path: Path) -> None:
    """When the cluster ends first, leaving the context is quiet and the workers are closed."""
    with ExitStack() as stack:
        address = stack.enter_context(cluster(tmp_path, 1))
        with Workers(address=address) as strange_problem.workers:
            assert len(scored(strange_problem, SOUND)) == len(SOUND)
            stack.close()
    with pytest.raises(WorkerError, match="are closed"):
        scored(strange_problem, SOUND)


@pytest.mark.slow
def test_interrupted_search_with_workers(tmp_path: Path) -> None:
    """Ctrl-C ends a search with workers cleanly and leaves no process behind."""
    start = [sys.executable, "-m", "pymoo_nas", "search", *TINY]
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
        ({"n": 0}, "n=0"),
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
    monkeypatch.setattr("pymoo_nas.search._dask_workers.CONNECT_SECONDS", 1)
    with pytest.raises(WorkerError, match="no Dask scheduler answers"), Workers(address=address):
        pass


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Dask the message says how to install it."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(WorkerError, match=r"pip install 'pymoo-nas\[dask\]'"):
        Workers(2)


def test_closed_workers(strange_problem: NASProblem) -> None:
    """Workers whose context is over say so."""
    strange_problem.workers = Workers(1)
    with pytest.raises(WorkerError, match="are closed"):
        scored(strange_problem, SOUND)


def test_unreachable_cluster_leaves_the_old_run(
    run: Run, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a wrong address and --overwrite the run that is there stays."""
    monkeypatch.setattr("pymoo_nas.search._dask_workers.CONNECT_SECONDS", 1)
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


def test_a_search_with_open_workers_is_copied(two_workers: Workers) -> None:
    """Pickled, the workers are closed and keep their settings; a copy in the process shares them.

    The copy goes on in one process to the scores of the original.
    """
    problem = NASProblem("digits", n_images=16)
    problem.workers = two_workers
    algorithm = EvolutiveNAS(3, 4)
    algorithm.setup(problem, termination=("n_gen", 2), seed=1)
    algorithm.next()
    assert copy.deepcopy(algorithm).problem.workers is two_workers
    loaded = pickle.loads(pickle.dumps(algorithm))
    assert vars(loaded.problem.workers)["seconds"] == 6
    with pytest.raises(WorkerError, match="closed"):
        loaded.next()
    loaded = pickle.loads(pickle.dumps(algorithm))
    loaded.problem.workers = None
    frames = []
    for search in (loaded, algorithm):
        search.run()
        frames.append(history_to_frame(search).drop(columns="seconds"))
    assert frames[0].equals(frames[1])


def test_any_algorithm_of_pymoo_has_workers(two_workers: Workers) -> None:
    """NSGA-II with two workers finds the front that it finds in one process."""
    fronts = []
    for workers in (None, two_workers):
        problem = NASProblem("digits", n_images=8)
        problem.workers = workers
        result = minimize(problem, NSGA2(pop_size=4, **operators()), ("n_gen", 2), seed=1)
        fronts.append(front_to_frame(result).drop(columns="seconds"))
    pd.testing.assert_frame_equal(*fronts)


def test_an_elementwise_runner_is_answered() -> None:
    """The message says what takes its place."""
    with pytest.raises(SearchError, match=r"problem\.workers"):
        NASProblem("digits", n_images=8, elementwise_runner=map)  # type: ignore[arg-type]
