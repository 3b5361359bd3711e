"""Training and testing of a final network, its files, and the device it runs on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from pymoo_nas.datasets import Dataset
from pymoo_nas.devices import resolve_device, seeded
from pymoo_nas.errors import DatasetError, DeviceError, NetworkError, RunError, SearchError
from pymoo_nas.files import WEIGHTS_FILE, atomic_write, copy_state, load_weights, save_weights
from pymoo_nas.training import (
    augment_images,
    class_results,
    crop_margin,
    evaluate,
    shift_and_flip,
    stratified_split,
    train,
)

ALL_FILES = {WEIGHTS_FILE, "training.csv", "recall.csv", "confusion.csv", "training.json"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images = images.reshape(-1, 8, 8, 1).astype(np.uint8)[order]
    labels = labels.astype(np.int64)[order]
    names = tuple(map(str, range(10)))
    return Dataset(
        "digits", images[:1400], labels[:1400], images[1400:], labels[1400:], names, augment=False
    )


def small_dataset(
    n_train: int = 24,
    *,
    n_test: int = 6,
    size: tuple[int, int] = (8, 8),
    channels: int = 1,
    n_classes: int = 3,
    dtype: Any = np.uint8,
    augment: bool = False,
) -> Dataset:
    """Noise whose brightness tells the class."""
    rng = np.random.default_rng(0)

    def part(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(n, dtype=np.int64) % n_classes
        noise = rng.integers(0, 60, (n, *size, channels))
        return (noise + 60 * labels[:, None, None, None]).astype(dtype), labels

    names = tuple("abcdefgh"[:n_classes])
    return Dataset("noise", *part(n_train), *part(n_test), names, augment)


def small_network(
    channels: int = 1, n_classes: int = 3, width: int = 8, dropout: float = 0.0
) -> nn.Sequential:
    """Two convolutions with batch norm, the same weights each time."""
    with seeded(torch.device("cpu"), 0):
        return nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1, stride=2),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(8 * width, n_classes),
        )


def same_state(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class InterruptedNetwork(nn.Module):
    """Raises KeyboardInterrupt in its training forward pass number `at`."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.inner = small_network()
        self.left = at

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        logits: Tensor = self.inner(x)
        return logits


# --- Training ---------------------------------------------------------------------------------


def test_digits_are_learned(digits: Dataset) -> None:
    """A small CNN reads more than nine in ten unseen digits after a few epochs."""
    network = small_network(n_classes=10, width=16)
    training = train(network, digits, epochs=6, batch_size=64)
    assert training.test_accuracy > 0.9
    again = evaluate(network, digits.test_images, digits.test_labels, digits)
    assert again.accuracy == training.test_accuracy
    assert training.test_loss == pytest.approx(again.loss, rel=1e-5)


def test_history_has_one_row_per_epoch(digits: Dataset) -> None:
    """`epochs` holds the documented columns, and the accuracies are fractions of whole images."""
    training = train(small_network(n_classes=10), digits, epochs=3)
    assert list(training.epochs) == [
        "epoch", "loss", "train_accuracy", "validation_accuracy", "learning_rate", "seconds"
    ]  # fmt: skip
    assert training.epochs["epoch"].tolist() == [1, 2, 3]
    _, held_out = stratified_split(digits.train_labels, 0.1, torch.Generator().manual_seed(0))
    counted = training.epochs["validation_accuracy"] * len(held_out)
    assert np.allclose(counted, counted.round())
    assert 0 < training.epochs["seconds"].sum() <= training.seconds


def test_equal_seeds_give_equal_weights() -> None:
    """Same seed, same weights to the bit, dropout and augmentation included; another seed not."""
    dataset = small_dataset()
    states = []
    for seed in (3, 3, 4):
        torch.rand(7)  # the global generator stands elsewhere each time
        network = small_network(dropout=0.5)
        train(network, dataset, epochs=3, batch_size=8, augment=True, seed=seed)
        states.append(copy_state(network))
    assert same_state(states[0], states[1])
    assert not same_state(states[0], states[2])


