"""Compute the per-sample gradients of one layer from its input and the gradient of its output.

Where samples do not influence each other, the gradient of sample n for a layer's parameters is a
product of that layer's input a_n and output gradient g_n (Goodfellow 2015, Rochette 2019). Layers
of the types in `RULES` have a closed form; any other module is differentiated one image at a
time (`by_vjp`).

Index legend: n sample, o output channel, i input channel, t position (pixel or token).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pymoo_nas.errors import ScoreError

Rows: TypeAlias = Iterator[Tensor]
"""Column blocks (N, columns) of a parameter's per-sample gradients (N, P), in a fixed order."""

Rule: TypeAlias = Callable[[Any, Tensor, Tensor, int], Rows]
"""(layer, input, output gradient, columns) -> blocks of about `columns` columns at most."""


def convolution_weight(layer: nn.Conv2d, a: Tensor, g: Tensor, columns: int) -> Rows:
    """Compute weight gradients of a 1D, 2D or 3D convolution with any stride, dilation, groups.

    The samples become the groups of one wide convolution. The weight gradient of that convolution
    then holds the weight gradient of every sample. Where the inputs of all positions lie in memory
    as they are, or may be laid out so on a graphics card, one batched matrix product is faster.
    """
    if _is_matrix_product(layer, a, g):
        yield from _as_matrix_product(layer, a, g, columns)
        return
    n = len(a)
    a, padding = _padded(layer, a)
    per_output = math.prod(layer.weight.shape[1:])
    step = max(1, columns // per_output) if layer.groups == 1 else g.shape[1]
    a = _multiple_of_8(a) if layer.groups == 1 else a
    inputs = a.shape[1] // int(layer.groups)
    for part in torch.split(g, step, dim=1):
        outputs = part.shape[1]
        padded = _multiple_of_8(part) if layer.groups == 1 else part
        shape = (n * padded.shape[1], inputs, *layer.kernel_size)
        _, gradient, _ = torch.ops.aten.convolution_backward(
            padded.reshape(1, -1, *part.shape[2:]),
            a.reshape(1, -1, *a.shape[2:]),
            a.new_empty(1).expand(shape),
            None,
            layer.stride,
            padding,
            layer.dilation,
            False,
            [0] * len(layer.stride),
            n * layer.groups,
            (False, True, False),
        )
        gradient = gradient.reshape(n, padded.shape[1], inputs, *layer.kernel_size)
        yield gradient[:, :outputs, : layer.weight.shape[1]].reshape(n, -1)


def _is_matrix_product(layer: nn.Module, a: Tensor, g: Tensor) -> bool:
    """Tell whether `_as_matrix_product` takes a convolution, and is faster.

    Grouped convolutions are slow on graphics cards. On a CPU, copying the inputs of all positions
    costs more than it saves, so that only kernels of one pixel are multiplied directly.
    """
    if type(layer) is not nn.Conv2d or layer.groups > 1:
        return False
    if a.device.type == "cpu":
        return math.prod(layer.kernel_size) == 1 and a.shape[2:] == g.shape[2:]
    unfolded = g.shape[2:].numel() * a.shape[1] * math.prod(layer.kernel_size)
    return len(a) * unfolded <= UNFOLDED


def _as_matrix_product(layer: nn.Conv2d, a: Tensor, g: Tensor, columns: int) -> Rows:
    """Compute weight gradients as the product of output gradients and unfolded inputs."""
    inputs, g = _unfolded(layer, a), g.flatten(2)
    for part in torch.split(g, max(1, columns // inputs.shape[1]), dim=1):
        yield torch.bmm(part, inputs.mT).flatten(1)


def _unfolded(layer: nn.Conv2d, a: Tensor) -> Tensor:
    """Lay out the inputs of every position: (N, C, H, W) → (N, d, T); a view for single pixels."""
    if math.prod(layer.kernel_size) == 1 and not any(_paddings(layer)) and {*layer.stride} == {1}:
        return a.flatten(2)
    a, padding = _padded(layer, a)
    return F.unfold(a, layer.kernel_size, layer.dilation, padding, layer.stride)


def convolution_bias(layer: nn.Conv2d, a: Tensor, g: Tensor, columns: int) -> Rows:
    """Compute bias gradients of a convolution or channel normalisation: the sum over positions."""
    del layer, a, columns
    yield g.flatten(2).sum(2) if g.ndim > 2 else g


def linear_weight(layer: nn.Linear, a: Tensor, g: Tensor, columns: int) -> Rows:
    """Compute weight gradients of a linear layer on (N, …, in_features)."""
    del layer
    a, g = _tokens(a), _tokens(g)
    # Sizes of tensors: those of a layer may be integers of numpy, which torch does not take here.
    for part in torch.split(g, max(1, columns // a.shape[2]), dim=2):
        yield torch.einsum("nto,nti->noi", part, a).flatten(1)


def linear_bias(layer: nn.Linear, a: Tensor, g: Tensor, columns: int) -> Rows:
    """Compute bias gradients of a linear layer: the sum over positions."""
    del layer, a, columns
    yield _tokens(g).sum(1)


def batch_norm_weight(layer: nn.BatchNorm2d, a: Tensor, g: Tensor, columns: int) -> Rows:
    """Compute scale gradients of a batch norm in eval mode: Σ_t g · (a − mean) / √(var + eps)."""
    del columns
    mean, variance = layer.running_mean, layer.running_var
    if mean is None or variance is None:
        raise ScoreError(f"{layer}: no running statistics; build it with track_running_stats=True")
    # With each channel of each sample as a channel of its own, torch's sums over a batch are those
    # of one sample. They are several times faster than a product and its sum. In another order of
    # memory, torch's sums of a single sample may be wrong (torch 2.14).
    n = len(a)
    apart = (1, n * a.shape[1], *a.shape[2:])
    _, gradient, _ = torch.ops.aten.native_batch_norm_backward(
        g.reshape(apart).contiguous(),
        a.reshape(apart).contiguous(),
        None,
        mean.repeat(n),
        variance.repeat(n),
        None,
        None,
        False,
        layer.eps,
        (False, True, False),
    )
    yield gradient.view(n, -1)


def layer_norm_weight(layer: nn.LayerNorm, a: Tensor, g: Tensor, columns: int) -> Rows:
    """Compute scale gradients of a layer norm."""
    del columns
    product = F.layer_norm(a, layer.normalized_shape, eps=layer.eps) * g
    yield _sum_leading(product, len(layer.normalized_shape))


def layer_norm_bias(layer: nn.LayerNorm, a: Tensor, g: Tensor, columns: int) -> Rows:
    """Compute bias gradients of a layer norm."""
    del a, columns
    yield _sum_leading(g, len(layer.normalized_shape))


def group_norm_weight(layer: nn.GroupNorm, a: Tensor, g: Tensor, columns: int) -> Rows:
    """Compute scale gradients of a group norm."""
    normalized = F.group_norm(a, layer.num_groups, eps=layer.eps)
    yield from convolution_bias(layer, a, normalized * g, columns)  # type: ignore[arg-type]


_CONVOLUTION: dict[str, Rule] = {"weight": convolution_weight, "bias": convolution_bias}
_BATCH_NORM: dict[str, Rule] = {"weight": batch_norm_weight, "bias": convolution_bias}

RULES: dict[type[nn.Module], dict[str, Rule]] = {
    nn.Conv1d: _CONVOLUTION,
    nn.Conv2d: _CONVOLUTION,
    nn.Conv3d: _CONVOLUTION,
    nn.Linear: {"weight": linear_weight, "bias": linear_bias},
    nn.BatchNorm1d: _BATCH_NORM,
    nn.BatchNorm2d: _BATCH_NORM,
    nn.BatchNorm3d: _BATCH_NORM,
    nn.LayerNorm: {"weight": layer_norm_weight, "bias": layer_norm_bias},
    nn.GroupNorm: {"weight": group_norm_weight, "bias": convolution_bias},
}
"""Layer type (exactly: a subclass may compute something else) → parameter name → rule."""


COLUMNS = 1 << 16
"""Gradients per image that are held at once: 64 images × 65,536 float32 are 16 MiB."""

GRAM_ENTRIES = 1 << 24
"""Entries of an (n T, N T) product that are held at once: 64 MiB of float32."""


UNFOLDED = 1 << 26
"""Most numbers to which a layer's inputs are unfolded on a graphics card: 256 MiB of float32."""


def positions(layer: nn.Module, g: Tensor) -> int:
    """Count T, the positions at which the layer's weight is applied to one sample."""
    channels = g.shape[-1] if type(layer) is nn.Linear else g.shape[1]
    return g[0].numel() // channels if len(g) else 0


def has_cheaper_gram(layer: nn.Module, g: Tensor, n: int) -> bool:
    """Tell whether `weight_gram` takes fewer operations than forming the gradients (few positions).

    For a weight with d inputs and o outputs, this compares (N T)² (d + o) with N T d o + N² d o.

    Args:
        layer: any module.
        g: gradient of its output, for the whole batch or a piece of it.
        n: N, images of the whole batch, so that all its pieces are treated alike.
    """
    if type(layer) is nn.Linear:
        outputs, inputs = layer.weight.shape
    elif type(layer) is nn.Conv2d and layer.groups == 1:
        outputs, inputs = len(layer.weight), math.prod(layer.weight.shape[1:])
    else:
        return False
    t = positions(layer, g)
    return n * t * t * (inputs + outputs) < inputs * outputs * (t + n)


def weight_gram(layer: nn.Module, a: Tensor, g: Tensor, entries: int = GRAM_ENTRIES) -> Tensor:
    """Compute G Gᵀ of a weight without forming G: Σ_tt' (a_nt·a_mt') (g_nt·g_mt').

    Args:
        layer: a convolution or a linear layer.
        a: its input, of N samples.
        g: gradient of its output.
        entries: number of entries held at once in the products between positions.

    Returns:
        (N, N) float64.
    """
    if isinstance(layer, nn.Conv2d):
        a, g = _unfolded(layer, a).transpose(1, 2), g.flatten(2).transpose(1, 2)
    else:
        a, g = _tokens(a), _tokens(g)
    n, t = a.shape[:2]
    a, g = a.reshape(n * t, -1), g.reshape(n * t, -1)
    step = t * max(1, entries // max(n * t * t, 1))
    rows = [
        ((a_part @ a.T) * (g_part @ g.T)).view(-1, t, n, t).sum((1, 3), dtype=torch.float64)
        for a_part, g_part in zip(torch.split(a, step), torch.split(g, step), strict=True)
    ]
    return torch.cat(rows)


def by_vjp(
    module: nn.Module,
    names: list[str],
    inputs: tuple[tuple[Any, ...], dict[str, Any]],
    gradients: Mapping[int, Tensor],
    n: int,
    *,
    batch_dim: int = 0,
) -> dict[str, Tensor]:
    """Compute per-sample gradients of any module's parameters by vector-Jacobian products.

    Args:
        module: module that is called once per sample, with a batch of one.
        names: wanted parameters, as in ``module.named_parameters()``; each requires a gradient.
        inputs: positional and keyword arguments of the call; tensors with N samples are split.
        gradients: place in the list of returned tensors (see `tensors`) → gradient of that tensor.
        n: N, number of samples.
        batch_dim: dimension of the inputs that holds the samples.

    Returns:
        parameter name → (N, P).

    Raises:
        ScoreError: the samples cannot be told apart in an output.
    """
    parameters = [module.get_parameter(name) for name in names]
    rows: dict[str, list[Tensor]] = {name: [] for name in names}
    for index in range(n):
        args, kwargs = _one_sample(inputs, index, n, batch_dim)
        # Plain autograd, not torch.func: autograd knows every layer that can be trained at all.
        with torch.enable_grad():
            returned = list(tensors(module(*args, **kwargs)))
        pairs = [(returned[place], g) for place, g in gradients.items()]
        pairs = [(output, g) for output, g in pairs if output.requires_grad]
        found: tuple[Tensor | None, ...] = (None,) * len(names)
        if pairs:
            found = torch.autograd.grad(
                [output for output, _ in pairs],
                parameters,
                [_gradient_of_sample(module, g, index, output) for output, g in pairs],
                allow_unused=True,
            )
        for name, parameter, gradient in zip(names, parameters, found, strict=True):
            own = torch.zeros_like(parameter) if gradient is None else gradient
            rows[name].append(own.detach().flatten())
    return {name: torch.stack(parts) for name, parts in rows.items()}


def _gradient_of_sample(module: nn.Module, g: Tensor, index: int, output: Tensor) -> Tensor:
    """Cut out the part of a gradient that belongs to the output of one sample.

    The dimension that holds the samples is the one in which one sample's output is shorter. The
    last states of an `nn.LSTM` hold the samples in another dimension than its sequence.

    Raises:
        ScoreError: there is no such dimension.
    """
    if output.shape == g.shape:
        return g
    for dim in range(g.ndim):
        part = g.narrow(dim, index, 1) if index < g.shape[dim] else g
        if part.shape == output.shape:
            return part
    raise ScoreError(
        f"{type(module).__name__}: it returns {tuple(output.shape)} for one image and "
        f"{tuple(g.shape)} for several, in which they cannot be told apart; return (N, …) tensors"
    )


def _one_sample(value: Any, index: int, n: int, batch_dim: int) -> Any:
    """Make a batch of one: narrow and copy each tensor that holds n samples in nested arguments.

    The tensors are copied because the module may change its input in place.
    """
    if isinstance(value, Tensor):
        if value.ndim > batch_dim and value.shape[batch_dim] == n:
            return value.detach().narrow(batch_dim, index, 1).clone()
        return value
    if isinstance(value, list | tuple):
        parts = [_one_sample(part, index, n, batch_dim) for part in value]
        named = hasattr(value, "_fields")
        return type(value)(*parts) if named else type(value)(parts)
    if isinstance(value, Mapping):
        return {key: _one_sample(part, index, n, batch_dim) for key, part in value.items()}
    return value


def joined(blocks: Rows) -> Tensor:
    """Join blocks to (N, P); a single one is not copied."""
    parts = list(blocks)
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def tensors(value: Any) -> Iterator[Tensor]:
    """Yield all tensors in nested lists, tuples and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors(part)


def _tokens(x: Tensor) -> Tensor:
    """Reshape (N, …, C) → (N, T, C)."""
    return x.reshape(len(x), -1, x.shape[-1])


def _sum_leading(x: Tensor, n_trailing: int) -> Tensor:
    """Sum (N, …, *normalized_shape) → (N, P) over all dimensions in between."""
    kept = x.shape[x.ndim - n_trailing :]
    return x.reshape(len(x), -1, math.prod(kept)).sum(1)


def _paddings(layer: nn.Conv2d) -> tuple[int, ...]:
    """Pixels that are added at each side, last dimension first."""
    return tuple(layer._reversed_padding_repeated_twice)


def _padded(layer: nn.Conv2d, a: Tensor) -> tuple[Tensor, Any]:
    """Pad the input where the backward operation cannot; return it and the padding still to do."""
    if layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        return a, layer.padding
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(a, _paddings(layer), mode=mode), (0,) * len(layer.stride)


def _multiple_of_8(x: Tensor) -> Tensor:
    """Append zero channels up to a multiple of 8; grouped CPU kernels are slow in between.

    They run several times faster with the padding. An input of fewer than 8 channels (the image)
    stays: there the padding costs more than it saves.
    """
    missing = -x.shape[1] % 8
    if missing == 0 or x.shape[1] < 8 or x.device.type != "cpu":
        return x
    return F.pad(x, (0, 0) * (x.ndim - 2) + (0, missing))
