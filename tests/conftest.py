from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import TINY, Run
from hypothesis import HealthCheck, settings
from pymoo.optimize import minimize
from strange_cells import strange_operations

from pymoo_nas.cli import _app as cli
from pymoo_nas.search import EvolutiveNAS, NASProblem, Workers
from pymoo_nas.spaces import CellSpace

# Beside other work an example may take any time.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Several threads are slower than one on tensors as small as those of the tests.

    For the whole session: the last bits of a score depend on the number of threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Images that tests decode, and the programs that they start, are kept away from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Networks that a test builds have the same weights in every run of it."""
    torch.manual_seed(0)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the command line in an empty folder: (exit code, output, errors)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pymoo-nas", *arguments])
        with pytest.raises(SystemExit) as raised:
            cli.main()
        printed = capsys.readouterr()
        code = raised.value.code
        return int(code or 0), printed.out, printed.err

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small finished search with one tournament."""
    folder = tmp_path_factory.mktemp("finished") / "digits"
    before, sys.argv = sys.argv, ["pymoo-nas", "search", *TINY, "--out", str(folder)]
    try:
        with pytest.raises(SystemExit) as raised:
            cli.main()
    finally:
        sys.argv = before
    assert not raised.value.code
    return folder


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Workers]:
    """Two processes that the tests of a file share; a candidate may take six seconds."""
    with Workers(2, seconds=6) as started:
        yield started


@pytest.fixture(scope="session")
def problem() -> NASProblem:
    """Digits, few images."""
    return NASProblem("digits", n_images=16)


@pytest.fixture(scope="session")
def result(problem: NASProblem) -> Any:
    """A small search."""
    return minimize(problem, EvolutiveNAS(3, 6), ("n_gen", 2), seed=1)


@pytest.fixture
def strange_problem() -> NASProblem:
    """Digits, and a space in which not every operation behaves."""
    return NASProblem("digits", n_images=16, search_space=CellSpace(strange_operations()))


@pytest.fixture
def seeded_weights() -> Iterator[None]:
    """Weights are drawn from torch's own generator; every test draws the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
