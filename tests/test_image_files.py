"""``.npz`` files and image folders, whole, damaged and forged."""

from __future__ import annotations

import io
import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from made_images import alternating, make_folder, random_images, read_one, write
from PIL import Image

from pymoo_nas.datasets import UNREADABLE, load_dataset
from pymoo_nas.errors import DatasetError

SHARED = Path(__file__).parents[2] / "shared"


# .npz files


def test_npz(tmp_path: Path) -> None:
    """MedMNIST's keys are read, with columns of labels, names, and validation images."""
    path = tmp_path / "med.npz"
    np.savez(
        path,
        train_images=random_images(),
        train_labels=alternating()[:, None],
        val_images=random_images(3),
        val_labels=alternating(3),
        test_images=random_images(4),
        test_labels=alternating(4)[:, None],
        class_names=np.array(["café", "dog"]),
    )
    dataset = load_dataset(path)
    assert np.array_equal(dataset.train_images, random_images())
    assert dataset.test_labels.tolist() == [0, 1, 0, 1]
    assert dataset.val_labels is not None
    assert dataset.val_labels.tolist() == [0, 1, 0]
    assert np.array_equal(dataset.val_images, random_images(3))
    assert (dataset.name, dataset.class_names) == ("med", ("café", "dog"))
    assert dataset.augment == "flip"


