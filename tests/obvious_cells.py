"""Cells in a slow and obvious way."""

from __future__ import annotations

import torch
from torch import Tensor

from pymoo_nas.networks import halve_features
from pymoo_nas.spaces import Cell, Genotype


def evaluate(
    cell: Cell, genotype: Genotype, names: list[str], x: Tensor, *, reduces: bool = False
) -> Tensor:
    """The cell of Fig. 1, the obvious way: all nodes in order, each concatenating what it gets."""
    live = genotype.live_nodes()
    nodes = {0: x}
    for target in live[1:]:
        parts = []
        for source in live:
            if source >= target:
                break
            for name, count in zip(names, genotype.block(source, target), strict=True):
                if count > 0:
                    part = cell.operations[f"{source}->{target} {name}"](nodes[source])
                    assert part.shape[1] == count
                    parts.append(halve_features(part) if reduces and source == 0 else part)
        nodes[target] = torch.cat(parts, dim=1)
    return nodes[genotype.n_nodes]
