"""Compare an exported file to torch, and measure both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pymoo_nas.errors import ExportError
from pymoo_nas.exports._deployed import Deployed, Runner, raw, run_in_batches
from pymoo_nas.scores import BATCH_SIZE, measure_latencies

TOLERANCE = 1e-4
"""Largest difference of a probability between an exported file and torch."""

AT_ONCE = 64
"""Images that are run at once for the comparison."""


@dataclass(frozen=True)
class Figures:
    """Measurements of a network or a file.

    Attributes:
        accuracy: fraction of the test images; None where they are not known.
        latency: milliseconds for one image, on one thread.
        batch_latency: milliseconds per image in a batch of 32, on one thread.
        n_bytes: size of the file or the folder; 0 for the network in torch.
    """

    accuracy: float | None
    latency: float
    batch_latency: float
    n_bytes: int = 0


class Comparison:
    """The probabilities that torch computes, and what files make of the same images.

    Args:
        network: the network in torch.
        images: (n, H, W, C), raw.
        pixels: type of the pixels that the files take.
        labels: (n,); None where there are none.
    """

    def __init__(
        self,
        network: Deployed,
        images: NDArray[Any],
        pixels: str,
        labels: NDArray[np.int64] | None,
    ) -> None:
        self.images, self.pixels, self.labels = images, pixels, labels
        self.expected = self._probabilities(network)

    def check(self, runner: Runner) -> float:
        """Return the largest difference of a probability from torch.

        Raises:
            ExportError: the difference is larger than `TOLERANCE`.
        """
        difference = float((self._probabilities(runner) - self.expected).abs().max())
        if not difference <= TOLERANCE:  # NaN neither
            raise ExportError(
                f"the exported network differs from torch by {difference:.2g} in a probability; "
                f"expected at most {TOLERANCE:g}; nothing is written; export it to another format"
            )
        return difference

    def accuracy(self, runner: Runner) -> float | None:
        """Return the fraction of the images whose class is right; None without labels."""
        if self.labels is None:
            return None
        return float((self._probabilities(runner).argmax(1).numpy() == self.labels).mean())

    def figures(self, runner: Runner, n_bytes: int = 0) -> Figures:
        """Measure a network or a file."""
        module = _Module(runner)
        sample = raw(self.images[:BATCH_SIZE], self.pixels)
        times = measure_latencies(module, sample)
        return Figures(self.accuracy(runner), times.latency, times.batch_latency, n_bytes)

    def _probabilities(self, runner: Runner) -> Tensor:
        return run_in_batches(runner, self.images, self.pixels, AT_ONCE)


class _Module(nn.Module):
    """A runner as a module without parts, whose latency can be measured."""

    def __init__(self, runner: Runner) -> None:
        super().__init__()
        self._run = [runner]

    def forward(self, images: Tensor) -> Tensor:
        return self._run[0](images)