def test_global_random_state_is_left_alone() -> None:
    """Torch's global generator stands where it stood before a training with dropout."""
    before = torch.get_rng_state()
    train(small_network(dropout=0.5), small_dataset(), epochs=1, augment=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_test_images_do_not_influence_the_weights() -> None:
    """Other test images and labels give the same weights, best epoch and history."""
    one = small_dataset()
    other = Dataset(
        one.name,
        one.train_images,
        one.train_labels,
        one.test_images[::-1] // 2,
        one.test_labels,
        one.class_names,
        one.augment,
    )
    networks = [small_network(), small_network()]
    trainings = [
        train(network, dataset, epochs=4, batch_size=8, validation=0.3)
        for network, dataset in zip(networks, (one, other), strict=True)
    ]
    assert same_state(copy_state(networks[0]), copy_state(networks[1]))
    first, second = (training.epochs.drop(columns="seconds") for training in trainings)
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert trainings[0].test_loss != trainings[1].test_loss


class SpoiledNetwork(nn.Module):
    """Gives equal logits for all classes after so many training steps."""

    def __init__(self, good_steps: int) -> None:
        super().__init__()
        self.inner = small_network()
        self.good_steps = good_steps
        self.register_buffer("n_steps", torch.zeros((), dtype=torch.long))
        self.n_steps: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.n_steps += int(self.training)
        logits: Tensor = self.inner(x)
        return logits * (self.n_steps <= self.good_steps)


def test_weights_of_best_validation_epoch_are_kept(tmp_path: Path) -> None:
    """Where later epochs are worse, the network and the folder end with the best one's weights."""
    dataset = small_dataset(90)
    network = SpoiledNetwork(good_steps=20)
    training = train(network, dataset, epochs=4, batch_size=8, validation=0.1, seed=1, out=tmp_path)
    history = training.epochs["validation_accuracy"]
    assert history.max() > history.iloc[-1]
    assert training.best_epoch <= 2
    assert history[training.best_epoch - 1] == history.max()
    # 81 images make 10 steps per epoch; the trial pass before the first is not counted.
    assert int(network.n_steps) == 10 * training.best_epoch
    assert same_state(copy_state(network), safetensors.torch.load_file(tmp_path / WEIGHTS_FILE))
    _, held_out = stratified_split(dataset.train_labels, 0.1, torch.Generator().manual_seed(1))
    images, labels = dataset.train_images[held_out], dataset.train_labels[held_out]
    assert evaluate(network, images, labels, dataset).accuracy == history.max()


def test_equal_accuracies_are_decided_by_the_loss() -> None:
    """Among epochs of equal validation accuracy the one of the smallest loss is kept."""

    class Fixed(nn.Module):
        """Right on the validation images in every epoch, surest after the second."""

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 3)
            self.register_buffer("n_steps", torch.zeros((), dtype=torch.long))
            self.n_steps: Tensor

        def forward(self, x: Tensor) -> Tensor:
            self.n_steps += int(self.training)
            order = x.mean((1, 2, 3))
            sureness = 1.0 if int(self.n_steps) == 2 else 0.1
            middle = torch.stack([-order, 0.5 - order.abs(), order], 1)
            logits: Tensor = sureness * middle + 0 * self.linear(x.flatten(1))
            return logits

    training = train(Fixed(), small_dataset(90), epochs=4, validation=0.2)
    assert training.epochs["validation_accuracy"].tolist() == [1.0] * 4
    assert training.best_epoch == 2


def test_without_validation_the_last_epoch_is_kept() -> None:
    """validation=0 trains on every image, knows no validation accuracy and keeps the last epoch."""
    training = train(small_network(), small_dataset(), epochs=3, validation=0.0)
    assert training.best_epoch == 3
    assert training.epochs["validation_accuracy"].isna().all()


def test_network_ends_in_eval_mode_with_its_tensors_contiguous() -> None:
    """A trained network is ready to use, and no tensor kept another memory format."""
    network = small_network()
    train(network, small_dataset(), epochs=1)
    assert not any(module.training for module in network.modules())
    assert all(tensor.is_contiguous() for tensor in network.state_dict().values())


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize(
    "dataset",
    [
        small_dataset(size=(5, 9), channels=3, dtype=np.float32),
        small_dataset(size=(8, 8), channels=5, n_classes=2),
        small_dataset(size=(1, 1)),
    ],
    ids=["non-square float RGB", "five channels", "one pixel"],
)
def test_any_image_form_trains(dataset: Dataset, augment: bool) -> None:
    """Floats, other channel counts, non-square and one-pixel images train, augmented or not."""
    network = small_network(dataset.in_channels, dataset.n_classes)
    training = train(network, dataset, epochs=2, batch_size=8, augment=augment)
    assert training.epochs["loss"].notna().all()
    assert training.confusion.to_numpy().sum() == len(dataset.test_labels)


