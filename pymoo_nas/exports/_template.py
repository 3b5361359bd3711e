"""The frame of the source file into which a network is written."""

TEMPLATE = '''"""{title}: images -> class probabilities, written by {producer}.

This file and weights.safetensors beside it are all of the network; only torch is needed.

    from model import CLASS_NAMES, load
    probabilities = load()(images)

{input}
{output}
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from math import prod
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

CLASS_NAMES = (
{class_names})

IMAGE_SIZE = {image_size}
"""Height and width, in pixels."""

DTYPES = {{{dtypes}}}


def load(device: str = "cpu") -> Callable[[Tensor], Tensor]:
    """Read the weights, and return the network: raw pixels (N, C, H, W) -> (N, n_classes)."""
    weights = read_weights(Path(__file__).with_name("weights.safetensors"))
    return partial(network, w={{name: tensor.to(device) for name, tensor in weights.items()}})


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a file of safetensors: 8 bytes of length, a header in JSON, the numbers."""
    content = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    weights = {{}}
    for name, entry in header.items():
        shape, dtype = entry["shape"], DTYPES[entry["dtype"]]
        offset = start + entry["data_offsets"][0]
        flat = torch.frombuffer(content, dtype=dtype, count=prod(shape), offset=offset)
        weights[name] = flat.reshape(shape).clone()
    return weights


@torch.no_grad()
def network(images: Tensor, w: dict[str, Tensor]) -> Tensor:
    """Map raw pixels to probabilities; w holds the weights by name."""
{body}
'''
