"""Cells and the networks made of them, against evaluations written out by hand."""

import math
import pickle
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from obvious_cells import evaluate
from torch import Tensor, nn

from pymoo_nas.errors import NetworkError
from pymoo_nas.networks import (
    CellNetwork,
    TournamentNetwork,
    check_size,
    concatenate,
    halve,
    halve_features,
    operation_table,
)
from pymoo_nas.networks._maps import out_channels
from pymoo_nas.spaces import Cell, Genotype

PAPER = operation_table()


pytestmark = pytest.mark.usefixtures("seeded_weights")


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Spy(nn.Module):
    """A cell that keeps what it was given and returns its number in every channel."""

    def __init__(self, in_channels: int, number: float, channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = channels
        self.number = number
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → (N, out_channels, H, W)."""
        assert x.shape[1] == self.in_channels
        self.seen.append(x)
        return torch.full((len(x), self.out_channels, *x.shape[2:]), self.number)


def spies(*channels: int) -> list[Any]:
    return [partial(Spy, number=float(i + 1), channels=c) for i, c in enumerate(channels)]


def spied(network: nn.Module) -> list[Spy]:
    return [module for module in network.modules() if isinstance(module, Spy)]


def test_networks_pickle() -> None:
    """A network made of cells travels by pickle and computes the same."""
    cells = [partial(Cell, Genotype.parse("5000|0001|0800"), PAPER)] * 2
    network = CellNetwork(cells, 3, 4).eval()
    images = random_images(2, 3, 9, 9)
    assert torch.equal(pickle.loads(pickle.dumps(network))(images), network(images))


# CellNetwork


@pytest.mark.parametrize(
    ("size", "maps"),
    [
        ((4, 4), [(4, 4)] * 4),
        ((5, 5), [(5, 5), (3, 3), (3, 3), (3, 3)]),
        ((8, 8), [(8, 8), (4, 4), (4, 4), (4, 4)]),
        ((32, 32), [(32, 32), (16, 16), (8, 8), (4, 4)]),
        ((9, 14), [(9, 14), (5, 7), (3, 4), (3, 4)]),
        ((4, 30), [(4, 30)] * 4),
    ],
)
def test_halving(size: tuple[int, int], maps: list[tuple[int, int]]) -> None:
    """Between cells the map is halved, rounded up, while both sides are larger than 4."""
    network = CellNetwork(spies(2, 3, 1, 5), in_channels=3, n_classes=7)
    assert network(random_images(2, 3, *size)).shape == (2, 7)
    assert [cell.seen[0].shape[2:] for cell in spied(network.cells)] == maps


def test_image_is_concatenated() -> None:
    """Every later cell is given the last cell's features and then the image, both halved."""
    network = CellNetwork(spies(2, 3, 1), in_channels=3, n_classes=7)
    images = random_images(2, 3, 12, 9)
    network(images)
    first, second, third = (cell.seen[0] for cell in spied(network.cells))
    assert torch.equal(first, images)
    assert second.shape[1] == 2 + 3
    assert torch.equal(second[:, :2], torch.ones(2, 2, 6, 5))
    halved = F.avg_pool2d(images, 2, ceil_mode=True)
    assert torch.equal(second[:, 2:], halved)
    assert third.shape[1] == 3 + 3
    assert torch.equal(third[:, 3:], F.avg_pool2d(halved, 2, ceil_mode=True))


def test_logits_are_of_pooled_features() -> None:
    """The logits are the linear layer of the last cell's mean over the map."""
    network = CellNetwork(spies(2, 3), in_channels=1, n_classes=4)
    expected = network.classifier(torch.full((2, 3), 2.0))
    torch.testing.assert_close(network(random_images(2, 1, 8, 8)), expected)


@settings(max_examples=20)
@given(
    size=st.tuples(st.integers(4, 19), st.integers(4, 19)),
    channels=st.integers(1, 6),
    n_classes=st.integers(1, 12),
    n_cells=st.integers(1, 4),
)
def test_any_size(size: tuple[int, int], channels: int, n_classes: int, n_cells: int) -> None:
    """Odd and non-square sizes, any number of channels, classes and cells: one logit per class."""
    cells = [partial(Cell, Genotype.parse("2010|0001|0200"), PAPER)] * n_cells
    logits = CellNetwork(cells, channels, n_classes)(random_images(2, channels, *size))
    assert logits.shape == (2, n_classes)
    assert bool(logits.isfinite().all())


@pytest.mark.parametrize("shape", [(2, 3, 3, 8), (2, 3, 8, 3), (2, 3, 1, 1), (3, 8, 8), (2, 64)])
def test_too_small_images(shape: tuple[int, ...]) -> None:
    """Images below 4 pixels, or of other dimensions, are refused with their shape and the cure."""
    message = r"too small for the network; expected \(N, C, H, W\).*image_size"
    cell = CellNetwork(spies(2), 3, 2)
    tournament = TournamentNetwork([[1.0]], lambda n, c: Spy(c, n, 2), 3, 2)
    for network in (cell, tournament):
        with pytest.raises(NetworkError, match=message):
            network(torch.zeros(shape))
    with pytest.raises(NetworkError, match=message):
        check_size(torch.zeros(shape))


def test_no_cells() -> None:
    """A network without cells is refused."""
    with pytest.raises(NetworkError, match="at least one"):
        CellNetwork([], 3, 2)


def test_cell_without_out_channels() -> None:
    """A cell that does not say its channels is refused by name."""
    with pytest.raises(NetworkError, match="cell Identity: out_channels is None"):
        out_channels(nn.Identity())


@pytest.mark.parametrize("size", [(4, 4), (8, 8), (13, 10), (32, 32)])
def test_reducing_cells_follow_each_other(size: tuple[int, int]) -> None:
    """Each cell that reduces sees maps half as large as the one before it, and the image with."""
    genotype = Genotype.parse("4000|0000|0040")
    cells = [partial(Cell, genotype, PAPER, reduces=True)] * 3
    network = CellNetwork(cells, 3, 5).eval()
    seen: list[Tensor] = []
    for cell in network.cells:
        cell.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    images = random_images(2, 3, *size)
    assert network(images).shape == (2, 5)
    expected, x = images, images
    for index, (cell, found) in enumerate(zip(network.cells, seen, strict=True)):
        assert isinstance(cell, Cell)
        if index:
            expected = halve(expected)
            assert torch.equal(found, torch.cat([x, expected], dim=1))
        x = evaluate(cell, genotype, list(PAPER), found, reduces=True)


@pytest.mark.parametrize(
    ("halved_by", "pooled"), [(halve, torch.mean), (halve_features, torch.amax)]
)
def test_halving_against_loop(halved_by: Any, pooled: Any) -> None:
    """Of the pixels in every 2×2 window images keep the mean and features the largest."""
    images = random_images(1, 1, 7, 6)
    halved = halved_by(images)
    assert halved.shape == (1, 1, 4, 3)
    for row in range(4):
        for column in range(3):
            window = images[0, 0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            torch.testing.assert_close(halved[0, 0, row, column], pooled(window, dim=(0, 1)))


# TournamentNetwork


def tournament(noise: float = 0.0, sizes: tuple[int, ...] = (2, 3, 1)) -> TournamentNetwork:
    texts = iter(["2000", "0300", "1010", "0001|0020|4000", "0002", "1000"])
    slots = [[Genotype.parse(next(texts)) for _ in range(size)] for size in sizes]
    return TournamentNetwork(slots, lambda g, c: Cell(g, PAPER, c), 3, 5, noise=noise)


def evaluate_tournament(network: TournamentNetwork, images: Tensor) -> Tensor:
    """Fig. 2 the obvious way, in eval mode: shares computed one exponential at a time."""
    x = images
    for depth, slot in enumerate(network.slots):
        if depth:
            x, images = halve_features(x), halve(images)
            x = torch.cat([x, images], dim=1)
        assert isinstance(slot, nn.ModuleList)
        exponentials = [math.exp(alpha) for alpha in network.alphas[depth].tolist()]
        parts = [
            cell(x) * (e / sum(exponentials)) for cell, e in zip(slot, exponentials, strict=True)
        ]
        x = network.projections[depth](torch.cat(parts, dim=1))
    logits: Tensor = network.classifier(x.mean((2, 3)))
    return logits


@pytest.mark.parametrize("size", [(4, 4), (8, 8), (13, 10)])
def test_tournament_against_obvious(size: tuple[int, int]) -> None:
    """A slot's output is the concatenation of its cells, each times the softmax of its alpha."""
    network = tournament().eval()
    with torch.no_grad():
        for alpha in network.alphas:
            alpha.copy_(random_images(len(alpha), seed=3))
    images = random_images(2, 3, *size)
    assert network(images).shape == (2, 5)
    torch.testing.assert_close(network(images), evaluate_tournament(network, images))


def test_zero_alphas_share_equally() -> None:
    """In the beginning every contender of a slot has the same share."""
    numbers = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0]]
    network = TournamentNetwork(numbers, lambda n, c: Spy(c, n, 2), 3, 5)
    given_to_projection: list[Tensor] = []
    for projection in network.projections:
        projection.register_forward_pre_hook(lambda _, x: given_to_projection.append(x[0]))
    network(random_images(2, 3, 8, 8))
    for seen, slot in zip(given_to_projection, numbers, strict=True):
        expected = torch.tensor(slot).repeat_interleave(2) / len(slot)
        torch.testing.assert_close(seen[0, :, 0, 0], expected)


