"""Products of per-sample gradients and of signs, summed over a whole batch of images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pymoo_nas.kernels._sample_gradients import (
    COLUMNS,
    GRAM_ENTRIES,
    RULES,
    has_cheaper_gram,
    joined,
    positions,
    weight_gram,
)

NOTHING = 1e-10
"""Squared gradients of a parameter below this share of the largest parameter's count as rounding
errors."""


@dataclass
class LayerUse:
    """Input and output gradient of a layer, kept where they give products at less cost."""

    layer: nn.Module
    a: Tensor
    g: Tensor

    @property
    def unfolded(self) -> int:
        """Count of numbers in the inputs, unfolded to all positions of the kernel."""
        weight = self.layer.get_parameter("weight")
        return len(self.g) * positions(self.layer, self.g) * (weight.numel() // len(weight))

    def has_cheaper_gram(self) -> bool:
        """Call `sample_gradients.has_cheaper_gram`; the use must hold the whole batch."""
        return has_cheaper_gram(self.layer, self.g, len(self.g))

    def compact(self) -> LayerUse:
        """Return the same use, with tensors in memory of their own size."""
        return LayerUse(self.layer, *(_compact(tensor) for tensor in (self.a, self.g)))

    def rows(self) -> Tensor:
        """Form the weight's per-sample gradients (n, P)."""
        return joined(RULES[type(self.layer)]["weight"](self.layer, self.a, self.g, COLUMNS))


def _compact(tensor: Tensor) -> Tensor:
    """Return the tensor in memory of its own size, copied where it is a view of more."""
    return tensor if tensor.untyped_storage().nbytes() <= tensor.nbytes else tensor.clone()


