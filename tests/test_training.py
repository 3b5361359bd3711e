"""Training of a final network: what it learns from, how it steps, which weights it keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from sklearn.datasets import load_digits
from small_training import same_state, small_dataset, small_network
from torch import Tensor, nn

from pymoo_nas._machine import Report
from pymoo_nas.datasets import Dataset, split_validation
from pymoo_nas.training import standard_error, train
from pymoo_nas.training._evaluation import evaluate
from pymoo_nas.training._weights import WEIGHTS_FILE, copy_state


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
        "epoch", "loss", "train_accuracy", "validation_accuracy",
        "validation_balanced_accuracy", "learning_rate", "seconds",
    ]  # fmt: skip
    assert training.epochs["epoch"].tolist() == [1, 2, 3]
    _, held_out = split_validation(digits.train_labels, 0.1, seed=0)
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
    network = SpoiledNetwork(good_steps=22)
    training = train(network, dataset, epochs=4, batch_size=8, validation=0.1, seed=1, out=tmp_path)
    history = training.epochs["validation_accuracy"]
    assert history.max() > history.iloc[-1]
    assert training.best_epoch <= 2
    assert history[training.best_epoch - 1] == history.max()
    # 81 images make 11 steps per epoch; the trial pass before the first is not counted.
    assert int(network.n_steps) == 11 * training.best_epoch
    assert same_state(copy_state(network), safetensors.torch.load_file(tmp_path / WEIGHTS_FILE))
    _, held_out = split_validation(dataset.train_labels, 0.1, seed=1)
    images, labels = dataset.train_images[held_out], dataset.train_labels[held_out]
    assert evaluate(network, images, labels, dataset).accuracy == history.max()


class Fading(nn.Module):
    """Right on all images of a training for some epochs of one step, then on fewer of them."""

    def __init__(self, *wrong: float) -> None:
        super().__init__()
        self.wrong = (0.0, *wrong)  # the trial pass is one step
        self.linear = nn.Linear(64, 3)
        self.n_steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.n_steps += int(self.training)
        order = x.mean((1, 2, 3))
        right = torch.stack([-order, 0.5 - order.abs(), order], 1)
        n_wrong = round(self.wrong[min(self.n_steps, len(self.wrong)) - 1] * len(x))
        right[:n_wrong] = right[:n_wrong].roll(1, 1)
        return right + 0 * self.linear(x.flatten(1))


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ((0.0, 0.0, 0.0, 0.0), 4),
        ((0.6, 0.2, 0.3, 0.6), 3),  # 29 and 25 right of 36: less than two errors of 2.4
        ((0.0, 0.5, 0.0, 0.5), 3),
        ((0.0, 0.5, 0.5, 0.5), 1),
        ((0.5, 0.5, 0.5, 0.0), 4),
    ],
)
def test_last_of_the_epochs_that_images_cannot_tell_apart(
    wrong: tuple[float, ...], expected: int
) -> None:
    """The epoch that is kept is the last one at most two standard errors behind the best."""
    training = train(Fading(*wrong), small_dataset(180), epochs=4, batch_size=256, validation=0.2)
    accuracy = training.epochs["validation_accuracy"]
    n = 36
    near = [
        epoch
        for epoch, of in enumerate(accuracy, start=1)
        if of >= accuracy.max() - 2 * standard_error(accuracy.max(), n)
    ]
    assert (training.best_epoch, near[-1]) == (expected, expected)


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
    [
        *((25, 8, [7, 6, 6, 6]), (6, 100, [6]), (7, 7, [7]), (15, 8, [8, 7]), (9, 8, [5, 4])),
        *((7, 2, [3, 2, 2]), (6, 2, [2, 2, 2]), (4, 3, [2, 2]), (3, 1, [1, 1, 1])),
    ],
)
def test_batches_hold_every_image(n_train: int, batch_size: int, expected: list[int]) -> None:
    """An epoch has every image, in batches of almost equal size, none of one image unasked."""
    network = small_network()
    sizes = record_batches(network)
    train(network, small_dataset(n_train), epochs=1, batch_size=batch_size, validation=0.0)
    assert sizes[1:] == expected


@pytest.mark.filterwarnings("ignore:.* are training images too")
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


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precision_of_the_passes(precision: str) -> None:
    """Layers compute in the precision asked for in training; weights and test are float32."""
    network, dataset = small_network(), small_dataset()
    seen: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    network[0].register_forward_hook(lambda layer, _, out: seen[layer.training].add(out.dtype))
    training = train(network, dataset, epochs=2, precision=precision)
    # The first forward pass, which tries the network out, is float32 always.
    assert seen[True] - {torch.float32} == {getattr(torch, precision)} - {torch.float32}
    assert seen[False] == {torch.float32}
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert np.isfinite(training.epochs["loss"]).all()


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


def test_progress_is_told_after_every_step() -> None:
    """A function is told the plan, every step of every epoch in order, and a line per epoch."""
    told: list[Report] = []
    training = train(small_network(), small_dataset(), epochs=2, batch_size=8, progress=told.append)
    n_steps = told[0].total
    assert n_steps is not None
    assert "batch size 8" in told[0].found
    assert sorted({report.done for report in told}) == list(range(n_steps + 1))
    assert [report.done for report in told] == sorted(report.done for report in told)
    assert {report.work for report in told} == {"epoch 1/2", "epoch 2/2"}
    lines = [report.found for report in told[1:] if report.found]
    assert len(lines) == len(training.epochs)
    assert told[-1].done == n_steps


def test_training_is_silent_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Without progress nothing is printed."""
    train(small_network(), small_dataset(), epochs=1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("option", "is_augmented"),
    [(None, True), (True, True), (False, False), ("shift", True), ("flip", True), ("none", False)],
)
def test_augment_none_asks_the_data_set(option: bool | str | None, is_augmented: bool) -> None:
    """augment=None does what the data set says; a word, or True and False, overrule it."""
    dataset = small_dataset(augment=True)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    seen: list[Tensor] = []
    network.register_forward_pre_hook(
        lambda module, inputs: seen.extend(inputs[0] if module.training else [])
    )
    train(network, dataset, epochs=1, batch_size=24, validation=0.0, augment=option)
    originals = dataset.normalized(dataset.train_images)
    trained_on = seen[len(originals) :]  # the trial pass came first
    unchanged = sum(bool((originals == image).all((1, 2, 3)).any()) for image in trained_on)
    assert (unchanged < len(originals)) == is_augmented


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_training_on_cuda(digits: Dataset) -> None:
    """The same training reaches the same accuracy level on CUDA and leaves its generator alone."""
    before = torch.cuda.get_rng_state()
    training = train(small_network(n_classes=10, width=16), digits, epochs=6, device="cuda")
    assert training.test_accuracy > 0.9
    assert torch.equal(torch.cuda.get_rng_state(), before)