def test_projection_width() -> None:
    """Each slot passes on the mean width of its contenders, rounded up, beside the image."""
    widths = [[2, 3], [5], [1, 1, 5]]
    network = TournamentNetwork(widths, lambda w, c: Spy(c, 1.0, w), 3, 5)
    images = random_images(2, 3, 8, 8)
    network(images)
    seen = [cell.in_channels for cell in spied(network.slots)]
    assert seen == [3, 3, 3 + 3, 3 + 5, 3 + 5, 3 + 5]
    assert network.classifier.in_features == 3


def test_alphas_and_weights_partition_the_parameters() -> None:
    """Every parameter is an alpha or a weight, none is both, and alphas start at zero."""
    network = tournament()
    alphas, weights = list(network.alphas.parameters()), network.weights()
    assert [tuple(alpha.shape) for alpha in alphas] == [(2,), (3,), (1,)]
    assert all(not alpha.any() for alpha in alphas)
    identities = [id(parameter) for parameter in (*alphas, *weights)]
    assert len(identities) == len(set(identities))
    assert set(identities) == {id(parameter) for parameter in network.parameters()}


def test_every_parameter_learns() -> None:
    """The loss has a gradient at every weight and, in slots with rivals, at every alpha."""
    network = tournament()
    F.cross_entropy(network(random_images(8, 3, 8, 8)), torch.arange(8) % 5).backward()
    assert all(weight.grad is not None for weight in network.weights())
    assert all(bool(alpha.grad.any()) for alpha in network.alphas if len(alpha) > 1)