def test_read_only_images_train_and_stay_as_they_are() -> None:
    """A data set's arrays may be read-only and are not written to."""
    dataset = small_dataset(augment=True)
    for array in (dataset.train_images, dataset.train_labels, dataset.test_images):
        array.setflags(write=False)
    before = dataset.train_images.copy()
    train(small_network(), dataset, epochs=1)
    assert np.array_equal(dataset.train_images, before)


def test_networks_that_view_their_maps_train() -> None:
    """A network that needs the contiguous memory format, as `view` does, gets it."""

    class Viewing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 4, 3, padding=1)
            self.linear = nn.Linear(4 * 64, 3)

        def forward(self, x: Tensor) -> Tensor:
            maps = self.convolution(x)
            logits: Tensor = self.linear(maps.view(len(x), -1))
            return logits

    dataset = small_dataset(channels=3)
    batch = dataset.normalized(dataset.train_images)
    with pytest.raises(RuntimeError, match="view"):
        Viewing()(batch.contiguous(memory_format=torch.channels_last))
    assert len(train(Viewing(), dataset, epochs=2).epochs) == 2


def record_batches(network: nn.Module) -> list[int]:
    """The sizes of the batches that a network is trained on; the trial pass comes first."""
    sizes: list[int] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training:
            sizes.append(len(inputs[0]))

    network.register_forward_pre_hook(note)
    return sizes


@pytest.mark.parametrize(
    ("n_train", "batch_size", "expected"),
    [(25, 8, [8, 8, 8]), (6, 100, [6]), (7, 7, [7]), (15, 8, [8])],
)
def test_incomplete_batches_are_left_out(
    n_train: int, batch_size: int, expected: list[int]
) -> None:
    """Batches are complete, unless the data set is smaller than one batch."""
    network = small_network()
    sizes = record_batches(network)
    train(network, small_dataset(n_train), epochs=1, batch_size=batch_size, validation=0.0)
    assert sizes[1:] == expected


def test_each_epoch_sees_each_image_once_in_another_order() -> None:
    """With whole batches an epoch is a permutation of the training images, not the one before."""
    images = np.arange(12, dtype=np.float32).reshape(12, 1, 1, 1) * np.ones((1, 2, 2, 1), "f4")
    labels = np.arange(12, dtype=np.int64) % 2
    dataset = Dataset("numbered", images, labels, images, labels, ("a", "b"), augment=False)
    seen: list[float] = []
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    network.register_forward_pre_hook(
        lambda module, inputs: seen.extend(
            inputs[0][:, 0, 0, 0].tolist() if module.training else []
        )
    )
    train(network, dataset, epochs=2, batch_size=4, validation=0.0)
    first, second = seen[4:16], seen[16:]
    expected = dataset.normalized(images)[:, 0, 0, 0].tolist()
    assert sorted(first) == sorted(second) == sorted(expected)
    assert first != second


def recorded_groups(network: nn.Module, dataset: Dataset, **options: Any) -> list[list[Any]]:
    """(rate, weight decay, momentum, nesterov, parameter ids) per group at every step."""
    steps: list[list[Any]] = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        steps.append(
            [
                (g["lr"], g["weight_decay"], g["momentum"], g["nesterov"], [*map(id, g["params"])])
                for g in optimizer.param_groups
            ]
        )

    handle = register_optimizer_step_pre_hook(note)
    try:
        train(network, dataset, validation=0.0, **options)
    finally:
        handle.remove()
    return steps


def test_learning_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    """The rate peaks at `learning_rate` after three tenths of the steps, momentum staying 0.9."""
    steps = recorded_groups(
        small_network(), small_dataset(40), epochs=4, batch_size=8, learning_rate=0.05
    )
    rates = [groups[0][0] for groups in steps]
    assert len(rates) == 20
    assert int(np.argmax(rates)) == 5
    assert max(rates) == pytest.approx(0.05, rel=1e-12)
    assert rates[:6] == sorted(rates[:6])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 1e-4 * max(rates)
    assert {group[2:4] for groups in steps for group in groups} == {(0.9, True)}


