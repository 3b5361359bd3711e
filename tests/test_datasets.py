from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat
from torchvision import datasets as torchvision_datasets

from pymoo_nas.datasets import (
    DATASET_NAMES,
    Dataset,
    balanced_indices,
    load_dataset,
    split_validation,
)
from pymoo_nas.errors import DatasetError
from pymoo_nas.image_files import UNREADABLE, _read_image

SHARED = Path(__file__).parents[2] / "shared"


def random_images(n: int = 20, h: int = 6, w: int = 5, c: int = 3, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (n, h, w, c), dtype=np.uint8)


def alternating(n: int = 20, n_classes: int = 2) -> Any:
    return np.arange(n) % n_classes


def write(path: Path, pixels: Any, mode: str | None = None, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    image.convert(mode or image.mode).save(path, **options)


def make_folder(root: Path, n: int = 5, classes: str = "ab", c: int = 1) -> Path:
    for label, name in enumerate(classes):
        for i, pixels in enumerate(random_images(n, 9, 11, c, seed=label)):
            write(root / name / f"{i}.png", pixels.squeeze())
    return root


# Names


def test_digits() -> None:
    """The embedded digits lie in 0..1, are split by class, and do not count as flippable."""
    digits = load_dataset("digits")
    assert digits.train_images.shape == (1438, 8, 8, 1)
    assert digits.test_images.shape == (359, 8, 8, 1)
    assert digits.train_images.dtype == np.float32
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 1)
    share = np.bincount(digits.test_labels) / np.bincount(digits.train_labels)
    assert np.abs(share - 0.25).max() < 0.01
    assert not digits.augment
    assert digits.class_names == tuple("0123456789")


def test_split_is_fixed() -> None:
    """Two loads hold out the same images, whatever the global random state."""
    first = load_dataset("digits")
    with torch.random.fork_rng():
        torch.manual_seed(5)
        second = load_dataset("DIGITS")
    assert np.array_equal(first.test_images, second.test_images)
    assert np.array_equal(first.test_labels, second.test_labels)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("cifar10", "cifar-10-batches-py"),
        ("cifar100", "cifar-100-python"),
        ("fashion-mnist", "FashionMNIST/raw"),
        ("mnist", "MNIST/raw"),
        ("svhn", "*_32x32.mat"),
    ],
)
def test_absent(name: str, place: str, tmp_path: Path) -> None:
    """An absent data set is answered with the folder looked in and the command to fetch it."""
    with pytest.raises(DatasetError) as caught:
        load_dataset(name, root=tmp_path)
    assert str(tmp_path.resolve() / place) in str(caught.value)
    assert f"`pymoo-nas search {name} --download`" in str(caught.value)


def test_failed_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that fails is a DatasetError that keeps the cause."""

    def refuse(self: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision_datasets.CIFAR10, "download", refuse)
    with pytest.raises(DatasetError, match=r"could not be downloaded.*no route to host") as caught:
        load_dataset("cifar10", root=tmp_path, download=True)
    assert isinstance(caught.value.__cause__, OSError)


def write_idx(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    path.write_bytes(header + values.tobytes())


@pytest.mark.parametrize(("name", "augment"), [("mnist", False), ("fashion-mnist", True)])
def test_mnist(name: str, augment: bool, tmp_path: Path) -> None:
    """MNIST and Fashion-MNIST are read as grey images with all ten class names."""
    images, labels = random_images(20, 28, 28, 1)[..., 0], alternating(20, 10).astype(np.uint8)
    raw = tmp_path / {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}[name] / "raw"
    for part in ("train", "t10k"):
        write_idx(raw / f"{part}-images-idx3-ubyte", images)
        write_idx(raw / f"{part}-labels-idx1-ubyte", labels)
    dataset = load_dataset(name, root=tmp_path)
    assert np.array_equal(dataset.train_images, images[..., None])
    assert np.array_equal(dataset.test_labels, labels)
    assert (dataset.n_classes, dataset.augment) == (10, augment)
    (raw / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    with pytest.raises(DatasetError, match="damaged"):
        load_dataset(name, root=tmp_path)


def with_md5(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10's planes become channels-last images; a file with another checksum is refused."""
    images, labels = random_images(20, 32, 32, 3), alternating().tolist()
    batch = {"data": images.transpose(0, 3, 1, 2).reshape(20, -1), "labels": labels}
    folder = tmp_path / "cifar-10-batches-py"
    cifar = torchvision_datasets.CIFAR10
    md5 = with_md5(folder / "b", pickle.dumps(batch))
    meta = with_md5(folder / "m", pickle.dumps({"label_names": ["cat", "dog"]}))
    monkeypatch.setattr(cifar, "train_list", [["b", md5]])
    monkeypatch.setattr(cifar, "test_list", [["b", md5]])
    monkeypatch.setattr(cifar, "meta", {"filename": "m", "key": "label_names", "md5": meta})
    dataset = load_dataset("cifar10", root=tmp_path)
    assert np.array_equal(dataset.train_images, images)
    assert dataset.test_labels.tolist() == labels
    assert dataset.class_names == ("cat", "dog")
    assert dataset.augment
    with_md5(folder / "b", pickle.dumps(batch) + b" ")
    with pytest.raises(DatasetError, match="damaged"):
        load_dataset("cifar10", root=tmp_path)


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SVHN's digit 0, stored as class 10, is class 0; its images become channels-last."""
    images, labels = random_images(20, 32, 32, 3), alternating(20, 10)
    split_list = {}
    for part in ("train", "test"):
        path = tmp_path / f"{part}_32x32.mat"
        stored = {"X": images.transpose(1, 2, 3, 0), "y": np.where(labels, labels, 10)[:, None]}
        savemat(path, stored)
        split_list[part] = ["", path.name, with_md5(path, path.read_bytes())]
    monkeypatch.setattr(torchvision_datasets.SVHN, "split_list", split_list)
    dataset = load_dataset("svhn", root=tmp_path)
    assert np.array_equal(dataset.test_images, images)
    assert np.array_equal(dataset.train_labels, labels)
    assert (dataset.class_names, dataset.augment) == (tuple("0123456789"), False)


