"""Images that cannot judge a training: warnings before it begins."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small_training import small_dataset, small_network

from pymoo_nas.training import train
from pymoo_nas.training._image_warnings import found_in, warn_of_shared, warn_of_unjudged

few_pixels = arrays(np.uint8, (4, 3, 2, 1), elements=st.integers(0, 1))


def warnings_of(function: Callable[..., Any], *args: Any, **kwargs: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*args, **kwargs)
    return [str(warning.message) for warning in caught]


@given(few_pixels, few_pixels)
def test_shared_images_are_those_of_the_loop(some: np.ndarray, others: np.ndarray) -> None:
    """Also where only the middle rows are equal."""
    expected = [any(np.array_equal(one, other) for other in others) for one in some]
    assert found_in(some, others).tolist() == expected


def test_shared_images_are_told() -> None:
    """Of the test and of the validation part; one of a hundred is not worth a word."""
    dataset = small_dataset(90, n_test=100)
    assert not warnings_of(warn_of_shared, dataset)
    images = dataset.test_images.copy()
    images[0] = dataset.train_images[7]
    assert not warnings_of(warn_of_shared, replace(dataset, test_images=images))
    images[50] = dataset.train_images[0]
    [told] = warnings_of(warn_of_shared, replace(dataset, test_images=images))
    assert told.startswith("2 of 100 test images")
    validation = {"val_images": dataset.train_images[:9], "val_labels": dataset.train_labels[:9]}
    [told] = warnings_of(warn_of_shared, replace(dataset, **validation))
    assert told.startswith("9 of 9 validation images")


def test_a_class_that_is_not_judged_is_told() -> None:
    """By its name; no images that judge, or all classes among them, give no warning."""
    dataset = small_dataset(9)
    with pytest.warns(UserWarning, match=f"none of 1 of 3 classes: {dataset.class_names[2]}"):
        warn_of_unjudged(dataset, np.arange(9), np.array([0, 1, 1]))
    warn_of_unjudged(dataset, np.arange(9), np.array([], dtype=np.int64))
    warn_of_unjudged(dataset, np.arange(9), np.array([2, 0, 1]))
    warn_of_unjudged(dataset, np.flatnonzero(dataset.train_labels < 2), np.array([0, 1]))


def test_a_training_tells_both_before_it_begins() -> None:
    """A class of one image is trained on, and judged by nothing."""
    dataset = small_dataset(33)
    kept = np.flatnonzero((dataset.train_labels < 2) | (np.arange(33) == 2))
    some = replace(
        dataset,
        train_images=dataset.train_images[kept],
        train_labels=dataset.train_labels[kept],
        test_images=dataset.train_images[kept],
        test_labels=dataset.train_labels[kept],
    )
    told = warnings_of(train, small_network(), some, epochs=1)
    assert any("test images are training images too" in text for text in told)
    assert any("hold none of 1 of 3 classes" in text for text in told)
