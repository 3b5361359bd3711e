"""Operations of one forward pass: their products, the numbers they return, the bytes of their maps.

The pass is recorded operation by operation, so that every network can be counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

MAP_MAKERS = (
    torch.ops.aten.convolution,
    torch.ops.aten.max_pool2d_with_indices,
    torch.ops.aten.avg_pool2d,
    torch.ops.aten.max_pool3d_with_indices,
    torch.ops.aten.avg_pool3d,
)
"""Torch's operations whose outputs count as acts: two-dimensional maps, for the most part."""

IN_PLACE = (
    torch.ops.aten.native_batch_norm,
    torch.ops.aten._native_batch_norm_legit,
    torch.ops.aten._native_batch_norm_legit_no_training,
    torch.ops.aten.cudnn_batch_norm,
    torch.ops.aten.hardswish,
    torch.ops.aten.hardsigmoid,
    torch.ops.aten._prelu_kernel,
)
"""Operations whose output can take the place of their input, beside those that torch calls
pointwise: norms, and activations that torch does not call so."""


WITHOUT_VALUES: Mapping[Any, Callable[[Tensor], Any]] = {
    torch.ops.aten.relu: torch.empty_like,
    torch.ops.aten.native_batch_norm: lambda x: (
        torch.empty_like(x),
        x.new_empty(0),
        x.new_empty(0),
    ),
}
"""Operation → what it returns for an input on the meta device. Torch computes the shapes of these
two there by many operations in Python, which takes most of the time of a count."""


class Map(NamedTuple):
    """A tensor of a pass, without its values.

    Attributes:
        place: what tensors share that are views of each other.
        n_bytes: of all that they share.
        holds_numbers: whether they are floating point; indices are not.
    """

    place: int
    n_bytes: int
    holds_numbers: bool


class Step(NamedTuple):
    """One operation, with the tensors that it reads and makes."""

    operation: Any
    read: list[Map]
    made: list[Map]


class MapRecorder(TorchDispatchMode):
    """Records the operations of a forward pass; used as a context.

    Tensors are not kept, so that counting takes no more memory than the pass itself.

    Args:
        costs: operation → rule: its arguments, and ``out_val``, what it returned → its cost.

    Attributes:
        cost: sum of the costs of all operations so far.
    """

    def __init__(self, costs: Mapping[Any, Callable[..., int]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cost = 0
        self.steps: list[Step] = []
        self._costs = costs
        self._whole = {*costs, *MAP_MAKERS, *IN_PLACE}
        # While a weak reference exists, no other storage has the same address.
        self._seen: dict[int, StorageWeakRef] = {}
        self._n_returned = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry out an operation, and record it."""
        del types
        kwargs = kwargs or {}
        packet = getattr(func, "overloadpacket", None)
        if packet not in self._whole and hasattr(func, "decompose"):
            # An operation that is made of others is recorded by its parts.
            with self:
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        if packet in WITHOUT_VALUES and args[0].device.type == "meta":
            made = WITHOUT_VALUES[packet](args[0])
        else:
            made = func(*args, **kwargs)
        if packet in self._costs:
            self.cost += self._costs[packet](*args, **kwargs, out_val=made)
        tensors = _tensors(made)
        if packet in MAP_MAKERS:
            self._n_returned += tensors[0].numel()
        read = [self.map_of(tensor) for tensor in _tensors((args, kwargs))]
        self.steps.append(Step(func, read, [self.map_of(tensor) for tensor in tensors]))
        return made

    def map_of(self, tensor: Tensor) -> Map:
        """The record of a tensor."""
        numbers = tensor.is_floating_point() or tensor.is_complex()
        if tensor.layout is not torch.strided:
            return Map(id(tensor), tensor.numel() * tensor.element_size(), numbers)
        storage = tensor.untyped_storage()
        place = int(storage._cdata)
        if place not in self._seen:
            self._seen[place] = StorageWeakRef(storage)
        return Map(place, int(storage.nbytes()), numbers)

    def acts(self) -> int:
        """Count the numbers that the operations in `MAP_MAKERS` return."""
        return self._n_returned

    def peak_memory(self, images: Tensor, output: Any) -> int:
        """The most bytes of feature maps that live at one time.

        A map lives from the operation that makes it to the last one that reads it. An elementwise
        operation and a batch norm write into the place of a map that nothing reads later, as
        inference engines do. Weights, and values that nothing reads, do not count.

        Args:
            images: the input of the pass; it lives too.
            output: of the pass; it lives to the end.
        """
        n_steps = len(self.steps)
        given, returned = self.map_of(images), map(self.map_of, _tensors(output))
        last_read = {given.place: -1}
        for index, step in enumerate(self.steps):
            last_read |= {one.place: index for one in step.read}
        last_read |= {one.place: n_steps for one in returned}
        spans = _Spans(last_read)
        spans.begin(given, -1)
        for index, step in enumerate(self.steps):
            spans.leave_out(step.read)
            for made in step.made:
                spans.begin(made, index, _replaceable(step))
        changes = [0] * (n_steps + 3)
        for start, end, n_bytes in spans.all():
            changes[start + 1] += n_bytes
            changes[end + 2] -= n_bytes
        return max(accumulate(changes))


class _Spans:
    """From when to when every map lives; one that takes the place of another shares its span."""

    def __init__(self, last_read: dict[int, int]) -> None:
        self._last_read = last_read
        self._owner: dict[int, int] = {}
        self._outside: set[int] = set()
        self._spans: dict[int, tuple[int, int, int]] = {}

    def leave_out(self, read: list[Map]) -> None:
        """Let tensors that no operation has made, such as weights, and their views not count."""
        self._outside |= {one.place for one in read if one.place not in self._owner}

    def begin(self, made: Map, step: int, replaceable: list[Map] | None = None) -> None:
        """Let a map live from a step on, in the place of one that is read there for the last time.

        Args:
            made: the map; a view of a known one, indices, or one that nothing reads, is left out.
            step: index of the operation that makes it; -1 for the input.
            replaceable: maps whose place it may take.
        """
        place = made.place
        if place in self._owner or place in self._outside or place not in self._last_read:
            return
        if not made.holds_numbers:
            return  # an engine computes indices beforehand
        end = self._last_read[place]
        for other in replaceable or ():
            taken = other.place
            if taken not in self._owner or other.n_bytes != made.n_bytes:
                continue
            if self._last_read[taken] == step:
                owner = self._owner[place] = self._owner[taken]
                start, _, _ = self._spans[owner]
                self._spans[owner] = (start, end, made.n_bytes)
                return
        self._owner[place] = place
        self._spans[place] = (step, end, made.n_bytes)

    def all(self) -> Iterator[tuple[int, int, int]]:
        """Each span: the steps in which it begins and ends, and its bytes."""
        yield from self._spans.values()


def _replaceable(step: Step) -> list[Map]:
    packet = getattr(step.operation, "overloadpacket", None)
    elementwise = torch.Tag.pointwise in getattr(step.operation, "tags", ())
    return step.read if elementwise or packet in IN_PLACE else []


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