def test_norms_and_biases_are_not_decayed() -> None:
    """Weight decay acts on kernels and matrices only, and every parameter is in one group."""
    network = small_network()
    groups = recorded_groups(network, small_dataset(), epochs=1, weight_decay=0.01)[0]
    decayed = {key for group in groups if group[1] == 0.01 for key in group[4]}
    others = {key for group in groups if group[1] == 0 for key in group[4]}
    layers = [m for m in network if isinstance(m, nn.Conv2d | nn.Linear)]
    assert decayed == {id(layer.weight) for layer in layers}
    assert decayed | others == {id(weight) for weight in network.parameters()}
    assert not decayed & others


def test_a_single_step_moves_the_weights() -> None:
    """One epoch of one batch trains, although one step is too short for a cycle."""
    network = small_network()
    before = copy_state(network)
    train(network, small_dataset(), epochs=1, batch_size=100)
    after = copy_state(network)
    assert not torch.allclose(after["0.weight"], before["0.weight"], atol=1e-4)


def test_training_loss_is_smoothed_cross_entropy() -> None:
    """The loss of an only step is the smoothed cross-entropy of the initial weights."""
    dataset = small_dataset()
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    log_p = network(dataset.normalized(dataset.train_images)).log_softmax(1).detach().numpy()
    training = train(
        network, dataset, epochs=1, batch_size=100, validation=0.0, label_smoothing=0.3
    )
    # A target has 0.7 on the label and 0.1 on each of the three classes.
    chosen = log_p[np.arange(24), dataset.train_labels]
    expected = -(0.7 * chosen + 0.1 * log_p.sum(1)).mean()
    assert training.epochs["loss"].tolist() == [pytest.approx(expected, rel=1e-5)]


def test_frozen_parameters_stay() -> None:
    """Parameters that need no gradient are not trained."""
    network = small_network()
    network[0].requires_grad_(False)
    before = copy_state(network)
    train(network, small_dataset(), epochs=1)
    after = copy_state(network)
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert not torch.equal(after["3.weight"], before["3.weight"])


def test_progress_shows_a_line_per_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    """With progress=True each epoch leaves a line with its loss and accuracies."""
    training = train(small_network(), small_dataset(), epochs=2, progress=True)
    shown = capsys.readouterr().out
    for row in training.epochs.itertuples():
        line = next(text for text in shown.splitlines() if f"epoch {row.epoch}/2  loss" in text)
        assert f"loss {row.loss:.4f}" in line
        assert f"validation {row.validation_accuracy:6.1%}" in line


