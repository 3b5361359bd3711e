"""Let torch run a watched network operation by operation, as the network is written."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def as_written() -> Iterator[None]:
    """Run networks without compilation and without fused layers, as long as the context lasts.

    A compiled module runs as the module that it was made from. In eval mode torch could run
    attention, and even a whole `nn.TransformerEncoderLayer`, as a single operation. Such an
    operation shows neither its products nor its ReLU.
    """
    attention = torch.backends.mha
    before = attention.get_fastpath_enabled()
    attention.set_fastpath_enabled(False)
    try:
        with uncompiled():
            yield
    finally:
        attention.set_fastpath_enabled(before)


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run modules compiled by `torch.compile` as they were written, so that hooks are called."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled; importing it takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        # A compiled module warns of the global hooks of torch's counter. But no hook is called
        # twice where nothing is compiled.
        warnings.filterwarnings("ignore", "Using `torch.compile", UserWarning)
        yield
