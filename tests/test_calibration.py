"""Tests of how batch norms are frozen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pymoo_nas.calibration import calibrate, preserved
from pymoo_nas.errors import NetworkError, ScoreError


def images_of(*shape: int) -> Tensor:
    """Random images far from the origin, float64."""
    return 1000 + torch.randn(shape, generator=torch.Generator().manual_seed(0)).double()


def network_of(*layers: nn.Module) -> nn.Sequential:
    """The layers in a row, float64."""
    return nn.Sequential(*layers).double()


def test_mean_and_variance() -> None:
    """Every batch norm gets the mean and the biased variance of what it is given."""
    network = network_of(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4))
    images = images_of(5, 3, 6, 6)
    calibrate(network, images)
    with torch.no_grad():
        inputs = {0: images, 3: network[:3](images)}
    for index, values in inputs.items():
        rows = values.transpose(0, 1).flatten(1)
        assert torch.allclose(network[index].running_mean, rows.mean(1), rtol=1e-12)
        assert torch.allclose(network[index].running_var, rows.var(1, unbiased=False), rtol=1e-9)


def test_vectors() -> None:
    """A batch norm of vectors (N, C) is calibrated too."""
    network = network_of(nn.Flatten(), nn.BatchNorm1d(4))
    images = images_of(7, 1, 2, 2)
    calibrate(network, images)
    expected = images.flatten(1).var(0, unbiased=False)
    assert torch.allclose(network[1].running_var, expected, rtol=1e-9)


def test_output_is_normalised() -> None:
    """What a calibrated batch norm returns has mean 0 and variance 1 in every channel."""
    network = network_of(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, eps=0.0))
    output = calibrate(network, images_of(6, 2, 5, 5)).transpose(0, 1).flatten(1)
    assert torch.allclose(output.mean(1), torch.zeros(3).double(), atol=1e-9)
    assert torch.allclose(output.var(1, unbiased=False), torch.ones(3).double())


def test_several_calls() -> None:
    """A batch norm that is called twice holds the average of both calls."""
    norm = nn.BatchNorm2d(2)
    network = network_of(norm, nn.ReLU(), norm)
    images = images_of(4, 2, 3, 3)
    given: list[Tensor] = []
    hook = norm.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    calibrate(network, images)
    hook.remove()
    means = [values.mean((0, 2, 3)) for values in given]
    assert len(means) == 2
    assert torch.allclose(norm.running_mean, (means[0] + means[1]) / 2, rtol=1e-12)


def test_hooks_are_removed() -> None:
    """Nothing listens to a network after calibration, not even after one that failed."""
    network = network_of(nn.BatchNorm2d(3))
    calibrate(network, images_of(4, 3, 2, 2))
    with pytest.raises(NetworkError, match="the network cannot take images"):
        calibrate(network, images_of(4, 5, 2, 2))
    assert not network[0]._forward_pre_hooks


def test_without_statistics() -> None:
    """A batch norm that keeps no statistics is refused by name."""
    network = network_of(nn.ReLU(), nn.BatchNorm2d(3, track_running_stats=False))
    with pytest.raises(ScoreError, match=r"layer '1'.*track_running_stats=True"):
        calibrate(network, images_of(4, 3, 2, 2))


def test_refusal_leaves_no_hooks() -> None:
    """A network that is refused for one batch norm keeps no hook on another."""
    network = network_of(nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False))
    with pytest.raises(ScoreError, match="layer '1'"):
        calibrate(network, images_of(4, 3, 2, 2))
    assert not network[0]._forward_pre_hooks


class ByKeyword(nn.Module):
    """Calls its batch norm with a keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(input=x).flatten(1)


def test_input_by_keyword() -> None:
    """A batch norm may be called with its input as a keyword."""
    network = ByKeyword().double()
    images = images_of(4, 3, 2, 2)
    calibrate(network, images)
    assert torch.allclose(network.norm.running_mean, images.mean((0, 2, 3)), rtol=1e-12)


def test_half_precision() -> None:
    """The variance of large maps does not overflow in half precision."""
    network = nn.Sequential(nn.BatchNorm2d(1)).half()
    images = 8 * torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    calibrate(network, images.half())
    assert network[0].running_var.item() == pytest.approx(64, rel=0.1)


def test_preserved() -> None:
    """Statistics, modes and which parameters are trained are given back."""
    network = network_of(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1)).train()
    network[1].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with preserved(network):
        calibrate(network, images_of(4, 3, 2, 2))
        network.requires_grad_(True)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert network.training
    assert not network[1].weight.requires_grad
