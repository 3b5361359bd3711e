"""How torch runs a network while it is watched: operation by operation, as it is written."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def as_written() -> Iterator[None]:
    """Within: nothing is compiled, and no layer is run as one fused operation.

    A compiled module is called as the module that it was made from. Attention in eval mode, and
    with it a whole `nn.TransformerEncoderLayer`, could run as a single operation, which shows
    neither its products nor its ReLU.
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
    """Within, modules that `torch.compile` compiled run as they were written: they see hooks."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled; importing it takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        # Torch's counter has global hooks, of which a compiled module warns; none fires twice
        # where nothing is compiled.
        warnings.filterwarnings("ignore", "Using `torch.compile", UserWarning)
        yield
