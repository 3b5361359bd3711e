"""``pymoo-nas predict``: image files in, classes out."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import Run
from made_images import random_images
from PIL import Image

from pymoo_nas.cli import _predict as cli_predict
from pymoo_nas.datasets import load_dataset
from pymoo_nas.runs import load_trained
from pymoo_nas.spaces import Architecture
from pymoo_nas.training import train
from pymoo_nas.training._evaluation import evaluate


def write_classes(root: Path, n: int, mode: str, *, seed: int = 0) -> None:
    """Two classes of different brightness, so many images each, 20×24 pixels."""
    for label, name in enumerate(("dark", "light")):
        (root / name).mkdir(parents=True)
        for index, pixels in enumerate(random_images(n, 20, 24, 3, seed=seed + label)):
            image = Image.fromarray(pixels // 2 + np.uint8(120 * label))
            image.convert(mode).save(root / name / f"{index}.png")


def train_on_folder(mode: str) -> list[str]:
    """Train on ``photos`` into ``run/final``; the classes it gives the test images, in order."""
    write_classes(Path("photos/train"), 8, mode)
    write_classes(Path("photos/test"), 3, mode, seed=2)
    data = load_dataset("photos")
    network = Architecture.read("8000").build("trained", data)
    train(network, data, epochs=2, batch_size=8, out=Path("run/final"))
    tested = evaluate(network, data.test_images, data.test_labels, data)
    return [data.class_names[label] for label in tested.predictions]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("at_a_time", [256, 4])
def test_classes_are_those_of_the_test(
    run: Run, monkeypatch: pytest.MonkeyPatch, mode: str, at_a_time: int
) -> None:
    """The test images get the classes that they got in the test, however many are read at once."""
    monkeypatch.setattr(cli_predict, "AT_A_TIME", at_a_time)
    tested = train_on_folder(mode)
    code, out, err = run("predict", "run", "photos/test", "--out", "classes.csv")
    assert (code, err) == (0, "")
    assert "photos/test/dark/0.png" in out
    assert "wrote classes.csv" in out
    table = pd.read_csv("classes.csv")
    assert table["class"].tolist() == tested
    assert table["probability"].between(0.5, 1).all()
    paths = [f"photos/test/{name}/{index}.png" for name in ("dark", "light") for index in range(3)]
    assert table["image"].tolist() == paths


def test_other_colours_and_unreadable_files(run: Run) -> None:
    """Grey files are for a network of colours too; what is no image is named and left out."""
    train_on_folder("RGB")
    write_classes(Path("grey"), 1, "L")
    Path("grey/dark/text.png").write_text("no image", "utf-8")
    code, _, err = run("predict", "run/final", "grey", "grey/dark/0.png", "--out", "classes.csv")
    assert code == 0
    assert err == "warning: grey/dark/text.png: skipped (no image)\n"
    assert pd.read_csv("classes.csv")["image"].tolist() == ["grey/dark/0.png", "grey/light/0.png"]


def test_what_cannot_be_predicted(run: Run) -> None:
    """Nothing readable, no training, nowhere to write: one line and exit code 2."""
    train_on_folder("L")
    Path("text.png").write_text("no image", "utf-8")
    code, _, err = run("predict", "run", "text.png")
    assert (code, err.count("\n")) == (2, 2)
    assert "none of 1 image files can be read" in err
    code, _, err = run("predict", "photos", "text.png")
    assert (code, "holds no finished training" in err) == (2, True)
    code, _, err = run("predict", "run", "nosuch")
    assert (code, "no such file or folder" in err) == (2, True)
    code, out, err = run("predict", "run", "photos/test", "--out", "nosuch/classes.csv")
    assert (code, "cannot be written" in err) == (2, True)
    assert not out  # before an image is read


def test_other_files_are_not_replaced(run: Run) -> None:
    """--out replaces an earlier table, and refuses a folder or a file of another kind."""
    train_on_folder("L")
    image = next(Path("photos/test").rglob("*.png"))
    others = [Path("run/final/training.csv"), Path("run/final/training.json"), image]
    before = [path.read_bytes() for path in others]
    for path, why in [*((path, "no table of predictions") for path in others), ("run", "director")]:
        code, out, err = run("predict", "run", "photos/test", "--out", str(path))
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert why in err
    assert [path.read_bytes() for path in others] == before
    for _ in range(2):
        assert run("predict", "run", "photos/test", "--out", "classes.csv")[0] == 0


def test_network_of_floats_takes_no_files(run: Run, finished: Path) -> None:
    """Digits are floats of 0 to 1, whose scale a file does not tell: refused, with the way out."""
    assert run("train", str(finished), "--epochs", "1", "--out", "digits")[0] == 0
    code, _, err = run("predict", "digits", "nosuch.png")
    assert code == 2
    assert "trained on float32 pixels of 1 channels" in err
    assert "probabilities(images)" in err


def test_the_first_classes(run: Run) -> None:
    """--top names so many classes, each with its probability, at most those that there are."""
    train_on_folder("RGB")
    code, _, _ = run("predict", "run", "photos/test", "--top", "5", "--out", "classes.csv")
    assert code == 0
    table = pd.read_csv("classes.csv")
    assert table.columns.tolist() == ["image", "class", "probability", "class_2", "probability_2"]
    assert (table["probability"] >= table["probability_2"]).all()
    assert (table["probability"] + table["probability_2"]).to_numpy() == pytest.approx(1)
    assert (table["class"] != table["class_2"]).all()


def test_the_network_is_named(run: Run) -> None:
    """The output says which network named the classes, and of which training."""
    train_on_folder("L")
    _, out, _ = run("predict", "run", "photos/test")
    assert out.startswith("8000, trained in run/final: ")


def test_pixels_of_a_file(run: Run) -> None:
    """Floats, and more channels than three, are named from .npy files; each image has a row."""
    rng = np.random.default_rng(0)
    images = rng.random((12, 8, 8, 5)).astype("float32")
    np.savez("many.npz", train_images=images, train_labels=np.arange(12) % 2)
    data = load_dataset("many.npz")
    network = Architecture.read("8000").build("trained", data)
    train(network, data, epochs=1, out=Path("run/final"))
    np.save("pixels.npy", images[:3])
    code, out, err = run("predict", "run", "pixels.npy", "--out", "classes.csv")
    assert (code, err) == (0, "")
    assert "pixels.npy[2]" in out
    table = pd.read_csv("classes.csv")
    assert table["image"].tolist() == [f"pixels.npy[{index}]" for index in range(3)]
    expected = load_trained("run").probabilities(images[:3]).max(axis=1)
    assert table["probability"].tolist() == pytest.approx(expected.tolist())


@pytest.mark.filterwarnings("default")
def test_pixels_on_another_scale_are_told(run: Run) -> None:
    """Floats from 0 to 16 are named with a warning where training had 0 to 1."""
    data = load_dataset("digits")
    network = Architecture.read("8000").build("trained", data)
    train(network, data, epochs=1, out=Path("run/final"))
    for factor, lines in ((1, 0), (16, 1)):
        np.save("pixels.npy", data.test_images[:4] * np.float32(factor))
        code, _, err = run("predict", "run", "pixels.npy")
        assert (code, err.count("\n")) == (0, lines)
    assert "scale" in err


def header(*shape: int) -> bytes:
    """The beginning of a file of pixels, without the pixels."""
    written = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        written, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return written.getvalue()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (np.zeros((4, 4)), r"\(4, 4\)"),
        (np.zeros((20, 24, 3), dtype=np.uint8), r"\(20, 24, 3\)"),
        (np.array([{}, {}], dtype=object), "pickle"),
        (np.zeros((2, 20, 24, 7), dtype=np.uint8), "7"),
        (np.zeros((2, 20, 24, 3), dtype=np.float32), "float32"),
        (b"no array", "cannot be read"),
        (b"PK\x03\x04 cut off", "cannot be read"),
        (header(10**8, 10**7), "cannot be read"),
        (header(2, 20, 24, 3), "cannot be read"),
        (None, "absent.npy"),
    ],
)
def test_other_pixels_are_refused(run: Run, content: object, named: str) -> None:
    """One line names the file, or what is wrong with its pixels."""
    train_on_folder("RGB")
    path = Path("absent.npy")
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    code, _, err = run("predict", "run", str(path))
    assert code == 2
    assert err.count("\n") == 1
    assert re.search(named, err)
