"""Matrices of several shapes, multiplied in few batches: of equal shape, or padded with zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

Shape = tuple[int, int]
"""Rows and columns."""

Cost = Callable[[int, int, int], float]
"""Number of matrices, their rows and columns → the work of a batch."""


class MatrixBatch:
    """Matrices that are packed into one tensor; those with more rows than columns are transposed.

    Args:
        members: places of the matrices among all matrices.
        shapes: shape of each member.
        device: device of the matrices.

    Attributes:
        members: as given.
        shape: shape of the tensor, (members, rows, columns).
    """

    def __init__(
        self, members: Sequence[int], shapes: Sequence[Shape], device: torch.device
    ) -> None:
        self.members = tuple(members)
        self._shapes = list(shapes)
        self.shape = (len(members), *_hull(shapes))
        # Where each element of the members lies in the packed tensor; none where all fill it.
        self._places = None if len(set(map(_wide, shapes))) == 1 else self._found(device)

    def pack(self, matrices: Sequence[Tensor]) -> Tensor:
        """Put the members into one tensor.

        Args:
            matrices: all matrices, of which the members are taken.

        Returns:
            (members, rows, columns), zero where a member is smaller.
        """
        taken = [matrices[member] for member in self.members]
        if self._places is None:
            return torch.stack([x if len(x) <= x.shape[1] else x.T for x in taken])
        flat = torch.cat([matrix.flatten() for matrix in taken])
        packed = flat.new_zeros(int(np.prod(self.shape)))
        return packed.index_copy_(0, self._places, flat).view(self.shape)

    def unpack(self, packed: Tensor) -> Iterator[Tensor]:
        """Yield the members out of a tensor like that of `pack`, each contiguous in its shape."""
        if self._places is None:
            for one, shape in zip(packed, self._shapes, strict=True):
                yield one if one.shape == shape else one.T.contiguous()
            return
        flat = packed.reshape(-1).index_select(0, self._places)
        sizes = [rows * columns for rows, columns in self._shapes]
        for part, shape in zip(flat.split(sizes), self._shapes, strict=True):
            yield part.view(shape)

    def _found(self, device: torch.device) -> Tensor:
        _, height, width = self.shape
        places = []
        for index, (rows, columns) in enumerate(self._shapes):
            row, column = np.arange(rows)[:, None], np.arange(columns)[None, :]
            if rows > columns:
                row, column = column, row
            places.append((index * height * width + row * width + column).ravel())
        return torch.from_numpy(np.concatenate(places)).to(device)


def batches_of(
    shapes: Sequence[Shape], padded: float, cost: Cost, device: torch.device
) -> list[MatrixBatch]:
    """Sort matrices into batches: first by equal shape, transposed where that makes them equal.

    Then the two batches whose union adds the least work become one, as long as that is less than
    `padded`.

    Args:
        shapes: shape of each matrix.
        padded: work that may be added for each batch that is saved; 0 pads nothing.
        cost: work of a batch.
        device: device of the matrices.
    """
    equal: dict[Shape, list[int]] = {}
    for place, shape in enumerate(shapes):
        equal.setdefault(_wide(shape), []).append(place)
    groups = list(equal.values())

    def work(members: Sequence[int]) -> float:
        return cost(len(members), *_hull([shapes[member] for member in members]))

    def added(pair: tuple[int, int]) -> float:
        one, other = groups[pair[0]], groups[pair[1]]
        return work(one + other) - work(one) - work(other)

    while len(groups) > 1:
        best = min(combinations(range(len(groups)), 2), key=added)
        if added(best) >= padded:
            break
        groups[best[0]] += groups.pop(best[1])
    return [MatrixBatch(group, [shapes[m] for m in group], device) for group in groups]


def _wide(shape: Shape) -> Shape:
    return min(shape), max(shape)


def _hull(shapes: Sequence[Shape]) -> Shape:
    """The smallest shape that holds all of them, transposed to be wide."""
    return max(min(shape) for shape in shapes), max(max(shape) for shape in shapes)
