"""Runs whose images have moved, changed, or are to be others for the training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import TINY, Run
from small_training import small_dataset

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
    assert run("search", "images.npz", *TINY, "--out", "run")[0] == 0
    return run


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


def test_training_on_other_images(searched: Run) -> None:
    """What was found on some images is trained on others where they are named: no word of it."""
    write_images(Path("four.npz"), 64, n_classes=4)
    code, out, err = searched("train", "run", "--dataset", "four.npz", "--epochs", "1")
    assert (code, err) == (0, "")
    assert "final network, of the front: " in out
    described = json.loads(Path("run/final/training.json").read_text("utf-8"))
    assert described["class_names"] == ["0", "1", "2", "3"]


@pytest.mark.filterwarnings("ignore:no test image is taken for")
def test_limits_are_those_of_the_runs_images(run: Run) -> None:
    """More classes and larger images make the network larger; the limits do not speak of them."""
    write_images(Path("images.npz"))
    assert run("search", "images.npz", *TINY, "--out", "free")[0] == 0
    row = RunFolder("free").front().iloc[0]
    limits = ("--max-params", str(row["params"]), "--max-flops", str(row["flops"]))
    assert run("search", "images.npz", *TINY, *limits, "--out", "run")[0] == 0
    assert run("choose", "run", "--by", "knee")[0] == 0
    write_images(Path("eight.npz"), 64, n_classes=8)
    others = (("--dataset", "eight.npz"), ("--image-size", "12"))
    for index, other in enumerate(others):
        code, _, err = run("train", "run", *other, "--epochs", "1", "--out", str(index))
        assert (code, err) == (0, "")


@pytest.mark.filterwarnings("default")
def test_training_on_changed_images(searched: Run) -> None:
    """Images that have changed since the search are trained on with a warning."""
    write_images(Path("images.npz"), 60)
    code, _, err = searched("train", "run", "--epochs", "1")
    assert code == 0
    assert "warning: run: the images in images are not those of the search any more" in err


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
