"""Gradients at the images: their size, their smoothness, and what a deep network makes of them."""

import math

import pandas as pd
import pytest
import torch
from torch import nn

from pymoo_nas.choice import _orders as choice
from pymoo_nas.choice import steady_first
from pymoo_nas.choice._steadiness import MOST_GROWTH, Steadiness, steadiness
from pymoo_nas.errors import SearchError
from pymoo_nas.scores import gradient_flow
from pymoo_nas.search import NASProblem
from pymoo_nas.spaces import NASBench201Space

PLAIN = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_3x3~2|"
"""A cell of three layers without a way around them."""

RESIDUAL = PLAIN.replace("+|none~0|none~1", "+|skip_connect~0|none~1")
BLURRED = "|avg_pool_3x3~0|+|none~0|avg_pool_3x3~1|+|none~0|none~1|nor_conv_1x1~2|"


@pytest.fixture(scope="module")
def problem() -> NASProblem:
    """NAS-Bench-201 on digits of 16 pixels, few images."""
    space = NASBench201Space(width=4, final_width=4)
    return NASProblem("digits", search_space=space, n_images=20, image_size=16)


def weighing(weights: torch.Tensor) -> nn.Module:
    """A network of one logit: the sum of the pixels times these weights (H, W)."""
    linear = nn.Linear(weights.numel(), 1, bias=False)
    linear.weight.data = weights.reshape(1, -1)
    return nn.Sequential(nn.Flatten(), linear)


def test_hand_computed() -> None:
    """A checkerboard of 4×4 has 24 neighbours of opposite sign and norm 4: -24/32 and log10 4."""
    signs = (torch.arange(4)[:, None] + torch.arange(4)) % 2 * 2.0 - 1
    flow = gradient_flow(weighing(signs), torch.rand(3, 1, 4, 4))
    assert flow.smoothness == pytest.approx(-24 / 32)
    assert flow.size == pytest.approx(math.log10(4))
    assert gradient_flow(weighing(10 * signs), torch.rand(3, 1, 4, 4)).size == pytest.approx(
        math.log10(40)
    )


def test_slow_loop() -> None:
    """The smoothness is that of a loop over all pairs of neighbouring pixels."""
    images = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 2)).double()
    images.requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(images).sum(), images)
    products = squares = 0.0
    for image in gradient:
        for channel in image:
            values = (channel - channel.mean()).tolist()
            for row in range(5):
                for column in range(6):
                    squares += values[row][column] ** 2
                    if row + 1 < 5:
                        products += values[row][column] * values[row + 1][column]
                    if column + 1 < 6:
                        products += values[row][column] * values[row][column + 1]
    flow = gradient_flow(network, images.detach())
    assert flow.smoothness == pytest.approx(products / squares / 2)
    norms = [float(one.norm()) for one in gradient]
    assert flow.size == pytest.approx(sum(map(math.log10, norms)) / 2)


def test_network_is_given_back() -> None:
    """Modes, statistics and what is trained are as before."""
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 4, 2)
    )
    network[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    gradient_flow(network, torch.randn(4, 1, 4, 4))
    assert network.training
    assert [p.requires_grad for p in network.parameters()] == [False, True, True, True, True, True]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Constant(nn.Module):
    """Logits that do not depend on the images."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.ones(2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) → (N, 2)."""
        return self.logits.expand(len(images), 2)


def test_without_a_gradient() -> None:
    """No gradient, one that is zero, and one that is the same everywhere are not steady."""
    images = torch.rand(3, 1, 4, 4)
    for network in (Constant(), weighing(torch.zeros(4, 4)), weighing(torch.ones(4, 4))):
        flow = gradient_flow(network, images)
        assert math.isnan(flow.smoothness)
        assert not Steadiness(0.0, flow.smoothness).steady
    assert gradient_flow(Constant(), images).size == -math.inf


def test_what_is_steady(problem: NASProblem) -> None:
    """Gradients explode in a plain cell, blur in one of poolings, stay in a residual one."""
    plain, residual, blurred = (steadiness(t, problem) for t in (PLAIN, RESIDUAL, BLURRED))
    assert plain.growth > MOST_GROWTH > residual.growth
    assert not plain.steady
    assert blurred.smoothness > residual.smoothness + 0.1
    assert not blurred.steady


def test_same_cells_same_gradients() -> None:
    """Where the scored network is the final one, the gradients do not grow."""
    problem = NASProblem("digits", n_images=20)
    assert steadiness("8,0,0,0|0,0,0,0|0,8,0,0", problem).growth == pytest.approx(0, abs=1e-6)


ROWS = pd.DataFrame(
    {
        "genotype": ["a", "b", "c", "d", "e"],
        "activation": [-1.0, -2.0, -3.0, -4.0, -5.0],
        "flops": [10, 20, 30, 40, 50],
    }
)


@pytest.mark.parametrize(
    ("top", "expected", "measured"),
    [(1, "bacde", 2), (2, "dbace", 4), (9, "edbac", 5)],
)
def test_steady_ones_first(
    monkeypatch: pytest.MonkeyPatch, top: int, expected: str, measured: int
) -> None:
    """So many steady ones as are asked for come first, the most expressive of them before all."""
    monkeypatch.setattr(
        choice, "steadiness", lambda text, *_, **__: Steadiness(0.0 if text in "bde" else 2.0, -0.1)
    )
    seen: list[str] = []
    found = steady_first(ROWS, None, top=top, progress=lambda r: seen.append(r.found[0]))  # type: ignore[arg-type]
    assert "".join(found["genotype"]) == expected
    assert seen == list("abcde")[:measured]
    assert found.set_index("genotype")["growth"].notna().sum() == measured


def test_none_is_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order stays where nothing is steady."""
    monkeypatch.setattr(choice, "steadiness", lambda *_, **__: Steadiness(0.0, 0.5))
    found = steady_first(ROWS, None)  # type: ignore[arg-type]
    assert list(found["genotype"]) == list("abcde")
    assert (found["smoothness"] == 0.5).all()


def test_nothing_to_look_for(problem: NASProblem) -> None:
    """An empty list or a top of 0 is refused."""
    for rows, top, named in ((ROWS.head(0), 1, "no architectures"), (ROWS, 0, "top=0")):
        with pytest.raises(SearchError, match=named):
            steady_first(rows, problem, top=top)