class Products:
    """Sums of products over a whole batch.

    Nothing is read from the device before the end, so that a graphics card need not be waited for.
    Products of small parameters are computed together, those of equal size in one operation.

    Args:
        n_images: N.
        device: device on which the sums are computed.
        columns: number of gradients, or units, per image that are multiplied at once.
        gram_entries: see `weight_gram`.
        largest: largest trace of a parameter's products, where an earlier attempt found it.

    Attributes:
        n_units: number of ReLU units per image so far.
    """

    def __init__(
        self,
        n_images: int,
        device: torch.device,
        *,
        columns: int = COLUMNS,
        gram_entries: int = GRAM_ENTRIES,
        largest: float = 0.0,
    ) -> None:
        self._ntk = torch.zeros(n_images, n_images, dtype=torch.float64, device=device)
        self._balanced, self._both_on = torch.zeros_like(self._ntk), torch.zeros_like(self._ntk)
        self.n_units = 0
        self.columns, self.gram_entries = columns, gram_entries
        self._largest = self._ntk.new_tensor(largest)
        self._smallest = self._ntk.new_tensor(math.inf)
        self._open: dict[int, Tensor] = {}
        self._grams: list[Tensor] = []
        self._small: dict[int, list[Tensor]] = {}
        self._codes: list[Tensor] = []
        # With little memory, fewer numbers wait to be summed up together.
        self._held, self._most_held = 0, n_images * columns // 2

    @property
    def ntk(self) -> Tensor:
        """(N, N) float64, Σ over parameters of G Gᵀ."""
        self._sum_up()
        return self._ntk

    @property
    def balanced(self) -> Tensor:
        """(N, N) float64, Σ over parameters of G Gᵀ divided by its trace.

        Gradients that are only rounding errors do not count (for example, of a bias before a
        normalisation).
        """
        self._sum_up()
        return self._balanced

    @property
    def agreement(self) -> Tensor:
        """(N, N) float64, number of ReLU units on which two images agree."""
        self._sum_up()
        n_on = self._both_on.diagonal()
        # A unit is on for both images, or off for both.
        return 2 * self._both_on + (self.n_units - n_on[:, None] - n_on[None, :])

    @property
    def largest(self) -> float:
        """The largest trace so far."""
        self._sum_up()
        return float(self._largest)

    @property
    def hasty(self) -> bool:
        """Whether `balanced` counts rounding errors, because larger gradients came only later."""
        # Beside a gradient that overflowed, all others are nothing; repeating would not help.
        return math.isfinite(self.largest) and float(self._smallest) <= NOTHING * self.largest

    def add_rows(self, key: int, blocks: Iterable[Tensor]) -> None:
        """Add the products of one parameter's gradients, given as blocks (N, columns)."""
        for block in blocks:
            product, earlier = block @ block.T, self._open.get(key)
            # In float64: sums of many blocks must not round.
            self._open[key] = product if earlier is None else earlier.double().add_(product)

    def add_small(self, rows: Tensor) -> None:
        """Add all products of one small parameter's gradients (N, P); they are computed later."""
        self._small.setdefault(rows.shape[1], []).append(rows)
        self._hold(rows, 1)

    def add_use(self, key: int, use: LayerUse) -> None:
        """Add the products of a layer's weight gradients, without forming them."""
        self._open[key] = weight_gram(use.layer, use.a, use.g, self.gram_entries)

    def finish(self, key: int) -> None:
        """Close a parameter, whose products have all been added."""
        gram = self._open.pop(key)
        self._grams.append(gram)
        self._hold(gram, 1)

    def _hold(self, numbers: Tensor, n_products: int = 0) -> None:
        """Count bytes that wait, with those of products to come: each is stacked and widened."""
        self._held += numbers.nbytes + n_products * 2 * self._ntk.nbytes
        if self._held > self._most_held:
            self._sum_up()

    def _sum_up(self) -> None:
        """Add the products of all closed parameters and signs to the sums."""
        self._sum_up_codes()
        for rows in self._small.values():
            stacked = torch.stack(rows)
            self._grams += stacked @ stacked.mT
        self._small.clear()
        grams, self._grams, self._held = self._grams, [], 0
        if not grams:
            return
        types = dict.fromkeys(gram.dtype for gram in grams)
        alike = [torch.stack([gram for gram in grams if gram.dtype == kind]) for kind in types]
        together = torch.cat([part.double() for part in alike])
        self._ntk += together.sum(0)
        traces = together.diagonal(dim1=1, dim2=2).sum(1)
        # A trace may be NaN, which fmax and fmin leave out.
        self._largest = torch.fmax(self._largest, traces.nan_to_num(0.0, posinf=math.inf).amax())
        counts = ~(traces <= NOTHING * self._largest)  # NaN counts: the score must not hide it
        inverse = torch.where(counts, 1 / traces, 0.0)
        self._balanced += torch.einsum("pnm,p->nm", together, inverse)
        counted = torch.where(counts & ~traces.isnan(), traces, math.inf)
        self._smallest = torch.fmin(self._smallest, counted.amin())

    def add_codes(self, on: Tensor) -> None:
        """Add the agreements of boolean signs (N, units)."""
        self._codes.append(on)
        self.n_units += on.shape[1]
        self._hold(on)

    def _sum_up_codes(self) -> None:
        if not self._codes:
            return
        signs, self._codes = torch.cat(self._codes, dim=1), []
        # Sums of ones are exact in float32 up to 2^24, more than the columns of one block.
        for block in torch.split(signs, max(self.columns, 1), dim=1):
            ones = block.to(torch.float32)
            self._both_on += ones @ ones.T


_BITS = (1, 2, 4, 8, 16, 32, 64, 128)


class Signs(NamedTuple):
    """Signs that say which units are on, eight in a byte.

    Attributes:
        packed: (N, ⌈units / 8⌉) uint8.
        n_units: units per image.
    """

    packed: Tensor
    n_units: int

    @classmethod
    def of(cls, on: Tensor) -> Signs:
        """Pack boolean signs (N, units)."""
        bits = F.pad(on.to(torch.uint8), (0, -on.shape[1] % 8)).unflatten(1, (-1, 8))
        packed = torch.zeros_like(bits[..., 0])
        for place, bit in enumerate(_BITS):
            packed += bits[..., place] * bit
        return cls(packed, on.shape[1])

    @classmethod
    def cat(cls, parts: Sequence[Signs]) -> Signs:
        """Join the signs of several pieces of a batch, in their order."""
        return cls(torch.cat([part.packed for part in parts]), parts[0].n_units)

    def unpack(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Unpack the boolean signs (N, units) of a range of units; `start` is a multiple of 8."""
        stop = self.n_units if stop is None else min(stop, self.n_units)
        packed = self.packed[:, start // 8 : -(-stop // 8)]
        bits = (packed[..., None] & packed.new_tensor(_BITS)).bool().flatten(1)
        return bits[:, : stop - start]