# Form and statistics


@pytest.mark.parametrize("scale", [255, 1.0, 1e4])
def test_statistics(scale: float) -> None:
    """Mean, deviation and normalised images equal those of a slow loop over the channels."""
    raw = random_images(30, 7, 4, 5)
    images = raw if scale == 255 else (raw / 255 + scale).astype(np.float32)
    dataset = load_dataset((images, alternating(30), images[:10], alternating(10)))
    unit = images.astype(np.float64) / (255 if scale == 255 else 1)
    normalized = dataset.normalized(images)
    for channel in range(5):
        values = [float(x) for x in unit[..., channel].ravel()]
        mean = sum(values) / len(values)
        std = (sum((x - mean) ** 2 for x in values) / len(values)) ** 0.5
        assert dataset.mean[channel] == pytest.approx(mean, rel=1e-12)
        assert dataset.std[channel] == pytest.approx(std, rel=1e-9)
        expected = torch.from_numpy((unit[..., channel] - mean) / std).float()
        # 1e4 has a float32 spacing of 1e-3, and the deviation is 0.3.
        tolerance = 5e-3 if scale == 1e4 else 1e-5
        assert torch.allclose(normalized[:, channel], expected, atol=tolerance)
    assert normalized.dtype == torch.float32
    assert normalized.is_contiguous()


def test_constant_channel() -> None:
    """A constant channel is divided by 1, so it is normalised to 0, not to NaN or noise."""
    images = np.full((8, 4, 4, 3), 0.1, dtype=np.float32)
    images[:4, ..., 1] = 0
    images[..., 2] = 0
    dataset = load_dataset((images, alternating(8), images, alternating(8)))
    assert dataset.std.tolist() == pytest.approx([1, 0.05, 1])
    assert dataset.normalized(images)[:, [0, 2]].abs().max() < 1e-7


def test_normalized_other_form() -> None:
    """Images on another scale or with other channels are not silently normalised."""
    dataset = load_dataset((random_images(), alternating()))
    for images in (random_images().astype(np.float32), random_images(c=1), random_images()[0]):
        with pytest.raises(DatasetError, match="cannot normalise"):
            dataset.normalized(images)


