"""Train a final network, choose its best epoch by validation accuracy, and test it once."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

import pymoo_nas
from pymoo_nas.datasets import Dataset
from pymoo_nas.devices import resolve_device, seeded
from pymoo_nas.errors import DatasetError, NetworkError, PymooNasError, RunError, SearchError
from pymoo_nas.files import WEIGHTS_FILE, copy_state, save_weights, write_csv, write_json
from pymoo_nas.networks import count_parameters

RESULT_FILES = ("training.csv", "recall.csv", "confusion.csv", "training.json")


@dataclass(frozen=True, eq=False)
class Training:
    """What a training came to.

    Attributes:
        epochs: one row per epoch: epoch (from 1), loss (mean over its batches, with label
            smoothing), train_accuracy (fraction, counted on the augmented images while the weights
            move), validation_accuracy (fraction; NaN without validation), learning_rate (of its
            last step), seconds.
        best_epoch: the epoch whose weights were kept.
        test_accuracy: fraction of the test images, with those weights.
        test_loss: mean cross-entropy on them in nats, without label smoothing.
        recall: one row per class: class, images, correct, recall (NaN for a class without images).
        confusion: test images counted by true class (rows) and predicted class (columns).
        seconds: wall time from the first check to the end of the test.
    """

    epochs: pd.DataFrame
    best_epoch: int
    test_accuracy: float
    test_loss: float
    recall: pd.DataFrame
    confusion: pd.DataFrame
    seconds: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Outputs of a network for n images.

    Attributes:
        logits: float32 (n, n_classes), on the CPU.
        predictions: int64 (n,), the class of the largest logit.
        accuracy: fraction of predictions that are the label.
        loss: mean cross-entropy in nats.
    """

    logits: Tensor
    predictions: np.ndarray
    accuracy: float
    loss: float


def train(
    network: nn.Module,
    dataset: Dataset,
    *,
    epochs: int = 20,
    batch_size: int = 128,
    learning_rate: float = 0.2,
    weight_decay: float = 5e-4,
    label_smoothing: float = 0.1,
    augment: bool | None = None,
    validation: float = 0.1,
    seed: int = 0,
    device: str | torch.device = "cpu",
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Training:
    """Train a network on a data set's training images and test it on its test images.

    Cross-entropy, SGD with Nesterov momentum 0.9, one-cycle schedule (Smith 2018), no weight decay
    on batch norms and biases. The epoch whose weights are kept is chosen by the accuracy on images
    held out from the training set, where that is equal by the loss on them. The test images play no
    part in that: they are looked at once, at the end. `test_accuracy` therefore is an estimate for
    new images, as long as the user does not choose between trainings by it.

    Equal seeds give equal weights to the bit on one CPU with the same number of threads; CUDA
    kernels may add in another order. Torch's global random state is left as it was.

    Args:
        network: (N, C, H, W) → (N, n_classes); changed in place. In the end it holds the kept
            weights, in eval mode, on `device`.
        dataset: see `load_dataset`.
        epochs: passes over the training images.
        batch_size: images per step; also of the test. An incomplete last batch is left out (a batch
            norm cannot take a batch of one); the images left out differ from epoch to epoch.
        learning_rate: peak of the schedule.
        weight_decay: of the other parameters.
        label_smoothing: share of the target spread over all classes, in [0, 1].
        augment: flips and shifted crops, see `augment_images`; None does what the data set says.
        validation: fraction of each class of the training images that is held out, in [0, 1); 0
            trains on all of them and keeps the weights of the last epoch.
        seed: of the split, the order of the images, the augmentation and the network's dropout. It
            does not change the network's initial weights.
        device: see `resolve_device`.
        out: folder for ``weights.safetensors`` (written at each improvement, so that an interrupt
            leaves the best so far), ``training.csv`` (each epoch), ``recall.csv``,
            ``confusion.csv`` and ``training.json``.
        overwrite: replace the files of an earlier training in `out`.
        progress: show a progress bar and one line per epoch.

    Raises:
        SearchError: a setting that is out of range.
        DeviceError: an unknown or absent device.
        RunError: `out` holds weights already, or cannot be made.
        DatasetError: too few images per class to hold some out, or no test images.
        NetworkError: a network that cannot take these images or gives another number of classes;
            or a loss that became infinite or NaN.
    """
    started = time.perf_counter()
    settings = Settings(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        label_smoothing=label_smoothing,
        augment=dataset.augment if augment is None else augment,
        validation=validation,
        seed=seed,
    )
    target = resolve_device(device)
    folder = _checked_folder(out, overwrite=overwrite)
    with seeded(target, seed):
        trainer = _Trainer(network, dataset, settings, target)
        if folder is not None:
            _make_folder(folder)
        trainer.run(folder, progress=progress)
    network.load_state_dict(trainer.best_state)
    test = trainer.evaluate(dataset.test_images, dataset.test_labels)
    recall, confusion = class_results(dataset.test_labels, test.predictions, dataset.class_names)
    training = Training(
        epochs=pd.DataFrame(trainer.history),
        best_epoch=trainer.best_epoch,
        test_accuracy=test.accuracy,
        test_loss=test.loss,
        recall=recall,
        confusion=confusion,
        seconds=time.perf_counter() - started,
    )
    if folder is not None:
        _write_results(folder, training, trainer)
    return training


def evaluate(
    network: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    dataset: Dataset,
    *,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Evaluation:
    """Run images through a network in eval mode, without gradients.

    The network is moved to `device` and left in eval mode.

    Args:
        network: (N, C, H, W) → (N, n_classes).
        images: (n, H, W, C), not yet normalised.
        labels: (n,) integers.
        dataset: whose mean and standard deviation the images are normalised with.
        batch_size: images at a time; changes nothing but memory and speed.
        device: see `resolve_device`.
        memory_format: of the batches; `torch.channels_last` is often faster on a CPU.

    Raises:
        DatasetError: no images, or another number of labels.
        DeviceError: an unknown or absent device.
    """
    if len(images) == 0 or len(images) != len(labels):
        raise DatasetError(
            f"data set {dataset.name!r}: got {len(images)} images and {len(labels)} labels to "
            "evaluate; expected one label for each image and at least one"
        )
    target = resolve_device(device)
    network.to(target).eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), batch_size):
            batch = dataset.normalized(images[start : start + batch_size])
            parts.append(network(batch.to(target, memory_format=memory_format)).float().cpu())
    logits = torch.cat(parts)
    truth = torch.from_numpy(np.array(labels, dtype=np.int64))
    predictions = logits.argmax(1)
    return Evaluation(
        logits=logits,
        predictions=predictions.numpy(),
        accuracy=(predictions == truth).double().mean().item(),
        loss=F.cross_entropy(logits, truth).item(),
    )


