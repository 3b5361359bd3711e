"""Folders of training, validation and test images, by whatever name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from made_images import make_folder, random_images, write
from PIL import Image

from pymoo_nas.datasets import find_images, load_dataset
from pymoo_nas.errors import DatasetError


def test_train_and_test_folders(tmp_path: Path) -> None:
    """With train/ and test/ nothing is split, and a class may be absent from the test part."""
    make_folder(tmp_path / "train", classes="abc")
    make_folder(tmp_path / "test", n=2, classes="ac", c=3)
    (tmp_path / "notes").mkdir()
    dataset = load_dataset(tmp_path)
    assert dataset.train_labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert dataset.test_labels.tolist() == [0, 0, 2, 2]
    assert dataset.train_images.shape == (15, 32, 32, 3)


def test_validation_folder(tmp_path: Path) -> None:
    """Beside train/ and test/, the images of val/ are kept for choosing the epoch."""
    for n, part in enumerate(("train", "test", "val"), start=2):
        make_folder(tmp_path / part, n=n)
    dataset = load_dataset(tmp_path)
    assert dataset.val_labels is not None
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (4, 6)
    assert dataset.val_labels.tolist() == [0] * 4 + [1] * 4


def test_test_images_without_classes(tmp_path: Path) -> None:
    """A test folder of loose images is named and left out; one with classes is taken before it."""
    make_folder(tmp_path / "train")
    write(tmp_path / "test" / "0.png", random_images(1)[0])
    with pytest.warns(UserWarning, match=r"test: no class folders in it.*held out"):
        dataset = load_dataset(tmp_path)
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (8, 2)
    make_folder(tmp_path / "val", n=3)
    with pytest.warns(UserWarning, match="test: no class folders in it") as caught:
        assert len(load_dataset(tmp_path).test_labels) == 6
    assert "held out" not in str(caught[0].message)


def test_only_train_folder(tmp_path: Path) -> None:
    """train/ without test/ is split like any other folder."""
    make_folder(tmp_path / "train")
    assert len(load_dataset(tmp_path).test_images) == 2


def test_class_called_train(tmp_path: Path) -> None:
    """A class that is called train, with images directly in it, is a class."""
    make_folder(tmp_path)
    (tmp_path / "a").rename(tmp_path / "train")
    assert load_dataset(tmp_path).class_names == ("b", "train")


def test_bad_test_folder(tmp_path: Path) -> None:
    """A test class must be a training class, and have images."""
    make_folder(tmp_path / "train")
    make_folder(tmp_path / "test")
    (tmp_path / "test" / "c").mkdir()
    with pytest.raises(DatasetError, match="test/c: there is no training class of that name"):
        load_dataset(tmp_path)
    (tmp_path / "test" / "c").rmdir()
    for file in (tmp_path / "test" / "b").iterdir():
        file.unlink()
    with pytest.raises(DatasetError, match="test/b: no readable image"):
        load_dataset(tmp_path)


# Names of parts


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "Testing"),
        ("Training", "Testing"),
        ("TRAIN", "TEST"),
        ("Train", "eval"),
        ("train", "evaluation"),
        ("train", "holdout"),
        ("train", "Hold-Out"),
        ("train_set", "test_set"),
        ("TrainImages", "test images"),
        ("training_data", "tests"),
        ("train", "Val"),
        ("train", "validation"),
        ("train", "DEV"),
    ],
)
def test_usual_names_of_the_test_folder(tmp_path: Path, train: str, test: str) -> None:
    """A training and a test folder are known by their usual names, in any case."""
    make_folder(tmp_path / train)
    make_folder(tmp_path / test, n=2)
    dataset = load_dataset(tmp_path)
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (10, 4)
    assert dataset.val_labels is None
    assert dataset.reading.test.startswith(f"{test}/")
    in_place = "in place of a test part" in dataset.reading.test
    assert in_place == (test.lower() in ("val", "validation", "dev"))


@pytest.mark.parametrize(
    ("validation", "test"), [("val", "test"), ("Valid", "Testing"), ("dev", "eval")]
)
def test_usual_names_of_the_validation_folder(tmp_path: Path, validation: str, test: str) -> None:
    """Beside a test folder, one for validation keeps its meaning."""
    for n, part in enumerate(("Train", test, validation), start=2):
        make_folder(tmp_path / part, n=n)
    dataset = load_dataset(tmp_path)
    assert dataset.val_labels is not None
    assert (len(dataset.test_labels), len(dataset.val_labels)) == (6, 8)
    assert (dataset.reading.test, dataset.reading.val) == (f"{test}/", f"{validation}/")


@pytest.mark.parametrize("other", ["unlabelled", "extra", "holdout", "test-old", "2019"])
def test_unused_folders_are_named(tmp_path: Path, other: str) -> None:
    """A folder of images beside those that are used is named; one without images is not."""
    make_folder(tmp_path / "train")
    make_folder(tmp_path / "test", n=2)
    make_folder(tmp_path / other, n=1, classes="ab")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("text")
    with pytest.warns(UserWarning, match=rf"{other}: holds images and is not used") as caught:
        dataset = load_dataset(tmp_path)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (10, 4)


def test_two_folders_of_one_part(tmp_path: Path) -> None:
    """Of two folders of one kind the more usual name is taken, and the other one named."""
    make_folder(tmp_path / "train")
    make_folder(tmp_path / "Test", n=2)
    make_folder(tmp_path / "test", n=3)
    make_folder(tmp_path / "testing", n=4)
    with pytest.warns(UserWarning, match="not used") as caught:
        dataset = load_dataset(tmp_path)
    assert len(dataset.test_labels) == 6
    assert sorted(str(w.message).split(": ")[0].split("/")[-1] for w in caught) == [
        "Test",
        "testing",
    ]


@pytest.mark.parametrize("parts", [("Training", "Testing"), ("train", "val"), ("train", "dev")])
def test_parts_are_no_classes(tmp_path: Path, parts: tuple[str, ...]) -> None:
    """Folders of loose images that are called as parts are not read as two classes."""
    for part in parts:
        write(tmp_path / part / "0.png", random_images(1)[0])
        write(tmp_path / part / "1.png", random_images(1)[0])
    with pytest.raises(DatasetError, match="parts by their names"):
        load_dataset(tmp_path)
    make_folder(tmp_path / parts[0])
    with (
        pytest.warns(UserWarning, match=f"{parts[1]}: no class folders in it"),
        pytest.warns(UserWarning, match="2 images are left out"),
    ):
        assert load_dataset(tmp_path).class_names == ("a", "b")


def test_images_below_a_class_are_named(tmp_path: Path) -> None:
    """Folders with images inside a class are left out with a word, empty ones without."""
    make_folder(tmp_path)
    (tmp_path / "a" / "empty").mkdir()
    write(tmp_path / "a" / "more" / "0.png", random_images(1)[0])
    with pytest.warns(UserWarning, match=r"1 folders with images are left out: a/more") as caught:
        dataset = load_dataset(tmp_path)
    assert len(caught) == 1
    assert len(dataset.train_labels) + len(dataset.test_labels) == 10


def test_images_of_other_formats_are_named(tmp_path: Path) -> None:
    """Images of a format that is not read are left out with a word, other files without."""
    make_folder(tmp_path)
    for name in ("x.heic", "y.SVG", "z.dcm", "notes.txt"):
        (tmp_path / "b" / name).write_text("no pixels")
    with pytest.warns(UserWarning, match=r"3 files are left out: b/x\.heic"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("name", ["photo", "photo.jpg_large", "photo.bak"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_images_of_other_names_are_named(tmp_path: Path, name: str, kind: str) -> None:
    """What begins as an image does is left out with a word, in a class and in a folder of files."""
    make_folder(tmp_path)
    Image.fromarray(random_images(1)[0]).save(tmp_path / "a" / name, format=kind)
    with pytest.warns(UserWarning, match=rf"1 files are left out: a/{name} \(an image by its"):
        load_dataset(tmp_path)
    with pytest.warns(UserWarning, match=rf"1 files are left out: {name} \(an image by its"):
        found = find_images(tmp_path / "a")
    assert [path.suffix for path in found] == [".png"] * len(found)
    assert find_images(tmp_path / "a" / name) == [tmp_path / "a" / name]


def test_images_beside_classes_are_named(tmp_path: Path) -> None:
    """Images that lie beside class folders, or beside the parts, are left out with a word."""
    for part in ("train", "test"):
        make_folder(tmp_path / part)
    write(tmp_path / "0.png", random_images(1)[0])
    write(tmp_path / "train" / "1.png", random_images(1)[0])
    with pytest.warns(UserWarning, match=r"2 images are left out: 0\.png .*train/1\.png \(in no"):
        load_dataset(tmp_path)


def test_link_to_a_used_folder(tmp_path: Path) -> None:
    """A second name of a folder that is used is not called unused."""
    make_folder(tmp_path / "originals")
    (tmp_path / "train").symlink_to(tmp_path / "originals")
    assert load_dataset(tmp_path).class_names == ("a", "b")


@pytest.mark.parametrize(
    ("wrappers", "given"),
    [
        (["data"], "data"),
        (["data/train"], "data"),
        (["data/Train_Set", "data/test"], "data"),
        (["data/x/train", "data/x/test", "data/x/val"], "data/x"),
        (["train/x"], "train/x"),
        (["test"], "test"),
        (["a/b/c"], "a/b/c"),
    ],
)
def test_classes_deeper_in(tmp_path: Path, wrappers: list[str], given: str) -> None:
    """Where the classes lie deeper, the message names an image, and a folder that can be read."""
    for wrapper in wrappers:
        make_folder(tmp_path / wrapper)
    message = rf"found .*0\.png, deeper in; give {re.escape(str(tmp_path / given))} "
    with pytest.raises(DatasetError, match=message):
        load_dataset(tmp_path)
    assert load_dataset(tmp_path / given).class_names == ("a", "b")
