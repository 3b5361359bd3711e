"""Settings, networks and data sets that cannot be trained, and trainings that diverge."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
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
