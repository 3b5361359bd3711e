"""Flips, shifted crops, and squares cut out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pymoo_nas.training._augmentation import (
    crop_margin,
    cut_out,
    draw_centres,
    draw_epoch,
    draw_shifts,
    shift_and_flip,
)


def images_of(n: int, height: int, width: int, channels: int) -> Tensor:
    count = n * height * width * channels
    return torch.arange(count, dtype=torch.float32).reshape(n, height, width, channels)


sizes = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(1, 3))


@given(shape=sizes)
def test_flip_is_its_own_inverse(shape: tuple[int, int, int, int]) -> None:
    """Flipping all images twice gives them back, and once mirrors every row."""
    images = images_of(*shape)
    still, flip = torch.zeros(shape[0], dtype=torch.long), torch.ones(shape[0], dtype=torch.bool)
    flipped = shift_and_flip(images, still, still, flip)
    assert torch.equal(flipped, images.flip(2))
    assert torch.equal(shift_and_flip(flipped, still, still, flip), images)


@given(shape=sizes, data=st.data())
def test_shift_equals_crop_of_padded_image(
    shape: tuple[int, int, int, int], data: st.DataObject
) -> None:
    """Each image equals a crop of itself with reflected borders, mirrored where it is flipped."""
    n, height, width, _ = shape
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
        beyond = ((height - 1, height - 1), (width - 1, width - 1), (0, 0))
        padded = np.pad(images[index].numpy(), beyond, mode="reflect")
        top, left = height - 1 + down[index], width - 1 + right[index]
        expected = padded[top : top + height, left : left + width]
        if flip[index]:
            expected = expected[:, ::-1]
        assert np.array_equal(result[index].numpy(), expected)


def test_shift_and_flip_by_hand() -> None:
    """One image of 2x3 pixels, shifted down by one, right by one, and then mirrored."""
    image = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).view(1, 2, 3, 1)
    one = torch.tensor([1])
    # Row 1, then row 2, which the border at row 1 mirrors to row 0; columns 1, 2, and 3 → 1.
    shifted = [[5.0, 6.0, 5.0], [2.0, 3.0, 2.0]]
    found = shift_and_flip(image, one, one, torch.tensor([False]))
    assert found[0, :, :, 0].tolist() == shifted
    # One to the left: columns -1 → 1, 0, 1, and mirrored 1, 0, 1; the rows as they are.
    still = torch.tensor([0])
    mirrored = shift_and_flip(image, still, -one, torch.tensor([True]))
    assert mirrored[0, :, :, 0].tolist() == [[2.0, 1.0, 2.0], [5.0, 4.0, 5.0]]


def test_chosen_images_are_shifted_as_a_copy_of_them() -> None:
    """Images taken by their places, one of them twice, are those of a copy of just these."""
    images, places = images_of(5, 6, 4, 3), torch.tensor([4, 0, 4])
    shifts = torch.tensor([[1, -2, 0], [3, 0, -1], [1, 0, 1]])
    found = shift_and_flip(images, *shifts, places)
    assert torch.equal(found, shift_and_flip(images[places], *shifts))
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize(("size", "margin"), [(1, 0), (2, 1), (8, 1), (28, 3), (32, 4), (224, 28)])
def test_crop_margin_scales_with_the_size(size: int, margin: int) -> None:
    """The margin is 4 pixels at 32, an eighth elsewhere, and what a reflection allows."""
    assert crop_margin(size) == margin


def test_augmentation_reaches_all_shifts_and_both_flips() -> None:
    """Over many copies every shift in both directions and both flips occur about equally often."""
    image = images_of(1, 8, 16, 1)
    shifts = draw_shifts(6000, (8, 16), torch.Generator().manual_seed(0))
    augmented = shift_and_flip(image, *shifts, torch.zeros(6000, dtype=torch.long))
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
@given(shape=sizes, seed=st.integers(0, 100), flip=st.booleans())
def test_shifts_follow_their_generator(
    shape: tuple[int, int, int, int], seed: int, flip: bool
) -> None:
    """Equal generators draw equal shifts within the margins, without the global generator."""
    n, *size, _ = shape
    before = torch.get_rng_state()
    one, other = (
        draw_shifts(n, (size[0], size[1]), torch.Generator().manual_seed(seed), flip=flip)
        for _ in range(2)
    )
    assert one.shape == (3, n)
    assert torch.equal(one, other)
    largest = torch.tensor([crop_margin(size[0]), crop_margin(size[1]), int(flip)])
    assert (one.abs() <= largest[:, None]).all()
    assert torch.equal(torch.get_rng_state(), before)


@given(shape=sizes, side=st.integers(1, 12), last=st.booleans(), data=st.data())
def test_cut_out_is_a_square_of_zeros(
    shape: tuple[int, int, int, int], side: int, last: bool, data: st.DataObject
) -> None:
    """Pixels of the square are zero and all others as they were, in either order of memory."""
    n, height, width, channels = shape
    images = 1.0 + images_of(n, channels, height, width)
    memory = torch.channels_last if last else torch.contiguous_format
    row, column = (
        data.draw(st.lists(st.integers(0, size - 1), min_size=n, max_size=n))
        for size in (height, width)
    )
    found = images.clone().contiguous(memory_format=memory)
    assert cut_out(found, torch.tensor([row, column]), side) is found
    for index in range(n):
        top, left = row[index] - side // 2, column[index] - side // 2
        for y in range(height):
            for x in range(width):
                inside = top <= y < top + side and left <= x < left + side
                expected = torch.zeros(channels) if inside else images[index, :, y, x]
                assert torch.equal(found[index, :, y, x], expected)


def test_cut_out_by_hand() -> None:
    """A square of two pixels at (1, 2) of 3×4, and one that a corner cuts to one pixel."""
    images = torch.ones(2, 1, 3, 4)
    cut_out(images, torch.tensor([[1, 0], [2, 0]]), 2)
    assert images[0, 0].tolist() == [[1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    assert images[1, 0].tolist() == [[0, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]


def test_every_pixel_is_a_centre_equally_often() -> None:
    """Over many images each of the pixels is drawn about equally often."""
    rows, columns = draw_centres(6000, (3, 4), torch.Generator().manual_seed(0))
    counts = torch.bincount(4 * rows + columns, minlength=12)
    # Binomial with mean 500 and standard deviation 21: five of them.
    assert len(counts) == 12
    assert all(395 < count < 605 for count in counts.tolist())


@pytest.mark.parametrize("augment", ["none", "shift", "flip"])
@pytest.mark.parametrize("cutout", [False, True])
def test_an_epoch_draws_what_is_asked_for(augment: str, cutout: bool) -> None:
    """What is not asked for is not drawn, and leaves the generator to the rest."""
    one, other = (torch.Generator().manual_seed(3) for _ in range(2))
    shifts, centres = draw_epoch([3, 2], (8, 6), one, augment=augment, cutout=cutout)
    assert (shifts is None, centres is None) == (augment == "none", not cutout)
    for start, n_images in ((0, 3), (3, 2)):
        part = slice(start, start + n_images)
        if shifts is not None:
            expected = draw_shifts(n_images, (8, 6), other, flip=augment == "flip")
            assert torch.equal(shifts[:, part], expected)
        if centres is not None:
            assert torch.equal(centres[:, part], draw_centres(n_images, (8, 6), other))
    assert torch.equal(one.get_state(), other.get_state())
