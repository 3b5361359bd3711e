"""Settings, networks and data sets that cannot be trained, and trainings that diverge."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import same_state, small_dataset, small_network
from torch import Tensor, nn

from pymoo_nas.errors import DatasetError, DeviceError, NetworkError, SearchError
from pymoo_nas.training import train
from pymoo_nas.training._weights import copy_state


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", 2**53 + 1),
        ("batch_size", 0),
        ("batch_size", -3),
        ("learning_rate", 0.0),
        ("learning_rate", -0.1),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("learning_rate", 1e39),
        ("learning_rate", "fast"),
        ("weight_decay", -1e-4),
        ("label_smoothing", 1.5),
        ("validation", 1.0),
        ("validation", -0.1),
        ("validation", math.nan),
        ("seed", -1),
        ("cutout", -1),
        ("cutout", 0.5),
        ("cutout", True),
        ("cutout", 9),
        ("precision", "float16"),
        ("optimizer", "adam"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    """A setting out of range is named with its value, and nothing is written or trained."""
    network = small_network()
    before = copy_state(network)
    with pytest.raises(SearchError, match=re.escape(f"{name} is {value!r}; expected")):
        train(network, small_dataset(), out=tmp_path / "run", **{name: value})
    assert not (tmp_path / "run").exists()
    assert same_state(copy_state(network), before)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.linear(x.flatten(1))
        return logits, logits


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (small_network(n_classes=4), r"output \(7, 4\).*expected \(7, 3\)"),
        (small_network(channels=3), r"images of shape \(7, 1, 8, 8\).*channels"),
        (nn.Sequential(nn.Conv2d(1, 3, 9), nn.Flatten()), r"shape \(7, 1, 8, 8\)"),
        (Pair(), "output tuple"),
        (nn.Sequential(nn.AdaptiveAvgPool2d((1, 3)), nn.Flatten()), "no trainable parameters"),
    ],
    ids=["classes", "channels", "size", "tuple", "parameters"],
)
def test_unfit_networks_are_refused(tmp_path: Path, network: nn.Module, message: str) -> None:
    """A network that cannot take the images is refused as it was, before anything is written."""
    before = copy_state(network)
    with pytest.raises(NetworkError, match=message):
        train(network, small_dataset(), batch_size=8, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert same_state(copy_state(network), before)


def test_batch_norm_on_one_value_is_refused() -> None:
    """A batch of one that a batch norm cannot normalise is an error before training."""
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 3))
    with pytest.raises(NetworkError, match=r"shape \(1, 1, 8, 8\)"):
        train(network, small_dataset(), batch_size=1)


def test_nothing_to_hold_out_is_refused() -> None:
    """Classes of one image each cannot give a validation set."""
    with pytest.raises(DatasetError, match="validation=0"):
        train(small_network(), small_dataset(n_train=3))


def test_no_test_images_are_refused() -> None:
    """A data set without test images is refused before training."""
    with pytest.raises(DatasetError, match="0 test images"):
        train(small_network(), small_dataset(n_test=0))


def test_unknown_device_is_refused_before_training(tmp_path: Path) -> None:
    """A device that is not there leaves no folder behind."""
    with pytest.raises(DeviceError, match="tpu"):
        train(small_network(), small_dataset(), device="tpu", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_infinite_loss_stops_the_training() -> None:
    """A loss that overflows is an error with the epoch, the rate and what to lower."""
    with pytest.raises(NetworkError, match=r"in epoch \d+ at learning rate .*--learning-rate"):
        train(small_network(), small_dataset(48), epochs=5, batch_size=8, learning_rate=1e30)


class Scaled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 1e10 * x


def test_overflow_in_the_last_step_is_noticed(tmp_path: Path) -> None:
    """Weights that overflow after the only loss was computed are an error too, and not saved."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), Scaled())
    with pytest.raises(NetworkError, match="weights became infinite or NaN in epoch 1"):
        train(network, small_dataset(), epochs=1, batch_size=100, learning_rate=1e30, out=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


class Moody(nn.Module):
    """Adds something to its outputs, or fails, in some batches and modes only."""

    def __init__(self, change: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.body = small_network()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.change(self, x)


def failing(module: nn.Module, x: Tensor) -> Tensor:
    if len(x) < 4 and module.training:
        raise ValueError("too few")
    return torch.zeros(())


def failing_in_eval(module: nn.Module, x: Tensor) -> Tensor:
    del x
    if not module.training:
        raise RuntimeError("no eval")
    return torch.zeros(())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (failing, r"be trained on images of shape \(3, 1, 8, 8\).*ValueError: too few"),
        (failing_in_eval, r"cannot take images .*RuntimeError: no eval"),
        (lambda module, _: torch.tensor(0.0 if module.training else math.nan), "NaN or infinite"),
        (lambda module, _: torch.tensor(0.0 if module.training else math.inf), "NaN or infinite"),
    ],
    ids=["last batch", "eval", "NaN", "infinity"],
)
def test_networks_that_fail_after_the_first_batch(
    change: Callable[[nn.Module, Tensor], Tensor], message: str, tmp_path: Path
) -> None:
    """An error from inside the network names the images; NaN is never taken for a class."""
    with pytest.raises(NetworkError, match=message):
        train(Moody(change), small_dataset(11), epochs=1, batch_size=4, validation=0, out=tmp_path)
    assert not (tmp_path / "training.json").exists()


def test_minus_infinity_is_a_probability_of_nothing() -> None:
    """A class that a network excludes has a logit of minus infinity."""
    excluded = torch.tensor([0.0, 0.0, -math.inf])
    network = Moody(lambda module, _: torch.zeros(3) if module.training else excluded)
    with pytest.warns(UserWarning, match="no test image is taken"):
        training = train(network, small_dataset(), epochs=1, validation=0)
    assert (training.confusion.to_numpy()[:, 2] == 0).all()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_training_where_gradients_are_off(mode: Callable[[], Any]) -> None:
    """As in a cell of a notebook: a training switches them on for itself."""
    network, usual = small_network(), small_network()
    with mode():
        train(network, small_dataset(), epochs=1)
        assert not torch.is_grad_enabled()
    train(usual, small_dataset(), epochs=1)
    assert same_state(copy_state(network), copy_state(usual))


def test_more_threads_than_any_machine_has(tmp_path: Path) -> None:
    """A number of threads out of range is refused by name."""
    before = torch.get_num_threads()
    for threads in (0, 2**12 + 1, 2**31, 2**70):
        with pytest.raises(SearchError, match="threads"):
            train(small_network(), small_dataset(), threads=threads, out=tmp_path / "run")
    assert torch.get_num_threads() == before
    assert not (tmp_path / "run").exists()
