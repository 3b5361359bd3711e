"""The pass of a training step: a batch forward, its loss, and the gradients; compiled or not."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pymoo_nas._machine import is_out_of_memory, network_errors, seeded
from pymoo_nas.errors import NetworkError
from pymoo_nas.kernels import preserved
from pymoo_nas.training._settings import Settings

Pass = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Images (N, C, H, W) and labels (N,) → the loss, a scalar with its graph, and a count of hits."""


N_TRIALS = 3
"""Calls of a compiled pass: torch compiles in the first, records a CUDA graph in the second, and
replays it from the third on."""


class Passes:
    """Takes batches through a network, forward and backward.

    Nothing here waits for the device.

    Args:
        network: on `device`.
        settings: as `Settings.resolved` returns them.
        class_weights: (n_classes,) on `device`; None weighs all images alike.
        device: device of the batches.

    Attributes:
        compiled: whether `compile` worked.
    """

    def __init__(
        self,
        network: nn.Module,
        settings: Settings,
        class_weights: Tensor | None,
        device: torch.device,
    ) -> None:
        self.compiled = False
        self._network = network
        self._settings = settings
        self._class_weights = class_weights
        self._device = device
        self._forward: Pass = self._as_written

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Add the gradients of a batch to the weights.

        Returns:
            the loss and the number of images whose class was found, scalars on the device.

        Raises:
            NetworkError: memory ran out, or the network cannot take such a batch.
        """
        with network_errors(images, "be trained on"):
            return self._pass(images, labels)

    def _pass(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self.compiled:  # a CUDA graph may now overwrite what it returned in the last step
            torch.compiler.cudagraph_mark_step_begin()
        try:
            loss, correct = self._forward(images, labels)
            loss.backward()
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise out_of_memory(images) from error
            raise
        return loss.detach(), correct

    def compile(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Compile the pass; weights, running statistics and random states stay as they are.

        The compiled pass is tried on each batch `N_TRIALS` times. If that fails, the pass stays as
        it is written.

        Args:
            batches: images and labels, one batch of each size that occurs.

        Raises:
            NetworkError: memory ran out.

        Warns:
            UserWarning: the pass cannot be compiled here; the warning says why.
        """
        # Torch keeps few programs of one function, and those of earlier trainings count.
        torch.compiler.reset()
        self._forward = torch.compile(
            self._as_written, fullgraph=True, dynamic=False, mode="reduce-overhead"
        )
        self.compiled = True
        try:
            with preserved(self._network):
                for images, labels in batches:
                    with seeded(self._device, self._settings.seed):
                        for _ in range(N_TRIALS):
                            self._pass(images, labels)
        except NetworkError:  # also of memory: the pass as it is written takes no less
            raise
        except Exception as error:
            self._forward, self.compiled = self._as_written, False
            warnings.warn(
                "the training goes on without --compile (compile=True), which failed: "
                f"{_reason(error)}",
                stacklevel=2,
            )
        finally:
            self._network.zero_grad()

    def _as_written(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        half = self._settings.precision == "bfloat16"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
            logits = self._network(images)
            loss = self._loss(logits.float(), labels)
        return loss, (logits.argmax(1) == labels).sum()

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Smoothed cross-entropy: the mean over the images, each weighted by its class."""
        smoothing = self._settings.label_smoothing
        if self._class_weights is None:
            return F.cross_entropy(logits, labels, label_smoothing=smoothing)
        # Torch's own class weights would also weight the smoothed share of the other classes, and
        # so pull every image towards a rare class.
        losses = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
        return (self._class_weights[labels] * losses).mean()


def out_of_memory(images: Tensor) -> NetworkError:
    """Make the error for a batch that took more memory than there is."""
    remedy = (
        "lower the batch size" if len(images) > 1 else "use smaller images or a smaller network"
    )
    return NetworkError(
        f"training: memory ran out in a step of {len(images)} images of shape "
        f"{tuple(images.shape[1:])}; {remedy}"
    )


def _reason(error: Exception) -> str:
    """The kind of an error and the first line of its message; torch's messages have many."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
