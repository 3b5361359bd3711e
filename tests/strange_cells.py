"""Cells that misbehave while they are scored, and their sound neighbours."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pymoo_nas.networks import OPERATIONS
from pymoo_nas.search import NASProblem

SOUND = [
    "8,0,0,0,0",
    "16,0,0,0,0|0,0,0,0,0|8,0,0,0,0",
    "24,0,0,0,0",
    "8,0,0,0,0|8,0,0,0,0|8,0,0,0,0",
]


def strange_operations() -> Mapping[str, Callable[[int, int], nn.Module]]:
    """A sound operation, and four that hang, die, fill the memory, or mix images.

    Made in a function: so they travel to the workers by value, which cannot import this file.
    """

    class Misbehaving(nn.Module):
        def __init__(self, c_in: int, c_out: int, kind: str) -> None:
            super().__init__()
            self.layer, self.kind = nn.Conv2d(c_in, c_out, 1), kind

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 1:  # not while its multiply-accumulates are counted
                if self.kind == "hang":
                    time.sleep(600)
                if self.kind == "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                if self.kind == "fill":
                    kept = [torch.ones(1 << 22) for _ in range(1000)]
                    time.sleep(600 + len(kept))
                if self.kind == "mix":
                    x = x + x.mean(0, keepdim=True)
            return torch.relu(self.layer(x))

    def operation(kind: str) -> Callable[[int, int], nn.Module]:
        return lambda c_in, c_out: Misbehaving(c_in, c_out, kind)

    strange = {kind: operation(kind) for kind in ("hang", "die", "fill", "mix")}
    return {"conv3x3": OPERATIONS["conv3x3"], **strange}


def scored(problem: NASProblem, texts: list[str]) -> list[Any]:
    """The scores of texts, without what differs from run to run."""
    rows = problem.score_genotypes([problem.search_space.parse(text) for text in texts])
    return [
        (row.values, row.spread, row.params, row.flops, row.acts, row.degenerate) for row in rows
    ]
