"""Gradients at the images: their size, their smoothness, and what a deep network makes of them."""

import math
from collections.abc import Callable

import pandas as pd
import pytest
import torch
from torch import nn

from pymoo_nas.choice import steady_first
from pymoo_nas.choice._orders import BEATEN, most_expressive_first, steadiness_of
from pymoo_nas.errors import SearchError
from pymoo_nas.kernels import calibrate, preserved
from pymoo_nas.scores import gradient_flow
from pymoo_nas.search import NASProblem
from pymoo_nas.search._steadiness import MOST_GROWTH, Steadiness, settled
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


class Twice(nn.Module):
    """A network that calls the same batch norm on two maps of different statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 1, H, W) → (N, 3)."""
        x = self.norm(self.first(images)).relu()
        logits: torch.Tensor = self.norm(self.second(x)).relu().mean((2, 3))
        return logits


@pytest.mark.parametrize("network", [Twice(), nn.Sequential(*Twice().children(), nn.Flatten())])
def test_one_pass_equals_two(network: nn.Module) -> None:
    """The gradients are those of a network that has been calibrated before."""
    images = torch.randn(4, 1, 6, 6)
    with preserved(network):
        calibrate(network, images)
        leaf = images.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(network(leaf).sum(), leaf)
    size = float(gradient.flatten(1).norm(dim=1).log10().mean())
    assert gradient_flow(network, images).size == pytest.approx(size, rel=1e-5)


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
    plain, residual, blurred = (problem.steadiness(t) for t in (PLAIN, RESIDUAL, BLURRED))
    assert plain.growth > MOST_GROWTH > residual.growth
    assert not plain.steady
    assert blurred.smoothness > residual.smoothness + 0.1
    assert not blurred.steady


def test_same_cells_same_gradients() -> None:
    """Where the scored network is the final one, the gradients do not grow."""
    problem = NASProblem("digits", n_images=20)
    assert problem.steadiness("8,0,0,0|0,0,0,0|0,8,0,0").growth == pytest.approx(0, abs=1e-6)


ROWS = pd.DataFrame(
    {
        "genotype": ["a", "b", "c", "d", "e"],
        "activation": [-1.0, -2.0, -3.0, -4.0, -5.0],
        "flops": [10, 20, 30, 40, 50],
    }
)


def judge(steady: str, seen: list[str]) -> Callable[[str], Steadiness]:
    """The genotypes of a text are steady, all others explode; notes which are asked for."""

    def judged(genotype: str) -> Steadiness:
        seen.append(genotype)
        return Steadiness(0.0 if genotype in steady else 2.0, -0.1)

    return judged


@pytest.mark.parametrize(
    ("top", "expected", "measured"),
    [(1, "bacde", 2), (2, "dbace", 4), (9, "edbac", 5)],
)
def test_steady_ones_first(top: int, expected: str, measured: int) -> None:
    """So many steady ones as are asked for come first, the most expressive of them before all."""
    seen: list[str] = []
    told: list[str] = []
    found = steadiness_of(ROWS, judge("bde", seen), top, lambda report: told.append(report.found))
    table = most_expressive_first(ROWS, found)
    assert "".join(table["genotype"]) == expected
    assert seen == [line[0] for line in told] == list("abcde")[:measured]
    assert table.set_index("genotype")["growth"].notna().sum() == measured
    assert list(table["steady"]) == [name in "bde"[:top] for name in expected]


def test_none_is_steady() -> None:
    """The order stays where nothing is steady."""
    seen: list[str] = []
    table = most_expressive_first(ROWS, steadiness_of(ROWS, judge("", seen), 10))
    assert list(table["genotype"]) == list("abcde")
    assert (table["growth"] == 2.0).all()


def test_what_could_not_be_chosen_is_not_measured() -> None:
    """What a steady one beats in activation and size is passed by, what it beats in one is not."""
    rows = pd.DataFrame(
        {
            "genotype": list("abcdef"),
            "activation": [-9.0, -3.0, -2.0, -3.0, -4.0, -1.0],
            "flops": [10, 30, 30, 30, 20, 40],
        }
    )
    seen: list[str] = []
    found = steadiness_of(rows, judge("bcdef", seen), 9)
    assert seen == ["a", "b", "e", "f"]
    table = most_expressive_first(rows, found)
    assert list(table["genotype"][:3]) == ["b", "e", "f"]
    assert list(table["genotype"][3:]) == ["a", "c", "d"]
    assert table["steady"].sum() == 3


def test_end_after_many_that_could_not_be_chosen() -> None:
    """When so many have been passed by, nothing more is measured."""
    beaten, later = BEATEN * 2, ["large"]
    rows = pd.DataFrame(
        {
            "genotype": ["steady", *("beaten",) * beaten, *later],
            "activation": [-2.0, *(-1.0,) * beaten, -3.0],
            "flops": [10, *(5,) * beaten, 20],
        }
    )
    seen: list[str] = []
    assert set(steadiness_of(rows, judge("steady large", seen), 2)) == {0}
    assert seen == ["steady"]
    steadiness_of(rows, judge("steady large", seen), 3)
    assert seen == ["steady", "steady", "large"]


@pytest.mark.parametrize(
    ("growths", "smoothness", "taken"),
    [
        ([1.2], -0.01, 1),
        ([0.1], -0.1, 1),
        ([0.1], 0.1, 1),
        ([math.nan], 0.0, 1),
        ([0.1], math.nan, 1),
        ([-math.inf], -0.1, 1),
        ([1.0, 1.1], 0.0, 2),
        ([0.7, 0.75, 0.7, 0.9], -0.1, 4),
        ([0.1, 0.1, 0.1, 0.1], -0.02, 4),
    ],
)
def test_as_many_initialisations_as_a_verdict_needs(
    growths: list[float], smoothness: float, taken: int
) -> None:
    """The nearer to a limit, the more initialisations are measured; their mean is returned."""
    seen: list[int] = []

    def at(index: int, n_images: int) -> Steadiness:
        assert n_images == 5
        seen.append(index)
        return Steadiness(growths[index], smoothness)

    found = settled(at)
    assert seen == list(range(taken))
    assert found.growth == pytest.approx(sum(growths) / taken, nan_ok=True)
    assert found.smoothness == pytest.approx(smoothness, nan_ok=True)


@pytest.mark.parametrize(("few", "many"), [(-0.01, 0.002), (0.012, -0.001)])
def test_more_images_judge_near_the_limit(few: float, many: float) -> None:
    """Twenty images decide where five cannot tell on which side of its limit a smoothness is."""
    seen: list[tuple[int, int]] = []

    def at(index: int, n_images: int) -> Steadiness:
        seen.append((index, n_images))
        return Steadiness(0.1, few if n_images == 5 else many)

    found = settled(at)
    assert seen == [(index, n_images) for n_images in (5, 20) for index in range(4)]
    assert found.smoothness == pytest.approx(many)
    assert found.steady is (many < 0)


def test_nothing_to_look_for(problem: NASProblem) -> None:
    """An empty list or a top of 0 is refused."""
    for rows, top, named in ((ROWS.head(0), 1, "no architectures"), (ROWS, 0, "top=0")):
        with pytest.raises(SearchError, match=named):
            steady_first(rows, problem, top=top)
