"""The exponential moving average of the weights over the steps of a training (Polyak 1992)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """A moving average of the weights that are trained; buffers play no part.

    In step t (from 1) the average keeps the share min(decay, (1 + t) / (10 + t)) of itself and
    takes the rest from the weights. So the random weights of the beginning are soon forgotten.

    Batch norms need the statistics of the averaged network, which no average of statistics gives:
    recalculate them within `in_place`, see `recalibrate`.

    Args:
        network: on its device.
        decay: from 0 to below 1.

    Attributes:
        values: the averages, in the order of the network's trained parameters.
        steps: number of updates so far.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self._network = network
        self._weights: list[Tensor] = [w for w in network.parameters() if w.requires_grad]
        self.values = [weight.detach().clone() for weight in self._weights]

    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        weights = [weight.detach() for weight in self._weights]
        get_ema_multi_avg_fn(decay)(self.values, weights, self.steps)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the averages into the network; in the end weights and buffers are what they were."""
        tensors = [*self._weights, *self._network.buffers()]
        kept = [tensor.detach().clone() for tensor in tensors]
        _copy(self.values, self._weights)
        try:
            yield
        finally:
            _copy(kept, tensors)


@torch.no_grad()
def _copy(values: list[Tensor], to: list[Tensor]) -> None:
    for value, tensor in zip(values, to, strict=True):
        tensor.copy_(value)
