"""Batches of training images: held on the device, or taken out of an array or a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_training import small_dataset
from torch import Tensor

from pymoo_nas.training._augmentation import draw_shifts, shift_and_flip
from pymoo_nas.training._batches import Batches, _copied, fits

CPU = torch.device("cpu")
CHOSEN = np.array([5, 0, 17, 5])


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_batches_are_normalised_as_the_data_set_does(kept: bool, channels: int, dtype: Any) -> None:
    """Wherever the images are, a batch is that of `normalized`, to the bit."""
    dataset = small_dataset(24, channels=channels, size=(8, 6), dtype=dtype)
    batches = Batches(dataset, CPU, kept=kept)
    found = batches.take(batches.places(CHOSEN))
    assert batches.kept == kept
    assert torch.equal(found, dataset.normalized(dataset.train_images[CHOSEN]))
    # A network that calls `view` needs one channel to be called contiguous.
    assert found.is_contiguous() == (channels == 1)
    assert found.is_contiguous(memory_format=torch.channels_last)


def augmented(batches: Batches, seed: int = 0) -> Tensor:
    shifts = draw_shifts(4, (8, 6), torch.Generator().manual_seed(seed))
    return batches.take(batches.places(CHOSEN), shifts)


@pytest.mark.parametrize("kept", [False, True])
def test_images_are_shifted_before_they_are_normalised(kept: bool) -> None:
    """Shifting stored pixels is the same as shifting normalised ones."""
    dataset = small_dataset(24, channels=3, size=(8, 6))
    shifts = draw_shifts(4, (8, 6), torch.Generator().manual_seed(0))
    normalised = dataset.normalized(dataset.train_images[CHOSEN]).permute(0, 2, 3, 1)
    expected = shift_and_flip(normalised.contiguous(), *shifts).permute(0, 3, 1, 2)
    found = augmented(Batches(dataset, CPU, kept=kept))
    assert torch.equal(found, expected)
    assert not torch.equal(found[0], found[3])  # one image, shifted in two ways


@pytest.mark.parametrize("kept", [False, True])
def test_images_may_lie_in_a_file(tmp_path: Path, kept: bool) -> None:
    """Images that are mapped from a file, read-only, give the batches of an array."""
    dataset = small_dataset(24, channels=3, size=(8, 6))
    np.save(tmp_path / "images.npy", dataset.train_images)
    mapped = replace(dataset, train_images=np.load(tmp_path / "images.npy", mmap_mode="r"))
    assert torch.equal(
        augmented(Batches(mapped, CPU, kept=kept)), augmented(Batches(dataset, CPU, kept=kept))
    )


@pytest.mark.parametrize("kept", [False, True])
def test_images_may_lie_in_any_order_in_memory(kept: bool) -> None:
    """A transposed view, as of arrays with the channels first, gives the batches of a copy."""
    dataset = small_dataset(24, channels=3, size=(8, 6))
    first = np.ascontiguousarray(dataset.train_images.transpose(0, 3, 1, 2))
    view = replace(dataset, train_images=first.transpose(0, 2, 3, 1))
    assert not view.train_images.flags.c_contiguous
    assert torch.equal(
        augmented(Batches(view, CPU, kept=kept)), augmented(Batches(dataset, CPU, kept=kept))
    )


@pytest.mark.parametrize("at_once", [1, 1000, 10**6])
def test_images_are_copied_in_pieces(at_once: int) -> None:
    """However few bytes are copied at once, all images arrive, in a tensor of their own."""
    images = small_dataset(24, channels=3).train_images
    copied = _copied(images, CPU, at_once)
    assert np.array_equal(copied.numpy(), images)
    assert not np.shares_memory(copied.numpy(), images)


def test_images_stay_where_they_are_on_the_cpu() -> None:
    """On the CPU nothing is copied, however few images there are."""
    assert not fits(1, CPU)
    assert not Batches(small_dataset(), CPU).kept


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_images_on_cuda() -> None:
    """Few images are kept on the card; kept or not, the batches are those of the CPU."""
    cuda, dataset = torch.device("cuda"), small_dataset(24, channels=3, size=(8, 6))
    assert Batches(dataset, cuda).kept
    assert not fits(10**15, cuda)
    expected = augmented(Batches(dataset, CPU))
    shifts = draw_shifts(4, (8, 6), torch.Generator().manual_seed(0)).to(cuda)
    for kept in (True, False):
        batches = Batches(dataset, cuda, kept=kept)
        found = batches.take(batches.places(CHOSEN), shifts)
        assert found.dtype == torch.float32
        assert torch.allclose(found.cpu(), expected, atol=1e-6)
