"""Who computes the per-sample gradients of which parameter: a layer's rule, or a fallback.

A parameter is *ruled* when every module that owns it is of a type in `RULES` and is called with the
samples in the first dimension. All others go to the nearest module around their owners that is
called so, whose gradients are then taken by vector-Jacobian products. Nothing is left out: the
plan counts the parameters that it covers.
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
"""Layers whose weight's gradients are larger than the input and output that they are made of."""

Piece: TypeAlias = dict[int, tuple[int, int]]
"""Parameter id → first and last of its elements, as a range, that are recorded in a pass."""


class Need(NamedTuple):
    """What a weight needs per image while its gradients are multiplied.

    Attributes:
        held: numbers of the layer's input and output.
        per_output: gradients of one output channel.
        unfolded: numbers of the input at all positions of the kernel.
        cheaper_gram: see `has_cheaper_gram`.
    """

    held: int
    per_output: int
    unfolded: int
    cheaper_gram: bool


@dataclass(frozen=True)
class Steps:
    """How much is done at a time.

    Attributes:
        chunk: images of one pass.
        waiting: numbers per image that wait for the other images at the end of a pass.
        columns: gradients per image that are formed at once.
        gram_entries: entries of a product of positions that are held at once.
        unfolded: numbers that a layer's inputs may be unfolded to; None for any.
        checked: parameters whose gradients are compared with autograd in one pass; None for all.
    """

    chunk: int
    waiting: int
    columns: int = COLUMNS
    gram_entries: int = GRAM_ENTRIES
    unfolded: int | None = None
    checked: int | None = None

    def unfolds(self, numbers: int) -> bool:
        """Whether a layer's inputs may be unfolded to so many numbers."""
        return self.unfolded is None or numbers <= self.unfolded


@dataclass
class LayerPlan:
    """The plan for one network.

    Attributes:
        ruled: the modules whose own parameters have closed forms.
        fallbacks: module → names of the parameters (its own or of modules within) left to it.
        repeated: ids of the parameters that more than one call uses: their gradients are summed
            over the calls before they are multiplied.
        sizes: id → number of elements of every trainable parameter.
        shared_norms: whether a batch norm is called more than once.
        needs: id → what a weight needs whose layer is called once.
        n_images: N, of the whole batch.
        n_bytes: estimate of what a forward and backward pass of the whole batch holds, bytes.
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
        """Trainable parameters covered, each counted once."""
        return sum(self.sizes.values())

    def kept_apart(self, steps: Steps) -> set[int]:
        """Weights whose layer's input and output gradient wait in place of their gradients.

        They take less memory so, and what they are joined to can be computed in these steps.
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
        """What is recorded in each of several passes.

        Args:
            keys: parameter id → numbers per image that wait of it.
            most: numbers per image that wait at once.
            apart: ids that are recorded in one pass, even if that is more.
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
    """How one module was called during the planning pass."""

    times: int = 0
    batched: bool = True


def plan_layers(
    network: nn.Module, forward: Callable[[], Tensor], n_seen: int, n_images: int
) -> LayerPlan:
    """Watch one forward pass and decide who covers which trainable parameter.

    Args:
        network: the network that `forward` calls.
        forward: runs the network once on a few images and returns its output.
        n_seen: how many images that are.
        n_images: N, of the whole batch.

    Raises:
        NetworkError: the output is not (N, n_classes).
        ScoreError: a parameter that nothing can cover, named.
    """
    calls: dict[nn.Module, _Calls] = defaultdict(_Calls)
    plan = LayerPlan(n_images=n_images)
    hooked = {m for m in network.modules() if m._forward_hooks or m._forward_pre_hooks}
    needs: dict[nn.Module, Need] = {}

    def watch(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        first = output[0] if isinstance(output, tuple | list) and output else output
        calls[module].times += 1
        dim = batch_dim(module)
        # Weights that pass through a module (a parametrization) may have as many rows by chance,
        # but then they are its own: a module that sees the images is given them.
        calls[module].batched &= _holds(first, n_seen, dim) and any(
            _holds(value, n_seen, dim) for value in tensors((args, kwargs))
        )
        weight = module._parameters.get("weight")
        if type(module) in WEIGHTED and weight is not None and isinstance(first, Tensor):
            x = args[0] if args else kwargs["input"]
            needs[module] = _need(module, weight, x, first, n_images)
        if isinstance(first, Tensor) and not any(module.children()):
            # The output, its gradient, and about as much again that autograd keeps: an upper
            # bound, as not all of it is there at the same time.
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
    """Of one call of a layer of a type in `WEIGHTED`."""
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
    """The dimension of a module's input and output in which the samples stand."""
    return 0 if getattr(module, "batch_first", True) else 1


def _holds(value: Any, n: int, dim: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > dim and value.shape[dim] == n


def _assign(
    network: nn.Module, calls: dict[nn.Module, _Calls], plan: LayerPlan, hooked: set[nn.Module]
) -> None:
    """Decide who covers which parameter; a layer with hooks of its own may do anything."""
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
    """Dotted path of the innermost module around all owners that sees the samples in a batch.

    Where an owner is called by itself, the module around it is one that certainly sees all of the
    parameter's uses only if it has a single owner; with several, the one around all is taken.
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