def test_noise_only_in_training() -> None:
    """Noise makes two training passes differ; evaluation has none, and noise 0 has none at all."""
    images = random_images(4, 3, 8, 8)
    noisy = tournament(noise=0.5)
    noisy.train()
    assert not torch.equal(noisy(images), noisy(images))
    noisy.eval()
    assert torch.equal(noisy(images), noisy(images))
    torch.testing.assert_close(noisy(images), evaluate_tournament(noisy, images))
    silent = tournament().train()
    assert torch.equal(silent(images), silent(images))


def test_noise_has_the_given_deviation() -> None:
    """The noise added to a slot's output is Gaussian of the given standard deviation."""
    network = TournamentNetwork([[0.0]], lambda n, c: Spy(c, n, 4), 3, 5, noise=0.3)
    seen: list[Tensor] = []
    network.projections[0].register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    with torch.no_grad():
        network(random_images(64, 3, 16, 16))
    # 65,536 draws: the standard deviation of the estimate is 0.3 / sqrt(2 n), under 0.001.
    assert float(seen[0].std()) == pytest.approx(0.3, abs=0.005)
    assert float(seen[0].mean()) == pytest.approx(0.0, abs=0.006)


@pytest.mark.parametrize("slots", [[], [[]], [[1.0], []]])
def test_slot_without_contenders(slots: list[list[float]]) -> None:
    """A tournament without slots, or with an empty one, is refused."""
    with pytest.raises(NetworkError, match="without contenders"):
        TournamentNetwork(slots, lambda n, c: Spy(c, n, 4), 3, 5)


def test_gradients_of_concatenated_parts_are_dense() -> None:
    """The parts of a concatenation get their gradients in one piece, in their memory format."""
    for memory_format in (torch.contiguous_format, torch.channels_last):
        parts = [
            torch.randn(2, channels, 4, 4).contiguous(memory_format=memory_format)
            for channels in (8, 16)
        ]
        passed = [part.requires_grad_(True) * 1 for part in parts]
        weights = torch.randn(2, 24, 4, 4).contiguous(memory_format=memory_format)
        joined = concatenate(passed)
        seen: list[torch.Tensor] = []
        for part in passed:  # after the hooks of the function itself
            part.register_hook(seen.append)
        (joined * weights).sum().backward()
        expected = weights.split((8, 16), 1)
        for gradient in seen:
            assert any(torch.equal(gradient, part) for part in expected)
            assert gradient.is_contiguous(memory_format=memory_format)
        assert len(seen) == 2
