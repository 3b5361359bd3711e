"""Tests of how batch norms are frozen."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from pymoo_nas.errors import NetworkError, ScoreError
from pymoo_nas.kernels import calibrate, measure_kernels, preserved, recalibrate


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


def statistics(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Mean and variance that a norm holds."""
    return norm.running_mean.clone(), norm.running_var.clone()


@pytest.mark.parametrize("momentum", [0.1, None])
def test_recalibrated_statistics_are_those_of_all_images(momentum: float | None) -> None:
    """Batches of several sizes give the first norm mean and variance over all their images."""
    network = network_of(nn.BatchNorm2d(3, momentum=momentum), nn.Conv2d(3, 2, 1))
    images = images_of(9, 3, 4, 4)
    images += torch.arange(9.0)[:, None, None, None]  # the means of the batches differ
    network(images)
    counted = int(network[0].num_batches_tracked)
    recalibrate(network, images.split([4, 3, 2]))
    rows = images.transpose(0, 1).flatten(1)
    mean, variance = statistics(network[0])
    assert torch.allclose(mean, rows.mean(1), rtol=1e-12)
    assert torch.allclose(variance, rows.var(1, unbiased=False), rtol=1e-9)
    assert int(network[0].num_batches_tracked) == counted
    assert not any(module.training for module in network.modules())
    assert not network[0]._forward_pre_hooks


def test_recalibration_follows_the_training_pass() -> None:
    """Later norms get what they see in training: the batches before them normalised one by one."""
    network = network_of(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3), nn.ReLU(), nn.BatchNorm2d(3))
    images = images_of(8, 2, 5, 5)
    with torch.no_grad():
        seen = torch.cat([network.train()[:3](part) for part in images.split(4)])
    recalibrate(network, images.split(4))
    rows = seen.transpose(0, 1).flatten(1)
    mean, variance = statistics(network[3])
    assert torch.allclose(mean, rows.mean(1), rtol=1e-12)
    assert torch.allclose(variance, rows.var(1, unbiased=False), rtol=1e-9)


class FrozenNorm(nn.Sequential):
    """Keeps its first norm in eval mode, as is usual when a trained network is adapted."""

    def train(self, mode: bool = True) -> FrozenNorm:
        super().train(mode)
        self[0].eval()
        return self


def test_frozen_norms_are_left_alone() -> None:
    """Norms in eval mode keep their statistics, norms without any none; the others change."""
    norms = nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False), nn.BatchNorm2d(3)
    network = FrozenNorm(*norms).double().train()
    before = statistics(network[0])
    recalibrate(network, [images_of(4, 3, 2, 2)])
    assert all(map(torch.equal, before, statistics(network[0])))
    assert network[1].running_mean is None
    assert not torch.equal(network[2].running_var, torch.ones(3).double())


def test_a_norm_that_is_not_called_keeps_its_statistics() -> None:
    """A norm that no batch reaches is not given statistics of nothing."""
    network = ByKeyword().double()
    network.spare = nn.BatchNorm2d(3)
    recalibrate(network, [images_of(4, 3, 2, 2)])
    assert torch.equal(network.spare.running_mean, torch.zeros(3))
    assert torch.allclose(network.norm.running_mean, images_of(4, 3, 2, 2).mean((0, 2, 3)))


def test_without_norms_no_image_is_looked_at() -> None:
    """A network without batch norms is recalibrated at no cost."""
    network = network_of(nn.Dropout(), nn.Conv2d(2, 2, 1)).train()
    recalibrate(network, (pytest.fail("looked at") for _ in range(1)))
    assert not network.training


def test_a_compiled_network_is_recalibrated() -> None:
    """Norms inside a compiled network get the same statistics as those of the network itself."""
    plain = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    compiled = torch.compile(copy.deepcopy(plain), backend="eager")
    images = images_of(6, 2, 3, 3).float()
    compiled(images)
    for network in (plain, compiled):
        recalibrate(network.train(), images.split(3))
    expected = statistics(plain[1])
    assert all(map(torch.equal, expected, statistics(compiled._orig_mod[1])))


def test_buffers_of_a_norm_of_ones_own_are_restored() -> None:
    """What a subclass of a batch norm counts in its forward pass is as it was before."""

    class Counting(nn.BatchNorm2d):
        def __init__(self, channels: int) -> None:
            super().__init__(channels)
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.seen += len(x)
            return super().forward(x)

    norm = Counting(4)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), norm, nn.Flatten(), nn.Linear(16, 2))
    measure_kernels(network, torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)))
    assert float(norm.seen) == 0
    assert torch.equal(norm.running_mean, torch.zeros(4))
