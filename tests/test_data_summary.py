"""The paragraph on a data set, and the sizes that the command line takes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import typer
from command_line import TINY, Run
from made_images import alternating, make_folder, random_images, write

from pymoo_nas.cli._options import parse_image_size
from pymoo_nas.datasets import load_dataset
from pymoo_nas.runs import RunFolder
from pymoo_nas.training import describe_data


def test_parts_of_folders(tmp_path: Path) -> None:
    """Each part is told with its number of images and its folder, and so is who chooses."""
    for n, part in enumerate(("Train", "Testing", "dev"), start=2):
        make_folder(tmp_path / part, n=n)
    text = describe_data(load_dataset(tmp_path), "flip")
    assert (
        "4 training images (Train/), 8 validation images (dev/) and 6 test images (Testing/)"
        in text
    )
    assert "the validation images choose the epoch" in text
    assert "2 classes with 2 training images each: a, b" in text
    asked = describe_data(load_dataset(tmp_path), "flip", 0.2)
    assert "20 % of the training images of each class, held out, choose the epoch" in asked


def test_held_out_parts(tmp_path: Path) -> None:
    """Shares that are held out are told, for the test and for the choice of the epoch."""
    text = describe_data(load_dataset(make_folder(tmp_path)), "none", 0.25)
    assert "8 training images (class folders) and 2 test images (a fifth of each class" in text
    assert "25 % of the training images of each class" in text
    assert "--validation" in text
    assert "the last epoch is kept" in describe_data(load_dataset("digits"), "none", 0)


def test_validation_in_place_of_the_test(tmp_path: Path) -> None:
    """With train/ and val/ only, the paragraph says that the latter is the test part."""
    for part in ("train", "val"):
        make_folder(tmp_path / part)
    text = describe_data(load_dataset(tmp_path), "none")
    assert "10 test images (val/, in place of a test part)" in text


def test_sizes(tmp_path: Path) -> None:
    """The size is told with that of the files, and the option that changes it."""
    make_folder(tmp_path)
    dataset = load_dataset(tmp_path)
    text = describe_data(dataset, "none")
    assert "32×32 (height × width), grey, resized from 9×11 (--image-size: the default" in text
    asked = describe_data(load_dataset(tmp_path, image_size=32), "none")
    assert "32×32 (height × width), grey, resized from 9×11 (--image-size)" in asked
    smaller = describe_data(load_dataset(dataset, image_size=16), "none")
    assert "16×16 (height × width), grey, resized from 9×11 (--image-size)" in smaller
    write(tmp_path / "a" / "wide.png", random_images(1, 20, 50, 3)[0])
    text = describe_data(load_dataset(tmp_path, image_size=(4, 16)), "none")
    assert "4×16 (height × width), colour, resized from 9×11 to 20×50 (--image-size)" in text
    same = load_dataset((random_images(), alternating()))
    assert "6×5 (height × width), colour, as they were given" in describe_data(same, "none")
    resized = load_dataset(load_dataset(same, image_size=4), image_size=8)
    assert "8×8 (height × width), colour, resized from 6×5" in describe_data(resized, "none")


def test_grey_levels(tmp_path: Path) -> None:
    """What becomes of 16-bit grey levels is told."""
    for name in "ab":
        for index in range(2):
            values = np.arange(99, dtype=np.uint16).reshape(9, 11) * 600
            write(tmp_path / name / f"{index}.png", values)
    assert "16-bit grey levels divided by 257" in describe_data(load_dataset(tmp_path), "none")


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        ("none", "shows the images as they are"),
        ("shift", "shows the images shifted at random"),
        ("flip", "shifted and mirrored"),
        (True, "shifted and mirrored"),
        (False, "shows the images as they are"),
    ],
)
def test_augmentation(augment: str | bool, words: str) -> None:
    """What a training does to the images is told, with the option that changes it."""
    text = describe_data(load_dataset("digits"), augment)
    assert words in text
    assert "--augment none|shift|flip" in text


def test_unequal_classes() -> None:
    """The smallest and the largest class are told."""
    dataset = load_dataset("digits")
    fewer = dataclasses.replace(
        dataset, train_images=dataset.train_images[:100], train_labels=dataset.train_labels[:100]
    )
    counts = np.bincount(fewer.train_labels)
    assert f"with {counts.min()} to {counts.max()} training images" in describe_data(fewer, "none")


# On the command line


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_search_and_train_describe_their_data(run: Run) -> None:
    """Both commands print the paragraph; a size of two numbers is kept and continued."""
    make_folder(Path("images"), n=12)
    size = ("--image-size", "4x12")
    code, out, err = run("search", "images", *TINY, *size, "--out", "run")
    assert (code, err) == (0, "")
    paragraph = describe_data(load_dataset("images", image_size=(4, 12)), "flip")
    assert paragraph in out
    assert "10 % of the training images" in paragraph
    assert RunFolder("run").config()["problem"]["image_size"] == [4, 12]
    code, _, err = run("search", "--resume", "run", "--generations", "4", *size)
    assert (code, err) == (0, "")
    code, out, err = run("train", "run", "--epochs", "1", "--batch-size", "4")
    assert code == 0
    assert paragraph in out
    described = json.loads(Path("run/final/training.json").read_text("utf-8"))
    assert described["image_size"] == [4, 12]
    code, _, err = run("search", "--resume", "run", "--generations", "5", "--image-size", "12")
    assert (code, "image_size 12 (the run has [4, 12])" in err) == (2, True)


@pytest.mark.parametrize(
    ("text", "size"),
    [("32", 32), ("4x128", [4, 128]), ("4X128", [4, 128]), ("4×128", [4, 128]), ("8x8", 8)],
)
def test_sizes_as_text(text: str, size: int | list[int]) -> None:
    """A size is one number, or height x width."""
    assert parse_image_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "x", "4x", "x4", "4xx8", "4x8x3", "0", "0x4", "-4", "4.5", "1e2", "big", "4 x 8", "4097"],
)
def test_bad_sizes(text: str, run: Run) -> None:
    """Another text is refused with both forms of a size, and exit code 2."""
    with pytest.raises(typer.BadParameter, match=r"one number such as 32, or height x width"):
        parse_image_size(text)
    assert run("score", "0001|0001|0001", "--image-size", text)[0] == 2


def test_small_images_are_told_the_option(run: Run) -> None:
    """Images that are too low for the networks are told the option that widens them."""
    images = random_images(24, 1, 64, 1)
    np.savez("signals.npz", train_images=images, train_labels=alternating(24))
    code, _, err = run("score", "0001|0001|0001", "--dataset", "signals.npz")
    assert (code, "--image-size HEIGHTxWIDTH" in err) == (2, True)
    command = ("score", "0001|0001|0001", "--dataset", "signals.npz", "--images", "8")
    code, out, _ = run(*command, "--image-size", "4x64")
    assert (code, "0001|0001|0001" in out) == (0, True)
