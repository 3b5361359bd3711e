"""Later forms of the three scores: entropies of spectra, and participation at the ReLUs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pymoo.optimize import minimize
from scored_networks import around, built, images_of
from torch import Tensor, nn

from pymoo_nas import EvolutiveNAS, NASProblem, score
from pymoo_nas.scores import LATER_OBJECTIVES
from pymoo_nas.scores._participation import participation_ratio
from pymoo_nas.scores._spectra import correlation_entropy_score, decile_entropy, ntk_entropy_score

IMAGES = images_of(6, 3, 6)


def spectrum(eigenvalues: list[float], seed: int = 0) -> Any:
    """A symmetric matrix with these eigenvalues."""
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues),) * 2))[0]
    return basis @ np.diag(eigenvalues) @ basis.T


def test_entropy_by_hand() -> None:
    """Eigenvalues 0, 1, …, 10 have the deciles 1 to 9, which sum to 45."""
    shares = [value / 45 for value in range(1, 10)]
    expected = -sum(share * math.log(share) for share in shares)
    assert decile_entropy(spectrum([*range(11)])) == pytest.approx(expected)


def test_entropy_of_little() -> None:
    """It is 0 where one direction, or none, has a share; and log 9 where all are alike."""
    assert decile_entropy(np.ones((40, 40))) == pytest.approx(0.0)
    assert decile_entropy(np.zeros((3, 3))) == 0.0
    assert decile_entropy(np.eye(2)) == pytest.approx(math.log(9))


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_entropy_is_the_same_for_scaled_and_shuffled_images(seed: int, scale: float) -> None:
    """Neither the length of gradients nor the order of images counts."""
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(7, 20))
    lengths = rng.uniform(0.1, 10, size=(7, 1))
    order = rng.permutation(7)
    other = scale * (lengths * gradients)[order]
    kernels = [rows @ rows.T for rows in (gradients, other)]
    found = [ntk_entropy_score(kernel).value for kernel in kernels]
    assert found[0] == pytest.approx(found[1])
    found = [correlation_entropy_score(rows).value for rows in (gradients, other)]
    assert found[0] == pytest.approx(found[1])


def test_entropy_of_gradients_is_that_of_their_correlation() -> None:
    """The matrix is numpy's, row by row."""
    gradients = np.random.default_rng(1).normal(size=(6, 30))
    expected = -decile_entropy(np.corrcoef(gradients))
    assert correlation_entropy_score(gradients).value == pytest.approx(expected)


@pytest.mark.parametrize(
    "gradients",
    [np.zeros((3, 4)), np.full((3, 4), np.nan), np.ones((3, 4)), np.eye(3, 4) * [[1], [1], [0]]],
    ids=["zero", "NaN", "constant", "one image without"],
)
def test_degenerate_gradients_lose(gradients: Any) -> None:
    """There is a reason, and a value that is worse than that of any spectrum."""
    with np.errstate(invalid="ignore"):
        found = correlation_entropy_score(gradients)
    assert found.reason
    assert found.value == 1.0
    if not np.all(gradients == 1):
        found = ntk_entropy_score(gradients @ gradients.T)
        assert found.reason
        assert found.value == 1.0


def test_participation_by_hand() -> None:
    """Two images that do not correlate are two directions; that are opposite, one."""
    assert participation_ratio(torch.tensor([[1.0, -1, 0, 0], [0, 0, 1, -1]])) == 2.0
    assert participation_ratio(torch.tensor([[1.0, -1], [-3.0, 3]])) == pytest.approx(1.0)
    assert participation_ratio(torch.ones(3, 4)) == 0.0


@given(st.integers(2, 9), st.integers(2, 30), st.integers(0, 1000))
def test_participation_is_that_of_the_eigenvalues(n: int, width: int, seed: int) -> None:
    """The traces are sums over the eigenvalues of numpy's correlation matrix."""
    rows = np.random.default_rng(seed).normal(size=(n, width))
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(rows))
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert participation_ratio(torch.from_numpy(rows)) == pytest.approx(expected)


