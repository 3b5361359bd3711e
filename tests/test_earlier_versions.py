"""Files of an earlier version, kept under ``data/before_rooms``, are read and continued."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from command_line import Run

from pymoo_nas.datasets import load_dataset
from pymoo_nas.runs import RunFolder, final_of, load_trained
from pymoo_nas.search import read_frame
from pymoo_nas.spaces import design_of

KEPT = Path(__file__).parent / "data" / "before_rooms"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "first"), [("run", "ntk"), ("balanced", "balanced_ntk")])
def test_runs_go_on(run: Run, name: str, first: str) -> None:
    """A run folder goes on where it was; what had been scored stays as it was."""
    shutil.copytree(KEPT / name, "run")
    before = RunFolder("run").history()
    assert run("search", "--resume", "run", "--generations", "3")[0] == 0
    after = read_frame("run/history.csv")
    assert list(after)[2] == first
    # Whether a candidate survived the next generation is known only now.
    noted = ["survived", "alpha"]
    # Nor were the maps in memory counted.
    kept = after.loc[: len(before) - 1, list(before)].drop(columns=noted)
    pd.testing.assert_frame_equal(kept, before.drop(columns=noted), check_exact=True)
    assert after["generation"].max() == 3
    assert run("choose", "run")[0] == 0
    assert run("plot", "run")[0] == 0


def test_trained_networks_are_loaded() -> None:
    """A training gives the accuracy that it had, by its run and by its own folder."""
    digits = load_dataset("digits")
    for place in (KEPT / "run", KEPT / "run" / "final"):
        network = load_trained(place)
        found = network.probabilities(digits.test_images).argmax(1)
        assert (found == digits.test_labels).mean() == pytest.approx(
            network.test_accuracy, abs=0.01
        )


def test_interrupted_trainings_go_on(run: Run) -> None:
    """A training that was cut off in its second epoch of three is finished."""
    shutil.copytree(KEPT / "cut", "cut")
    first = pd.read_csv("cut/training.csv")
    again = ["train", "--model", "8,0,0,0", "--epochs", "3", "--out", "cut", "--resume"]
    code, out, err = run(*again)
    assert (code, err) == (0, "")
    assert "test accuracy" in out
    rows = pd.read_csv("cut/training.csv")  # of a cell that halves the map inside, then the default
    assert rows["epoch"].tolist() == [1, 2, 3]
    pd.testing.assert_frame_equal(rows[: len(first)], first)
    assert load_trained("cut").test_accuracy > 0.9


def test_networks_see_all_pixels() -> None:
    """A run of before large images were halved keeps its networks, whatever the training's size."""
    run = KEPT / "run"
    described = json.loads((run / "final" / "training.json").read_text("utf-8"))
    network, _, _ = final_of(run, None, 0)
    assert design_of(network) == described["design"]
    large, images, _ = final_of(run, None, 0, image_size=72)
    assert images.image_size == (72, 72)
    assert design_of(large) == described["design"]


def test_an_interrupted_training_is_not_taken_for_another(run: Run) -> None:
    """With another place of halving, another width or another cell it is refused, and kept."""
    shutil.copytree(KEPT / "cut", "cut")
    kept = (Path("cut") / "training.state.safetensors").read_bytes()
    train = ["train", "--epochs", "3", "--out", "cut", "--resume", "--model"]
    for other in (
        ["8,0,0,0", "--reduction", "between"],
        ["8,0,0,0", "--widths", "1"],
        ["16,0,0,0"],
    ):
        code, _, err = run(*train, *other)
        assert (code, "cut" in err) == (2, True)
    assert (Path("cut") / "training.state.safetensors").read_bytes() == kept
