"""Trainings that cut squares out of their images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Run
from small_training import small_dataset, small_network
from test_training_resume import OPTIONS, STEPS, ends_as_undisturbed, interrupted

from pymoo_nas._machine import Report
from pymoo_nas.errors import RunError, SearchError
from pymoo_nas.training import train

SIDE = 3


@pytest.mark.parametrize("passes", [1 + STEPS, 1 + 2 * STEPS + 1])
def test_squares_are_continued(tmp_path: Path, passes: int) -> None:
    """An interrupted training with squares cut out ends as the undisturbed one, to the bit."""
    assert ends_as_undisturbed(tmp_path, passes, cutout=SIDE)


def test_another_side_is_refused(tmp_path: Path) -> None:
    """A training continues with the squares that it had, or not at all."""
    interrupted(tmp_path, 1 + STEPS, cutout=SIDE)
    for other in (0, 1 + SIDE):
        with pytest.raises(RunError, match=rf"cutout: {SIDE} then, {other} now"):
            train(
                small_network(dropout=0.5),
                small_dataset(),
                **OPTIONS,
                out=tmp_path,
                resume=True,
                cutout=other,
            )


def test_squares_change_the_training() -> None:
    """The losses are others than those of a training without them; its images are left whole."""
    data = small_dataset()
    before = data.train_images.copy()
    plain, cut = (
        train(small_network(), data, epochs=2, batch_size=8, validation=0.0, cutout=side).epochs
        for side in (0, SIDE)
    )
    assert (plain["loss"] != cut["loss"]).all()
    assert (data.train_images == before).all()


@pytest.mark.parametrize("size", [(6, 8), (8, 6)])
def test_the_smaller_side_is_the_largest_square(size: tuple[int, int]) -> None:
    """A square as large as the smaller side of the images is cut out, a larger one refused."""
    data = small_dataset(size=size)
    train(small_network(), data, epochs=1, cutout=6)
    with pytest.raises(SearchError, match=r"cutout is 7; expected at most 6 pixels"):
        train(small_network(), data, epochs=1, cutout=7)


@pytest.mark.parametrize("side", [0, SIDE])
def test_the_plan_tells_of_squares(side: int) -> None:
    """The line that describes a training names the squares, if there are any."""
    plans: list[str] = []

    def keep(report: Report) -> None:
        plans.append(report.found)

    train(small_network(), small_dataset(), epochs=1, cutout=side, progress=keep)
    told = [plan for plan in plans if "augmentation" in plan]
    assert len(told) == 1
    assert (f"squares of {SIDE}×{SIDE} pixels cut out" in told[0]) == (side > 0)


def test_squares_from_the_command_line(run: Run) -> None:
    """`--cutout` is kept in training.json; of a square too large one line tells, and status 2."""
    code, out, _ = run(
        *("train", "--model", "0800", "--epochs", "1", "--cutout", "4", "--out", "cut")
    )
    assert (code, "squares of 4×4 pixels cut out" in out) == (0, True)
    assert json.loads(Path("cut/training.json").read_text("utf-8"))["settings"]["cutout"] == 4
    code, _, err = run("train", "--model", "0800", "--cutout", "9", "--out", "large")
    assert (code, err.count("\n"), "cutout is 9" in err) == (2, 1, True)
    assert not Path("large/training.json").exists()
