"""Runs whose images have moved, changed, or are to be others for the training."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import ALONE, ONE, TINY, Run
from made_images import make_folder
from small_training import small_dataset

from pymoo_nas.datasets import load_dataset
from pymoo_nas.runs import RunFolder


def write_images(path: Path, n_train: int = 48, n_classes: int = 3) -> None:
    data = small_dataset(n_train, n_classes=n_classes)
    np.savez(
        path,
        train_images=data.train_images,
        train_labels=data.train_labels,
        test_images=data.test_images,
        test_labels=data.test_labels,
    )


@pytest.fixture
def searched(run: Run) -> Run:
    """A search of ``images.npz`` in the folder ``run``."""
    write_images(Path("images.npz"))
    assert run("search", "images.npz", *TINY, *ALONE, "--out", "run")[0] == 0
    return run


@pytest.mark.slow
def test_moved_images(searched: Run) -> None:
    """Where the images have moved, the search continues from there, and the place is kept."""
    shutil.move("images.npz", "moved.npz")
    code, _, err = searched("train", "run", "--epochs", "1")
    assert code == 2
    assert "pymoo-nas search PATH --resume run, or train --dataset PATH" in err
    assert searched("search", "moved.npz", "--resume", "run", "--generations", "4")[0] == 0
    assert RunFolder("run").config()["problem"]["dataset"] == str(Path("moved.npz").resolve())
    code, _, err = searched("train", "run", "--epochs", "1")
    assert (code, err) == (0, "")


def test_other_images_are_not_searched_on(searched: Run) -> None:
    """A search is not continued with other images, whatever their place."""
    write_images(Path("more.npz"), 60)
    code, _, err = searched("search", "more.npz", "--resume", "run", "--generations", "4")
    assert (code, "other images than the run was started with" in err) == (2, True)


@pytest.mark.slow
def test_training_on_other_images(searched: Run) -> None:
    """What was found on some images is trained on others where they are named: no word of it."""
    write_images(Path("four.npz"), 64, n_classes=4)
    code, out, err = searched("train", "run", "--dataset", "four.npz", "--epochs", "1")
    assert (code, err) == (0, "")
    assert "final network, of the front: " in out
    described = json.loads(Path("run/final/training.json").read_text("utf-8"))
    assert described["class_names"] == ["0", "1", "2", "3"]


@pytest.mark.slow
def test_limits_are_those_of_the_runs_images(run: Run) -> None:
    """More classes and larger images make the network larger; the limits do not speak of them."""
    write_images(Path("images.npz"))
    assert run("search", "images.npz", *TINY, *ALONE, "--out", "free")[0] == 0
    row = RunFolder("free").front().iloc[0]
    limits = ("--max-params", str(row["params"]), "--max-flops", str(row["flops"]))
    assert run("search", "images.npz", *TINY, *ALONE, *limits, "--out", "run")[0] == 0
    assert run("choose", "run", "--by", "knee")[0] == 0
    write_images(Path("eight.npz"), 64, n_classes=8)
    others = (("--dataset", "eight.npz"), ("--image-size", "12"))
    for index, other in enumerate(others):
        code, _, err = run("train", "run", *other, "--epochs", "1", "--out", str(index))
        assert (code, err) == (0, "")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_training_on_changed_images(searched: Run) -> None:
    """Images that have changed since the search are trained on with a warning."""
    write_images(Path("images.npz"), 60)
    code, _, err = searched("train", "run", "--epochs", "1")
    assert code == 0
    assert "warning: run: the images in images are not those of the search any more" in err


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_choice_of_a_younger_run(searched: Run) -> None:
    """A choice keeps its number of cells; that it does not know later generations is said."""
    assert searched("choose", "run", "--by", "training", "--epochs", "1", "--cells", "2")[0] == 0
    genotype = json.loads(Path("run/choice.json").read_text("utf-8"))["genotypes"][0]
    code, out, err = searched("train", "run", "--epochs", "1")
    assert (code, err) == (0, "")
    assert f"final network, chosen by training: {genotype} × 2: " in out
    assert searched("search", "--resume", "run", "--generations", "4")[0] == 0
    code, out, err = searched("train", "run", "--epochs", "1", "--cells", "1", "--out", "one")
    assert code == 0
    assert f"{genotype} × 1: " in out
    assert "chosen after 3 of 4 generations" in err


@pytest.mark.slow
def test_front_that_cannot_be_judged(searched: Run) -> None:
    """Degenerate architectures are neither chosen from the front nor trained."""
    for name in ("front.csv", "history.csv"):
        frame = RunFolder("run").front() if name == "front.csv" else RunFolder("run").history()
        frame.assign(degenerate="no ReLU").to_csv(Path("run") / name, index=False)
    for command in (["choose", "run", "--by", "knee"], ["choose", "run"]):
        code, _, err = searched(*command)
        assert (code, "can be judged" in err) == (2, True)
    code, _, err = searched("train", "run", "--epochs", "1")
    assert (code, "no architecture in the front that can be judged" in err) == (2, True)


def test_no_run_among_the_classes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is not written where it would be a class of its own images; nothing is made."""
    folder = make_folder(Path("photos").resolve())
    monkeypatch.chdir(folder)
    for arguments in (
        ("search", ".", *ONE, "--images", "4"),
        ("search", "../photos", *ONE, "--images", "4", "--out", "a/run"),
        ("train", "--model", "0,8,0,0", "--dataset", ".", "--epochs", "1"),
    ):
        code, _, err = run(*arguments)
        assert code == 2
        assert "every folder is a class" in err
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]