def test_training_is_silent_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Without progress nothing is printed."""
    train(small_network(), small_dataset(), epochs=1)
    assert capsys.readouterr() == ("", "")


# --- Errors -----------------------------------------------------------------------------------


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
        (small_network(n_classes=4), r"output \(8, 4\).*expected \(8, 3\)"),
        (small_network(channels=3), r"images of shape \(8, 1, 8, 8\).*channels"),
        (nn.Sequential(nn.Conv2d(1, 3, 9), nn.Flatten()), r"shape \(8, 1, 8, 8\)"),
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
    assert list(tmp_path.iterdir()) == []


# --- Evaluation -------------------------------------------------------------------------------


def test_evaluation_equals_one_image_at_a_time() -> None:
    """Logits, predictions, accuracy and loss equal those of a loop over single images."""
    dataset = small_dataset(n_test=11, channels=2)
    network = small_network(channels=2, dropout=0.5)
    result = evaluate(network, dataset.test_images, dataset.test_labels, dataset, batch_size=4)
    network.eval()
    n_correct, losses = 0, []
    for index, label in enumerate(dataset.test_labels):
        logits = network(dataset.normalized(dataset.test_images[index : index + 1]))[0].detach()
        assert torch.allclose(result.logits[index], logits, atol=1e-6)
        assert result.predictions[index] == int(logits.argmax())
        n_correct += int(logits.argmax()) == label
        losses.append(-float(logits.log_softmax(0)[label]))
    assert result.accuracy == pytest.approx(n_correct / 11)
    assert result.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert not result.logits.requires_grad


def test_evaluation_needs_one_label_per_image() -> None:
    """No images, or a different number of labels, is an error with both counts."""
    dataset = small_dataset()
    network = small_network()
    with pytest.raises(DatasetError, match="6 images and 5 labels"):
        evaluate(network, dataset.test_images, dataset.test_labels[:5], dataset)
    with pytest.raises(DatasetError, match="0 images"):
        evaluate(network, dataset.test_images[:0], dataset.test_labels[:0], dataset)


@given(
    pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30),
)
def test_recall_and_confusion_equal_counting(pairs: list[tuple[int, int]]) -> None:
    """Recall and confusion equal counts by an obvious loop, NaN for a class without images."""
    labels = np.array([true for true, _ in pairs], dtype=np.int64)
    predictions = np.array([predicted for _, predicted in pairs], dtype=np.int64)
    names = ("cat", "dog", "eel", "fox")
    recall, confusion = class_results(labels, predictions, names)
    for i, true in enumerate(names):
        for j, predicted in enumerate(names):
            assert confusion.loc[true, predicted] == pairs.count((i, j))
        images = sum(label == i for label, _ in pairs)
        row = recall.iloc[i]
        assert (row["class"], row["images"], row["correct"]) == (true, images, pairs.count((i, i)))
        if images:
            assert row["recall"] == pairs.count((i, i)) / images
        else:
            assert math.isnan(row["recall"])


# --- The split --------------------------------------------------------------------------------


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    fraction=st.floats(0, 0.99),
    seed=st.integers(0, 10),
)
def test_split_is_stratified(labels: list[int], fraction: float, seed: int) -> None:
    """Both parts make up the whole, and every class gives its share within the stated limits."""
    array = np.array(labels, dtype=np.int64)
    fitted, held_out = stratified_split(array, fraction, torch.Generator().manual_seed(seed))
    assert sorted([*fitted, *held_out]) == list(range(len(labels)))
    for label in set(labels):
        n = labels.count(label)
        n_held = int((array[held_out] == label).sum())
        if fraction == 0 or n == 1:
            assert n_held == 0
        else:
            assert 1 <= n_held <= n - 1
            assert abs(n_held - fraction * n) <= max(0.5, 1 - fraction * n, fraction * n - (n - 1))


def test_split_follows_the_seed() -> None:
    """Equal seeds hold out the same images, other seeds others."""
    labels = np.arange(200, dtype=np.int64) % 4
    parts = [
        stratified_split(labels, 0.2, torch.Generator().manual_seed(seed))[1].tolist()
        for seed in (0, 0, 1)
    ]
    assert parts[0] == parts[1] != parts[2]
    assert len(parts[0]) == 40


# --- Augmentation -----------------------------------------------------------------------------


def images_of(n: int, channels: int, height: int, width: int) -> Tensor:
    count = n * channels * height * width
    return torch.arange(count, dtype=torch.float32).reshape(n, channels, height, width)


sizes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))


@given(shape=sizes)
def test_flip_is_its_own_inverse(shape: tuple[int, int, int, int]) -> None:
    """Flipping all images twice gives them back, and once mirrors every row."""
    images = images_of(*shape)
    still, flip = torch.zeros(shape[0], dtype=torch.long), torch.ones(shape[0], dtype=torch.bool)
    flipped = shift_and_flip(images, still, still, flip)
    assert torch.equal(flipped, images.flip(3))
    assert torch.equal(shift_and_flip(flipped, still, still, flip), images)


@given(shape=sizes, data=st.data())
def test_shift_equals_crop_of_padded_image(
    shape: tuple[int, int, int, int], data: st.DataObject
) -> None:
    """Each image equals a crop of itself with reflected borders, mirrored where it is flipped."""
    n, _, height, width = shape
    images = images_of(*shape)

    def numbers(low: int, high: int) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=n, max_size=n))

    down, right = numbers(1 - height, height - 1), numbers(1 - width, width - 1)
    flip = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    result = shift_and_flip(
        images, torch.tensor(down), torch.tensor(right), torch.tensor(flip, dtype=torch.bool)
    )
    assert result.shape == images.shape
    for index in range(n):
        beyond = ((0, 0), (height - 1, height - 1), (width - 1, width - 1))
        padded = np.pad(images[index].numpy(), beyond, mode="reflect")
        top, left = height - 1 + down[index], width - 1 + right[index]
        expected = padded[:, top : top + height, left : left + width]
        if flip[index]:
            expected = expected[:, :, ::-1]
        assert np.array_equal(result[index].numpy(), expected)


def test_shift_and_flip_by_hand() -> None:
    """One image of 2x3 pixels, shifted down by one, right by one, and then mirrored."""
    image = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    one = torch.tensor([1])
    # Row 1, then row 2, which the border at row 1 mirrors to row 0; columns 1, 2, and 3 → 1.
    shifted = [[5.0, 6.0, 5.0], [2.0, 3.0, 2.0]]
    assert shift_and_flip(image, one, one, torch.tensor([False])).tolist() == [[shifted]]
    # One to the left: columns -1 → 1, 0, 1, and mirrored 1, 0, 1; the rows as they are.
    still = torch.tensor([0])
    mirrored = shift_and_flip(image, still, -one, torch.tensor([True])).tolist()
    assert mirrored == [[[[2.0, 1.0, 2.0], [5.0, 4.0, 5.0]]]]


@pytest.mark.parametrize(("size", "margin"), [(1, 0), (2, 1), (8, 1), (28, 3), (32, 4), (224, 28)])
def test_crop_margin_scales_with_the_size(size: int, margin: int) -> None:
    """The margin is 4 pixels at 32, an eighth elsewhere, and what a reflection allows."""
    assert crop_margin(size) == margin


def test_augmentation_reaches_all_shifts_and_both_flips() -> None:
    """Over many copies every shift in both directions and both flips occur about equally often."""
    image = images_of(1, 1, 8, 16)
    copies = image.expand(6000, -1, -1, -1)
    augmented = augment_images(copies, torch.Generator().manual_seed(0))
    counts = {
        (down, right, flip): 0
        for down in (-1, 0, 1) for right in (-2, -1, 0, 1, 2) for flip in (False, True)
    }  # fmt: skip
    for down, right, flip in counts:
        expected = shift_and_flip(
            image, torch.tensor([down]), torch.tensor([right]), torch.tensor([flip])
        )
        counts[down, right, flip] = int((augmented == expected).all((1, 2, 3)).sum())
    assert sum(counts.values()) == 6000
    # Binomial with mean 200 and standard deviation 14: five of them.
    assert all(130 < count < 270 for count in counts.values())


@settings(max_examples=20)
@given(shape=sizes, seed=st.integers(0, 100))
def test_augmentation_follows_its_generator(shape: tuple[int, int, int, int], seed: int) -> None:
    """Equal generators give equal images, of the shape that came in, without the global one."""
    images = images_of(*shape)
    before = torch.get_rng_state()
    one, other = (augment_images(images, torch.Generator().manual_seed(seed)) for _ in range(2))
    assert one.shape == images.shape
    assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("option", "is_augmented"), [(None, True), (True, True), (False, False)])
def test_augment_none_asks_the_data_set(option: bool | None, is_augmented: bool) -> None:
    """augment=None does what the data set says; True and False overrule it."""
    dataset = small_dataset(augment=True)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    seen: list[Tensor] = []
    network.register_forward_pre_hook(
        lambda module, inputs: seen.extend(inputs[0] if module.training else [])
    )
    train(network, dataset, epochs=1, validation=0.0, augment=option)
    originals = dataset.normalized(dataset.train_images)
    trained_on = seen[len(originals) :]  # the trial pass came first
    unchanged = sum(bool((originals == image).all((1, 2, 3)).any()) for image in trained_on)
    assert (unchanged < len(originals)) == is_augmented


# --- The folder -------------------------------------------------------------------------------


def test_folder_holds_the_whole_training(tmp_path: Path) -> None:
    """Everything that `train` returns is read back from the folder, floats to the bit."""
    dataset = small_dataset()
    network = small_network()
    out = tmp_path / "deep" / "run"
    training = train(network, dataset, epochs=3, batch_size=8, out=out, seed=5)
    assert {path.name for path in out.iterdir()} == ALL_FILES
    for name, table in (("training", training.epochs), ("recall", training.recall)):
        # Python's float() reads back to the bit with every version of pandas.
        text = pd.read_csv(out / f"{name}.csv", dtype=str)
        read = pd.DataFrame({c: text[c].map(kind.type) for c, kind in table.dtypes.items()})
        pd.testing.assert_frame_equal(read, table, check_exact=True)
    confusion = pd.read_csv(out / "confusion.csv", index_col="true")
    assert np.array_equal(confusion, training.confusion)
    assert list(confusion) == list(confusion.index) == ["a", "b", "c"]

    other = small_network()
    load_weights(other, out)
    assert same_state(copy_state(other), copy_state(network))


def test_description_says_how_the_training_was_made(tmp_path: Path) -> None:
    """training.json holds settings, results, parameters, versions and threads as strict JSON."""
    network = small_network()
    training = train(network, small_dataset(), epochs=2, validation=0.0, seed=5, out=tmp_path)
    text = (tmp_path / "training.json").read_text(encoding="utf-8")
    values = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert values["settings"] == {
        "epochs": 2,
        "batch_size": 128,
        "learning_rate": 0.2,
        "weight_decay": 5e-4,
        "label_smoothing": 0.1,
        "augment": False,
        "validation": 0.0,
        "seed": 5,
    }
    assert values["test_accuracy"] == training.test_accuracy
    assert values["test_loss"] == training.test_loss
    assert values["validation_accuracy"] is None
    assert values["best_epoch"] == 2
    assert values["parameters"] == sum(weight.numel() for weight in network.parameters())
    assert values["threads"] == torch.get_num_threads()
    assert values["versions"]["torch"] == str(torch.__version__)
    assert values["image_size"] == [8, 8]


def test_earlier_training_is_not_overwritten_unasked(tmp_path: Path) -> None:
    """A folder with weights is refused and stays as it is; overwrite=True replaces it."""
    train(small_network(), small_dataset(), epochs=1, out=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunError, match="--overwrite"):
        train(small_network(), small_dataset(), epochs=2, out=tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    train(small_network(), small_dataset(), epochs=2, out=tmp_path, overwrite=True)
    assert len(pd.read_csv(tmp_path / "training.csv")) == 2


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A file in the place of the folder, or of its parent, is a clear error."""
    (tmp_path / "file").write_text("here", encoding="utf-8")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match="cannot be made"):
            train(small_network(), small_dataset(), epochs=1, out=out)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "here"


