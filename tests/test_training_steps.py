"""How a training moves its weights: which optimizer takes which, at what rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from small_training import small_dataset, small_network
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from pymoo_nas.datasets import Dataset
from pymoo_nas.training import train
from pymoo_nas.training._optimizers import OPTIMIZERS


def recorded_groups(network: nn.Module, dataset: Dataset, **options: Any) -> list[dict[str, Any]]:
    """Of every group of parameters at every step of an optimizer: its class, its settings."""
    groups: list[dict[str, Any]] = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            ids = set(map(id, group["params"]))
            groups.append({**group, "ids": ids, "optimizer": type(optimizer).__name__})

    handle = register_optimizer_step_pre_hook(note)
    try:
        train(network, dataset, validation=0.0, **options)
    finally:
        handle.remove()
    return groups


def weights_of(network: nn.Module, *kinds: type[nn.Module]) -> set[int]:
    return {id(layer.weight) for layer in network.modules() if isinstance(layer, kinds)}


@pytest.mark.parametrize(("optimizer", "peak"), [("SGD", 0.05), ("Muon", 0.005)])
def test_learning_rate_rises_to_its_peak_and_falls_to_nothing(optimizer: str, peak: float) -> None:
    """The rate peaks after three tenths of the steps, Muon's at a tenth; momentum stays 0.9."""
    groups = recorded_groups(
        small_network(), small_dataset(40), epochs=4, batch_size=8, learning_rate=0.05
    )
    rates = [group["lr"] for group in groups if group["optimizer"] == optimizer]
    rates = rates[:: len(rates) // 20]
    assert len(rates) == 20
    assert int(np.argmax(rates)) == 5
    assert max(rates) == pytest.approx(peak, rel=1e-12)
    assert rates[:6] == sorted(rates[:6])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 1e-4 * max(rates)
    assert {group["momentum"] for group in groups} == {0.9}
    assert all(group["nesterov"] for group in groups if group["optimizer"] == "SGD")


def test_norms_and_biases_are_not_decayed() -> None:
    """With SGD, weight decay acts on kernels and matrices, and every parameter is in one group."""
    network = small_network()
    decayed, others = recorded_groups(
        network, small_dataset(), epochs=1, batch_size=24, weight_decay=0.01, optimizer="sgd"
    )
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.01, 0)
    assert decayed["ids"] == weights_of(network, nn.Conv2d, nn.Linear)
    assert decayed["ids"] | others["ids"] == set(map(id, network.parameters()))
    assert not decayed["ids"] & others["ids"]


def test_muon_takes_the_kernels_that_mix_channels() -> None:
    """Muon moves and decays what convolutions over all channels hold, SGD the rest."""
    network = small_network()
    depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    network.insert(3, depthwise)
    groups = recorded_groups(network, small_dataset(), epochs=1, batch_size=24, weight_decay=0.001)
    by_muon = [group["ids"] for group in groups if group["optimizer"] == "Muon"]
    assert [g["weight_decay"] for g in groups if g["optimizer"] == "Muon"] == [pytest.approx(0.1)]
    assert by_muon == [weights_of(network, nn.Conv2d) - {id(depthwise.weight)}]
    by_sgd = set().union(*(group["ids"] for group in groups if group["optimizer"] == "SGD"))
    assert by_sgd == set(map(id, network.parameters())) - by_muon[0]


def test_frozen_kernels_stay() -> None:
    """A kernel that is not to be trained is in no group and does not move."""
    network = small_network()
    network[0].weight.requires_grad_(False)
    before = network[0].weight.clone()
    groups = recorded_groups(network, small_dataset(), epochs=2)
    assert id(network[0].weight) not in set().union(*(group["ids"] for group in groups))
    assert torch.equal(network[0].weight, before)


def test_a_network_without_kernels_is_trained_by_sgd_alone() -> None:
    """Without a convolution both optimizers are the same."""
    states = []
    for optimizer in ("muon", "sgd"):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
        groups = recorded_groups(network, small_dataset(), epochs=2, optimizer=optimizer)
        assert {group["optimizer"] for group in groups} == {"SGD"}
        states.append(network[1].weight.detach().clone())
    assert torch.equal(*states)


class Skipping(nn.Module):
    """A network that leaves its branch out in the first passes, and takes it from then on."""

    def __init__(self, n_skipped: int) -> None:
        super().__init__()
        self.left = n_skipped
        self.branch, self.linear = nn.Linear(64, 64), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 1, 8, 8) → (N, 3)."""
        self.left -= self.training and torch.is_grad_enabled()
        x = x.flatten(1)
        logits: Tensor = self.linear(x if self.left >= 0 else x + self.branch(x))
        return logits


@pytest.mark.parametrize("optimizer", ["muon", "sgd"])
def test_a_weight_may_get_its_first_gradient_late(optimizer: str) -> None:
    """A layer that is left out in the first steps is moved from its first gradient on."""
    torch.manual_seed(0)
    network = Skipping(n_skipped=2)
    before = network.branch.weight.detach().clone()
    train(network, small_dataset(), epochs=1, batch_size=8, validation=0.0, optimizer=optimizer)
    late = network.branch.weight.detach().clone()
    assert not torch.equal(late, before)
    network = Skipping(n_skipped=3)
    with torch.no_grad():
        network.branch.weight.copy_(before)
    train(network, small_dataset(), epochs=1, batch_size=8, validation=0.0, optimizer=optimizer)
    assert torch.equal(network.branch.weight, before)


STEPS = 4
"""Steps of an epoch of `small_dataset` in batches of 16."""


def test_another_optimizer_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An optimizer that is added to the table is trained with, kept, and continued."""

    def by_adam(network: nn.Module, settings: Any) -> list[torch.optim.Optimizer]:
        rate = settings.learning_rate / 100
        return [torch.optim.Adam(network.parameters(), rate, betas=(0.85, 0.9))]

    monkeypatch.setitem(OPTIMIZERS, "adam", by_adam)  # type: ignore[arg-type]
    options: dict[str, Any] = {"epochs": 3, "optimizer": "adam", "batch_size": 16}
    whole = train(small_network(), small_dataset(), **options)
    network, passes = small_network(), 0

    def interrupt(module: nn.Module, _: Any) -> None:
        nonlocal passes
        passes += module.training
        if passes > STEPS + 2:
            raise KeyboardInterrupt

    handle = network.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(network, small_dataset(), out=tmp_path, **options)
    handle.remove()
    found = train(network, small_dataset(), out=tmp_path, resume=True, **options)
    one, other = (training.epochs.drop(columns="seconds") for training in (found, whole))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
