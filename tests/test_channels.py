"""Arrays of images: where their channels are, and whether their parts are on one scale."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_images import alternating, random_images

from pymoo_nas.datasets import channels_last, load_dataset
from pymoo_nas.errors import DatasetError


def shaped(*shape: int) -> Any:
    """Twenty images whose array has such axes."""
    return np.random.default_rng(0).integers(0, 256, (20, *shape), dtype=np.uint8)


@pytest.mark.parametrize(
    "images",
    [
        shaped(3, 16, 16),
        shaped(4, 12, 12),
        shaped(12, 8, 8),
        shaped(2, 5, 5),
        shaped(8, 8, 8),
        shaped(3, 20, 16),
        shaped(4, 12, 20),
        shaped(6, 30, 20),
        shaped(6, 5, 7),
        shaped(12, 64, 12),
        torch.from_numpy(shaped(16, 16, 3)),
        torch.from_numpy(shaped(12, 12, 4)),
        torch.from_numpy(shaped(20, 20, 8)),
        torch.from_numpy(shaped(20, 16, 3)),
        torch.from_numpy(shaped(20, 16, 1)),
    ],
)
def test_channels_in_doubt(images: Any) -> None:
    """Axes that tell against the usual place of the channels are refused, until it is given."""
    with pytest.raises(DatasetError, match=r"say which: load_dataset\(.*channels='first'"):
        load_dataset((images, alternating()))
    one, two, three = images.shape[1:]
    first = load_dataset((images, alternating()), channels="first")
    assert (first.image_size, first.in_channels) == ((two, three), one)
    last = load_dataset((images, alternating()), channels="last")
    assert (last.image_size, last.in_channels) == ((one, two), three)
    assert load_dataset(last, image_size=5).in_channels == three
    trained = channels_last(np.asarray(last.train_images), "images", n_channels=three)
    assert np.array_equal(trained, last.train_images)


@pytest.mark.parametrize(
    ("images", "size", "n_channels"),
    [
        (shaped(12, 12, 4), (12, 12), 4),
        (shaped(9, 9, 40), (9, 9), 40),
        (shaped(20, 16, 5), (20, 16), 5),
        (shaped(4, 128, 3), (4, 128), 3),
        (shaped(1, 128, 1), (1, 128), 1),
        (shaped(16, 16, 1), (16, 16), 1),
        (torch.from_numpy(shaped(4, 12, 12)), (12, 12), 4),
        (torch.from_numpy(shaped(40, 9, 9)), (9, 9), 40),
        (torch.from_numpy(shaped(8, 8, 8)), (8, 8), 8),
        (torch.from_numpy(shaped(20, 6, 8)), (6, 8), 20),
        (torch.from_numpy(shaped(1, 1, 128)), (1, 128), 1),
    ],
)
def test_usual_place_of_the_channels(images: Any, size: tuple[int, int], n_channels: int) -> None:
    """Channels are last in numpy arrays and first in torch tensors, with any number of them."""
    dataset = load_dataset((images, alternating()))
    assert (dataset.image_size, dataset.in_channels) == (size, n_channels)


def test_given_place_of_the_channels(tmp_path: Path) -> None:
    """The place is given for arrays and .npz files, in two words; for others it is refused."""
    np.savez(tmp_path / "x.npz", train_images=shaped(4, 12, 12), train_labels=alternating())
    with pytest.raises(DatasetError, match="say which"):
        load_dataset(tmp_path / "x.npz")
    assert load_dataset(tmp_path / "x.npz", channels="first").in_channels == 4
    with pytest.raises(DatasetError, match="channels='front'"):
        load_dataset(tmp_path / "x.npz", channels="front")
    with pytest.raises(DatasetError, match="leave it out"):
        load_dataset(load_dataset("digits"), image_size=4, channels="first")


@pytest.mark.parametrize(
    ("train", "test", "warned"),
    [
        (random_images() / 255, random_images().astype(float), True),
        (random_images().astype(float), random_images() / 255, True),
        (random_images(), random_images() // 255, True),
        (random_images() / 255, random_images() / 255 * 3, False),
        (random_images(), random_images() // 8, False),
    ],
)
def test_parts_on_different_scales(train: Any, test: Any, warned: bool) -> None:
    """Parts of which one goes to 1 and the other to 255 are told, with both figures."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_dataset((train, alternating(), test, alternating()))
    assert [w.filename for w in caught] == [__file__] * warned
    assert all(f"{train.max():g}" in str(w.message) for w in caught)
