"""Division of a data set, and draws of as many images of each class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_images import alternating, random_images

from pymoo_nas.datasets import balanced_indices, split_validation
from pymoo_nas.errors import DatasetError
from pymoo_nas.fitted_images import fitted_and_held_out


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
