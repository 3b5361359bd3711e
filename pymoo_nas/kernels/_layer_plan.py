"""Decide how the per-sample gradients of each parameter are computed: by a rule or a fallback.

A parameter is *ruled* when every module that owns it is of a type in `RULES` and is called with the
samples in the first dimension. Every other parameter goes to a *fallback*: the nearest module
around its owners that is called with the samples in the first dimension. Vector-Jacobian products
of the fallback give its gradients. No parameter is left out: the plan counts all that it covers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor, nn

from pymoo_nas.errors import NetworkError, ScoreError
from pymoo_nas.kernels._calibration import batch_norms
from pymoo_nas.kernels._sample_gradients import (
    COLUMNS,
    GRAM_ENTRIES,
    RULES,
    has_cheaper_gram,
    positions,
    tensors,
)

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Layers whose weight gradients can take more memory than the layer's input and output gradient."""

Piece: TypeAlias = dict[int, tuple[int, int]]
"""Parameter id → range (start, stop) of its elements that one pass records."""


class Need(NamedTuple):
    """Numbers that a weight needs per image while its gradients are multiplied.

    Attributes:
        held: count of numbers in the layer's input and output together.
        per_output: count of gradients for one output channel.
        unfolded: count of numbers in the input, unfolded to all positions of the kernel.
        cheaper_gram: whether products cost less without forming gradients (`has_cheaper_gram`).
    """

    held: int
    per_output: int
    unfolded: int
    cheaper_gram: bool


@dataclass(frozen=True)
class Steps:
    """Limits on how much is computed and held at a time.

    Attributes:
        chunk: images in one pass.
        waiting: numbers per image that wait for the other images at the end of a pass.
        columns: gradients per image that are formed at once.
        gram_entries: entries that are held at once in a product between positions.
        unfolded: most numbers to which a layer's inputs may be unfolded; None for any.
        checked: parameters whose gradients are compared with autograd in one pass; None for all.
    """

    chunk: int
    waiting: int
    columns: int = COLUMNS
    gram_entries: int = GRAM_ENTRIES
    unfolded: int | None = None
    checked: int | None = None

    def unfolds(self, numbers: int) -> bool:
        """Tell whether a layer's inputs may be unfolded to so many numbers."""
        return self.unfolded is None or numbers <= self.unfolded


@dataclass
class LayerPlan:
    """Plan of how the gradients of one network's parameters are computed.

    Attributes:
        ruled: modules whose own parameters have gradients in closed form.
        fallbacks: module → names of the parameters (its own or of modules within) left to it.
        repeated: ids of the parameters that more than one call uses. Their gradients are summed
            over the calls before they are multiplied.
        sizes: id → number of elements of every trainable parameter.
        shared_norms: whether a batch norm is called more than once.
        needs: id of a weight → its `Need`, where its layer is called once.
        n_images: N, images of the whole batch.
        n_bytes: estimate of the bytes that forward and backward pass of the whole batch hold.
    """

    ruled: list[nn.Module] = field(default_factory=list)
    fallbacks: dict[nn.Module, list[str]] = field(default_factory=dict)
    repeated: set[int] = field(default_factory=set)
    sizes: dict[int, int] = field(default_factory=dict)
    needs: dict[int, Need] = field(default_factory=dict)
    shared_norms: bool = False
    n_images: int = 0
    n_bytes: int = 0

    @property
    def n_parameters(self) -> int:
        """Number of trainable parameters covered, each counted once."""
        return sum(self.sizes.values())

    def kept_apart(self, steps: Steps) -> set[int]:
        """Find the weights that wait as their layer's input and output gradient, not as gradients.

        Input and output gradient take less memory there, and these steps suffice to compute the
        products from them.
        """
        return {
            key
            for key, need in self.needs.items()
            if need.held <= steps.waiting
            and (need.cheaper_gram or need.held < self.sizes[key])
            and (need.per_output <= steps.columns or self._has_gram(need, steps))
        }

    def _has_gram(self, need: Need, steps: Steps) -> bool:
        return need.cheaper_gram and steps.unfolds(self.n_images * need.unfolded)

    def pieces(
        self, keys: Mapping[int, int], most: int, apart: Collection[int] = ()
    ) -> list[Piece]:
        """Divide the parameters among several passes, which record them.

        Args:
            keys: parameter id → count of its numbers per image that wait.
            most: most numbers per image that wait at once.
            apart: ids of the parameters that are not cut, even where one has more than `most`.
        """
        pieces: list[Piece] = [{}]
        left = most
        for key, size in keys.items():
            if key in apart:
                if size > left and pieces[-1]:
                    pieces.append({})
                    left = most
                pieces[-1][key] = 0, self.sizes[key]
                left -= size
                continue
            start = 0
            while start < size:
                if left <= 0:
                    pieces.append({})
                    left = most
                stop = min(size, start + left)
                pieces[-1][key] = start, stop
                left -= stop - start
                start = stop
        return pieces


@dataclass
class _Calls:
    """Calls of one module during the planning pass."""

    times: int = 0
    batched: bool = True


