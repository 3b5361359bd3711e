"""Flips and shifted crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pymoo_nas.training._augmentation import augment_images, crop_margin, shift_and_flip


def images_of(n: int, channels: int, height: int, width: int) -> Tensor:
    count = n * channels * height * width
    return torch.arange(count, dtype=torch.float32).reshape(n, channels, height, width)


sizes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))


@given(shape=sizes)
def test_flip_is_its_own_inverse(shape: tuple[int, int, int, int]) -> None:
    """Flipping all images twice gives them back, and once mirrors every row."""
    images = images_of(*shape)
    still, flip = torch.zeros(shape[0], dtype=torch.long), torch.ones(shape[0], dtype=torch.bool)
    flipped = shift_and_flip(images, still, still, flip)
    assert torch.equal(flipped, images.flip(3))
    assert torch.equal(shift_and_flip(flipped, still, still, flip), images)


@given(shape=sizes, data=st.data())
def test_shift_equals_crop_of_padded_image(
    shape: tuple[int, int, int, int], data: st.DataObject
) -> None:
    """Each image equals a crop of itself with reflected borders, mirrored where it is flipped."""
    n, _, height, width = shape
    images = images_of(*shape)

    def numbers(low: int, high: int) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=n, max_size=n))

    down, right = numbers(1 - height, height - 1), numbers(1 - width, width - 1)
    flip = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    result = shift_and_flip(
        images, torch.tensor(down), torch.tensor(right), torch.tensor(flip, dtype=torch.bool)
    )
    assert result.shape == images.shape
    for index in range(n):
        beyond = ((0, 0), (height - 1, height - 1), (width - 1, width - 1))
        padded = np.pad(images[index].numpy(), beyond, mode="reflect")
        top, left = height - 1 + down[index], width - 1 + right[index]
        expected = padded[:, top : top + height, left : left + width]
        if flip[index]:
            expected = expected[:, :, ::-1]
        assert np.array_equal(result[index].numpy(), expected)


def test_shift_and_flip_by_hand() -> None:
    """One image of 2x3 pixels, shifted down by one, right by one, and then mirrored."""
    image = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    one = torch.tensor([1])
    # Row 1, then row 2, which the border at row 1 mirrors to row 0; columns 1, 2, and 3 → 1.
    shifted = [[5.0, 6.0, 5.0], [2.0, 3.0, 2.0]]
    assert shift_and_flip(image, one, one, torch.tensor([False])).tolist() == [[shifted]]
    # One to the left: columns -1 → 1, 0, 1, and mirrored 1, 0, 1; the rows as they are.
    still = torch.tensor([0])
    mirrored = shift_and_flip(image, still, -one, torch.tensor([True])).tolist()
    assert mirrored == [[[[2.0, 1.0, 2.0], [5.0, 4.0, 5.0]]]]


@pytest.mark.parametrize(("size", "margin"), [(1, 0), (2, 1), (8, 1), (28, 3), (32, 4), (224, 28)])
def test_crop_margin_scales_with_the_size(size: int, margin: int) -> None:
    """The margin is 4 pixels at 32, an eighth elsewhere, and what a reflection allows."""
    assert crop_margin(size) == margin


def test_augmentation_reaches_all_shifts_and_both_flips() -> None:
    """Over many copies every shift in both directions and both flips occur about equally often."""
    image = images_of(1, 1, 8, 16)
    copies = image.expand(6000, -1, -1, -1)
    augmented = augment_images(copies, torch.Generator().manual_seed(0))
    counts = {
        (down, right, flip): 0
        for down in (-1, 0, 1) for right in (-2, -1, 0, 1, 2) for flip in (False, True)
    }  # fmt: skip
    for down, right, flip in counts:
        expected = shift_and_flip(
            image, torch.tensor([down]), torch.tensor([right]), torch.tensor([flip])
        )
        counts[down, right, flip] = int((augmented == expected).all((1, 2, 3)).sum())
    assert sum(counts.values()) == 6000
    # Binomial with mean 200 and standard deviation 14: five of them.
    assert all(130 < count < 270 for count in counts.values())


@settings(max_examples=20)
@given(shape=sizes, seed=st.integers(0, 100))
def test_augmentation_follows_its_generator(shape: tuple[int, int, int, int], seed: int) -> None:
    """Equal generators give equal images, of the shape that came in, without the global one."""
    images = images_of(*shape)
    before = torch.get_rng_state()
    one, other = (augment_images(images, torch.Generator().manual_seed(seed)) for _ in range(2))
    assert one.shape == images.shape
    assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)