def test_interrupt_leaves_the_best_weights_so_far(tmp_path: Path) -> None:
    """An interrupt in the third epoch propagates and leaves the weights of the second."""
    dataset = small_dataset()
    options: dict[str, Any] = {"epochs": 4, "batch_size": 8, "validation": 0.0}
    network = InterruptedNetwork(at=1 + 3 + 3 + 2)  # the trial pass, two epochs, one step
    with pytest.raises(KeyboardInterrupt):
        train(network, dataset, out=tmp_path, **options)
    assert {path.name for path in tmp_path.iterdir()} == {WEIGHTS_FILE, "training.csv"}
    assert len(pd.read_csv(tmp_path / "training.csv")) == 2

    # The network holds one step more than the file, which is that of the second epoch.
    stored = safetensors.torch.load_file(tmp_path / WEIGHTS_FILE)
    assert not same_state(stored, copy_state(network))
    assert int(stored["inner.1.num_batches_tracked"]) == 6


def test_interrupted_overwrite_leaves_no_results_of_other_weights(tmp_path: Path) -> None:
    """Once new weights are written, tables of the earlier training are gone; before, they stay."""
    train(small_network(), small_dataset(), epochs=1, out=tmp_path)
    options: dict[str, Any] = {"batch_size": 8, "validation": 0.0, "overwrite": True}
    with pytest.raises(KeyboardInterrupt):
        train(InterruptedNetwork(at=2), small_dataset(), out=tmp_path, **options)
    assert {path.name for path in tmp_path.iterdir()} == ALL_FILES
    with pytest.raises(KeyboardInterrupt):
        train(InterruptedNetwork(at=6), small_dataset(), out=tmp_path, **options)
    assert {path.name for path in tmp_path.iterdir()} == {WEIGHTS_FILE, "training.csv"}


