"""Trainings whose classes have unequal numbers of images."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_training import small_dataset, small_network
from torch import Tensor, nn

from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.training import train
from pymoo_nas.training._evaluation import balanced_accuracy
from pymoo_nas.training._settings import Settings
from pymoo_nas.training._trainer import Trainer


def rare_digits(n_rare: int = 6) -> Dataset:
    """Digits of two classes, the nines of which there are few."""
    digits = load_dataset("digits")

    def part(images: Any, labels: Any, most: int) -> tuple[Any, Any]:
        eights, nines = np.flatnonzero(labels == 8), np.flatnonzero(labels == 9)[:most]
        chosen = np.concatenate([eights, nines])
        return images[chosen], (labels[chosen] == 9).astype(np.int64)

    train_part = part(digits.train_images, digits.train_labels, n_rare)
    test_part = part(digits.test_images, digits.test_labels, 1000)
    return load_dataset((*train_part, *test_part), augment="none")


def test_balanced_accuracy_of_classes_that_occur() -> None:
    """It is the mean of the recalls, without classes that have no image; NaN without images."""
    labels, predictions = np.array([0, 0, 0, 0, 3]), np.array([0, 0, 0, 1, 0])
    assert balanced_accuracy(labels, predictions) == (3 / 4 + 0) / 2
    assert np.isnan(balanced_accuracy(labels[:0], predictions[:0]))


def test_classes_weigh_alike_in_the_loss() -> None:
    """The loss of an only step is the mean over classes of the mean over their images."""
    dataset = rare_digits()
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    log_p = network(dataset.normalized(dataset.train_images)).log_softmax(1).detach().numpy()
    labels = dataset.train_labels
    options: dict[str, Any] = {"epochs": 1, "batch_size": 10**6, "validation": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        training = train(network, dataset, balance=True, label_smoothing=0.2, **options)
    losses = -(0.8 * log_p[np.arange(len(labels)), labels] + 0.1 * log_p.sum(1))
    expected = (losses[labels == 0].mean() + losses[labels == 1].mean()) / 2
    assert training.epochs["loss"].tolist() == [pytest.approx(expected, rel=1e-5)]


def test_balance_finds_a_rare_class(tmp_path: Path) -> None:
    """With balance the rare class is read better, and the folder says what it came to."""
    recalls = []
    for balance in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            training = train(
                small_network(n_classes=2), rare_digits(), epochs=6, batch_size=32,
                label_smoothing=0.0, balance=balance, out=tmp_path / str(balance),
            )  # fmt: skip
        recalls.append(training.recall["recall"][1])
        assert training.balanced_accuracy == pytest.approx(training.recall["recall"].mean())
    assert recalls[1] > recalls[0]
    described = json.loads((tmp_path / "True" / "training.json").read_text("utf-8"))
    assert described["settings"]["balance"] is True
    assert described["balanced_accuracy"] == training.balanced_accuracy
    best = training.epochs["validation_balanced_accuracy"][training.best_epoch - 1]
    assert described["validation_balanced_accuracy"] == best


class Scripted(nn.Module):
    """Judges images by their brightness: in the first epoch, of one step, in another way."""

    def __init__(
        self, first: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.shift = nn.Linear(1, 1)
        self.ways = (first, first, second)  # the trial pass is a step
        self.n_steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.n_steps += int(self.training)
        brightness = x.mean((1, 2, 3))
        rare = self.ways[min(self.n_steps, 3) - 1](brightness)
        return 0 * self.shift(brightness[:, None]) + nn.functional.pad(rare[:, None], (1, 0))


@pytest.mark.parametrize(("n_rare", "expected"), [(8, 2), (30, 1)])
def test_unequal_classes_are_judged_by_balanced_accuracy(n_rare: int, expected: int) -> None:
    """Where classes are unequal, an epoch that finds the rare one wins, though less accurate."""
    n = 40
    labels = np.repeat([0, 1], [n, n_rare])
    brightness = np.where(labels == 1, 1.0, 0.0)
    brightness[: n // 4] = 1.0  # a quarter of the frequent class looks like the rare one
    if n_rare == 30:  # nearly equal classes, and the second epoch is the less accurate one
        brightness[: n - 1] = 1.0
    images = (brightness[:, None, None, None] * np.ones((1, 2, 2, 1))).astype(np.float32)
    dataset = Dataset("rare", images, labels, images, labels, ("a", "b"), "none", images, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        training = train(
            Scripted(lambda x: x - 10.0, lambda x: x + 0.2), dataset, epochs=2, batch_size=100
        )
    accuracy = training.epochs["validation_accuracy"]
    assert accuracy[0] > accuracy[1]
    assert training.best_epoch == expected


def test_rare_classes_tell_epochs_apart_only_by_their_own_images() -> None:
    """With five rare images one more wrong is no worse epoch, whatever the others are."""
    labels = np.repeat([0, 1], [200, 5])
    images = np.zeros((205, 2, 2, 1), np.float32)
    images[labels == 1] = np.array([1, 1, 1, 1, 0], np.float32)[:, None, None, None]
    dataset = Dataset("rare", images, labels, images, labels, ("a", "b"), "none", images, labels)

    def all_but_one(x: Tensor) -> Tensor:
        return (x - 0.5).index_fill(0, (x > 0.5).nonzero()[:1, 0], -0.5)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        training = train(
            Scripted(lambda x: x - 0.5, all_but_one), dataset, epochs=2, batch_size=256
        )
    found = training.epochs["validation_balanced_accuracy"].tolist()
    assert found == pytest.approx([0.9, 0.8])
    assert training.best_epoch == 2


class Constant(nn.Module):
    """Always predicts one class."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        bias = x.new_tensor([0.0, 1.0, 0.0])
        logits: Tensor = 0 * self.linear(x.flatten(1)) + bias
        return logits


@pytest.mark.parametrize(("balance", "remedy"), [(False, "--balance"), (True, "more images of")])
def test_a_class_that_is_never_predicted_is_told(balance: bool, remedy: str) -> None:
    """Classes of the test images that no image is taken for are named, with what may help."""
    with pytest.warns(UserWarning, match=rf"for 2 of 3 classes: a, c; {remedy}"):
        train(Constant(), small_dataset(), epochs=1, balance=balance)


@pytest.mark.filterwarnings("error:no test image is taken for")
def test_a_class_without_test_images_is_not_missed() -> None:
    """A class that has no test image need not be predicted."""
    dataset = small_dataset(60)
    only = dataset.test_labels == 1
    dataset = replace(
        dataset, test_images=dataset.test_images[only], test_labels=dataset.test_labels[only]
    )
    training = train(Constant(), dataset, epochs=1)
    assert training.test_accuracy == training.balanced_accuracy == 1.0


def test_images_that_judge_count_less_where_classes_are_unequal() -> None:
    """A balanced accuracy of 14 and 2 images is as exact as that of 7 images of equal classes."""
    labels = np.repeat([0, 1], [140, 20])
    images = np.random.default_rng(0).integers(0, 255, (160, 8, 8, 1)).astype(np.uint8)
    dataset = Dataset("rare", images, labels, images[:2], labels[:2], ("a", "b"), False)
    trainer = Trainer(small_network(n_classes=2), dataset, Settings(), torch.device("cpu"))
    assert np.bincount(trainer.judging[1]).tolist() == [14, 2]
    assert trainer.n_judging == pytest.approx(2**2 / (1 / 14 + 1 / 2))
    equal = Trainer(small_network(), small_dataset(60), Settings(), torch.device("cpu"))
    assert equal.n_judging == len(equal.judging[1]) > 0
