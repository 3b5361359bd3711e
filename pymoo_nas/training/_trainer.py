"""The epochs of a training: split, batches, steps, and the choice of the best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pymoo_nas._machine import Progress, Report, is_out_of_memory, seeded
from pymoo_nas.datasets import Dataset
from pymoo_nas.errors import NetworkError, PymooNasError, SearchError
from pymoo_nas.kernels import recalibrate
from pymoo_nas.training._augmentation import cut_out, draw_epoch
from pymoo_nas.training._averaging import WeightAverage
from pymoo_nas.training._batches import Batches
from pymoo_nas.training._evaluation import (
    Evaluation,
    Images,
    evaluate,
    evaluation_batch_size,
)
from pymoo_nas.training._fitted_images import (
    class_weights,
    fitted_and_judging,
    none_to_hold_out,
    unequal,
    with_validation,
)
from pymoo_nas.training._optimizers import OPTIMIZERS, one_cycle
from pymoo_nas.training._passes import Passes, out_of_memory
from pymoo_nas.training._settings import Settings, number_of_batches, with_precision
from pymoo_nas.training._trainable import check_trainable
from pymoo_nas.training._warnings import number_for_recall, standard_error
from pymoo_nas.training._weights import copy_state

LOOK_EVERY = 16
"""Steps between two looks at the loss on CUDA. Each look waits until the device has caught up."""


class Trainer:
    """The state of one training; the constructor checks that the network takes the images.

    `run` fills `history` (one row per epoch), `best_epoch` and `best_state`.

    Attributes:
        asked: settings as given.
        settings: as given, with numbers in place of "auto".
        fitted: indices of the training images that are trained on, ascending.
        images: makes batches of the training images.
        passes: takes batches through the network.
        judging: images and labels that choose the epoch to keep; empty where no images choose it.
        unequal: whether classes are so unequal (see `unequal`) that balanced accuracy chooses.
        sizes: images of each batch of an epoch.
        look_every: steps between two looks at the loss, for reports and to end a training that
            diverges; the last step of an epoch is looked at always.
        average: the moving average of the weights, which is judged and kept in their place; None
            without one.
        calibration_images: largest number of images from which batch norms take their statistics
            after an epoch (studies/batch_size.py).
    """

    calibration_images = 2048

    def __init__(
        self, network: nn.Module, dataset: Dataset, settings: Settings, device: torch.device
    ) -> None:
        check_trainable(network)
        self.network = network.to(device)
        self.dataset = dataset
        self.device = device
        self.asked = settings
        settings = with_validation(settings, dataset)
        self.fitted, self.judging = fitted_and_judging(dataset, settings)
        if not len(self.judging[1]) and settings.validation != 0:
            raise none_to_hold_out(dataset, "validation=0 (--validation 0)")
        settings = with_precision(settings.resolved(len(self.fitted)), device)
        self.settings = settings
        if settings.cutout > min(dataset.image_size):
            raise SearchError(
                f"training: cutout is {settings.cutout}; expected at most "
                f"{min(dataset.image_size)} pixels, the smaller side of these images"
            )
        self.generator = torch.Generator().manual_seed(settings.seed)
        counts = np.bincount(dataset.train_labels[self.fitted])
        self.unequal = unequal(counts)
        self.sizes = self.batch_sizes()
        self.images = Batches(dataset, device)
        self.memory_format = self._check_network()
        self._arrange_weights()
        self.look_every = 1 if device.type == "cpu" else LOOK_EVERY
        weights = class_weights(counts).to(device) if settings.balance else None
        self.passes = Passes(network, settings, weights, device)
        self.optimizers = OPTIMIZERS[settings.optimizer](network, settings)
        n_steps = int(settings.epochs) * len(self.sizes)
        self.schedules = one_cycle(self.optimizers, n_steps)
        self.average = WeightAverage(network, settings.ema) if settings.ema else None
        self.history: list[dict[str, float]] = []
        self.best_epoch = 0
        self.best_state: dict[str, Tensor] = {}

    @property
    def judged_by(self) -> str:
        """The column of `history` by which epochs are compared."""
        return "validation_balanced_accuracy" if self.unequal else "validation_accuracy"

    @property
    def n_judging(self) -> float:
        """Images that judge, at least one; of unequal classes so many as `number_for_recall`."""
        labels = self.judging[1]
        return number_for_recall(labels) if self.unequal else float(len(labels))

    @property
    def best_score(self) -> float:
        """The accuracy of the epoch that is kept, on the images that judge; NaN without any."""
        return self.history[self.best_epoch - 1][self.judged_by]

    def run(self, done: Callable[[bool], None], progress: Progress | None = None) -> None:
        """Run all epochs that are left.

        Args:
            done: called after each epoch, with whether it is kept until a later one is.
            progress: takes a `Report` after each step; reports tell the plan, and one line per
                epoch.
        """
        n_epochs, n_steps = int(self.settings.epochs), len(self.sizes)
        before = len(self.history)

        def tell(epoch: int, step: int, now: str = "", found: str = "") -> None:
            if progress is not None:
                n_done = (epoch - 1) * n_steps + step
                work = f"epoch {epoch}/{n_epochs}"
                progress(Report(work, n_done, n_epochs * n_steps, now, found))

        if before < n_epochs:
            tell(before + 1, 0, "compiling" * self.settings.compile, self.plan())
            if self.settings.compile:
                self.compile()
        for epoch in range(before + 1, n_epochs + 1):
            done(self._run_epoch(epoch, partial(tell, epoch)))
            line = _epoch_line(self.history[-1], n_epochs, unequal=self.unequal)
            tell(epoch, n_steps, found=line)

    def _arrange_weights(self) -> None:
        """Put weights on CUDA into the memory format of the maps, which each pass would do else."""
        if self.device.type == "cuda" and self.memory_format == torch.channels_last:
            self.network.to(memory_format=torch.channels_last)

    def compile(self) -> None:
        """Compile the pass for each size of a batch, if that works here."""
        self.network.train()
        parts = [self.fitted[:size] for size in sorted(set(self.sizes))]
        self.passes.compile(
            (
                self._images(part).contiguous(memory_format=self.memory_format),
                torch.from_numpy(self.dataset.train_labels[part]).to(self.device),
            )
            for part in parts
        )

    def batch_sizes(self) -> list[int]:
        """Images of each batch of an epoch: almost equal numbers that add up to all of them."""
        n_batches = number_of_batches(len(self.fitted), int(self.settings.batch_size))
        return [len(part) for part in np.array_split(self.fitted, n_batches)]

    def plan(self) -> str:
        """Describe the training: its images and batches, the epochs, and the images that judge."""
        judged = f"{len(self.judging[1])} images choose the epoch"
        if not len(self.judging[1]):
            judged = "no images choose among the epochs"
        elif self.unequal:
            judged += " by balanced accuracy: the classes are unequal"
        return (
            f"{len(self.fitted)} images, batch size {self.settings.batch_size}: "
            f"{len(self.sizes)} steps per epoch, {self.settings.epochs} epochs; augmentation: "
            f"{self.settings.augment}{self._added()}; {judged}"
        )

    def _added(self) -> str:
        """The settings of the plan that differ from a plain training, in words."""
        side, decay = self.settings.cutout, self.settings.ema
        return (
            f", squares of {side}×{side} pixels cut out" * (side > 0)
            + f"; weights averaged with decay {decay:g}" * (decay > 0)
            + "; tested with mirror images" * self.settings.test_flip
        )

    def evaluate(self, images: Images, labels: np.ndarray) -> Evaluation:
        """Evaluate the network as it is now, on images that are not yet normalised."""
        return evaluate(
            self.network,
            images,
            labels,
            self.dataset,
            batch_size=self._at_once(),
            device=self.device,
            memory_format=self.memory_format,
            flip=self.settings.test_flip,
        )

    def _run_epoch(self, epoch: int, report: Callable[[int, str], None]) -> bool:
        """Train for an epoch and judge it; return whether it is kept."""
        started = time.perf_counter()
        row = self._pass(epoch, report)
        with nullcontext() if self.average is None else self.average.in_place():
            self._judge(row)
            is_kept = self._is_near_best(row)
            if is_kept:
                self.best_epoch = epoch
                self.best_state = copy_state(self.network)
        self.history.append({**row, "seconds": time.perf_counter() - started})
        return is_kept

    def _is_near_best(self, row: dict[str, float]) -> bool:
        """Whether an epoch is at most two standard errors behind the best so far.

        Late epochs, at small learning rates, are better than few images can tell: of those that
        these images cannot tell from the best, the last is kept (studies/epochs.py).
        """
        if not len(self.judging[1]):
            return True
        best = max(of[self.judged_by] for of in (*self.history, row))
        return row[self.judged_by] >= best - 2 * standard_error(best, self.n_judging)

    def _pass(self, epoch: int, report: Callable[[int, str], None]) -> dict[str, float]:
        """Pass once over the training images; return the row of the epoch, not judged yet."""
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)  # of loss and correct
        n_seen, now = 0, ""
        self.network.train()
        for step, (images, labels) in enumerate(self.batches(), start=1):
            rate = float(self.schedules[0].get_last_lr()[0])
            loss, correct = self._step(images, labels)
            sums += torch.stack([loss.double() * len(labels), correct.double()])
            n_seen += len(labels)
            if step % self.look_every == 0 or step == len(self.sizes):
                total_loss, n_correct = sums.tolist()
                if not math.isfinite(total_loss):
                    last = loss.item()  # an earlier one of the steps since the last look may be it
                    became = "infinite or NaN" if math.isfinite(last) else last
                    raise self._divergence(f"the loss became {became}", epoch, rate)
                now = f"loss {loss.item():.3f}  accuracy {n_correct / n_seen:.1%}"
            report(step, now)
        finite = [weight.isfinite().all() for weight in self.network.parameters()]
        if not torch.stack(finite).all():
            raise self._divergence("weights became infinite or NaN", epoch, rate)
        return {
            "epoch": epoch,
            "loss": total_loss / n_seen,
            "train_accuracy": n_correct / n_seen,
            "validation_accuracy": math.nan,
            "validation_balanced_accuracy": math.nan,
            "learning_rate": rate,
        }

    def _judge(self, row: dict[str, float]) -> None:
        """Fill in the accuracies of a row."""
        self.recalibrate()
        if not len(self.judging[1]):
            return
        judged = self.evaluate(*self.judging)
        row["validation_accuracy"] = judged.accuracy
        row["validation_balanced_accuracy"] = judged.balanced_accuracy

    def recalibrate(self) -> None:
        """Give batch norms the statistics of (at most `calibration_images`) images trained on.

        They are the same images after every epoch, without augmentation. A moving average lags
        behind the weights where an epoch has few steps.
        """
        # In a random order: images sorted by class would give batches of one class only.
        rng = np.random.default_rng(self.settings.seed)
        chosen = rng.permutation(self.fitted)[: self.calibration_images]
        n_batches = number_of_batches(len(chosen), self._at_once())
        recalibrate(
            self.network,
            (
                self._images(part).contiguous(memory_format=self.memory_format)
                for part in np.array_split(chosen, n_batches)
            ),
        )

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every training image once in a random order, in batches of almost equal size."""
        order = torch.randperm(len(self.fitted), generator=self.generator).numpy()
        chosen = self.fitted[order]
        places = self.images.places(chosen)
        # What an epoch draws is copied to the device at once: each copy waits for the device.
        labels = torch.from_numpy(self.dataset.train_labels[chosen]).to(self.device)
        augment, cutout, size = self.settings.augment, self.settings.cutout, self.dataset.image_size
        drawn = draw_epoch(self.sizes, size, self.generator, augment=augment, cutout=cutout > 0)
        shifts, centres = (each if each is None else each.to(self.device) for each in drawn)
        start = 0
        for n_images in self.sizes:
            part = slice(start, start + n_images)
            images = self.images.take(places[part], None if shifts is None else shifts[:, part])
            if centres is not None:
                images = cut_out(images, centres[:, part], cutout)
            yield images.contiguous(memory_format=self.memory_format), labels[part]
            start += n_images

    def _at_once(self) -> int:
        """Batch size where no gradients are taken."""
        return evaluation_batch_size(int(self.settings.batch_size), self.dataset.image_size)

    def _images(self, chosen: np.ndarray) -> Tensor:
        """Training images without augmentation, on the device."""
        return self.images.take(self.images.places(chosen))

    def _step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Update the weights; return the loss before it, and the number of correct images."""
        self.network.zero_grad()
        loss, correct = self.passes(images, labels)
        self.update()
        return loss, correct

    def update(self) -> None:
        """Move the weights by their gradients, the schedules by a step, and then the average."""
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            schedule.step()
        if self.average is not None:
            self.average.update()

    def _divergence(self, what: str, epoch: int, rate: float) -> NetworkError:
        return NetworkError(
            f"training: {what} in epoch {epoch} at learning rate {rate:.3g}; lower "
            f"--learning-rate (its peak is {self.settings.learning_rate:g})"
        )

    def _check_network(self) -> torch.memory_format:
        """Try the first forward pass, and return the memory format that the network can take.

        Convolutions and poolings have their faster CPU kernels in channels_last. A network that
        calls `view` on its maps needs the contiguous format.
        """
        images = self._images(self.fitted[: self.sizes[0]])
        try:
            logits = self._trial(images, torch.channels_last)
            memory_format = torch.channels_last
        except NetworkError:
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
        """The network's output; running statistics and random states stay as they were."""
        self.network.train()
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        try:
            with torch.no_grad(), seeded(self.device, self.settings.seed):
                batch = images.contiguous(memory_format=memory_format)
                return torch.func.functional_call(self.network, buffers, (batch,))
        except PymooNasError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise out_of_memory(images) from error
            raise NetworkError(
                f"network cannot take images of shape {tuple(images.shape)}: "
                f"{type(error).__name__}: {error}; {self._remedy(error)}"
            ) from error

    def _remedy(self, error: Exception) -> str:
        """The remedy where the network raises an error of its own for images."""
        kinds = {w.dtype for w in self.network.parameters() if w.is_floating_point()}
        if kinds - {torch.float32}:
            kind = str(min(kinds - {torch.float32}, key=str)).removeprefix("torch.")
            return f"it has weights of {kind}, images are float32: train network.float()"
        if self.sizes[0] == 1 and "more than 1 value per channel" in str(error):
            return "a batch norm on maps of one pixel takes no single image; raise the batch size"
        return "resize the images, or use a network for this size and number of channels"


def _epoch_line(row: dict[str, float], n_epochs: int, *, unequal: bool) -> str:
    validation = row["validation_accuracy"]
    held_out = "" if math.isnan(validation) else f"  validation {validation:6.1%}"
    if held_out and unequal:
        held_out += f", balanced {row['validation_balanced_accuracy']:.1%}"
    return (
        f"epoch {row['epoch']:>{len(str(n_epochs))}}/{n_epochs}  loss {row['loss']:.4f}  "
        f"accuracy {row['train_accuracy']:6.1%}{held_out}  {row['seconds']:.1f} s"
    )