# --- Weights ----------------------------------------------------------------------------------


def test_tied_weights_are_saved_and_read(tmp_path: Path) -> None:
    """A module used under two names is trained, saved, and read as one again."""

    def tied() -> nn.Sequential:
        layer = nn.Linear(64, 64)
        return nn.Sequential(nn.Flatten(), layer, nn.ReLU(), layer, nn.Linear(64, 3))

    network, other = tied(), tied()
    train(network, small_dataset(), epochs=1, out=tmp_path)
    load_weights(other, tmp_path / WEIGHTS_FILE)
    assert same_state(copy_state(other), copy_state(network))
    assert other[1].weight is other[3].weight


def test_absent_weights_are_named(tmp_path: Path) -> None:
    """A missing file, and a folder without weights, are errors with the path."""
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(RunError, match="no such file"):
            load_weights(small_network(), path)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_damaged_weights_are_refused(tmp_path: Path, kept: int) -> None:
    """A truncated file is an error and leaves the network as it was."""
    path = tmp_path / WEIGHTS_FILE
    save_weights(copy_state(small_network()), path)
    path.write_bytes(path.read_bytes()[:kept])
    network = small_network()
    with pytest.raises(RunError, match="damaged"):
        load_weights(network, path)
    assert same_state(copy_state(network), copy_state(small_network()))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    """Tensors that differ are named with both shapes, three of them at most."""
    save_weights(copy_state(small_network(width=4)), tmp_path / WEIGHTS_FILE)
    network = small_network()
    with pytest.raises(RunError, match=r"0\.weight: float32 \(4, 1, 3, 3\) in the file") as caught:
        load_weights(network, tmp_path)
    assert str(caught.value).count("in the file") == 3
    assert same_state(copy_state(network), copy_state(small_network()))


