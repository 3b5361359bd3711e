"""Milliseconds of the parts of a training step: this package's, and those of a plain loop."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pymoo_nas.datasets import Dataset
from pymoo_nas.training import Settings, Trainer

Batch = tuple[Tensor, Tensor]
"""Images and labels on the device."""

BATCH = 128
"""Images of a step."""

PARTS = ("data", "passes", "optimisers")
"""The parts of a step."""


class Steps(Protocol):
    """A training, divided into the parts of a step."""

    def data(self) -> Iterator[Batch]:
        """Batches, augmented, without an end."""

    def passes(self, batch: Batch) -> None:
        """Forward and backward pass."""

    def optimisers(self) -> None:
        """The update of the weights."""


class OurSteps:
    """The steps of `pymoo_nas.train`.

    Args:
        network: the network.
        dataset: the images, as many as whole batches hold.
        device: where to train.
        contiguous: whether maps have the contiguous memory format; else channels_last.
        settings: of the training.
    """

    def __init__(
        self,
        network: nn.Module,
        dataset: Dataset,
        device: torch.device,
        *,
        contiguous: bool = False,
        **settings: Any,
    ) -> None:
        chosen = Settings(batch_size=BATCH, epochs=500, augment="flip", validation=0.0, **settings)
        self.trainer = trainer = Trainer(network, dataset, chosen, device)
        if contiguous:
            trainer.memory_format = torch.contiguous_format
            network.to(memory_format=torch.contiguous_format)
        started = time.perf_counter()
        if chosen.compile:
            trainer.compile()
        self.seconds_to_compile = time.perf_counter() - started
        network.train()
        self._loss = torch.zeros((), device=device)

    def data(self) -> Iterator[Batch]:
        """Batches of epoch after epoch."""
        while True:
            yield from self.trainer.batches()

    def passes(self, batch: Batch) -> None:
        """As a training takes them; the loss stays on the device."""
        self.trainer.network.zero_grad()
        loss, correct = self.trainer.passes(*batch)
        self._loss += loss + 0 * correct

    def optimisers(self) -> None:
        """All of them."""
        self.trainer.update()


class PlainSteps:
    """The steps of earlier versions, and of most scripts.

    Images are augmented as floats, each kernel of Muon is multiplied by itself, and each step waits
    for its loss.

    Args:
        network: the network.
        dataset: the images.
        device: where to train.
    """

    def __init__(self, network: nn.Module, dataset: Dataset, device: torch.device) -> None:
        self.network = network.to(device).train()
        self.dataset, self.device = dataset, device
        kernels = {
            id(layer.weight)
            for layer in network.modules()
            if isinstance(layer, nn.Conv2d) and layer.groups == 1
        }
        weights = list(network.parameters())
        self.kernels = [weight for weight in weights if id(weight) in kernels]
        self.momenta = [torch.zeros_like(kernel) for kernel in self.kernels]
        others = [weight for weight in weights if id(weight) not in kernels]
        self.sgd = torch.optim.SGD(others, 0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
        self.generator = torch.Generator().manual_seed(0)

    def data(self) -> Iterator[Batch]:
        """Batches of epoch after epoch."""
        images, labels = self.dataset.train_images, self.dataset.train_labels
        while True:
            order = torch.randperm(len(labels), generator=self.generator).numpy()
            for chosen in np.split(order, len(order) // BATCH):
                floats = self.dataset.normalized(images[chosen]).to(self.device)
                shifted = self._shifted(floats).contiguous(memory_format=torch.channels_last)
                yield shifted, torch.from_numpy(labels[chosen]).to(self.device)

    def _shifted(self, images: Tensor) -> Tensor:
        n, _, height, width = images.shape
        flip = torch.rand(n, generator=self.generator) < 0.5
        down, right = (torch.randint(-4, 5, (n, 1), generator=self.generator) for _ in range(2))
        across = torch.arange(width).expand(n, width)
        across = torch.where(flip[:, None], width - 1 - across, across)
        rows = (height - 1 - (height - 1 - (torch.arange(height) + down).abs()).abs()).to(
            images.device
        )
        columns = (width - 1 - (width - 1 - (across + right).abs()).abs()).to(images.device)
        which = torch.arange(n, device=images.device)[:, None, None]
        return images[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def passes(self, batch: Batch) -> None:
        """In float32; the loss is read."""
        self.network.zero_grad()
        loss = F.cross_entropy(self.network(batch[0]), batch[1], label_smoothing=0.1)
        loss.backward()
        loss.item()

    def optimisers(self) -> None:
        """SGD, and Muon."""
        self.sgd.step()
        self.muon()

    @torch.no_grad()
    def muon(self) -> None:
        """Muon, kernel by kernel."""
        for kernel, momentum in zip(self.kernels, self.momenta, strict=True):
            gradient = kernel.grad
            assert gradient is not None
            kernel.mul_(1 - 1e-4)
            momentum.mul_(0.9).add_(gradient)
            step = _orthogonal(gradient.add(momentum, alpha=0.9).flatten(1))
            kernel.sub_(0.002 * step.reshape(kernel.shape))


def _orthogonal(matrix: Tensor) -> Tensor:
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    x: Tensor = wide / (wide.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        product = torch.addmm(square, square, square, beta=-4.7750, alpha=2.0315)
        x = torch.addmm(x, product, x, beta=3.4445)
    return x if wide is matrix else x.T


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given; the CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def milliseconds(call: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Time of a call to the end of its work on the device, and what it returned."""
    synchronise(device)
    started = time.perf_counter()
    found = call()
    synchronise(device)
    return 1000 * (time.perf_counter() - started), found


def milliseconds_of(steps: Steps, n: int, device: torch.device) -> dict[str, float]:
    """Time of a step and of its parts.

    Args:
        steps: the training.
        n: steps that count, after a third as many (at least three) that do not.
        device: device of the training.

    Returns:
        "step", the mean of n steps that wait for nothing of their own; and by the names of `PARTS`
        the median of each part, when the device is waited for before and behind it.
    """
    batches = steps.data()

    def step() -> None:
        steps.passes(next(batches))
        steps.optimisers()

    for _ in range(max(3, n // 3)):
        step()

    def block() -> None:
        for _ in range(n):
            step()

    together, _ = milliseconds(block, device)
    times: dict[str, list[float]] = {part: [] for part in PARTS}
    for _ in range(n):
        data, batch = milliseconds(lambda: next(batches), device)
        passes, _ = milliseconds(lambda batch=batch: steps.passes(batch), device)  # type: ignore[misc]
        optimisers, _ = milliseconds(steps.optimisers, device)
        for part, value in zip(PARTS, (data, passes, optimisers), strict=True):
            times[part].append(value)
    return {"step": together / n, **{part: statistics.median(times[part]) for part in PARTS}}


def milliseconds_in_turn(
    rows: Mapping[str, Steps], n: int, device: torch.device, rounds: int = 3
) -> dict[str, dict[str, float]]:
    """Median over the rounds of what `milliseconds_of` returns, each row measured in each round."""
    found = [
        {title: milliseconds_of(steps, n, device) for title, steps in rows.items()}
        for _ in range(rounds)
    ]
    return {
        title: {
            part: statistics.median(one[title][part] for one in found) for part in found[0][title]
        }
        for title in rows
    }
