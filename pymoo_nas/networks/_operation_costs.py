"""Count multiply-accumulates of torch operations, also of those that torch's rules leave out.

Torch has rules for convolutions, matrix products and the attention of CUDA. The rules here have
the same form: the shapes of an operation's arguments and output give twice the number of
multiply-accumulates. Products that a mask leaves out of an attention are counted, as torch does.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch.utils.flop_counter import flop_registry, shape_wrapper

CostRule: TypeAlias = Callable[..., int]
"""Shapes of the arguments, ``out_shape`` of the output → twice the multiply-accumulates."""

Shape: TypeAlias = tuple[int, ...]


def attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Count (…, T, D), (…, S, D), (…, S, E) as T · S · (D + E) for each head of the query.

    Keys and values that several heads share are counted once per head.
    """
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def recurrent_layer(x: Shape, w_ih: Shape, w_hh: Shape, *_: Any, **__: Any) -> int:
    """Count one direction of one recurrent layer: both of its weights, at every step."""
    return 2 * math.prod(x[:-1]) * (math.prod(w_ih) + math.prod(w_hh))


def recurrent_network(x: Shape, weights: list[Shape], *_: Any, **__: Any) -> int:
    """Count all layers of a recurrent network: every matrix, at every step."""
    sizes = [math.prod(weight) for weight in weights if len(weight) == 2]
    return 2 * math.prod(x[:-1]) * sum(sizes)


def trilinear(*arguments: Any, **_: Any) -> int:
    """Count `nn.Bilinear` as N · O · I · (J + 1): the weight by one input, then by the other.

    The arguments are three shapes, the dimensions of size 1 to insert into each, and the summed
    dimensions.
    """
    shapes, expansions, sums = arguments[:3], arguments[3:6], arguments[6]
    full: list[Shape] = []
    for shape, expanded in zip(shapes, expansions, strict=True):
        longer = list(shape)
        for dim in sorted(expanded):
            longer.insert(dim, 1)
        full.append(tuple(longer))
    whole: Shape = tuple(torch.broadcast_shapes(*full))
    products = math.prod(whole)
    return 2 * (products + (products // max(1, whole[max(sums)]) if len(sums) > 1 else 0))


def matrix_vector(matrix: Shape, vector: Shape, **_: Any) -> int:
    """Count (m, k) · (k,) as m · k."""
    del vector
    return 2 * math.prod(matrix)


def added_matrix_vector(added: Shape, matrix: Shape, vector: Shape, **_: Any) -> int:
    """Count as `matrix_vector` does."""
    del added
    return matrix_vector(matrix, vector)


def dot(first: Shape, second: Shape, **_: Any) -> int:
    """Count (k,) · (k,) as k."""
    del second
    return 2 * math.prod(first)


def added_outer(added: Shape, first: Shape, second: Shape, **_: Any) -> int:
    """Count (m,) by (n,) as m · n."""
    del added
    return 2 * math.prod(first) * math.prod(second)


def added_batch_of_products(added: Shape, first: Shape, second: Shape, **_: Any) -> int:
    """Count (b, m, k) · (b, k, n) as b · m · k · n."""
    del added
    return 2 * math.prod(first) * second[-1]


def convolution_of_steps(x: Shape, weight: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    """Count `torch.conv_tbc` with weight (k, I, O) as k · I for each number that it returns."""
    del x
    return 2 * math.prod(out_shape) * math.prod(weight[:-1])


def deformable_convolution(x: Shape, weight: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    """Count a weight (O, I, h, w) as I · h · w for each number that the operation returns."""
    del x
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


def distances(first: Shape, second: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    """Count `torch.cdist` of vectors with k numbers as k for each distance."""
    del second
    return 2 * math.prod(out_shape) * first[-1]


ATEN = torch.ops.aten
COSTS: Mapping[Any, CostRule] = {
    ATEN._scaled_dot_product_flash_attention_for_cpu: attention,
    ATEN._scaled_dot_product_flash_attention: attention,
    ATEN._scaled_dot_product_efficient_attention: attention,
    ATEN._scaled_dot_product_cudnn_attention: attention,
    ATEN._scaled_dot_product_fused_attention_overrideable: attention,
    ATEN.mkldnn_rnn_layer: recurrent_layer,
    ATEN._cudnn_rnn: recurrent_network,
    ATEN._trilinear: trilinear,
    ATEN.mv: matrix_vector,
    ATEN.addmv: added_matrix_vector,
    ATEN.addmv_: added_matrix_vector,
    ATEN.dot: dot,
    ATEN.vdot: dot,
    ATEN.addr: added_outer,
    ATEN.addbmm: added_batch_of_products,
    ATEN.conv_tbc: convolution_of_steps,
    ATEN._cdist_forward: distances,
}
"""Operation → rule, for operations that torch's counter lacks or refuses."""


def cost_rules() -> dict[Any, Callable[..., int]]:
    """Give torch's rules, `COSTS`, and the rules for torchvision where that is imported.

    A network that has operations of torchvision has imported it; importing it here would take
    seconds.

    Returns:
        operation → rule that takes the operation's arguments and ``out_val``, what it returned.
    """
    own = dict(COSTS)
    if "torchvision" in sys.modules:
        own[torch.ops.torchvision.deform_conv2d] = deformable_convolution
    return {**flop_registry, **{operation: shape_wrapper(rule) for operation, rule in own.items()}}
