"""Trainings that keep a moving average of the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from small_training import small_dataset, small_network
from test_training_resume import OPTIONS, STEPS, ends_as_undisturbed, interrupted
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from pymoo_nas.errors import RunError, SearchError
from pymoo_nas.training import STATE_FILE, train
from pymoo_nas.training._averaging import WeightAverage

DECAY = 0.6


def test_average_of_three_steps() -> None:
    """The share min(decay, (1 + t) / (10 + t)) of the average stays in step t."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 8.0)
    average = WeightAverage(layer, 0.24)
    for weight in (2.0, 0.0, 1.0):
        nn.init.constant_(layer.weight, weight)
        average.update()
    # 2/11 of 8 and 9/11 of 2; then 0.24, which is less than 3/12, and again less than 4/13.
    expected = (((2 / 11) * 8 + (9 / 11) * 2) * 0.24) * 0.24 + 0.76 * 1.0
    assert average.values[0].item() == pytest.approx(expected)
    with average.in_place():
        assert layer.weight.item() == pytest.approx(expected)
    assert layer.weight.item() == 1.0


def test_kept_weights_are_the_average() -> None:
    """The weights in the end are the average over all steps, by a loop over recorded weights."""
    network = small_network()
    recorded = [[weight.detach().clone() for weight in network.parameters()]]
    hook = register_optimizer_step_post_hook(
        lambda *_: recorded.append([weight.detach().clone() for weight in network.parameters()])
    )
    try:
        options: dict[str, Any] = {"epochs": 2, "batch_size": 8, "validation": 0.0}
        train(network, small_dataset(), optimizer="sgd", ema=DECAY, **options)
    finally:
        hook.remove()
    assert len(recorded) == 1 + 2 * 3
    expected = [weight.double() for weight in recorded[0]]
    for step, weights in enumerate(recorded[1:], start=1):
        decay = min(DECAY, (1 + step) / (10 + step))
        pairs = zip(expected, weights, strict=True)
        expected = [decay * old + (1 - decay) * new for old, new in pairs]
    for found, value in zip(network.parameters(), expected, strict=True):
        assert found.detach().numpy() == pytest.approx(value.numpy(), rel=1e-5, abs=1e-6)


def test_norms_have_the_statistics_of_the_average() -> None:
    """The first norm holds mean and variance of what the averaged kernels make of the images."""
    network, data = small_network(), small_dataset()
    train(network, data, epochs=2, batch_size=8, validation=0.0, ema=DECAY)
    maps = network[0](data.normalized(data.train_images)).detach().transpose(0, 1).flatten(1)
    norm: Any = network[1]
    assert norm.running_mean.numpy() == pytest.approx(maps.mean(1).numpy(), abs=1e-5)
    assert norm.running_var.numpy() == pytest.approx(maps.var(1, correction=0).numpy(), rel=1e-4)


def test_the_training_itself_stays_as_it_is() -> None:
    """Losses and accuracies on the images trained on are those without an average."""
    plain, averaged = (
        train(small_network(dropout=0.5), small_dataset(), **OPTIONS, ema=ema).epochs
        for ema in (0.0, DECAY)
    )
    for column in ("loss", "train_accuracy", "learning_rate"):
        assert (plain[column] == averaged[column]).all()


@pytest.mark.parametrize("passes", [1 + STEPS, 1 + 2 * STEPS + 1])
def test_average_is_continued(tmp_path: Path, passes: int) -> None:
    """An interrupted training with an average ends as the undisturbed one, to the bit."""
    assert ends_as_undisturbed(tmp_path, passes, ema=DECAY)


def test_another_decay_or_a_lost_average_is_refused(tmp_path: Path) -> None:
    """A training continues with the average that it had, or not at all."""
    interrupted(tmp_path, 1 + STEPS, ema=DECAY)
    again: dict[str, Any] = {**OPTIONS, "out": tmp_path, "resume": True}
    with pytest.raises(RunError, match=r"ema: 0\.6 then, 0\.0 now"):
        train(small_network(dropout=0.5), small_dataset(), **again)
    path = tmp_path / STATE_FILE
    with safetensors.safe_open(path, framework="pt") as stored:
        metadata = stored.metadata()
    tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    del tensors["average.0"]
    safetensors.torch.save_file(tensors, path, metadata)
    with pytest.raises(RunError, match=r"average\.0"):
        train(small_network(dropout=0.5), small_dataset(), **again, ema=DECAY)


@pytest.mark.parametrize("ema", [-0.1, 1.0, True, float("nan"), "0.9"])
def test_decays_that_are_none(ema: Any) -> None:
    """A decay is a number from 0 to below 1."""
    with pytest.raises(SearchError, match="ema is"):
        train(small_network(), small_dataset(), ema=ema)


def test_decays_of_numpy() -> None:
    """A number of numpy is a decay too."""
    training = train(small_network(), small_dataset(), epochs=1, ema=np.float64(0.5))
    assert torch.isfinite(torch.tensor(training.test_loss))