@pytest.mark.parametrize(
    ("images", "shape", "dtype"),
    [
        (random_images(), (6, 5, 3), np.uint8),
        (random_images()[..., 0], (6, 5, 1), np.uint8),
        (random_images(c=7).astype(np.int64), (6, 5, 7), np.uint8),
        (random_images().astype(np.uint16) * 257, (6, 5, 3), np.float32),
        (random_images().astype(np.int32) - 100, (6, 5, 3), np.float32),
        (random_images() / 255, (6, 5, 3), np.float32),
        (random_images() > 100, (6, 5, 3), np.float32),
        (torch.from_numpy(random_images()).movedim(3, 1), (6, 5, 3), np.uint8),
        (torch.from_numpy(random_images()[..., 0]), (6, 5, 1), np.uint8),
        (torch.rand(20, 3, 6, 5, requires_grad=True), (6, 5, 3), np.float32),
        (torch.ones(20, 3, 6, 5, dtype=torch.bfloat16), (6, 5, 3), np.float32),
    ],
)
def test_image_forms(images: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Every form of images becomes channels-last uint8 or float32 with its values unchanged."""
    dataset = load_dataset((images, alternating(), images, alternating()))
    assert dataset.train_images.shape == (20, *shape)
    assert dataset.train_images.dtype == dtype
    given_values = np.asarray(images.detach().float() if torch.is_tensor(images) else images)
    if torch.is_tensor(images) and images.ndim == 4:
        given_values = np.moveaxis(given_values, 1, 3)
    assert np.allclose(dataset.train_images, given_values.reshape(20, *shape))
    assert (dataset.in_channels, dataset.image_size) == (shape[2], shape[:2])


def test_no_copy() -> None:
    """Arrays that fit as they are are not copied."""
    images, labels = random_images(), alternating()
    dataset = load_dataset((images, labels, images, labels))
    assert np.shares_memory(dataset.train_images, images)


@pytest.mark.parametrize("other", ["one-hot", "column", "float", "bool", "tensor", "uint64"])
def test_label_forms(other: str) -> None:
    """Integers, columns, whole floats, booleans, tensors and one-hot rows mean the same."""
    labels = alternating()
    forms = {
        "one-hot": np.eye(2)[labels],
        "column": labels[:, None],
        "float": labels.astype(float),
        "bool": labels.astype(bool),
        "tensor": torch.from_numpy(labels),
        "uint64": labels.astype(np.uint64),
    }
    dataset = load_dataset((random_images(), forms[other], random_images(), labels))
    assert dataset.train_labels.tolist() == labels.tolist()
    assert dataset.train_labels.dtype == np.int64


def test_labels_with_gaps() -> None:
    """Labels {3, 7} are numbered 0, 1 and keep their numbers as names, in both parts."""
    labels = alternating() * 4 + 3
    dataset = load_dataset((random_images(), labels, random_images(3), np.array([7, 7, 3])))
    assert dataset.class_names == ("3", "7")
    assert dataset.train_labels.tolist() == alternating().tolist()
    assert dataset.test_labels.tolist() == [1, 1, 0]


def test_split_keeps_pairs() -> None:
    """After a split every image still has its own label, and none is lost or in both parts."""
    labels = alternating(40, 4)
    images = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    dataset = load_dataset((images, labels))
    for part, part_labels in (
        (dataset.train_images, dataset.train_labels),
        (dataset.test_images, dataset.test_labels),
    ):
        assert np.array_equal(part[:, 0, 0, 0] % 4, part_labels)
    together = np.concatenate([dataset.train_images, dataset.test_images])[:, 0, 0, 0]
    assert sorted(together) == list(range(40))
    assert np.bincount(dataset.test_labels).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("size", [3, (3, 8), (20, 20), np.int64(4)])
def test_image_size(size: Any) -> None:
    """Any source is resized as PIL does it, to one number or (H, W), larger or smaller."""
    images = random_images(h=12, w=10)
    height, width = size if isinstance(size, tuple) else (size, size)
    dataset = load_dataset((images, alternating(), images, alternating()), image_size=size)
    assert dataset.image_size == (height, width)
    for image, resized in zip(images, dataset.train_images, strict=True):
        expected = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        assert np.abs(np.asarray(expected).astype(int) - resized).max() <= 1
    floats = images.astype(np.float32)
    resized = load_dataset((floats, alternating()), image_size=size).train_images
    assert resized.dtype == np.float32


def test_image_size_joins_parts() -> None:
    """Parts of different sizes fit once a size is given, and are refused without it."""
    source = (random_images(), alternating(), random_images(h=9), alternating())
    assert load_dataset(source, image_size=4).test_images.shape == (20, 4, 4, 3)
    with pytest.raises(DatasetError, match="give image_size"):
        load_dataset(source)


def test_dataset_as_source() -> None:
    """A Dataset comes back as it is, and with another size as a new one of the same kind."""
    digits = load_dataset("digits")
    assert load_dataset(digits) is digits
    assert load_dataset(digits, image_size=8) is digits
    small = load_dataset(dataclasses.replace(digits, name="d", augment=True), image_size=4)
    assert (small.name, small.image_size, small.augment) == ("d", (4, 4), True)
    assert small.class_names == digits.class_names
    assert np.array_equal(small.test_labels, digits.test_labels)


# Bad input


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("cifar11", "did you mean cifar10"),
        ("fashon-mnist", "did you mean fashion-mnist"),
        ("no/such/folder", "there is no such path"),
        ("", "there is no such path"),
        ("x" * 5000, "there is no such path"),
        (Path("digits"), "there is no such path"),
        (Path(__file__), "expected an image folder or an .npz file"),
        (7, "got a int"),
        ((1, 2, 3), "got a tuple of 3"),
    ],
)
def test_bad_source(source: Any, message: str) -> None:
    """What is no data set is refused, with what is known and what is close."""
    with pytest.raises(DatasetError, match=message):
        load_dataset(source)


def test_unknown_name_lists_known() -> None:
    """The message for an unknown name holds every known one."""
    with pytest.raises(DatasetError) as caught:
        load_dataset("imagenet")
    assert all(name in str(caught.value) for name in DATASET_NAMES)


@pytest.mark.parametrize(
    "size", [0, -3, 2.5, "32", True, False, (3,), (3, 4, 5), (3, 0), 10**9, ()]
)
def test_bad_image_size(size: Any) -> None:
    """A size that is no whole number of pixels is refused."""
    with pytest.raises(DatasetError, match="image size: got"):
        load_dataset("digits", image_size=size)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (random_images()[0], "20 labels for 6 images"),
        (random_images()[0, 0], "expected at least one image"),
        (random_images()[None], "expected at least one image"),
        (random_images()[:0], "expected at least one image"),
        (random_images()[:, :0], "expected at least one image"),
        (random_images().astype(object), "got ndarray of object"),
        (random_images().astype(complex), "got ndarray of complex"),
        (None, "got NoneType"),
        ([[1], [1, 2]], "expected an array"),
        (np.moveaxis(random_images(h=16, w=16), 3, 1), "use numpy.moveaxis"),
        (torch.from_numpy(random_images(h=16, w=16)), "torch.movedim"),
    ],
)
def test_bad_images(images: Any, message: str) -> None:
    """Images of a wrong kind or order of axes are refused with their shape or type."""
    with pytest.raises(DatasetError, match=message):
        load_dataset((images, alternating()))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("part", [0, 2])
def test_not_finite(value: float, part: int) -> None:
    """NaN, infinity and what float32 cannot hold are counted, and the first image is named."""
    source = [random_images() / 255, alternating(), random_images() / 255, alternating()]
    source[part][[4, 9], 2, 1, 0] = value
    with pytest.raises(DatasetError, match=r"2 of 20 (train|test) images hold NaN.*index 4"):
        load_dataset(tuple(source))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (alternating(5), "5 labels for 20 images"),
        (alternating() - 1, "labels from -1 to 0"),
        (alternating() + 0.5, "fractions or NaN"),
        (np.where(alternating(), np.nan, 0), "fractions or NaN"),
        (np.where(alternating(), np.inf, 0), "labels from 0.0 to inf"),
        (np.ones((20, 3), int), "not one-hot"),
        (np.zeros((20, 3), int), "not one-hot"),
        (np.full((20, 2), 0.5), "not one-hot"),
        (np.zeros((20, 1, 1), int), "shape"),
        (np.zeros((20, 0), int), "not one-hot"),
        (["cat", "dog"] * 10, "expected an array of numbers"),
        (np.zeros(20, int), "only one class, '0'"),
        ([0] + [1] * 19, "class '0' has 1 image"),
        (np.uint64(2**64 - 1) - alternating().astype(np.uint64), "labels from"),
    ],
)
def test_bad_labels(labels: Any, message: str) -> None:
    """Labels that do not fit the images are refused with what was found."""
    with pytest.raises(DatasetError, match=message):
        load_dataset((random_images(), labels))


@pytest.mark.parametrize(
    ("test_images", "test_labels", "message"),
    [
        (random_images(), alternating() + 1, "test labels: got 2; expected only 0, 1"),
        (random_images(), None, "test labels: got NoneType"),
        (random_images(c=1), alternating(), "convert the channels"),
        (random_images() / 255, alternating(), "both on the same scale"),
    ],
)
def test_bad_test_part(test_images: Any, test_labels: Any, message: str) -> None:
    """A test part must have the classes, the channels and the scale of the training part."""
    with pytest.raises(DatasetError, match=message):
        load_dataset((random_images(), alternating(), test_images, test_labels))


def test_integer_scale_is_shared() -> None:
    """Integers stay on one scale in both parts, also where only one of them passes 255."""
    wide = random_images().astype(np.int64) + 200
    dataset = load_dataset((random_images(), alternating(), wide, alternating()))
    assert dataset.train_images.dtype == dataset.test_images.dtype == np.float32
    assert np.array_equal(dataset.train_images, random_images())


# .npz files


def test_npz(tmp_path: Path) -> None:
    """MedMNIST's keys are read, with columns of labels, names, and validation left alone."""
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
    assert (dataset.name, dataset.class_names) == ("med", ("café", "dog"))
    assert dataset.augment


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
    assert (dataset.name, dataset.class_names, dataset.augment) == ("grey", ("a", "b"), True)


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


def read_one(path: Path, size: tuple[int, int]) -> Any:
    return _read_image(path, size)


def test_modes_keep_brightness(tmp_path: Path) -> None:
    """16-bit grey, a grey palette and 1-bit images are grey with the same brightness as 8-bit."""
    grey = random_images(1, 8, 9, 1)[0, ..., 0]
    write(tmp_path / "l.png", grey)
    write(tmp_path / "16.png", grey.astype(np.uint16) * 257)
    write(tmp_path / "32.tif", grey.astype(np.int32) * 257)
    write(tmp_path / "la.png", grey, "LA")
    palette = Image.fromarray(grey).convert("P")
    palette.save(tmp_path / "p.png")
    for name in ("l.png", "16.png", "32.tif", "la.png", "p.png"):
        assert np.array_equal(read_one(tmp_path / name, (8, 9)), grey), name
    write(tmp_path / "1.png", grey > 128)
    assert np.array_equal(read_one(tmp_path / "1.png", (8, 9)), (grey > 128) * np.uint8(255))
    write(tmp_path / "rgb.png", random_images(1, 8, 9, 3)[0], "RGBA")
    assert np.array_equal(read_one(tmp_path / "rgb.png", (8, 9)), random_images(1, 8, 9, 3)[0])


def test_photograph_is_turned(tmp_path: Path) -> None:
    """An image that its EXIF entry calls rotated is read upright."""
    pixels = np.zeros((10, 20), np.uint8)
    pixels[:, :10] = 255
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees clockwise to see it upright
    write(tmp_path / "p.png", pixels, exif=exif)
    upright = read_one(tmp_path / "p.png", (20, 10))
    assert (upright[:9].min(), upright[11:].max()) == (255, 0)


def test_train_and_test_folders(tmp_path: Path) -> None:
    """With train/ and test/ nothing is split, and a class may be absent from the test part."""
    make_folder(tmp_path / "train", classes="abc")
    make_folder(tmp_path / "test", n=2, classes="ac", c=3)
    (tmp_path / "notes").mkdir()
    dataset = load_dataset(tmp_path)
    assert dataset.train_labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert dataset.test_labels.tolist() == [0, 0, 2, 2]
    assert dataset.train_images.shape == (15, 32, 32, 3)


def test_only_train_folder(tmp_path: Path) -> None:
    """train/ without test/ is split like any other folder."""
    make_folder(tmp_path / "train")
    assert len(load_dataset(tmp_path).test_images) == 2


def test_class_called_train(tmp_path: Path) -> None:
    """A class that is called train, with images directly in it, is a class."""
    make_folder(tmp_path)
    (tmp_path / "a").rename(tmp_path / "train")
    assert load_dataset(tmp_path).class_names == ("b", "train")


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
        ("f/empty/notes.txt", "f/empty: no readable image in this class"),
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


# Splitting and drawing


@given(
    counts=st.lists(st.integers(2, 30), min_size=1, max_size=6),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_split_validation(counts: list[int], fraction: float, seed: int) -> None:
    """A split is complete, disjoint, repeatable, and within one image of each class's share."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    train, validation = split_validation(labels, fraction, seed)
    assert sorted([*train, *validation]) == list(range(len(labels)))
    for label, count in enumerate(counts):
        held_out = int((labels[validation] == label).sum())
        assert 1 <= held_out <= count - 1
        assert abs(held_out - fraction * count) <= 1
    again = split_validation(labels, fraction, seed)
    assert np.array_equal(train, again[0])
    assert np.array_equal(validation, again[1])


def test_split_validation_depends_on_seed() -> None:
    """Another seed gives another split."""
    labels = alternating(100)
    assert not np.array_equal(
        split_validation(labels, 0.5, 1)[0], split_validation(labels, 0.5, 2)[0]
    )


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_bad_fraction(fraction: float) -> None:
    """A fraction that leaves a side empty is refused."""
    with pytest.raises(DatasetError, match="between 0 and 1"):
        split_validation(alternating(), fraction, 0)


def test_split_of_single_image() -> None:
    """A class with one image cannot be on both sides, and is named."""
    with pytest.raises(DatasetError, match="class 'dog' has 1 image"):
        split_validation(np.array([0, 0, 1]), 0.5, 0, ["cat", "dog"])
    with pytest.raises(DatasetError, match="0 images"):
        split_validation(np.array([], dtype=np.int64), 0.5, 0)


@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    n_values=st.integers(1, 40),
    data=st.data(),
)
def test_balanced_indices(counts: list[int], n_values: int, data: st.DataObject) -> None:
    """A draw is of distinct images, even over the classes, and fails only where one is short."""
    seed = data.draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    # Duplicates within a class: its label is part of the value.
    values = labels * 100 + rng.integers(0, n_values, len(labels))
    images = values.astype(np.float32)[:, None, None, None]
    n = data.draw(st.integers(1, len(labels)))
    distinct = [len(np.unique(values[labels == label])) for label in range(len(counts))]
    quota, remainder = divmod(n, len(counts))
    possible = min(distinct) >= quota and sum(d > quota for d in distinct) >= remainder
    if not possible:
        with pytest.raises(DatasetError, match=f"has {min(distinct)} distinct images"):
            balanced_indices(images, labels, n, np.random.default_rng(seed))
        return
    drawn = balanced_indices(images, labels, n, np.random.default_rng(seed))
    assert drawn.shape == (n,)
    assert len(np.unique(values[drawn])) == n
    per_class = np.bincount(labels[drawn], minlength=len(counts))
    assert per_class.min() >= quota
    assert per_class.max() <= quota + bool(remainder)
    again = balanced_indices(images, labels, n, np.random.default_rng(seed))
    assert np.array_equal(drawn, again)


def test_duplicates_across_classes() -> None:
    """Byte-equal images count as one even where their labels differ."""
    images = np.array([0, 0, 1, 2], dtype=np.uint8)[:, None, None, None]
    labels = np.array([0, 1, 0, 1])
    for seed in range(20):
        drawn = balanced_indices(images, labels, 2, np.random.default_rng(seed))
        assert len(np.unique(images[drawn])) == 2


def test_too_few_distinct_images() -> None:
    """The message names the class, what it has, what is needed and what to do."""
    images = random_images(8)
    labels = np.array([0] * 5 + [1] * 3)
    images[6] = images[5]
    with pytest.raises(DatasetError) as caught:
        balanced_indices(images, labels, 6, np.random.default_rng(0), ["cat", "dog"])
    message = str(caught.value)
    assert "class 'dog' has 2 distinct images; expected 3" in message
    assert "draw 4 images or fewer" in message
    assert len(balanced_indices(images, labels, 5, np.random.default_rng(0))) == 5


@pytest.mark.parametrize("n", [0, -1, 21])
def test_bad_number_of_images(n: int) -> None:
    """No images, or more than there are, cannot be drawn."""
    with pytest.raises(DatasetError, match="expected 1 to 20"):
        balanced_indices(random_images(), alternating(), n, np.random.default_rng(0))


def test_fewer_images_than_classes() -> None:
    """With fewer images than classes each comes of another class, by chance of every one."""
    images, labels = random_images(40), alternating(40, 10)
    seen: set[int] = set()
    for seed in range(30):
        drawn = labels[balanced_indices(images, labels, 3, np.random.default_rng(seed))]
        assert len(set(drawn)) == 3
        seen.update(drawn.tolist())
    assert seen == set(range(10))


def test_draw_is_shuffled() -> None:
    """The classes of a draw come in random order, neither in blocks nor in turns."""
    labels = alternating(40)
    drawn = balanced_indices(random_images(40), labels, 20, np.random.default_rng(0))
    assert 3 < np.abs(np.diff(labels[drawn])).sum() < 19


def test_dataset_is_frozen() -> None:
    """A data set cannot be changed by assignment."""
    digits: Dataset = load_dataset("digits")
    with pytest.raises(dataclasses.FrozenInstanceError):
        digits.augment = True  # type: ignore[misc]
