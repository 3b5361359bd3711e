"""Choose how much of a scoring is done at a time, so that it stays below a number of bytes.

Scoring all images at once is the fastest. Where that takes too much memory, the images pass in
pieces. Numbers that must be multiplied with the other pieces then wait: per-sample gradients, or
the layer's input and output gradient that give them. With more passes, each pass records less.
`measured_steps` measures the memory of a pass over one and over two images, with every tensor that
torch makes.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pymoo_nas._machine import release_freed_memory
from pymoo_nas.errors import MemoryLimitError
from pymoo_nas.kernels._calibration import calibrate
from pymoo_nas.kernels._layer_plan import LayerPlan, Steps
from pymoo_nas.kernels._recording import record_pass
from pymoo_nas.kernels._sample_gradients import COLUMNS, GRAM_ENTRIES

OVERHEAD = 40 << 20
"""Bytes that torch's libraries take for themselves when a first network is scored."""

SLACK = 1.3
"""Assumed ratio of the memory taken to the bytes of the tensors: memory has gaps, more in one
process than in another."""

MATRICES = 16
"""Largest number of matrices (N, N) in float64 that are held at once."""


def default_steps(plan: LayerPlan, images: Tensor, budget: int) -> Steps:
    """Estimate the steps for an ample budget, from the sizes of the layers' outputs alone."""
    n, item = len(images), images.element_size()
    chunk = max(1, min(n, n * budget // max(plan.n_bytes, 1)))
    # For two images: gradients, their copy in one piece, and the gradients by autograd.
    checked = max(1, budget // (8 * item))
    return Steps(
        chunk,
        budget // (2 * n * item),
        checked=None if plan.n_parameters <= checked else checked,
    )


def measured_steps(network: nn.Module, plan: LayerPlan, images: Tensor, limit: int) -> Steps:
    """Find the largest steps that keep a limit.

    Args:
        network: its batch norms and its parameters' ``requires_grad`` are changed.
        plan: plan by which the network is recorded.
        images: (N, C, H, W).
        limit: most bytes that scoring may take, beside the network and the images.

    Raises:
        MemoryLimitError: the limit is too low; says the smallest limit that can be kept.
    """
    n, item = len(images), images.element_size()
    fixed, per_image, calibrating = _measured(network, plan, images)
    # The gradients of the largest parameter are formed, cut and compared for one image.
    largest = 2 * item * max(plan.sizes.values())
    smallest = SLACK * max(fixed + 2 * largest + 2 * (per_image + largest), calibrating)
    if limit < smallest:
        raise MemoryLimitError(
            f"max_memory={limit}: scoring this network on {n} images takes at least "
            f"{math.ceil(smallest / 2**20) << 20} bytes; raise it, or use fewer images"
        )
    half = (limit / SLACK - fixed - 2 * largest) / 2
    whole = _steps(half / 4, n, item)
    formed = all(
        whole.unfolds(n * need.unfolded) if need.cheaper_gram else need.per_output <= whole.columns
        for need in plan.needs.values()
    )
    checked = max(1, int(half / 8 // item))
    if n * per_image <= half and formed:
        return replace(whole, checked=checked)
    # Waiting numbers are joined after the passes; the memory of the passes counts as still held.
    pieces = _steps(half / 2, n, item)
    apart = plan.kept_apart(pieces)
    rows = max((size for key, size in plan.sizes.items() if key not in apart), default=0)
    chunk = max(1, min(n - 1, int(half // (per_image + 2 * item * rows))))
    return replace(pieces, chunk=chunk, checked=checked)


def _steps(share: float, n: int, item: int) -> Steps:
    """Size the steps for all images: each kind of numbers that is held takes a share of memory."""
    return Steps(
        chunk=n,
        waiting=max(1, int(share // (n * item))),
        # A block of gradients, its copy in another order, and the result from them.
        columns=max(1, min(COLUMNS, int(share / 3 // (n * item)))),
        # Products of inputs, of gradients, of both, and their sums in float64.
        gram_entries=max(1, min(GRAM_ENTRIES, int(share / 24))),
        unfolded=int(share // item),
    )


def _measured(network: nn.Module, plan: LayerPlan, images: Tensor) -> tuple[float, float, float]:
    """Measure bytes: for N images beside passes, for one image in a pass, to calibrate on all."""
    n, item = len(images), images.element_size()
    units = 0

    def recorded(k: int) -> Callable[[], object]:
        def run() -> object:
            nonlocal units
            recording = record_pass(network, plan, images[:k], wanted={})
            units = sum(signs.n_units for signs in recording.codes)
            return recording

        return run

    # Convolutions copy their input and output into a memory order of their own.
    copied = item * max((need.held for need in plan.needs.values()), default=0)
    start, slope = _line(*(_peak(partial(calibrate, network, images[:k])) for k in (1, 2)))
    once, per_image = _line(*(_peak(recorded(k)) for k in (1, 2)))
    # The signs wait, one bit each. Gradients at the images and logits wait, and are then joined.
    waiting = units / 8 + 2 * images[0].numel() * item
    fixed = OVERHEAD + MATRICES * 8 * n**2 + once + n * waiting
    return fixed, per_image + copied, OVERHEAD + start + n * (slope + copied)


def _line(one: int, two: int) -> tuple[float, float]:
    """Split the bytes for 1 and for 2 images into a constant part and a part per image."""
    slope = max(two - one, one / 8)
    return max(0.0, one - slope), slope


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes that the tensors made inside this mode hold at once.

    Attributes:
        peak: largest number of bytes held at once so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak: int = 0
        self.held: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, and note its new tensors."""
        del types
        returned = func(*args, **(kwargs or {}))
        for value in tree_leaves(returned):
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                key = storage._cdata
                if key not in self.held:
                    self.held[key] = storage.nbytes()
                    weakref.finalize(storage, self.held.pop, key)
        self.peak = max(self.peak, sum(self.held.values()))
        return returned


def _peak(run: Callable[[], object]) -> int:
    """Measure the most bytes that the tensors of a function hold at once."""
    live = _LiveBytes()
    with live:
        run()
    release_freed_memory()
    return live.peak
