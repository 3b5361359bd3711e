"""Division of a data set, and draws of as many images of each class."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_images import alternating, random_images

from pymoo_nas.datasets import Dataset, balanced_indices, load_dataset, split_validation
from pymoo_nas.errors import DatasetError
from pymoo_nas.scores import Probe, draw_probe
from pymoo_nas.training._fitted_images import fitted_and_held_out


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
    """A draw is of distinct images, as even over the classes as these allow, and repeatable."""
    seed = data.draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    # Duplicates within a class: its label is part of the value.
    values = labels * 100 + rng.integers(0, n_values, len(labels))
    images = values.astype(np.float32)[:, None, None, None]
    n = data.draw(st.integers(1, len(labels) + 5))
    distinct = [len(np.unique(values[labels == label])) for label in range(len(counts))]
    drawn = balanced_indices(images, labels, n, np.random.default_rng(seed))
    assert drawn.shape == (min(n, sum(distinct)),)
    assert len(np.unique(values[drawn])) == len(drawn)
    per_class = np.bincount(labels[drawn], minlength=len(counts))
    # As water fills vessels: no class that has more left gives two fewer than another.
    for given_by, there in zip(per_class, distinct, strict=True):
        assert given_by == there or given_by >= per_class.max() - 1
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
    """A class with fewer distinct images than the others gives all it has, the others the rest."""
    images = random_images(8)
    labels = np.array([0] * 5 + [1] * 3)
    images[6] = images[5]
    drawn = balanced_indices(images, labels, 6, np.random.default_rng(0))
    assert np.bincount(labels[drawn]).tolist() == [4, 2]
    everything = balanced_indices(images, labels, 100, np.random.default_rng(0))
    assert np.bincount(labels[everything]).tolist() == [5, 2]
    most = balanced_indices(images, labels, 2**53, np.random.default_rng(0))
    assert most.tolist() == everything.tolist()


@pytest.mark.parametrize("n", [0, -1])
def test_bad_number_of_images(n: int) -> None:
    """No images cannot be drawn."""
    with pytest.raises(DatasetError, match=f"draw of {n} from 20 images"):
        balanced_indices(random_images(), alternating(), n, np.random.default_rng(0))


def probe_of(counts: Sequence[int], n: int, copies: int = 1) -> tuple[Probe, str]:
    """The probe of n images from classes of so many, and the warning that comes with it."""
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.repeat(random_images(len(labels) // copies), copies, axis=0)
    names = tuple("abcdefgh"[: len(counts)])
    dataset = Dataset("few", images, labels, images[:1], labels[:1], names, False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        probe = draw_probe(dataset, n)
    assert all(warning.filename == __file__ for warning in caught)
    return probe, " ".join(str(warning.message) for warning in caught)


@pytest.mark.parametrize(
    ("counts", "n", "size", "said"),
    [
        ((20, 20), 16, 16, ""),
        ((200, 5, 200), 64, 64, "'b' 5 (of 5 training and 0 test images)"),
        ((40, 1, 40), 30, 30, "'b' 1 (of 1 training and 0 test images)"),
        ((30, 1, 2, 30), 40, 40, "'b' 1 (of 1 training and 0 test images), 'c' 2"),
        ((3, 1), 2, 2, ""),
        ((10, 10), 21, 20, "21 images asked for (--images, n_images)"),
        ((1, 1), 64, 2, "scored on 2, all distinct"),
    ],
)
def test_scarce_classes(counts: Sequence[int], n: int, size: int, said: str) -> None:
    """A probe takes of scarce classes what they have, and tells which and how many."""
    probe, warning = probe_of(counts, n)
    assert len(probe.images) == size
    assert not probe.reason
    assert said in warning
    assert bool(said) == bool(warning)


def test_a_class_of_two_is_told_so() -> None:
    """Of a class of two images one is for the test: the warning counts both."""
    labels = np.array([0] * 40 + [1] * 2)
    dataset = load_dataset((random_images(42), labels))
    with pytest.warns(UserWarning, match=r"'1' 1 \(of 1 training and 1 test images\)"):
        assert len(draw_probe(dataset, 16).images) == 16


def test_equal_images_make_no_probe() -> None:
    """Where all training images are equal, the error names options that there are."""
    with pytest.raises(DatasetError, match=r"are equal.*--images, n_images"):
        probe_of((5, 5), 8, copies=10)


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


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    fraction=st.floats(0, 0.99),
    seed=st.integers(0, 10),
)
def test_split_is_stratified(labels: list[int], fraction: float, seed: int) -> None:
    """Both parts make up the whole, and every class gives its share within the stated limits."""
    array = np.array(labels, dtype=np.int64)
    fitted, held_out = fitted_and_held_out(array, fraction, seed)
    assert sorted([*fitted, *held_out]) == list(range(len(labels)))
    for label in set(labels):
        n = labels.count(label)
        n_held = int((array[held_out] == label).sum())
        if fraction == 0 or n == 1:
            assert n_held == 0
        else:
            assert 1 <= n_held <= n - 1
            assert abs(n_held - fraction * n) <= max(0.5, 1 - fraction * n, fraction * n - (n - 1))


def test_split_follows_the_seed() -> None:
    """Equal seeds hold out the same images, other seeds others."""
    labels = np.arange(200, dtype=np.int64) % 4
    parts = [fitted_and_held_out(labels, 0.2, seed)[1].tolist() for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]
    assert len(parts[0]) == 40
