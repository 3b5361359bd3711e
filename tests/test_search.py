"""Searches that are cut off and continued: equal to the bit, and refused where they cannot be."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pymoo.core.callback import Callback

from pymoo_nas import CellSpace, NASProblem, RunError, Search, SearchSettings, resume
from pymoo_nas.runs import RunFolder
from pymoo_nas.runs import _checkpoint as checkpoints
from pymoo_nas.runs._checkpoint import CHECKPOINT, PREVIOUS, last_good, read_checkpoint
from pymoo_nas.search import CandidateScorer, history_to_frame

PROBLEM = {"dataset": "digits", "n_images": 16, "max_params": 60_000}
SETTINGS = SearchSettings(
    generations=5, population=2, offspring=4, tournament_every=2, tournament_size=2, seed=3
)


class StopAfter(Callback):
    """Ends a search as Ctrl-C does, in a generation that is not saved yet."""

    def __init__(self, generation: int) -> None:
        super().__init__()
        self.generation = generation

    def notify(self, algorithm: Any) -> None:
        if algorithm.n_iter > self.generation:
            raise KeyboardInterrupt


def begin(path: Path, settings: SearchSettings = SETTINGS, **changes: Any) -> Search:
    """A new search in a folder."""
    folder = RunFolder(path)
    folder.create()
    arguments = {**PROBLEM, **changes}
    space = CellSpace()
    problem = NASProblem(**arguments, search_space=space)
    return Search(
        folder, problem, settings, {"problem": arguments, "search_space": space.settings()}
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search that ran through."""
    path = tmp_path_factory.mktemp("whole") / "run"
    search = begin(path)
    search.run()
    search.folder.draw()
    return path


def assert_same(one: Path, other: Path) -> None:
    """Tables, state and pictures are equal but for the seconds that scoring took."""
    folders = RunFolder(one), RunFolder(other)
    for read in (RunFolder.history, RunFolder.front):
        first, second = (read(folder).drop(columns="seconds") for folder in folders)
        pd.testing.assert_frame_equal(first, second, check_exact=True)
    states = [read_checkpoint(path / CHECKPOINT) for path in (one, other)]
    for state in states:
        state.pop("seconds")
        for row in state["scored"]:
            row.pop("seconds")
    assert states[0] == states[1]
    for name in ("tournaments.json", "front.png", "evolution.png", "offspring.png", "cell.png"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [1, 2, 3, 4])
