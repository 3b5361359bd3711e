"""Networks by name: genotypes, NAS-Bench-201 cells, torchvision's classifiers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torchvision
from nasbench201_cells import TABLE, needs_table
from torch import nn

from common.nasbench201 import load_table
from pymoo_nas.choice import build_final
from pymoo_nas.errors import GenotypeError, NetworkError, PymooNasError
from pymoo_nas.networks import CellNetwork, count_flops, count_parameters
from pymoo_nas.networks._cifar_resnet import BasicBlock
from pymoo_nas.search import NASProblem
from pymoo_nas.spaces import Architecture, CellSpace, NASBench201Space
from pymoo_nas.spaces.nasbench201._networks import NASBench201Network

CELL = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|nor_conv_1x1~2|"


class TenClasses(NamedTuple):
    """What a network is built for."""

    name: str
    in_channels: int
    n_classes: int


def problem_of(channels: int, space: Any = None) -> NASProblem:
    """Four classes of noise."""
    rng = np.random.default_rng(0)
    images = rng.random((40, 32, 32, channels)).astype(np.float32)
    return NASProblem((images, np.arange(40) % 4), n_images=8, search_space=space)


@pytest.fixture(scope="module")
def colour() -> NASProblem:
    """Images of three channels."""
    return problem_of(3)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(("name", "kind"), [("5000", CellNetwork), (CELL, NASBench201Network)])
def test_genotypes_take_any_channels(channels: int, name: str, kind: type) -> None:
    """A genotype's network takes the data set's channels and gives its classes."""
    problem = problem_of(channels)
    network = Architecture.read(name).build("trained", problem.dataset, seed=0)
    assert isinstance(network, kind)
    assert network(problem.probe.images).shape == (8, 4)


@pytest.mark.parametrize("scored", [True, False])
@pytest.mark.parametrize("name", ["8,0,0,0|0,8,0,0|0,12,0,4", CELL])
def test_genotype_is_the_network_of_the_search(scored: bool, name: str) -> None:
    """With the problem's seed the weights are those of what is scored, or of what is trained."""
    colour = problem_of(3, CellSpace() if CellSpace.looks_like(name) else NASBench201Space())
    space, seed = colour.search_space, colour.seed
    network = Architecture.read(name, space).build(
        "scored" if scored else "trained", colour.dataset, seed=seed
    )
    expected = (
        colour.build(space.parse(name)) if scored else build_final(name, problem=colour, seed=seed)
    )
    pairs = zip(network.parameters(), expected.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def sizes(network: nn.Module) -> tuple[int, int]:
    """Parameters and multiply-accumulates for one image of CIFAR's size."""
    return count_parameters(network), count_flops(network, torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("space", "name"), [(CellSpace(stem=False), "8,0,0,0|0,8,0,0|0,12,0,4"), (CellSpace(), "8800")]
)
def test_cells_are_counted_as_they_are_trained(space: CellSpace, name: str) -> None:
    """In the paper's space the size that is limited is that of the network to train.

    Without a stem it is the scored network; with one it differs by the stem.
    """
    genotype, images = space.parse(name), TenClasses("images", 3, 10)
    trained = sizes(Architecture.read(name, space).build("trained", images))
    scored = sizes(Architecture.read(name, space).build("scored", images))
    counted = Architecture.of(space, genotype).build("counted", images)
    assert sizes(counted) == trained
    assert sizes(space.build_final([genotype] * 3, 3, 10)) == trained
    assert sizes(space.build(genotype, 3, 10)) == scored
    assert (scored == trained) == (not space.stem)


@needs_table
def test_nasbench201_is_trained_as_published() -> None:
    """A cell by its name is the published network; what is scored and counted is a small one.

    The table adds one multiply-accumulate for each of the ten biases.
    """
    space, images = NASBench201Space(), TenClasses("images", 3, 10)
    for row in load_table(TABLE).sample(8, random_state=1).itertuples():
        trained = sizes(Architecture.read(row.arch).build("trained", images))
        assert f"{trained[0] / 1e6:.6f}" == f"{row.params_m:.6f}", row.arch
        assert f"{(trained[1] + 10) / 1e6:.6g}" == f"{row.flops_m:.6g}", row.arch
        scored = sizes(Architecture.read(row.arch).build("scored", images))
        counted = Architecture.of(space, space.parse(row.arch)).build("counted", images)
        assert scored == sizes(counted)
        assert 4 * scored[0] < trained[0]


def test_torchvision(colour: NASProblem) -> None:
    """A classifier of torchvision has the data set's classes, and weights from the seed."""
    before = torch.get_rng_state()
    one, same, other = (
        Architecture.read("squeezenet1_1").build("trained", colour.dataset, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one.eval()(colour.probe.images).shape == (8, 4)
    with torch.device("meta"):
        reference = torchvision.models.squeezenet1_1(num_classes=4)
    assert count_parameters(one) == count_parameters(reference)
    first, second, third = (next(network.parameters()) for network in (one, same, other))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(torch.get_rng_state(), before)


def test_channels_of_torchvision() -> None:
    """Grey images are repeated for torchvision's networks, two channels cannot be."""
    grey = problem_of(1)
    network = Architecture.read("squeezenet1_1").build("trained", grey.dataset).eval()
    repeated = grey.probe.images.repeat(1, 3, 1, 1)
    assert torch.equal(network(grey.probe.images), network[1](repeated))
    with pytest.raises(NetworkError, match=r"3 channels.* has 2"):
        Architecture.read("squeezenet1_1").build("trained", problem_of(2).dataset)


@pytest.mark.parametrize(
    ("name", "parameters"), [("resnet20", 269_722), ("resnet32", 464_154), ("resnet56", 853_018)]
)
def test_residual_networks_of_cifar(name: str, parameters: int) -> None:
    """They have the published sizes: 0.27, 0.46 and 0.85 million on ten classes."""
    images = np.zeros((20, 32, 32, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(20)
    dataset = NASProblem((images, np.arange(20) % 10), n_images=10).dataset
    network = Architecture.read(name).build("trained", dataset)
    assert count_parameters(network) == parameters
    maps = nn.Sequential(*list(network)[:-3])(torch.zeros(2, 3, 32, 32))
    assert maps.shape == (2, 64, 8, 8)


def test_residual_shortcut() -> None:
    """With a silent branch the shortcut gives every second pixel, and zeros as new channels."""
    block = BasicBlock(2, 4).eval()
    nn.init.zeros_(block.branch[3].weight)
    x = torch.rand(1, 2, 6, 6)
    y = block(x)
    assert torch.equal(y[:, :2], x[:, :, ::2, ::2])
    assert not y[:, 2:].any()


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("resnt18", NetworkError, r"did you mean resnet18\?; expected"),
        ("resnet19", NetworkError, r"unknown.*5000\|0001\|0800.*resnet18"),
        ("ResNet18", NetworkError, "unknown"),
        ("", NetworkError, "unknown"),
        ("fasterrcnn_resnet50_fpn", NetworkError, "unknown"),
        ("8,-4,0,0", GenotypeError, "position 3"),
        ("5x00", GenotypeError, "position 2"),
        ("x000|0000|0000", GenotypeError, "position 1"),
        ("9999,0,0,0", GenotypeError, "4096"),
        ("500", GenotypeError, "4 channel counts"),
        ("|nor_conv_9x9~0|+|none~0|none~1|+|none~0|none~1|none~2|", GenotypeError, "nor_conv_9x9"),
        ("0000", NetworkError, "not connected"),
    ],
)
def test_mistakes(colour: NASProblem, name: str, error: Any, match: str) -> None:
    """Names are refused as what they seem to be: a model, or a genotype with the position."""
    with pytest.raises(error, match=match) as raised:
        Architecture.read(name).build("trained", colour.dataset)
    assert isinstance(raised.value, PymooNasError)
