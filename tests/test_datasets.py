"""Data sets: their sources, their form, their statistics, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_images import alternating, random_images
from PIL import Image

from pymoo_nas.datasets import DATASET_NAMES, Dataset, load_dataset
from pymoo_nas.errors import DatasetError


def test_digits() -> None:
    """The embedded digits lie in 0..1, are split by class, and do not count as flippable."""
    digits = load_dataset("digits")
    assert digits.train_images.shape == (1438, 8, 8, 1)
    assert digits.test_images.shape == (359, 8, 8, 1)
    assert digits.train_images.dtype == np.float32
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 1)
    share = np.bincount(digits.test_labels) / np.bincount(digits.train_labels)
    assert np.abs(share - 0.25).max() < 0.01
    assert digits.augment == "none"
    assert digits.class_names == tuple("0123456789")


def test_split_is_fixed() -> None:
    """Two loads hold out the same images, whatever the global random state."""
    first = load_dataset("digits")
    with torch.random.fork_rng():
        torch.manual_seed(5)
        second = load_dataset("DIGITS")
    assert np.array_equal(first.test_images, second.test_images)
    assert np.array_equal(first.test_labels, second.test_labels)


def test_dataset_is_frozen() -> None:
    """A data set cannot be changed by assignment."""
    digits: Dataset = load_dataset("digits")
    with pytest.raises(dataclasses.FrozenInstanceError):
        digits.augment = True  # type: ignore[misc]


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
        (random_images(w=6, c=7).astype(np.int64), (6, 6, 7), np.uint8),
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
    assert (small.name, small.image_size, small.augment) == ("d", (4, 4), "flip")
    assert small.class_names == digits.class_names
    assert np.array_equal(small.test_labels, digits.test_labels)


# Validation images


def with_validation() -> tuple[Any, ...]:
    """Training, validation and test images with labels; every image is another."""
    images = random_images(30)
    parts = (images[:20], images[20:26], images[26:])
    return tuple(array for part in parts for array in (part, alternating(len(part))))


def test_validation_arrays() -> None:
    """Six arrays are the training, the validation and the test part, in this order."""
    source = with_validation()
    dataset = load_dataset(source)
    assert dataset.val_images is not None
    assert dataset.val_labels is not None
    assert np.array_equal(dataset.train_images, source[0])
    assert np.array_equal(dataset.val_images, source[2])
    assert np.array_equal(dataset.test_images, source[4])
    assert dataset.val_labels.tolist() == alternating(6).tolist()
    small = load_dataset(dataset, image_size=3)
    assert small.val_images is not None
    assert small.val_images.shape == (6, 3, 3, 3)


def test_fingerprint_of_validation() -> None:
    """Validation images have a fingerprint of their own and leave that of the rest as it was."""
    source = with_validation()
    without = load_dataset((*source[:2], *source[4:]))
    whole = load_dataset(source)
    assert whole.fingerprint == without.fingerprint
    assert without.val_fingerprint is None
    changed = load_dataset((*source[:3], source[3][::-1], *source[4:]))
    assert whole.val_fingerprint != changed.val_fingerprint
    assert whole.fingerprint == changed.fingerprint


def test_bad_validation_part() -> None:
    """A validation part must have the classes, the channels and the type of the training part."""
    train_images, train_labels, images, labels, *test = with_validation()
    for bad_images, bad_labels in ((images, labels + 1), (images[..., :1], labels), (images, None)):
        with pytest.raises(DatasetError, match="val"):
            load_dataset((train_images, train_labels, bad_images, bad_labels, *test))
    with pytest.raises(DatasetError, match="val images float64"):
        load_dataset((train_images, train_labels, images / 255, labels, *test))


# Bad input


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("cifar11", "did you mean cifar10"),
        ("fashon-mnist", "did you mean fashion-mnist"),
        ("no/such/folder", "there is no such path"),
        ("", "there is no such path"),
        ("x" * 5000, "there is no such path"),
        (Path("digits"), "a name is a text, not a Path; did you mean digits"),
        (Path("no/such/folder"), "svhn$"),
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