class Functional(nn.Module):
    """The network of `in_turn`, with its ReLUs as functions, one of them in place."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.first, self.norm, self.second = layers[0], layers[1], layers[3]
        self.linear = layers[-1]

    def forward(self, x: Tensor) -> Tensor:
        """As the layers in turn."""
        x = torch.clamp(self.second(F.relu_(self.norm(self.first(x)))), min=0)
        x.add_(1.0)  # in place, after the ReLU, and without effect on gradients
        return self.linear(x.mean((2, 3)))


def in_turn() -> nn.Sequential:
    """Two convolutions, a norm and two ReLUs; float64, so that loops agree."""

    def make() -> nn.Module:
        return nn.Sequential(
            *(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
            *(nn.Conv2d(4, 5, 3, padding=1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)),
        )

    made = built(make)
    assert isinstance(made, nn.Sequential)
    return made.double()


def test_participation_is_that_of_a_slow_loop() -> None:
    """Layer by layer: outputs of the ReLUs, and the gradients of the summed logits there."""
    network, images = in_turn(), IMAGES.double()
    expected = 0.0
    with torch.enable_grad():
        x = F.conv2d(images, network[0].weight, network[0].bias, padding=1)
        x = (x - x.mean((0, 2, 3), keepdim=True)) / (
            x.var((0, 2, 3), unbiased=False, keepdim=True) + network[1].eps
        ).sqrt()
        first = x.relu().requires_grad_(True)
        second = network[3](first).relu()
        logits = network[-1](second.mean((2, 3))).sum()
        for output, gradient in zip(
            (first, second), torch.autograd.grad(logits, (first, second)), strict=True
        ):
            ratios = []
            for rows in (output, gradient):
                matrix = np.corrcoef(rows.detach().flatten(1).numpy())
                matrix = np.nan_to_num(matrix)  # a row that is constant correlates with none
                ratios.append(np.trace(matrix) ** 2 / (matrix**2).sum() if matrix.any() else 0.0)
            expected += ratios[0] * ratios[1]
    found = score(network, images, objectives=["participation"])
    assert not found.degenerate
    assert found.participation == pytest.approx(-expected)


def test_any_way_to_write_a_relu() -> None:
    """Functions, calls in place and clamps count as modules do."""
    network = in_turn()
    other = Functional(network)
    images = IMAGES.double()
    found = [score(net, images, objectives=["participation"]) for net in (network, other)]
    assert found[0].participation == pytest.approx(found[1].participation)


def test_the_network_is_left_as_it_was() -> None:
    """Weights, buffers, modes and gradients are those of before."""
    network = around(nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    score(network, IMAGES, objectives=LATER_OBJECTIVES)
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [module.training for module in network.modules()] == modes
    assert all(one.requires_grad and one.grad is None for one in network.parameters())


def test_networks_without_participation() -> None:
    """Without a ReLU, or where numbers overflow, there is a reason and the worst value."""
    linear = nn.Sequential(nn.Flatten(), nn.Linear(108, 2))
    found = score(linear, IMAGES, objectives=["participation"])
    assert found.degenerate == "no ReLU"
    assert found.participation == 1.0
    huge = around(nn.ReLU())
    with torch.no_grad():
        huge[0].weight.mul_(1e38)
    assert score(huge, IMAGES, objectives=["participation"], check=False).participation == 1.0


def test_a_search_by_the_later_forms() -> None:
    """All three are objectives of a search, and finite for what is not degenerate."""
    problem = NASProblem("digits", n_images=16, objectives=LATER_OBJECTIVES)
    result = minimize(problem, EvolutiveNAS(2, 4), ("n_gen", 2), seed=1)
    assert result.F.shape[1] == 3
    assert (result.F[:, 0] <= 0).all()
    assert (result.F[:, 1] < 0).all()
