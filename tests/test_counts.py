"""Parameters, multiply-accumulates and acts of networks, counted by hand."""

from functools import partial
from typing import Any

import pytest
import torch
import torchvision
from scored_networks import images_of
from torch import nn

from pymoo_nas.errors import NetworkError
from pymoo_nas.networks import (
    CellNetwork,
    CifarResNet,
    count_flops,
    count_parameters,
    operation_table,
)
from pymoo_nas.networks._size import count_acts
from pymoo_nas.spaces import Cell, Genotype

PAPER = operation_table()


def test_flops_by_hand() -> None:
    """Multiply-accumulates of a small network, counted by hand."""
    # Cell 1 on 8×6 maps: convolution 3×3 from 2 to 4 channels: 8·6 · 4·2·9 = 3456.
    # Cell 2 on 4×3 maps, of 4 + 2 channels: 4·3 · 4·6·9 = 2592. Linear layer: 4·3 = 12.
    cells = [partial(Cell, Genotype.parse("4000"), PAPER)] * 2
    network = CellNetwork(cells, in_channels=2, n_classes=3)
    assert count_flops(network, images_of(5, 2, (8, 6))) == 3456 + 2592 + 12


def test_images_that_a_network_cannot_take() -> None:
    """A network's bare error becomes one that names the images."""
    network = torchvision.models.alexnet(num_classes=10)
    with pytest.raises(NetworkError, match=r"cannot take images of shape \(1, 3, 8, 8\)"):
        count_flops(network, images_of(1, 3, 8))


def test_flops_of_grouped_and_pooled() -> None:
    """A depthwise convolution counts one channel per output; pooling counts nothing."""
    # Depthwise 3×3 on 3 channels: 25 · 3·9 = 675; pointwise 3 to 4: 25 · 12 = 300; linear 4·2 = 8.
    separable = CellNetwork(
        [partial(Cell, Genotype.parse("40"), operation_table("separable3x3,avg_pool3x3"))], 3, 2
    )
    assert count_flops(separable, images_of(1, 3, 5)) == 675 + 300 + 8
    pooled = CellNetwork([partial(Cell, Genotype.parse("0003"), PAPER)], 3, 2)
    assert count_flops(pooled, images_of(1, 3, 5)) == 3 * 2


def test_acts_by_hand() -> None:
    """Numbers from convolutions and poolings, those between cells too, counted by hand."""
    # Convolution to 4 channels on 8×6 maps: 192. Halved to 4×3, features and image of 2: 48 + 24.
    # Convolution on 4×3 maps: 48.
    cells = [partial(Cell, Genotype.parse("4000"), PAPER)] * 2
    network = CellNetwork(cells, in_channels=2, n_classes=3)
    assert count_acts(network, images_of(5, 2, (8, 6))) == 192 + 48 + 24 + 48
    # On 5×5 maps of 3 channels: residual block to 2 channels, 3 convolutions of 50; poolings to 3
    # channels, 75 each; linear layer none.
    mixed = CellNetwork([partial(Cell, Genotype.parse("0233"), PAPER)], 3, 2)
    assert count_acts(mixed, images_of(1, 3, 5)) == 3 * 50 + 2 * 75
    assert count_acts(nn.Flatten(), images_of(2, 3, 4)) == 0


@pytest.mark.parametrize("name", ["resnet18", "resnet20"])
def test_acts_are_what_the_layers_return(name: str) -> None:
    """On known networks: the outputs of all convolutions and poolings, as hooks see them."""
    network = CifarResNet(3, 3, 10) if name == "resnet20" else torchvision.models.resnet18()
    sizes: list[int] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d):
            module.register_forward_hook(lambda *seen: sizes.append(seen[2].numel()))
    images = images_of(1, 3, 32)
    with torch.no_grad():
        network.eval()(images)
    expected = sum(sizes)
    assert expected > 0
    assert count_acts(network, images) == expected


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("count_some", [count_flops, count_acts])
def test_counting_leaves_the_network(count_some: Any, training: bool) -> None:
    """Counting keeps the mode, the statistics and the gradients as they were."""
    network = CellNetwork([partial(Cell, Genotype.parse("4000"), PAPER)], 3, 2).train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    count_some(network, images_of(2, 3, 8))
    assert network.training == training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_parameters_by_hand() -> None:
    """Trainable parameters are counted once each; frozen ones and statistics not at all."""
    cell = Cell(Genotype.parse("4000"), PAPER, 3)
    assert count_parameters(cell) == 4 * 3 * 9 + 2 * 4
    layer = nn.Linear(3, 2)
    assert count_parameters(nn.Sequential(layer, layer)) == 3 * 2 + 2
    layer.bias.requires_grad_(False)
    assert count_parameters(layer) == 6


def test_width_of_residual_networks() -> None:
    """A network of width w and one block per stage has the parameters that a sum by hand gives."""
    for width in (1, 4, 16):
        stages = [(width, width), (width, 2 * width), (2 * width, 4 * width)]
        blocks = sum(9 * a * b + 9 * b * b + 4 * b for a, b in stages)
        stem, linear = 27 * width + 2 * width, 10 * (4 * width + 1)
        assert count_parameters(CifarResNet(1, 3, 10, width)) == stem + blocks + linear
    assert count_parameters(CifarResNet(3, 3, 10)) == count_parameters(CifarResNet(3, 3, 10, 16))