def stratified_split(
    labels: np.ndarray, fraction: float, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Indices to train on and indices held out, both ascending, drawn class by class.

    Of a class with k ≥ 2 images, `fraction` · k are held out, rounded, but at least one and at most
    k − 1; a class with one image is trained on. A fraction of 0 holds nothing out.
    """
    held_out = np.zeros(len(labels), dtype=bool)
    if fraction == 0:
        return np.arange(len(labels)), np.arange(0)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        shuffled = members[torch.randperm(len(members), generator=generator).numpy()]
        held_out[shuffled[: min(max(1, round(fraction * len(members))), len(members) - 1)]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def augment_images(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip every image with probability 1/2 and shift it at random, in one gather.

    The shift in each direction is uniform in −m..m, m = max(1, size // 8): the reflected 4-pixel
    crops that are usual for 32×32 pixels, scaled with the image.

    Args:
        images: (N, C, H, W).
        generator: on the CPU, so that a seed means the same on every device.
    """
    n_images, _, height, width = images.shape
    flip = torch.rand(n_images, generator=generator) < 0.5
    down, right = (
        torch.randint(-margin, margin + 1, (n_images,), generator=generator)
        for margin in (crop_margin(height), crop_margin(width))
    )
    return shift_and_flip(images, down, right, flip)


def crop_margin(size: int) -> int:
    """Largest shift for a size in pixels; reflection allows at most size − 1."""
    return min(max(1, size // 8), size - 1)


def shift_and_flip(images: Tensor, down: Tensor, right: Tensor, flip: Tensor) -> Tensor:
    """Crop each image at an offset, its border reflected, and then mirror some left to right.

    Args:
        images: (N, C, H, W).
        down: (N,) integers in −(H − 1)..H − 1: output row r shows input row r + down.
        right: (N,) integers, likewise for the columns.
        flip: (N,) booleans.
    """
    height, width = images.shape[2:]
    across = torch.arange(width).expand(len(images), width)
    across = torch.where(flip[:, None], width - 1 - across, across)
    rows = _reflected(torch.arange(height) + down[:, None], height).to(images.device)
    columns = _reflected(across + right[:, None], width).to(images.device)
    which = torch.arange(len(images), device=images.device)[:, None, None]
    # The slice between the index tensors moves the channels to the end: (N, H, W, C).
    return images[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _reflected(index: Tensor, size: int) -> Tensor:
    """Positions up to size - 1 beyond either border, mirrored at the border pixel's centre."""
    return size - 1 - (size - 1 - index.abs()).abs()


def class_results(
    labels: np.ndarray, predictions: np.ndarray, class_names: tuple[str, ...]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Recall per class, and the confusion matrix, as `Training` describes them.

    Args:
        labels: (n,) true classes.
        predictions: (n,) predicted classes.
        class_names: of class 0, 1, …
    """
    n_classes = len(class_names)
    counts = np.bincount(labels * n_classes + predictions, minlength=n_classes**2)
    matrix = counts.reshape(n_classes, n_classes)
    images, correct = matrix.sum(1), matrix.diagonal()
    recall = np.divide(correct, images, out=np.full(n_classes, np.nan), where=images > 0)
    names = list(class_names)
    table = {"class": names, "images": images, "correct": correct, "recall": recall}
    confusion = pd.DataFrame(
        matrix, index=pd.Index(names, name="true"), columns=pd.Index(names, name="predicted")
    )
    return pd.DataFrame(table), confusion


@dataclass(frozen=True)
class Settings:
    """The keyword arguments of `train` that decide its result.

    Raises:
        SearchError: one that is out of range.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    augment: bool
    validation: float
    seed: int

    def __post_init__(self) -> None:
        for name, (kind, fits, expected) in _LIMITS.items():
            value: Any = getattr(self, name)
            if not isinstance(value, kind) or not fits(value):
                raise SearchError(f"training: {name} is {value!r}; expected {expected}")


_LIMITS: dict[str, tuple[Any, Callable[[float], bool], str]] = {
    "epochs": (int, lambda x: x >= 1, "a whole number from 1"),
    "batch_size": (int, lambda x: x >= 1, "a whole number from 1"),
    "learning_rate": (int | float, lambda x: 0 < x <= 1e30, "a number above 0, at most 1e30"),
    "weight_decay": (int | float, lambda x: 0 <= x <= 1e30, "a number from 0 to 1e30"),
    "label_smoothing": (int | float, lambda x: 0 <= x <= 1, "a number from 0 to 1"),
    "validation": (int | float, lambda x: 0 <= x < 1, "a fraction from 0 to below 1"),
    "seed": (int, lambda x: 0 <= x < 2**63, "a whole number from 0 to 2^63 - 1"),
}


class _Trainer:
    """The state of one training; making it checks that the network takes the images.

    `run` fills `history` (one row per epoch), `best_epoch` and `best_state`.
    """

    def __init__(
        self, network: nn.Module, dataset: Dataset, settings: Settings, device: torch.device
    ) -> None:
        self.network = network.to(device)
        self.dataset = dataset
        self.settings = settings
        self.device = device
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.fitted, self.held_out = stratified_split(
            dataset.train_labels, settings.validation, self.generator
        )
        _check_images(dataset, settings, n_held_out=len(self.held_out))
        self.batch_size = min(settings.batch_size, len(self.fitted))
        self.n_steps = len(self.fitted) // self.batch_size
        self.memory_format = self._check_network()
        self.optimizer = _optimizer(network, settings)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            settings.learning_rate,
            total_steps=max(2, settings.epochs * self.n_steps),  # one step has no cycle
            cycle_momentum=False,
        )
        self.history: list[dict[str, float]] = []
        self.best_epoch = 0
        self.best_state: dict[str, Tensor] = {}

    def run(self, folder: Path | None, *, progress: bool) -> None:
        """All epochs; the best weights and the history go to the folder as they come."""
        best = (-math.inf, -math.inf)
        n_epochs = self.settings.epochs
        with _progress_bar(enabled=progress) as bar:
            task = bar.add_task("", total=n_epochs * self.n_steps, status="")
            for epoch in range(1, n_epochs + 1):
                bar.update(task, description=f"epoch {epoch}/{n_epochs}")
                score = self._run_epoch(epoch, partial(bar.update, task, advance=1))
                if score > best:
                    best, self.best_epoch = score, epoch
                    self.best_state = copy_state(self.network)
                    if folder is not None:
                        _write_best(folder, self.best_state, is_first=epoch == 1)
                if folder is not None:
                    write_csv(folder / "training.csv", pd.DataFrame(self.history))
                if progress:
                    bar.console.print(_epoch_line(self.history[-1], n_epochs), highlight=False)

    def evaluate(self, images: np.ndarray, labels: np.ndarray) -> Evaluation:
        """Images, not yet normalised, through the network as it is now."""
        return evaluate(
            self.network,
            images,
            labels,
            self.dataset,
            batch_size=self.settings.batch_size,
            device=self.device,
            memory_format=self.memory_format,
        )

    def _run_epoch(self, epoch: int, report: Callable[..., None]) -> tuple[float, float]:
        """One pass over the training images; the score by which epochs are compared."""
        started = time.perf_counter()
        losses: list[float] = []
        n_correct = n_seen = 0
        self.network.train()
        for images, labels in self._batches():
            rate = float(self.schedule.get_last_lr()[0])
            loss, correct = self._step(images, labels)
            if not math.isfinite(loss):
                raise self._divergence(f"the loss became {loss}", epoch, rate)
            losses.append(loss)
            n_correct += correct
            n_seen += len(labels)
            report(status=f"loss {loss:.3f}  accuracy {n_correct / n_seen:.1%}")
        if not all(bool(weight.isfinite().all()) for weight in self.network.parameters()):
            raise self._divergence("weights became infinite or NaN", epoch, rate)
        accuracy, score = math.nan, (float(epoch), 0.0)
        if len(self.held_out):
            held_out = self.evaluate(
                self.dataset.train_images[self.held_out], self.dataset.train_labels[self.held_out]
            )
            accuracy, score = held_out.accuracy, (held_out.accuracy, -held_out.loss)
        row = {
            "epoch": epoch,
            "loss": sum(losses) / len(losses),
            "train_accuracy": n_correct / n_seen,
            "validation_accuracy": accuracy,
            "learning_rate": rate,
            "seconds": time.perf_counter() - started,
        }
        self.history.append(row)
        return score

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every training image once in a random order, but for an incomplete last batch."""
        order = torch.randperm(len(self.fitted), generator=self.generator).numpy()
        for step in range(self.n_steps):
            chosen = self.fitted[order[step * self.batch_size :][: self.batch_size]]
            images = self._images(chosen)
            if self.settings.augment:
                images = augment_images(images, self.generator)
            labels = torch.from_numpy(self.dataset.train_labels[chosen]).to(self.device)
            yield images.contiguous(memory_format=self.memory_format), labels

    def _images(self, chosen: np.ndarray) -> Tensor:
        return self.dataset.normalized(self.dataset.train_images[chosen]).to(self.device)

    def _step(self, images: Tensor, labels: Tensor) -> tuple[float, int]:
        """One update of the weights: the loss before it, and how many images were right."""
        self.optimizer.zero_grad()
        logits = self.network(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.settings.label_smoothing)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.item(), int((logits.argmax(1) == labels).sum())

    def _divergence(self, what: str, epoch: int, rate: float) -> NetworkError:
        return NetworkError(
            f"training: {what} in epoch {epoch} at learning rate {rate:.3g}; lower "
            f"--learning-rate (its peak is {self.settings.learning_rate:g})"
        )

    def _check_network(self) -> torch.memory_format:
        """Try the first forward pass, and return the memory format that the network can take.

        channels_last took 0.4 to 1.0 times as long as the contiguous format for forward and
        backward on one CPU core (cells of separable convolutions 0.4, residual blocks 0.6,
        poolings and gates 0.6, widths below 8 1.0). A network that calls `view` on its maps
        needs the contiguous one.
        """
        if not any(weight.requires_grad for weight in self.network.parameters()):
            raise NetworkError("network: no trainable parameters; expected some to train")
        images = self._images(self.fitted[: self.batch_size])
        try:
            logits = self._trial(images, torch.channels_last)
            memory_format = torch.channels_last
        except (RuntimeError, ValueError):
            memory_format = torch.contiguous_format
            logits = self._trial(images, memory_format)
        expected = (len(images), self.dataset.n_classes)
        if not isinstance(logits, Tensor) or logits.shape != expected:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise NetworkError(
                f"network: output {got} for images of shape {tuple(images.shape)}; expected "
                f"{expected}, one output per class of {self.dataset.name!r}"
            )
        return memory_format

    def _trial(self, images: Tensor, memory_format: torch.memory_format) -> Any:
        """The network's output, with its running statistics and random state left as they were."""
        self.network.train()
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        try:
            with torch.no_grad(), seeded(self.device, self.settings.seed):
                batch = images.contiguous(memory_format=memory_format)
                return torch.func.functional_call(self.network, buffers, (batch,))
        except PymooNasError:
            raise
        except (RuntimeError, ValueError) as error:
            raise NetworkError(
                f"network cannot take images of shape {tuple(images.shape)}: {error}; resize the "
                "images, or lower the batch size if memory is short"
            ) from error


def _check_images(dataset: Dataset, settings: Settings, n_held_out: int) -> None:
    """Refuse a data set without test images, or one of which nothing can be held out."""
    if len(dataset.train_images) == 0 or len(dataset.test_images) == 0:
        raise DatasetError(
            f"data set {dataset.name!r}: {len(dataset.train_images)} training and "
            f"{len(dataset.test_images)} test images; expected at least one of each"
        )
    if settings.validation > 0 and n_held_out == 0:
        raise DatasetError(
            f"data set {dataset.name!r}: no class has two training images, so none can be held "
            f"out (validation={settings.validation}); give more images, or validation=0"
        )


def _optimizer(network: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """SGD that decays matrices and kernels, but no biases and no scales and shifts of norms."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, settings.learning_rate, momentum=0.9, nesterov=True)


def _progress_bar(*, enabled: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        transient=True,  # the line of each epoch stays
        disable=not enabled,
    )


def _epoch_line(row: dict[str, float], n_epochs: int) -> str:
    validation = row["validation_accuracy"]
    held_out = "" if math.isnan(validation) else f"  validation {validation:6.1%}"
    return (
        f"epoch {row['epoch']:>{len(str(n_epochs))}}/{n_epochs}  loss {row['loss']:.4f}  "
        f"accuracy {row['train_accuracy']:6.1%}{held_out}  {row['seconds']:.1f} s"
    )


def _checked_folder(out: str | Path | None, *, overwrite: bool) -> Path | None:
    if out is None:
        return None
    folder = Path(out)
    if (folder / WEIGHTS_FILE).exists() and not overwrite:
        raise RunError(
            f"folder {str(folder)!r} holds {WEIGHTS_FILE} of an earlier training; take another "
            "folder, or --overwrite (overwrite=True)"
        )
    return folder


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"folder {str(folder)!r} cannot be made ({error}); take another") from error


def _write_best(folder: Path, state: dict[str, Tensor], *, is_first: bool) -> None:
    if is_first:  # results of an earlier training do not belong to these weights
        for name in RESULT_FILES:
            (folder / name).unlink(missing_ok=True)
    save_weights(state, folder / WEIGHTS_FILE)


def _write_results(folder: Path, training: Training, trainer: _Trainer) -> None:
    write_csv(folder / "recall.csv", training.recall)
    write_csv(folder / "confusion.csv", training.confusion, index=True)
    write_json(folder / "training.json", _description(training, trainer))


def _description(training: Training, trainer: _Trainer) -> dict[str, Any]:
    """Everything about a training that the tables do not say, as plain values."""
    dataset = trainer.dataset
    best = training.epochs.iloc[training.best_epoch - 1]
    return {
        "dataset": dataset.name,
        "class_names": list(dataset.class_names),
        "in_channels": dataset.in_channels,
        "image_size": list(dataset.image_size),
        "parameters": count_parameters(trainer.network),
        "settings": asdict(trainer.settings),
        "best_epoch": training.best_epoch,
        "validation_accuracy": _finite_or_none(best["validation_accuracy"]),
        "test_accuracy": training.test_accuracy,
        "test_loss": _finite_or_none(training.test_loss),
        "seconds": training.seconds,
        "device": str(trainer.device),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "pymoo_nas": pymoo_nas.__version__,
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
    }


def _finite_or_none(value: float) -> float | None:
    """JSON knows no NaN and no infinity."""
    return float(value) if math.isfinite(value) else None