def test_continued_search_is_the_same(tmp_path: Path, undisturbed: Path, stopped: int) -> None:
    """Cut off in any generation and continued, a search ends where it would have."""
    search = begin(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        search.run(StopAfter(stopped))
    assert RunFolder(tmp_path / "run").history()["generation"].max() == stopped
    result = resume(tmp_path / "run")
    assert_same(tmp_path / "run", undisturbed)
    assert sorted(result.F[:, 0]) == sorted(RunFolder(undisturbed).front()["ntk"])


@pytest.mark.slow
def test_interrupted_first_generation(
    tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that is cut off before anything is kept begins anew when it is continued."""

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CandidateScorer, "score", interrupt)
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path / "run").run()
    monkeypatch.undo()
    assert RunFolder(tmp_path / "run").config()["generations_done"] == 0
    resume(tmp_path / "run")
    assert_same(tmp_path / "run", undisturbed)


@pytest.mark.slow
def test_killed_before_the_last_tables(
    tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search killed between its last checkpoint and its tables writes them when resumed."""
    original = RunFolder.save_tables

    def killed(self: RunFolder, algorithm: Any, config: Any) -> None:
        if algorithm.n_iter > SETTINGS.generations:
            raise SystemExit
        original(self, algorithm, config)

    monkeypatch.setattr(RunFolder, "save_tables", killed)
    with pytest.raises(SystemExit):
        begin(tmp_path / "run").run()
    monkeypatch.undo()
    assert RunFolder(tmp_path / "run").history()["generation"].max() == SETTINGS.generations - 1
    result = resume(tmp_path / "run")
    assert_same(tmp_path / "run", undisturbed)
    assert RunFolder(tmp_path / "run").config()["generations_done"] == SETTINGS.generations
    assert len(history_to_frame(result)) == len(RunFolder(undisturbed).history())


@pytest.mark.slow
def test_exhausted_search_stays_ended(tmp_path: Path) -> None:
    """Where nothing new can be bred, continuing adds no generation and no tournament."""
    space = CellSpace(["conv3x3"], max_nodes=1, max_channels=32)
    arguments = {"dataset": "digits", "n_images": 16}
    search = Search(
        RunFolder(tmp_path),
        NASProblem(**arguments, search_space=space),
        SearchSettings(9, 2, 3, tournament_every=2, tournament_size=2),
        {"problem": arguments, "search_space": space.settings()},
    )
    search.folder.create()
    search.run()
    before = RunFolder(tmp_path).config()["generations_done"]
    assert before < 9
    held = (tmp_path / "tournaments.json").read_bytes()
    for _ in range(2):
        resume(tmp_path)
    assert RunFolder(tmp_path).config()["generations_done"] == before
    assert (tmp_path / "tournaments.json").read_bytes() == held


def test_threads_of_the_run(cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is continued with the threads that it was begun with; then they are as before."""
    path = cut / "config.json"
    path.write_text(json.dumps({**RunFolder(cut).config(), "threads": 3}), "utf-8")
    seen: list[int] = []
    monkeypatch.setattr(
        Search, "run", lambda self: seen.append(torch.get_num_threads()) or self.algorithm
    )
    before = torch.get_num_threads()
    resume(cut)
    assert seen == [3]
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_finished_search_goes_on(tmp_path: Path, undisturbed: Path) -> None:
    """More generations for a finished search are those that it would have had."""
    search = begin(tmp_path / "run", SearchSettings(3, 2, 4, None, 2, 2, 3))
    search.run()
    resume(tmp_path / "run", generations=5)
    assert_same(tmp_path / "run", undisturbed)
    assert RunFolder(tmp_path / "run").config()["algorithm"]["generations"] == 5
    # Nothing is left to do, and nothing changes.
    resume(tmp_path / "run")
    assert_same(tmp_path / "run", undisturbed)


@pytest.mark.slow
def test_ages_are_kept(tmp_path: Path) -> None:
    """Parents die at the same age whether the search was cut off or not."""
    settings = SearchSettings(5, 2, 4, max_age=1, tournament_every=0, seed=1)
    begin(tmp_path / "whole", settings).run()
    RunFolder(tmp_path / "whole").draw()
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path / "cut", settings).run(StopAfter(2))
    resume(tmp_path / "cut")
    assert_same(tmp_path / "cut", tmp_path / "whole")


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """The folder of a search that was cut off after two generations."""
    settings = SearchSettings(3, 2, 2, tournament_every=0)
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path / "cut", settings).run(StopAfter(2))
    return tmp_path / "cut"


@pytest.mark.parametrize("damage", ["truncated", "edited", "emptied", "no object"])
def test_damaged_checkpoint(cut: Path, damage: str) -> None:
    """A damaged checkpoint is named and the generation before is offered; it then continues."""
    path = cut / CHECKPOINT
    text = path.read_text("utf-8")
    damaged = {
        "truncated": text[: len(text) // 2],
        "edited": text.replace('"n_eval": 4', '"n_eval": 5'),
        "emptied": "",
        "no object": "[]",
    }[damage]
    assert damaged != text
    path.write_text(damaged, "utf-8")
    with pytest.raises(RunError, match=r"checkpoint\.json: .*generation 1 is intact.*remove"):
        resume(cut)
    path.unlink()
    assert last_good(cut)["n_iter"] == 2
    resume(cut)
    assert RunFolder(cut).history()["generation"].tolist() == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("is_between", [False, True])
def test_disk_that_fills_up_at_the_end_of_a_checkpoint(
    cut: Path, monkeypatch: pytest.MonkeyPatch, is_between: bool
) -> None:
    """Both checkpoints stay where the next one does not reach the disk, and the run goes on."""
    if is_between:  # killed between two renames
        (cut / CHECKPOINT).replace(cut / PREVIOUS)
    kept = {path.name: path.read_bytes() for path in cut.glob("checkpoint*")}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, f"no space for {descriptor}")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(RunError, match=r"no space for .* resume"):
            resume(cut)
    assert {path.name: path.read_bytes() for path in cut.glob("*checkpoint*")} == kept
    resume(cut)
    assert RunFolder(cut).history()["generation"].tolist() == [1, 1, 2, 2, 3, 3]


def test_nothing_to_continue_from(cut: Path, tmp_path: Path) -> None:
    """Without a checkpoint, or with two damaged ones, a run is refused."""
    (cut / PREVIOUS).write_text("x", "utf-8")
    (cut / CHECKPOINT).write_text("x", "utf-8")
    with pytest.raises(RunError, match=r"checkpoint\.json: truncated"):
        resume(cut)
    (cut / PREVIOUS).unlink()
    (cut / CHECKPOINT).unlink()
    with pytest.raises(RunError, match="no such file"):
        resume(cut)
    with pytest.raises(RunError, match="holds no run"):
        resume(tmp_path / "nowhere")


def test_other_format(cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint of another format is refused, with both numbers."""
    monkeypatch.setattr(checkpoints, "FORMAT", checkpoints.FORMAT + 1)
    with pytest.raises(RunError, match=r"format 2; .* continues format 3"):
        read_checkpoint(cut / CHECKPOINT)


def test_other_images(cut: Path) -> None:
    """Images that are not those that the run was started with are refused, with the difference."""
    rng = np.random.default_rng(0)
    arrays = (rng.random((40, 8, 8, 1)).astype(np.float32), np.arange(40) % 4)
    with pytest.raises(RunError, match=r"other images .*training_images.: 143"):
        resume(cut, problem=NASProblem(arrays, n_images=8))


def test_fewer_generations(cut: Path) -> None:
    """A run cannot be continued to fewer generations than it has."""
    with pytest.raises(RunError, match="2 generations are done, 1 asked for"):
        resume(cut, generations=1)


@pytest.mark.slow
def test_two_processes(cut: Path) -> None:
    """While one process works on a folder, another is refused; afterwards it is not."""
    folder = RunFolder(cut)
    script = (
        "import sys; from pymoo_nas.runs import RunFolder\n"
        "with RunFolder(sys.argv[1]).locked(): print('locked', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(cut)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(RunError, match="in use by another process"):
            resume(cut)
        other.kill()
    resume(cut)
    assert folder.config()["generations_done"] == 3


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full the search stops, and its last checkpoint is whole."""
    search = begin(tmp_path / "run")
    original = Path.write_text

    def full(self: Path, text: str, *args: Any, **kwargs: Any) -> int:
        if "checkpoint" in self.name and '"n_iter": 4' in text:
            original(self, text[:100], *args, **kwargs)
            raise OSError(28, "No space left on device")
        return original(self, text, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RunError, match=r"No space left.*make room and resume"):
        search.run()
    monkeypatch.undo()
    assert read_checkpoint(tmp_path / "run" / CHECKPOINT)["n_iter"] == 3
    assert not list((tmp_path / "run").glob(".*-checkpoint*"))


def test_no_room_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a checkpoint there is nothing to resume."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    search = begin(tmp_path / "run")
    monkeypatch.setattr(RunFolder, "save_config", full)
    with pytest.raises(RunError, match=r"No space left.*search again with --overwrite"):
        search.run()


def test_checkpoint_is_plain_json(cut: Path) -> None:
    """The state holds numbers and texts only, and every scored candidate once."""
    state = json.loads((cut / CHECKPOINT).read_text("utf-8"))["state"]
    assert [row["genotype"] for row in state["scored"]] == RunFolder(cut).history()[
        "genotype"
    ].tolist()
    assert len(state["population"]) == 2
