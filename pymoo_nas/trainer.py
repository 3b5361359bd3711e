"""The epochs of a training: split, batches, steps, and the choice of the best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from pymoo_nas.augmentation import augment_images
from pymoo_nas.datasets import Dataset, split_validation
from pymoo_nas.devices import seeded
from pymoo_nas.errors import DatasetError, NetworkError, PymooNasError, SearchError
from pymoo_nas.evaluation import Evaluation, evaluate
from pymoo_nas.files import copy_state
from pymoo_nas.muon import Muon

OPTIMIZERS = ("muon", "sgd")

KERNEL_RATE = 0.1
"""The peak of Muon's learning rate, as a share of that of SGD (see studies/recipe.py)."""

KERNEL_DECAY = 100
"""Muon's weight decay, as a multiple of that of SGD (see studies/cifar10.py)."""

PRECISIONS = ("float32", "bfloat16")
"""Number formats of the passes in training; weights and test are always float32."""


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
    precision: str = "float32"
    optimizer: str = "muon"

    def __post_init__(self) -> None:
        for name, (kind, fits, expected) in _LIMITS.items():
            value: Any = getattr(self, name)
            if not isinstance(value, kind) or not fits(value):
                raise SearchError(f"training: {name} is {value!r}; expected {expected}")


_LIMITS: dict[str, tuple[Any, Callable[[Any], bool], str]] = {
    "epochs": (int, lambda x: x >= 1, "a whole number from 1"),
    "batch_size": (int, lambda x: x >= 1, "a whole number from 1"),
    "learning_rate": (int | float, lambda x: 0 < x <= 1e30, "a number above 0, at most 1e30"),
    "weight_decay": (int | float, lambda x: 0 <= x <= 1e30, "a number from 0 to 1e30"),
    "label_smoothing": (int | float, lambda x: 0 <= x <= 1, "a number from 0 to 1"),
    "validation": (int | float, lambda x: 0 <= x < 1, "a fraction from 0 to below 1"),
    "optimizer": (str, OPTIMIZERS.__contains__, "muon or sgd"),
    "precision": (str, PRECISIONS.__contains__, "float32 or bfloat16"),
    "seed": (int, lambda x: 0 <= x < 2**63, "a whole number from 0 to 2^63 - 1"),
}


class Trainer:
    """The state of one training; making it checks that the network takes the images.

    `run` fills `history` (one row per epoch), `best_epoch`, `best_score` and `best_state`.
    """

    def __init__(
        self, network: nn.Module, dataset: Dataset, settings: Settings, device: torch.device
    ) -> None:
        self.network = network.to(device)
        self.dataset = dataset
        self.settings = settings
        self.device = device
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.fitted, self.held_out = fitted_and_held_out(
            dataset.train_labels, settings.validation, settings.seed
        )
        _check_images(dataset, settings, n_held_out=len(self.held_out))
        self.batch_size = min(settings.batch_size, len(self.fitted))
        self.n_steps = len(self.fitted) // self.batch_size
        self.memory_format = self._check_network()
        self.optimizers = _optimizers(network, settings)
        self.schedules = [
            torch.optim.lr_scheduler.OneCycleLR(
                optimizer,
                optimizer.defaults["lr"],
                total_steps=max(2, settings.epochs * self.n_steps),  # one step has no cycle
                cycle_momentum=False,
            )
            for optimizer in self.optimizers
        ]
        self.history: list[dict[str, float]] = []
        self.best_epoch = 0
        self.best_score = (-math.inf, -math.inf)
        self.best_state: dict[str, Tensor] = {}

    def run(self, done: Callable[[bool], None], *, progress: bool) -> None:
        """All epochs that are left.

        Args:
            done: called after each with whether it is the best so far.
            progress: show a progress bar and one line per epoch.
        """
        n_epochs = self.settings.epochs
        with _progress_bar(enabled=progress) as bar:
            before = len(self.history)
            task = bar.add_task(
                "", total=n_epochs * self.n_steps, completed=before * self.n_steps, status=""
            )
            for epoch in range(before + 1, n_epochs + 1):
                bar.update(task, description=f"epoch {epoch}/{n_epochs}")
                score = self._run_epoch(epoch, partial(bar.update, task, advance=1))
                is_best = score > self.best_score
                if is_best:
                    self.best_score, self.best_epoch = score, epoch
                    self.best_state = copy_state(self.network)
                done(is_best)
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
            rate = float(self.schedules[0].get_last_lr()[0])
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
        self.network.zero_grad()
        smoothing = self.settings.label_smoothing
        half = self.settings.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            logits = self.network(images)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        loss.backward()
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            schedule.step()
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


def fitted_and_held_out(
    labels: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices to train on and indices held out, both ascending: see `split_validation`.

    A class with one image is trained on; a fraction of 0 holds nothing out.
    """
    everything = np.arange(len(labels))
    divisible = np.flatnonzero(np.bincount(labels)[labels] > 1)
    if fraction == 0 or len(divisible) == 0:
        return everything, everything[:0]
    held_out = divisible[split_validation(labels[divisible], fraction, seed)[1]]
    return np.setdiff1d(everything, held_out), held_out


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


def _optimizers(network: nn.Module, settings: Settings) -> list[torch.optim.Optimizer]:
    """SGD that decays matrices, but no biases and no scales and shifts of norms; Muon for kernels.

    Muon takes the kernels of convolutions that mix all channels; SGD all where it is asked for.
    """
    mixing = {
        id(layer.weight)
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d) and layer.groups == 1 and settings.optimizer == "muon"
    }
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    kernels = [weight for weight in weights if id(weight) in mixing]
    others = [weight for weight in weights if id(weight) not in mixing]
    groups = [
        {"params": [w for w in others if w.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in others if w.ndim <= 1], "weight_decay": 0.0},
    ]
    rate = settings.learning_rate
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.SGD(groups, rate, momentum=0.9, nesterov=True)
    ]
    if kernels:
        precision = getattr(torch, settings.precision)
        decay = KERNEL_DECAY * settings.weight_decay
        optimizers.append(
            Muon(kernels, KERNEL_RATE * rate, weight_decay=decay, precision=precision)
        )
    return optimizers


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
