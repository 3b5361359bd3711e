"""The stem: its basis, its whitening, its two signs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pymoo_nas.datasets import load_dataset
from pymoo_nas.networks import PatchStem, count_parameters


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def coefficients(images: Tensor) -> Tensor:
    """The cosine transform of every pixel's 2×2 patch and its channels, by loops."""

    def wave(n: int, frequency: int, position: int) -> float:
        length = 1 / n if frequency == 0 else 2 / n
        return math.sqrt(length) * math.cos(math.pi * (position + 0.5) * frequency / n)

    n_images, n_channels, height, width = images.shape
    found = torch.zeros(n_images, n_channels, 2, 2, height, width)
    for channel, down, right in torch.cartesian_prod(*map(torch.arange, (n_channels, 2, 2))):
        for c, y, x in torch.cartesian_prod(*map(torch.arange, (n_channels, 2, 2))):
            waves = wave(n_channels, channel, c) * wave(2, down, y) * wave(2, right, x)
            for row in range(height):
                for column in range(width):
                    at = row + y - 1, column + x - 1
                    if min(at) >= 0:
                        found[:, channel, down, right, row, column] += (
                            waves * images[:, c, at[0], at[1]]
                        )
    return found.flatten(1, 3)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_stem_against_loops(channels: int) -> None:
    """Without statistics the output is the transform's positive part beside its negative part."""
    stem = PatchStem(channels).eval()
    images = noise(2, channels, 3, 4)
    output = stem(images)
    assert output.shape == (2, stem.out_channels, 3, 4) == (2, 8 * channels, 3, 4)
    assert output.min() >= 0
    positive, negative = output.chunk(2, dim=1)
    scale = math.sqrt(1 + stem.norm.eps)
    torch.testing.assert_close((positive - negative) * scale, coefficients(images))
    assert (positive * negative).max() == 0


def test_stem_of_colours() -> None:
    """The channels of a colour image become brightness, red against blue, green against both."""
    basis = PatchStem(3).basis[::4, :, 0, 0] * 2  # the mean of a patch divides by two
    root = [1 / math.sqrt(n) for n in (3, 2, 6)]
    expected = [[root[0]] * 3, [root[1], 0, -root[1]], [root[2], -2 * root[2], root[2]]]
    torch.testing.assert_close(basis, torch.tensor(expected), atol=1e-6, rtol=0)


def test_stem_whitens() -> None:
    """In training, neighbouring pixels that are alike become coefficients that are not."""
    dataset = load_dataset("digits")
    images = dataset.normalized(dataset.train_images[:500])
    inner = (slice(None), slice(None), slice(1, None), slice(1, None))
    patches = torch.nn.functional.unfold(images, 2).transpose(0, 1).flatten(1)
    positive, negative = PatchStem(1)(images).detach()[inner].chunk(2, dim=1)
    whitened = (positive - negative).transpose(0, 1).flatten(1)
    before, after = (torch.linalg.cond(torch.cov(x)) for x in (patches, whitened))
    assert before > 8 * after


def test_stem_has_nothing_to_train() -> None:
    """All of a stem is fixed but for the statistics; it takes double precision and meta tensors."""
    stem = PatchStem(3)
    assert count_parameters(stem) == 0
    assert {"basis", "norm.running_mean"} <= set(stem.state_dict())
    assert stem.double()(noise(2, 3, 4, 4).double()).dtype == torch.float64
    with torch.device("meta"):
        assert PatchStem(3)(torch.empty(1, 3, 8, 8)).shape == (1, 24, 8, 8)
