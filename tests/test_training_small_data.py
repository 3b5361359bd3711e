"""Trainings on few images: norms, batches, epochs, and what is said of the accuracy."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from small_training import same_state, small_dataset, small_network
from torch import nn

from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.errors import DatasetError, RunError
from pymoo_nas.spaces import Architecture
from pymoo_nas.training import Settings, load_weights, train
from pymoo_nas.training._evaluation import evaluate
from pymoo_nas.training._settings import number_of_batches
from pymoo_nas.training._warnings import differ
from pymoo_nas.training._weights import WEIGHTS_FILE, copy_state


def few_digits(n_train: int) -> Dataset:
    """The first digits as bytes; of 360 others for the test."""
    digits = load_dataset("digits")
    images = (255 * digits.train_images).astype(np.uint8)
    test_images = (255 * digits.test_images).astype(np.uint8)
    arrays = images[:n_train], digits.train_labels[:n_train], test_images, digits.test_labels
    return load_dataset(arrays, augment="none")


@pytest.mark.slow
def test_norms_do_not_lag_where_epochs_have_one_step(tmp_path: Path) -> None:
    """After twenty steps few digits are read by half, by the weights in the folder as well.

    With moving averages this cell read a fifth of them (studies/archive/norms.md).
    """
    dataset = few_digits(60)
    cell = "8,0,0,0|0,0,0,0|0,8,0,0"
    network, other = (Architecture.read(cell).build("trained", dataset) for _ in range(2))
    training = train(network, dataset, epochs=20, batch_size=128, out=tmp_path)
    assert training.test_accuracy > 0.5
    load_weights(other, tmp_path)
    again = evaluate(other, dataset.test_images, dataset.test_labels, dataset)
    assert again.accuracy == training.test_accuracy


def test_kept_norms_hold_the_statistics_of_the_images_trained_on(tmp_path: Path) -> None:
    """The first norm of the kept weights has mean and variance of the images, not augmented."""
    dataset = small_dataset(40, augment=True)
    dataset = replace(dataset, train_images=dataset.train_images[np.argsort(dataset.train_labels)])
    network = nn.Sequential(nn.BatchNorm2d(1), *small_network(dropout=0.5))
    train(network, dataset, epochs=3, batch_size=7, validation=0.0, out=tmp_path)
    stored = safetensors.torch.load_file(tmp_path / WEIGHTS_FILE)
    pixels = dataset.normalized(dataset.train_images).numpy()
    assert stored["0.running_mean"].item() == pytest.approx(pixels.mean(), abs=1e-6)
    assert stored["0.running_var"].item() == pytest.approx(pixels.var(), rel=1e-5)


def test_frozen_norms_keep_their_statistics() -> None:
    """Norms that a network keeps in eval mode are trained with, and kept, as they are."""

    class Frozen(nn.Sequential):
        def train(self, mode: bool = True) -> Frozen:
            super().train(mode)
            self[1].eval()
            return self

    network = Frozen(*small_network())
    train(network, small_dataset(), epochs=2)
    assert torch.equal(network[1].running_var, torch.ones(8))
    assert not torch.equal(network[4].running_var, torch.ones(16))


@pytest.mark.parametrize("n_train", [9, 17, 33])
def test_no_batch_of_one_image_reaches_a_norm(n_train: int) -> None:
    """Norms on maps of one pixel train, though a last batch of one image would be left over."""
    network = nn.Sequential(
        nn.Conv2d(1, 4, 8), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3)
    )
    training = train(network, small_dataset(n_train), epochs=2, batch_size=8, validation=0.0)
    assert training.epochs["loss"].notna().all()


def test_a_single_image_that_a_norm_cannot_take() -> None:
    """Where one image per step is asked for, the error says to raise the batch size."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    with pytest.raises(ValueError, match="raise the batch size"):
        train(network, small_dataset(), batch_size=1)


@pytest.mark.parametrize("n_images", [2, 5, 54, 144, 270, 900, 4500, 45_000, 1_000_000])
def test_there_is_always_a_sensible_number_of_steps(n_images: int) -> None:
    """An epoch of 64 images or more has 8 steps or more, a training 1,500; many are 128."""
    settings = Settings().resolved(n_images)
    size, epochs = settings.batch_size, settings.epochs
    assert isinstance(size, int)
    assert isinstance(epochs, int)
    n_steps = number_of_batches(n_images, size)
    assert n_images < 64 or n_steps >= 8
    assert epochs * n_steps >= 1500
    assert epochs >= 20
    assert n_images < 4500 or size == 128
    assert n_images < 10_000 or epochs == 20