def test_missing_surplus_and_retyped_tensors_are_named(tmp_path: Path) -> None:
    """A tensor that is absent, one too many, and one of another type each make a mismatch."""
    state = copy_state(nn.Linear(2, 1))
    path = tmp_path / "w.safetensors"
    for changed, message in (
        ({"weight": state["weight"]}, "bias: nothing in the file"),
        ({**state, "extra": torch.zeros(1)}, r"extra: float32 \(1,\) in the file, nothing in"),
        ({**state, "bias": state["bias"].half()}, r"bias: float16 \(1,\) in the file"),
    ):
        save_weights(changed, path)
        with pytest.raises(RunError, match=message):
            load_weights(nn.Linear(2, 1), path)


# --- Atomic files -----------------------------------------------------------------------------


def test_atomic_write_replaces_a_file(tmp_path: Path) -> None:
    """The file appears when the block ends, under a suffix kept, and no temporary stays."""
    path = tmp_path / "front.png"
    path.write_bytes(b"old")
    with atomic_write(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failed_write_changes_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    """An error or an interrupt while writing keeps the old file and removes the temporary one."""
    path = tmp_path / "front.csv"
    path.write_bytes(b"old")

    def write_half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_bytes(b"ne")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    """Forgetting to write is noticed and makes no file."""
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "front.csv"):
        pass
    assert list(tmp_path.iterdir()) == []


# --- Devices ----------------------------------------------------------------------------------


def fake_cuda(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        ("cpu", 0, "cpu"),
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda"),
        ("cuda", 1, "cuda"),
        ("cuda:1", 2, "cuda:1"),
        (torch.device("cuda:0"), 1, "cuda:0"),
    ],
)
def test_devices_are_resolved(
    monkeypatch: pytest.MonkeyPatch, name: str, count: int, expected: str
) -> None:
    """Names of devices that are there, and auto, give a device."""
    fake_cuda(monkeypatch, count)
    assert resolve_device(name) == torch.device(expected)


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("tpu", 0, "'tpu' is unknown.*available here: cpu$"),
        ("", 0, "unknown"),
        ("cuda:", 1, "unknown"),
        ("cuda:-1", 1, "unknown"),
        ("cpu:0", 0, "unknown"),
        ("cuda", 0, "not there; available here: cpu;"),
        ("cuda:2", 2, "not there; available here: cpu, cuda:0, cuda:1;"),
    ],
)
def test_unusable_devices_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, count: int, message: str
) -> None:
    """Unknown and absent devices are errors that say what is available."""
    fake_cuda(monkeypatch, count)
    with pytest.raises(DeviceError, match=message):
        resolve_device(name)


def test_seeded_restores_the_global_generator() -> None:
    """Inside, global numbers follow the seed; outside, they go on, also after an error."""
    before = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with seeded(torch.device("cpu"), 7):
            draws.append(torch.rand(3))
    with pytest.raises(RuntimeError), seeded(torch.device("cpu"), 7):
        raise RuntimeError
    assert torch.equal(*draws)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_training_on_cuda(digits: Dataset) -> None:
    """The same training reaches the same accuracy level on CUDA and leaves its generator alone."""
    before = torch.cuda.get_rng_state()
    training = train(small_network(n_classes=10, width=16), digits, epochs=6, device="cuda")
    assert training.test_accuracy > 0.9
    assert torch.equal(torch.cuda.get_rng_state(), before)