def plan_layers(
    network: nn.Module, forward: Callable[[], Tensor], n_seen: int, n_images: int
) -> LayerPlan:
    """Watch one forward pass and decide how each trainable parameter is covered.

    Args:
        network: the network that `forward` calls.
        forward: function that runs the network once on a few images and returns its output.
        n_seen: number of these few images.
        n_images: N, images of the whole batch.

    Raises:
        NetworkError: the output is not (N, n_classes).
        ScoreError: no module can cover a parameter; names it.
    """
    calls: dict[nn.Module, _Calls] = defaultdict(_Calls)
    plan = LayerPlan(n_images=n_images)
    hooked = {m for m in network.modules() if m._forward_hooks or m._forward_pre_hooks}
    needs: dict[nn.Module, Need] = {}

    def watch(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        first = output[0] if isinstance(output, tuple | list) and output else output
        calls[module].times += 1
        dim = batch_dim(module)
        # Weights that a module returns (a parametrization) may have n_seen rows by chance. But
        # they are the module's own, while images are given to a module as arguments.
        calls[module].batched &= _holds(first, n_seen, dim) and any(
            _holds(value, n_seen, dim) for value in tensors((args, kwargs))
        )
        weight = module._parameters.get("weight")
        if type(module) in WEIGHTED and weight is not None and isinstance(first, Tensor):
            x = args[0] if args else kwargs["input"]
            needs[module] = _need(module, weight, x, first, n_images)
        if isinstance(first, Tensor) and not any(module.children()):
            # Three: the output, its gradient, and about as much again that autograd keeps. This
            # is an upper bound, as they do not all exist at the same time.
            plan.n_bytes += 3 * first.numel() * first.element_size() * n_images // n_seen

    handles = [
        module.register_forward_hook(watch, with_kwargs=True) for module in network.modules()
    ]
    try:
        output = forward()
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != n_seen:
        is_tensor = isinstance(output, Tensor)
        shape = tuple(output.shape) if is_tensor else type(output).__name__
        remedy = (
            "return one row per image"
            if is_tensor
            else "wrap the network in one that returns the logits"
        )
        raise NetworkError(
            f"network output for {n_seen} images: expected a tensor ({n_seen}, n_classes), got "
            f"{shape}; {remedy}"
        )
    plan.shared_norms = any(calls[norm].times > 1 for norm in batch_norms(network).values())
    _assign(network, calls, plan, hooked)
    for module in plan.ruled:
        key = id(module._parameters.get("weight"))
        if module in needs and key in plan.sizes and key not in plan.repeated:
            plan.needs[key] = needs[module]
    return plan


def _need(layer: nn.Module, weight: Tensor, x: Tensor, y: Tensor, n_images: int) -> Need:
    """Compute the need of a weight from one call of its layer, whose type is in `WEIGHTED`."""
    n = max(1, len(x))
    apart = getattr(layer, "groups", 1) == 1
    per_output = weight.numel() // len(weight) if apart else weight.numel()
    return Need(
        held=(x.numel() + y.numel()) // n,
        per_output=per_output,
        unfolded=per_output * positions(layer, y),
        cheaper_gram=has_cheaper_gram(layer, y, n_images),
    )


def batch_dim(module: nn.Module) -> int:
    """Return the dimension in which a module's input and output hold the samples."""
    return 0 if getattr(module, "batch_first", True) else 1


def _holds(value: Any, n: int, dim: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > dim and value.shape[dim] == n


def _assign(
    network: nn.Module, calls: dict[nn.Module, _Calls], plan: LayerPlan, hooked: set[nn.Module]
) -> None:
    """Give each parameter a rule or a fallback; a layer with hooks of its own gets no rule."""
    owners: dict[int, list[tuple[str, str]]] = defaultdict(list)
    modules = dict(network.named_modules())
    for path, module in modules.items():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                owners[id(parameter)].append((path, name))
                plan.sizes[id(parameter)] = parameter.numel()
    ruled: dict[nn.Module, None] = {}
    for key, places in owners.items():
        owner_modules = [modules[path] for path, _ in places]
        if all(
            name in RULES.get(type(module), {})
            and module not in hooked
            and calls[module].batched
            and calls[module].times
            for module, (_, name) in zip(owner_modules, places, strict=True)
        ):
            ruled.update(dict.fromkeys(owner_modules))
            if sum(calls[module].times for module in owner_modules) > 1:
                plan.repeated.add(key)
            continue
        around = _nearest_called(places, modules, calls)
        path, name = places[0]
        full = f"{path}.{name}" if path else name
        plan.fallbacks.setdefault(modules[around], []).append(
            full.removeprefix(f"{around}.") if around else full
        )
        plan.repeated.add(key)
    plan.ruled = list(ruled)


def _nearest_called(
    places: list[tuple[str, str]], modules: dict[str, nn.Module], calls: dict[nn.Module, _Calls]
) -> str:
    """Find the innermost module around all owners that sees the samples in a batch (dotted path).

    A parameter with a single owner may go to the owner itself. With several owners, only a module
    around all of them certainly sees every use of the parameter.
    """
    paths = [path.split(".") if path else [] for path, _ in places]
    shared = 0
    while all(len(path) > shared and path[shared] == paths[0][shared] for path in paths):
        shared += 1
    for length in range(shared, -1, -1):
        path = ".".join(paths[0][:length])
        if calls[modules[path]].times and calls[modules[path]].batched:
            return path
    raise ScoreError(
        f"parameter {'.'.join(places[0])!r}: no module around it returns the images in its first "
        "dimension, so its gradients cannot be told apart by image; return (N, …) tensors"
    )