def test_what_was_chosen_is_said_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line tells batch size and epochs, training.json holds the numbers; numpy's are taken."""
    train(small_network(), small_dataset(30), epochs=np.int64(2), out=tmp_path, progress=True)
    assert "27 images, batch size 8: 4 steps per epoch, 2 epochs" in capsys.readouterr().out
    settings = json.loads((tmp_path / "training.json").read_text("utf-8"))["settings"]
    assert (settings["batch_size"], settings["epochs"], settings["validation"]) == (8, 2, 0.1)


def test_settings_default_to_those_of_train() -> None:
    """What is not given is the same for `train` and for the trainings of `choose`."""
    parameters = inspect.signature(train).parameters
    for field in fields(Settings):
        if field.name != "augment":  # the data set's own
            assert parameters[field.name].default == field.default


def with_validation_images(dataset: Dataset, n: int) -> Dataset:
    """The first training images are its validation images, too."""
    kept = dataset.train_images[:n], dataset.train_labels[:n]
    return replace(dataset, val_images=kept[0], val_labels=kept[1])


@pytest.mark.filterwarnings("ignore:.* are training images too")
def test_validation_images_choose_the_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Validation images are used in place of a tenth, unless a fraction is given."""
    dataset = with_validation_images(small_dataset(), 9)
    network = small_network()
    training = train(network, dataset, epochs=2, out=tmp_path, progress=True)
    assert "24 images" in capsys.readouterr().out
    found = evaluate(network, dataset.train_images[:9], dataset.train_labels[:9], dataset)
    assert training.epochs["validation_accuracy"][training.best_epoch - 1] == found.accuracy
    settings = json.loads((tmp_path / "training.json").read_text("utf-8"))["settings"]
    assert settings["validation"] == "val"
    train(small_network(), dataset, epochs=1, validation=0.25, progress=True)
    assert "18 images" in capsys.readouterr().out
    with pytest.raises(DatasetError, match="no validation images"):
        train(small_network(), small_dataset(), validation="val")


@pytest.mark.filterwarnings("ignore:.* are training images too")
def test_a_training_is_not_continued_with_other_validation_images(tmp_path: Path) -> None:
    """Other validation images than before the interrupt are refused; the same give the same."""
    dataset = with_validation_images(small_dataset(), 9)
    options: dict[str, Any] = {"epochs": 3, "batch_size": 8}
    whole = small_network()
    train(whole, dataset, **options)
    network = small_network()
    left = 5

    def stop(module: nn.Module, _: Any) -> None:
        nonlocal left
        left -= module.training
        if left < 0:
            raise KeyboardInterrupt

    network.register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        train(network, dataset, out=tmp_path, **options)
    for other in (with_validation_images(small_dataset(), 12), small_dataset()):
        with pytest.raises(RunError, match="validation"):
            train(small_network(), other, out=tmp_path, resume=True, **options)
    network = small_network()
    train(network, dataset, out=tmp_path, resume=True, **options)
    assert same_state(copy_state(network), copy_state(whole))


def test_a_data_set_by_name_or_arrays() -> None:
    """`train` takes whatever `load_dataset` takes."""
    dataset = small_dataset(30)
    arrays = dataset.train_images, dataset.train_labels
    assert len(train(small_network(), arrays, epochs=1).confusion) == 3
    with pytest.raises(DatasetError, match="dgits"):
        train(small_network(), "dgits")


@pytest.mark.parametrize(
    ("one", "n_one", "other", "n_other", "expected"),
    [
        (1.0, 54, 5 / 6, 6, False),
        (1.0, 540, 50 / 60, 60, True),
        (1.0, 6, 1.0, 6, False),
        (0.99, 1000, 0.96, 1000, True),
        (0.5, 2, 0.0, 2, False),
    ],
)
def test_accuracies_differ_by_their_errors(
    one: float, n_one: int, other: float, n_other: int, expected: bool
) -> None:
    """Two accuracies differ where the difference exceeds two of its standard errors."""
    assert differ(one, n_one, other, n_other) is differ(other, n_other, one, n_one) is expected


@pytest.mark.slow
def test_overfitting_is_told() -> None:
    """Labels that images do not tell are learned by heart: a warning gives both accuracies."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(120, 8, 8, 1)).astype(np.float32)
    labels = np.arange(120) % 3
    dataset = load_dataset((images[:90], labels[:90], images[90:], labels[90:]), augment="none")
    with pytest.warns(UserWarning, match=r"on the 63 images trained on and .* the 27 that judge"):
        train(
            small_network(width=32), dataset, epochs=60, batch_size=8, validation=0.3,
            label_smoothing=0.0,
        )  # fmt: skip
