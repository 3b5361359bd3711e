"""Image files of 16 bits per channel: their levels, in training and in prediction."""

from __future__ import annotations

import json
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_line import Run
from made_images import random_images, write

from pymoo_nas.datasets import FULL_RANGE, load_dataset, read_images
from pymoo_nas.errors import DatasetError

SIZE = (8, 9)


def write_deep_png(path: Path, values: Any) -> None:
    """(H, W, C) of 16 bits, colour too, which PIL does not write."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def deep_folder(folder: Path, low: int, high: int, ending: str = "png", n: int = 5) -> Any:
    """Two classes of 16-bit grey files that use low..high, each file a part of it; the values."""
    rng = np.random.default_rng(0)
    written = {}
    for name in "ab":
        for index in range(n):
            top = high if (name, index) == ("a", 0) else low + (high - low) * (index + 1) // n
            values = rng.integers(low, top + 1, SIZE).astype(np.uint16)
            values.flat[0], values.flat[1] = low, top
            written[f"{name}{index}"] = values
            write(folder / name / f"{index}.{ending}", values)
    return np.stack(list(written.values()))


def loaded(folder: Path) -> Any:
    """All images of a folder in the order in which they were written, and the grey range."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        dataset = load_dataset(folder, image_size=SIZE)
    order = np.argsort(np.concatenate([dataset.train_labels, dataset.test_labels]), kind="stable")
    images = np.concatenate([dataset.train_images, dataset.test_images])[order]
    return images[..., 0], dataset


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 112, (0, 255)),
        (0, 240, (0, 255)),
        (0, 255, (0, 255)),
        (0, 300, (0, 300)),
        (0, 4095, (0, 4095)),
        (0, 32767, (0, 32767)),
        (0, 40000, FULL_RANGE),
        (0, 65535, FULL_RANGE),
        (30000, 30240, (30000, 30240)),
        (1000, 4095, (0, 4095)),
    ],
)
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_levels_are_kept(
    low: int, high: int, expected: tuple[int, int], ending: str, tmp_path: Path
) -> None:
    """Whatever the range of 16-bit grey files, one factor brings all of them to 8 bits."""
    written = deep_folder(tmp_path, low, high, ending)
    images, dataset = loaded(tmp_path)
    assert dataset.grey_range == expected
    bottom, top = expected
    slow = np.floor((written.astype(float) - bottom) * 255 / (top - bottom) + 0.5)
    assert sorted(map(tuple, images.reshape(10, -1))) == sorted(
        map(tuple, slow.astype(np.uint8).reshape(10, -1))
    )
    levels_there = len(np.unique(written))
    assert len(np.unique(images)) >= min(levels_there, 120)


def test_the_range_is_told(tmp_path: Path) -> None:
    """Another factor than that of full 16 bits is told, with the range; that one is not."""
    deep_folder(tmp_path / "narrow", 0, 4095)
    with pytest.warns(UserWarning, match="levels 0 to 4095") as caught:
        load_dataset(tmp_path / "narrow")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    deep_folder(tmp_path / "wide", 0, 65535)
    load_dataset(tmp_path / "wide")


def test_one_factor_for_all_parts(tmp_path: Path) -> None:
    """The brightest file, in whatever part, decides for all of them."""
    deep_folder(tmp_path / "train", 0, 1000)
    deep_folder(tmp_path / "test", 0, 2000)
    _, dataset = loaded(tmp_path)
    assert dataset.grey_range == (0, 2000)
    assert dataset.train_images.max() == 128
    assert dataset.test_images.max() == 255


def test_8_bit_files_have_no_range(tmp_path: Path) -> None:
    """A folder of 8-bit files has no range of 16-bit levels."""
    write(tmp_path / "a" / "0.png", random_images(1)[0])
    write(tmp_path / "a" / "1.png", random_images(1)[0])
    write(tmp_path / "b" / "0.png", random_images(1)[0])
    write(tmp_path / "b" / "1.png", random_images(1)[0])
    assert load_dataset(tmp_path).grey_range is None


def read(path: Path, grey_range: tuple[int, int] | None) -> Any:
    """What came of one file, as `predict` reads it."""
    return read_images([path], SIZE, channels=1, grey_range=grey_range)


def test_new_files_take_the_range_of_the_training(tmp_path: Path) -> None:
    """A new file is scaled by the training's factor, clipped with a word, or refused by name."""
    path = tmp_path / "new.png"
    values = np.arange(72, dtype=np.uint16).reshape(SIZE) * 50
    write(path, values)
    assert read(path, (0, 7100)).images[path].max() == 128
    clipped = read(path, (0, 3500))
    assert clipped.images[path].max() == 255
    assert "3550" in clipped.notes[path]
    below = read(path, (100, 3550))
    assert below.images[path].min() == 0
    assert path in below.notes
    assert "3550" in read(path, (0, 255)).skipped[path]
    assert "which level is white" in read(path, None).skipped[path]
    write(path, values * 15)
    assert np.array_equal(read(path, None).images[path], (values * 15 / 257 + 0.5).astype(np.uint8))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_dim_colour_files_are_refused(channels: int, tmp_path: Path) -> None:
    """16-bit colour files that all use a small part of their range are refused by name."""
    values = np.random.default_rng(0).integers(0, 4096, (5, *SIZE, channels))
    for name in "ab":
        for index, part in enumerate(values):
            write_deep_png(tmp_path / name / f"{index}.png", part)
    with pytest.raises(DatasetError, match=r"a/0\.png \(up to 15 of 255\)"):
        load_dataset(tmp_path)
    write_deep_png(tmp_path / "a" / "0.png", values[0] * 16)
    assert load_dataset(tmp_path).train_images.dtype == np.uint8


@pytest.mark.filterwarnings("default")
def test_prediction_uses_the_same_factor(run: Run) -> None:
    """A network trained on narrow 16-bit files sees new ones as it saw those, or refuses them."""
    rng = np.random.default_rng(0)
    for name, top in (("dark", 100), ("light", 240)):
        for index in range(8):
            values = rng.integers(top - 40, top + 1, (8, 8)).astype(np.uint16)
            write(Path("images") / name / f"{index}.png", values)
    command = ("train", "--model", "0001|0001|0001", "--dataset", "images", "--image-size", "8")
    code, _, err = run(*command, "--epochs", "8", "--batch-size", "4", "--out", "trained")
    assert code == 0
    assert "0 to 255" in err
    described = json.loads(Path("trained/training.json").read_text("utf-8"))
    assert described["grey_range"] == [0, 255]
    names = ("images/dark/0.png", "images/light/0.png")
    code, _, err = run("predict", "trained", *names, "--out", "named.csv")
    assert (code, err) == (0, "")
    assert pd.read_csv("named.csv")["class"].tolist() == ["dark", "light"]
    write(Path("wide.png"), (rng.random((8, 8)) * 65535).astype(np.uint16))
    code, _, err = run("predict", "trained", "wide.png")
    assert (code, "wide.png: skipped" in err) == (2, True)
    # A training of an earlier version divided by 257, and says nothing.
    del described["grey_range"]
    Path("trained/training.json").write_text(json.dumps(described), "utf-8")
    assert run("predict", "trained", "wide.png")[0] == 0