def test_path_under_root(tmp_path: Path) -> None:
    """A relative path that does not exist as it stands is looked for under the root."""
    np.savez(tmp_path / "own.npz", train_images=random_images(), train_labels=alternating())
    dataset = load_dataset("own.npz", root=tmp_path)
    assert len(dataset.train_images) == 16
    assert len(dataset.test_images) == 4


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": alternating()}, "no train_labels in it; found labels, train_images"),
        (
            {"train_labels": alternating(), "test_images": random_images()},
            "no test_labels in it",
        ),
        ({"train_labels": alternating(), "val_labels": alternating()}, "no val_images in it"),
        (
            {"train_labels": alternating(), "class_names": np.array(["a", "b"], dtype=object)},
            r"\(not dtype=object\)",
        ),
        (
            {"train_labels": alternating(), "class_names": np.array(["a"])},
            "train labels: got 1; expected only 0, one for each class name",
        ),
        (
            {"train_labels": alternating(), "class_names": np.array(["a", "b", "c"])},
            "no training image of class c",
        ),
        ({"train_labels": np.array([None] * 20)}, "cannot be read"),
    ],
)
def test_bad_npz(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Missing keys, Python objects and names that do not fit are refused by name."""
    np.savez(tmp_path / "bad.npz", train_images=random_images(), **arrays)
    with pytest.raises(DatasetError, match=message):
        load_dataset(tmp_path / "bad.npz")


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "npy", "pickle"])
def test_damaged_npz(damage: str, tmp_path: Path) -> None:
    """A damaged .npz, or another file of that name, is refused, and nothing is unpickled."""
    path = tmp_path / "bad.npz"
    np.savez(path, train_images=random_images(), train_labels=alternating())
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[300] ^= 255
    np.save(tmp_path / "array.npy", random_images())
    contents = {
        "cut": whole[: len(whole) // 2],
        "flipped": bytes(flipped),
        "empty": b"",
        "text": b"hello",
        "npy": (tmp_path / "array.npy").read_bytes(),
        "pickle": pickle.dumps({"train_images": 1}),
    }
    path.write_bytes(contents[damage])
    with pytest.raises(DatasetError, match="cannot be read"):
        load_dataset(path)


def test_npz_that_unpacks_to_more_than_there_is(tmp_path: Path) -> None:
    """An archive that says it holds more than the free memory is refused without unpacking."""
    path = tmp_path / "bomb.npz"
    np.savez(path, train_images=np.zeros((4, 8, 8, 1), np.uint8), train_labels=np.arange(4) % 2)
    forged = bytearray(path.read_bytes())
    entry = forged.index(b"PK\x01\x02")  # of the central directory: sizes stand at 20 and 24
    forged[entry + 24 : entry + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    with zipfile.ZipFile(io.BytesIO(forged)) as archive:
        assert archive.infolist()[0].file_size == 0xFFFFFFF0
    path.write_bytes(forged)
    with (
        mock.patch("pymoo_nas.datasets._image_files.free_memory", return_value=2.0**31),
        pytest.raises(DatasetError, match=r"arrays take 4\.0 GiB, 2\.0 GiB are free"),
    ):
        load_dataset(path)


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "datasets").is_dir(), reason="no shared data sets here")
def test_shared_cifar10() -> None:
    """The real file loads as it is, its labels in step with its images."""
    dataset = load_dataset(SHARED / "datasets" / "cifar10.npz")
    assert dataset.train_images.shape == (45000, 32, 32, 3)
    assert dataset.train_images.dtype == np.uint8
    assert dataset.test_images.shape == (1000, 32, 32, 3)
    assert dataset.class_names[6] == "frog"
    # The official training set starts with frog, truck, truck, deer, automobile.
    assert dataset.train_labels[:5].tolist() == [6, 9, 9, 4, 1]
    # Known to anybody who has normalised CIFAR-10: 0.4914, 0.4822, 0.4465 and 0.247, 0.243, 0.262.
    assert dataset.mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-3)
    assert dataset.std == pytest.approx([0.247, 0.2435, 0.2616], abs=1e-3)
    # A ship's picture is bluer than a frog's: labels that are out of step would even this out.
    blue = dataset.train_images[..., 2].mean(axis=(1, 2)) - dataset.train_images[..., 0].mean(
        axis=(1, 2)
    )
    assert blue[dataset.train_labels == 8].mean() > blue[dataset.train_labels == 6].mean() + 10


# Image folders


def test_grey_folder(tmp_path: Path) -> None:
    """A folder of grey images gives one channel, 32×32 by default, a fifth held out."""
    dataset = load_dataset(make_folder(tmp_path / "grey"))
    assert dataset.train_images.shape == (8, 32, 32, 1)
    assert dataset.test_images.shape == (2, 32, 32, 1)
    assert (dataset.name, dataset.class_names, dataset.augment) == ("grey", ("a", "b"), "flip")


def test_mixed_folder(tmp_path: Path) -> None:
    """Sizes and modes may be mixed: one colour image makes all of them RGB."""
    make_folder(tmp_path)
    rgb = random_images(1, 30, 17, 3)[0]
    modes = {"L": "png", "RGB": "jpg", "RGBA": "png", "P": "gif", "CMYK": "tif", "1": "png"}
    for mode, ending in {**modes, "YCbCr": "JPEG", "LA": "png"}.items():
        write(tmp_path / "b" / f"mode_{mode}.{ending}", rgb, mode)
    write(tmp_path / "b" / "16.png", rgb[..., 0].astype(np.uint16) * 257)
    write(tmp_path / "b" / "t.png", rgb, "P", transparency=bytes(range(256)))
    dataset = load_dataset(tmp_path, image_size=(12, 10))
    assert dataset.image_size == (12, 10)
    assert dataset.in_channels == 3
    assert len(dataset.train_images) + len(dataset.test_images) == 20


def test_ignored_files(tmp_path: Path) -> None:
    """Hidden files, other endings and folders inside a class are left out without a word."""
    make_folder(tmp_path)
    for name in (".hidden.png", "notes.txt", "Thumbs.db", "no_ending"):
        (tmp_path / "a" / name).write_text("no image")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "__MACOSX" / "a").mkdir(parents=True)
    (tmp_path / "a" / "more.png").mkdir()
    (tmp_path / "README.md").write_text("text beside the classes")
    dataset = load_dataset(tmp_path)
    assert dataset.class_names == ("a", "b")
    assert len(dataset.train_images) + len(dataset.test_images) == 10


def test_unreadable_files(tmp_path: Path) -> None:
    """Files that cannot be read are skipped, counted and named with the reason."""
    make_folder(tmp_path / "f")
    folder = tmp_path / "f" / "a"
    whole = (folder / "0.png").read_bytes()
    (folder / "1.png").write_bytes(whole[: len(whole) // 2])
    (folder / "bad0.jpg").write_text("hello")
    (folder / "bad1.png").write_bytes(b"")
    # PIL would hand this to an external program, were it to go by the content.
    (folder / "bad2.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    write(folder / "float.tif", np.ones((4, 4), np.float32))
    with pytest.warns(UserWarning, match=r"skipped 5 of 14 image files: a/1\.png \(") as caught:
        dataset = load_dataset(tmp_path / "f")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert "floating-point pixels" in str(caught[0].message)
    assert "bad2.png (no image)" in str(caught[0].message)
    assert len(dataset.train_images) + len(dataset.test_images) == 9


def test_many_unreadable_files(tmp_path: Path) -> None:
    """Of many unreadable files five are named and the others counted."""
    make_folder(tmp_path)
    for i in range(8):
        (tmp_path / "a" / f"x{i}.png").write_text("no image")
    with pytest.warns(UserWarning, match=r"skipped 8 of 18 .*a/x4\.png \(no image\), and 3 more$"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("side", [100, 150])
def test_decompression_bomb(side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image far larger than it has any reason to be is not unpacked."""
    make_folder(tmp_path)
    write(tmp_path / "a" / "bomb.png", np.zeros((side, side), np.uint8))
    # PIL warns above this number of pixels, and raises above its double.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9000)
    with pytest.warns(UserWarning, match=r"skipped 1 of 11 .*bomb\.png \(Image size"):
        load_dataset(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_links_and_pipes(tmp_path: Path) -> None:
    """Links out of the folder, broken or circular ones, and pipes are skipped; inner ones read."""
    outside = tmp_path / "secret.png"
    write(outside, random_images(1)[0])
    folder = make_folder(tmp_path / "f")
    targets: dict[str, Any] = {
        "out": outside,
        "broken": "gone.png",
        "loop": "loop.png",
        "inside": "../b/0.png",
    }
    for name, target in targets.items():
        (folder / "a" / f"{name}.png").symlink_to(target)
    os.mkfifo(folder / "a" / "pipe.png")
    with pytest.warns(UserWarning, match="skipped 4 of 15") as caught:
        dataset = load_dataset(folder)
    assert "out.png (a link that leaves the folder)" in str(caught[0].message)
    assert len(dataset.train_images) + len(dataset.test_images) == 11
    (tmp_path / "link").symlink_to(folder)
    with pytest.warns(UserWarning, match="skipped 4 of 15"):
        assert load_dataset(tmp_path / "link").name == "f"


def test_class_linked_from_outside(tmp_path: Path) -> None:
    """A class folder that is a link out of the folder has no readable image."""
    make_folder(tmp_path / "other")
    folder = make_folder(tmp_path / "f")
    (folder / "c").symlink_to(tmp_path / "other" / "a")
    with pytest.raises(DatasetError, match=r"f/c: no readable image.*leaves the folder"):
        load_dataset(folder)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("f/empty/notes.txt", "f/empty: no readable image in this class; found notes.txt, which"),
        ("f/empty/1.heic", "f/empty: no readable image in this class; found 1.heic, which"),
        ("f/damaged/x.png", r"f/damaged: no readable image.*damaged/x\.png \(no image\)"),
        ("g/x.png", "no class folders in it"),
    ],
)
def test_bad_folder(path: str, message: str, tmp_path: Path) -> None:
    """A class that is or becomes empty, and a folder without classes, are refused by name."""
    make_folder(tmp_path / "f")
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text("no image")
    with pytest.raises(DatasetError, match=message):
        load_dataset(tmp_path / path.split("/", maxsplit=1)[0])


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "webp", "tga", "ppm"])
def test_damaged_bytes(ending: str, tmp_path: Path) -> None:
    """However a file is damaged, it is read or refused with one of the expected exceptions."""
    rng = np.random.default_rng(0)
    path = tmp_path / f"x.{ending}"
    write(path, random_images(1, 16, 16, 3)[0])
    whole = path.read_bytes()
    outcomes = set()
    for _ in range(100):
        content = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 200), 3):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            try:
                outcomes.add(read_one(path, (4, 4)).shape)
            except UNREADABLE as error:
                outcomes.add(type(error))
    assert outcomes - {(4, 4), (4, 4, 3)}, "no damage was noticed"