def test_no_training_of_a_run_among_the_classes(run: Run) -> None:
    """Neither with the images that the run tells nor with others, by a path or below --data-dir."""
    make_folder(Path("all/photos"))
    make_folder(Path("others"))
    few = ("--images", "4", "--tournament-every", "0")
    of = ("search", "photos", "--data-dir", "all", *ONE[:2], *few)
    code, _, err = run(*of, "--out", "all/photos/run")
    assert (code, "every folder is a class" in err) == (2, True)
    assert run(*of, "--out", "run")[0] == 0
    for where in (
        ("--out", "all/photos/net"),
        ("--dataset", "others", "--out", "others/net"),
        ("--dataset", "photos", "--data-dir", "all", "--out", "all/photos/a/net"),
    ):
        code, _, err = run("train", "run", "--epochs", "1", *where)
        assert (code, "every folder is a class" in err) == (2, True), where
    assert {path.name for path in Path("all/photos").iterdir()} == {"a", "b"}
    assert {path.name for path in Path("others").iterdir()} == {"a", "b"}


@pytest.mark.filterwarnings("default")
def test_a_folder_of_a_known_name(run: Run) -> None:
    """A name of a data set or of an objective says what it is taken for, where a folder is too."""
    for name in ("digits", "paper", "mnist"):
        make_folder(Path(name))
    code, _, err = run("search", "paper", "--objectives", "params", *ONE)
    assert (code, "give ./paper for the folder" in err) == (2, True)
    code, out, _ = run(
        "search", "./mnist", "--objectives", "params", "paper", *ONE, "--images", "4"
    )
    assert (code, "mnist: " in out) == (0, True)
    with pytest.warns(UserWarning, match="give ./digits for the folder"):
        assert len(load_dataset("digits").class_names) == 10
    assert load_dataset("./digits").class_names == ("a", "b")
    code, _, err = run("search", "mnist", *ONE)
    assert (code, "give ./mnist for the folder" in err) == (2, True)


def test_a_training_is_not_put_into_a_run(run: Run, finished: Path) -> None:
    """There it would stand before the network that was chosen."""
    shutil.copytree(finished, "run")
    before = sorted(path.name for path in Path("run").iterdir())
    for what in (("--model", "0,8,0,0"), ("run",)):
        code, _, err = run("train", *what, "--epochs", "1", "--out", "run")
        assert (code, "holds a run" in err) == (2, True)
    assert sorted(path.name for path in Path("run").iterdir()) == before


@pytest.mark.filterwarnings("ignore:.* are training images too")
def test_a_run_beside_the_parts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run beside train/ and test/ is no class."""
    for part in ("train", "test"):
        make_folder(Path("photos") / part)
    monkeypatch.chdir("photos")
    code, _, err = run("train", "--model", "0,8,0,0", "--dataset", ".", "--epochs", "1")
    assert (code, "every folder is a class" in err) == (0, False)


@pytest.mark.slow
def test_names_that_are_no_unicode(run: Run) -> None:
    """Folders and files whose names are no UTF-8 are searched, trained on and predicted."""
    root = Path(os.fsdecode(b"caf\xe9"))
    try:
        make_folder(root, classes=os.fsdecode(b"t\xe9"))
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    sizes = ("--image-size", "8")
    assert run("search", str(root), *ONE, "--images", "4", *sizes, "--out", "run")[0] == 0
    assert run("train", "run", "--epochs", "1")[0] == 0
    code, out, _ = run("predict", "run", str(root), "--out", "table.csv")
    assert code == 0
    assert "caf\\xe9" in out
    table = pd.read_csv("table.csv")
    assert set(table["class"]) <= {"t", "\\xe9"}
    assert table["image"][0].startswith("caf\\xe9/")


def test_names_that_hold_commands_of_a_terminal(run: Run) -> None:
    """Names of classes and files that would clear the screen or end a line are shown as escapes."""
    root = make_folder(Path("images"), 4, classes="ab")
    (root / "b").rename(root / "b\x1b[31mred\n")
    code, out, err = run("train", "--model", "0,8,0,0", "--dataset", "images", "--epochs", "1")
    assert code == 0
    assert "\x1b" not in out + err
    assert "b\\x1b[31mred\\n" in out
    code, _, err = run("predict", "images/a/x\x1b[2J.png", "images")
    assert code == 2
    assert "\x1b" not in err
    assert "x\\x1b[2J.png" in err


@pytest.mark.slow
def test_a_terminal_without_these_letters(tmp_path: Path) -> None:
    """What the encoding of the output lacks is written as an escape."""
    done = subprocess.run(
        [sys.executable, "-m", "pymoo_nas", "operations"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"16 \\u2192 16" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["~/run", "~no-such-user/run"])
def test_the_home_folder(run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A tilde is the home folder, as in names of data sets; of no user, a folder of that name."""
    home = Path("home").resolve()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    assert run("search", *ONE, "--images", "4", f"--out={name}")[0] == 0
    assert run("choose", name)[0] == 0
    expected = home / "run" if name == "~/run" else Path(name).resolve()
    assert (expected / "choice.json").exists()
    assert Path("~").exists() is False


def test_the_run_folder_has_the_name_of_the_images(run: Run) -> None:
    """What follows a dot in the name of a folder belongs to it: each has a run of its own."""
    for name in ("photos.v1", "photos.v2"):
        make_folder(Path(name), 12)
        code, _, err = run("search", name, *TINY, *ALONE, "--image-size", "8")
        assert (code, err) == (0, "")
    write_images(Path("noise.npz"))
    assert run("search", "noise.npz", *TINY, *ALONE)[0] == 0
    assert {path.name for path in Path("runs").iterdir()} == {"photos.v1", "photos.v2", "noise"}
