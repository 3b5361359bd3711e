"""Objectives on the command line: named, kept in the run folder, and taken up again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import TINY, Run

from pymoo_nas.datasets import load_dataset
from pymoo_nas.errors import RunError, SearchError
from pymoo_nas.runs import RunFolder
from pymoo_nas.scores import LATER_OBJECTIVES, objectives_in, read_objectives
from pymoo_nas.search import read_frame


def test_the_command_line_takes_objectives(run: Run) -> None:
    """Their columns are in the tables and in what is printed; the run goes on with them."""
    arguments = ["--objectives", "activation,balanced_ntk", "--tournament-every", "0"]
    code, out, err = run("search", *TINY, *arguments, "--out", "run")
    assert (code, err) == (0, "")
    assert "balanced_ntk" in out
    assert objectives_in(RunFolder("run").history()) == ["activation", "balanced_ntk"]
    assert {path.name for path in Path("run").glob("*.png")} == {
        "front.png", "evolution.png", "cell.png",
    }  # fmt: skip
    assert run("search", "--resume", "run", "--generations", "4")[0] == 0
    assert run("choose", "run", "--by", "weights", "--weights", "balanced_ntk=1")[0] == 0
    code, _, err = run("choose", "run", "--by", "weights", "--weights", "ntk=1")
    assert (code, "expected some of activation, balanced_ntk" in err) == (2, True)
    code, _, err = run("search", "--resume", "run", "--objectives", "ntk")
    assert (code, "objectives ['ntk']" in err) == (2, True)
    code, _, err = run("search", "--objectives", "nkt", "--out", "other")
    assert (code, "'nkt' is unknown" in err, Path("other").exists()) == (2, True, False)


@pytest.mark.slow
def test_a_run_with_the_setting_of_before_is_read(run: Run, finished: Path) -> None:
    """A run of ``balanced_ntk: true`` had its values in the column ntk; they get their name."""
    shutil.copytree(finished, "run")
    config = json.loads(Path("run/config.json").read_text("utf-8"))
    del config["problem"]["objectives"]
    for setting, expected in ((True, "balanced_ntk"), (False, "ntk")):
        config["problem"]["balanced_ntk"] = setting
        Path("run/config.json").write_text(json.dumps(config), "utf-8")
        folder = RunFolder("run")
        names = [expected, "activation", "correlation"]
        assert objectives_in(folder.history()) == objectives_in(folder.front()) == names
        assert folder.problem().objective_names == names
        assert run("choose", "run")[0] == 0
    assert run("search", "--resume", "run", "--generations", "4")[0] == 0


OWN_MODULE = """
from pymoo_nas import Objective

def depth(network, probe):
    return float(len(list(network.modules())))

modules = Objective.of_network("modules", depth, 1e9)
other = Objective.of_network("another", depth, 1e9)
"""


@pytest.mark.slow
def test_objectives_in_a_module(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An objective of one's own is named module:name, and a run goes on by it."""
    Path("own_measures.py").write_text(OWN_MODULE, "utf-8")
    monkeypatch.syspath_prepend(".")
    search = ["search", "--objectives", "ntk", "own_measures:modules", "activation", *TINY]
    assert run(*search, "--generations", "1", "--tournament-every", "0", "--out", "run")[0] == 0
    assert RunFolder("run").config()["problem"]["objectives"] == [
        "ntk",
        "own_measures:modules",
        "activation",
    ]
    assert objectives_in(RunFolder("run").front()) == ["ntk", "modules", "activation"]
    assert run("search", "--resume", "run", "--generations", "2")[0] == 0
    assert run("choose", "run", "--by", "weights", "--weights", "modules=1")[0] == 0
    for wrong, named in (("own_measures:other", "another"), ("own_measures:depth", "depth")):
        with pytest.raises(SearchError, match=named):
            read_objectives(wrong)


@pytest.mark.parametrize("words", [["ntk", "activation", "latency"], ["digits", "ntk"]])
def test_objectives_may_stand_apart(run: Run, words: list[str]) -> None:
    """Behind --objectives they may be separated by blanks, before or behind the data set."""
    few = ["--generations", "1", "--offspring", "2", "--population", "2", "--images", "8"]
    search = ["search", *words[:1], "--objectives", *words[1:]]
    if words[0] != "digits":
        search = ["search", "--objectives", *words]
    assert run(*search, *few, "--tournament-every", "0", "--out", "run")[0] == 0
    names = RunFolder("run").config().objective_names()
    assert names == [word for word in words if word != "digits"]
    assert set(names) <= {*RunFolder("run").history(), *RunFolder("run").archive()}


def test_one_name_of_several_objectives(run: Run) -> None:
    """It may stand behind another one; the run has their names, and goes on by either text."""
    few = ["--offspring", "2", "--population", "2", "--images", "8", "--tournament-every", "0"]
    search = ["search", "--objectives", "flops", "later", *few]
    assert run(*search, "--generations", "1", "--out", "run")[0] == 0
    names = ["flops", *LATER_OBJECTIVES]
    assert RunFolder("run").config().objective_names() == names
    for text in ("flops,later", ",".join(names)):
        assert run("search", "--resume", "run", "--objectives", text)[0] == 0
    code, _, err = run("search", "--objectives", "flops", "latter")
    assert (code, "did you mean later" in err) == (2, True)


@pytest.mark.parametrize("names", ["flops", "params latency"])
def test_sizes_alone_are_objectives(run: Run, names: str) -> None:
    """A run by sizes or times alone is read, chosen from and compared."""
    few = ["--generations", "1", "--offspring", "4", "--population", "3", "--images", "8"]
    search = ["search", "--objectives", names, *few, "--tournament-every", "0", "--out", "run"]
    assert run(*search)[0] == 0
    folder = RunFolder("run")
    for table in (folder.history(), folder.front(), folder.archive()):
        assert objectives_in(table) == names.split()
    assert run("choose", "run", "--by", "knee")[0] == 0
    assert run("compare", "run")[0] == 0
    named = read_frame("run/history.csv", names.split())
    assert objectives_in(named) == names.split()
    with pytest.raises(RunError, match="read_frame"):
        read_frame("run/history.csv")


@pytest.mark.slow
def test_resume_names_its_objectives_again(run: Run) -> None:
    """The objectives of the run are no data set; another limit is refused."""
    data = load_dataset("digits")
    np.savez("some.npz", train_images=data.train_images[:60], train_labels=data.train_labels[:60],
             test_images=data.test_images[:20], test_labels=data.test_labels[:20])  # fmt: skip
    few = ["--generations", "1", "--offspring", "3", "--population", "2", "--images", "8"]
    named = ["--objectives", "ntk", "activation", "params"]
    search = ["search", "some.npz", *few, "--tournament-every", "0", "--out", "run"]
    assert run(*search, *named)[0] == 0
    again = ["search", "--resume", "run", "--generations", "2"]
    code, _, err = run(*again, "--max-memory", "1MiB")
    assert (code, "max_memory" in err) == (2, True)
    assert run(*again, *named)[0] == 0
    code, _, err = run("search", "--objectives", "ntk", "activaton")
    assert (code, "did you mean activation" in err) == (2, True)
