"""How torch runs a network while it is watched: operation by operation, as it is written."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

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
        # Nothing can be compiled before torch's compiler was imported, which takes seconds.
        with _uncompiled() if "torch._dynamo" in sys.modules else nullcontext():
            yield
    finally:
        attention.set_fastpath_enabled(before)


@contextmanager
def _uncompiled() -> Iterator[None]:
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        # Torch's counter has global hooks, of which a compiled module warns; none fires twice
        # where nothing is compiled.
        warnings.filterwarnings("ignore", "Using `torch.compile", UserWarning)
        yield
