"""Record every layer's per-sample gradients in one forward and one backward pass."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pymoo_nas._machine import is_out_of_memory, network_errors
from pymoo_nas.errors import PymooNasError, ScoreError
from pymoo_nas.kernels._activations import ReluCalls, depends_on
from pymoo_nas.kernels._calibration import calibrating
from pymoo_nas.kernels._layer_plan import LayerPlan, Piece, Steps, batch_dim
from pymoo_nas.kernels._products import LayerUse, Products, Signs
from pymoo_nas.kernels._sample_gradients import (
    COLUMNS,
    RULES,
    by_vjp,
    has_cheaper_gram,
    joined,
    tensors,
)

SMALL = 1024
"""Most gradients of a parameter, such as a norm's, whose products are computed with others'."""

ROUNDING = 100
"""Largest rounding error that is assumed, as a multiple of eps."""


@dataclass
class Recording:
    """Results of one pass over a piece of the batch.

    Attributes:
        rows: parameter id → per-sample gradients (n, P) that still wait for their products.
        uses: parameter id → its layer's input and output gradient, which wait for their products.
        codes: signs of every ReLU call that wait for their products.
        input_gradients: (n, D).
        logits: (n, n_classes).
    """

    rows: dict[int, Tensor] = field(default_factory=dict)
    uses: dict[int, LayerUse] = field(default_factory=dict)
    codes: list[Signs] = field(default_factory=list)
    input_gradients: Tensor = field(default_factory=lambda: torch.empty(0))
    logits: Tensor = field(default_factory=lambda: torch.empty(0))


def record_pass(
    network: nn.Module,
    plan: LayerPlan,
    images: Tensor,
    *,
    wanted: Piece | None = None,
    apart: Collection[int] | None = None,
    products: Products | None = None,
    with_codes: bool = True,
    calibrated: bool = True,
) -> Recording:
    """Run one forward and one backward pass of the summed logits, and record the layers.

    Args:
        network: its parameters' ``requires_grad`` are changed.
        plan: plan that says how each parameter is covered.
        images: (n, C, H, W).
        wanted: elements of parameters to record; None for all.
        apart: ids of the weights that are kept as their layer's input and output gradient; None
            for the weights whose products cost less from these.
        products: sums that take each layer's products at once, where the images are the whole
            batch; only repeated parameters are then kept. None keeps everything.
        with_codes: whether to record the signs of the pre-activations.
        calibrated: whether the network is frozen already (`calibrate`); otherwise this pass
            freezes it, and the images must be the whole batch.

    Raises:
        ScoreError: a layer's input was changed in place after use, a layer mixes images, or a ReLU
            is called on a tensor whose first dimension does not hold the images.
        NetworkError: the network cannot take the images.
    """
    images = images.detach().requires_grad_(True)
    recorder = _Recorder(plan, wanted, apart, products, images)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    uncovered = [
        parameter
        for module, names in plan.fallbacks.items()
        for parameter in map(module.get_parameter, names)
        if wanted is None or id(parameter) in wanted
    ]
    for parameter in uncovered:
        parameter.requires_grad_(True)
    sources = [images, recorder.anchor, *uncovered]
    summed: tuple[Tensor | None, ...] = (None,) * len(sources)
    with torch.enable_grad(), recorder.watching(with_codes):
        with nullcontext() if calibrated else calibrating(network), network_errors(images):
            # A copy: the network may change its input in place, which a leaf does not allow.
            logits = network(images.clone())
        total = logits.sum()
        if total.requires_grad:
            with network_errors(images, "be differentiated on", "use operations out of place"):
                summed = torch.autograd.grad(total, sources, allow_unused=True)
    recording = recorder.recording
    gradient = summed[0] if summed[0] is not None else torch.zeros_like(images)
    recording.input_gradients = gradient.flatten(1)
    recording.logits = logits.detach()
    recorder.finish_fallbacks(dict(zip(map(id, uncovered), summed[2:], strict=True)))
    return recording


@dataclass
class _Inputs:
    """Arguments of one call, which must not change until they have been used."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    versions: list[int]

    @classmethod
    def of(cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Inputs:
        """Note the present version of every tensor."""
        return cls(args, kwargs, [tensor._version for tensor in tensors((args, kwargs))])

    def check_unchanged(self, layer: nn.Module) -> None:
        """Refuse a layer whose input was changed after its call.

        Raises:
            ScoreError: names the layer.
        """
        if [tensor._version for tensor in tensors((self.args, self.kwargs))] != self.versions:
            raise ScoreError(
                f"layer {layer}: its input is changed in place after it was used, so that its "
                "gradients are lost; use an operation that is not in place"
            )


@contextmanager
def _naming(module: nn.Module) -> Iterator[None]:
    """Name the module that cannot be called with one image at a time.

    Raises:
        ScoreError: the module raised an error, and memory did not run out.
    """
    try:
        yield
    except PymooNasError:
        raise
    except (RuntimeError, ValueError, IndexError, AssertionError, TypeError) as error:
        if is_out_of_memory(error):
            raise
        raise ScoreError(
            f"{type(module).__name__}: its parameters have no closed form, and called with one "
            f"image it fails: {error}; give it tensors (N, …) and let it take any N"
        ) from error


class _Recorder:
    """Hooks of one pass, which fill its recording."""

    def __init__(
        self,
        plan: LayerPlan,
        wanted: Piece | None,
        apart: Collection[int] | None,
        products: Products | None,
        images: Tensor,
    ) -> None:
        self.plan = plan
        self.wanted = wanted
        self.apart = apart
        self.products = products
        self.images = images
        self.columns = COLUMNS if products is None else products.columns
        # Added to outputs that do not depend on the images, so that the backward pass reaches them.
        self.anchor = images.new_zeros(()).requires_grad_(True)
        self.recording = Recording()
        self.fallback_calls: list[tuple[nn.Module, _Inputs, dict[int, Tensor]]] = []

    @contextmanager
    def watching(self, with_codes: bool) -> Iterator[None]:
        """Set all hooks and modes, and remove them in any case."""
        hooks = [
            layer.register_forward_hook(self.layer_called, with_kwargs=True)
            for layer in self.plan.ruled
        ]
        hooks += [
            module.register_forward_hook(self.fallback_called, with_kwargs=True)
            for module in self.plan.fallbacks
        ]
        try:
            with ReluCalls(self.codes) if with_codes else nullcontext():
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def layer_called(
        self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> Tensor:
        """Forward hook of a ruled layer."""
        if not torch.is_grad_enabled():  # the network itself stops the gradient here
            return output
        if not output.requires_grad:
            output = output + self.anchor
        inputs = _Inputs.of(args, kwargs)
        a = (args[0] if args else kwargs["input"]).detach()

        def received(g: Tensor) -> None:
            inputs.check_unchanged(layer)
            self.layer_used(layer, a, g)

        output.register_hook(received)
        return output

    def fallback_called(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        """Forward hook of a module whose parameters go through `by_vjp`."""
        inputs, found = _Inputs.of(args, kwargs), dict[int, Tensor]()

        def received(place: int, g: Tensor) -> None:
            if not found:
                self.fallback_calls.append((module, inputs, found))
            found[place] = g.detach()

        places = {id(tensor): (place, tensor) for place, tensor in enumerate(tensors(output))}
        for place, tensor in places.values():  # each tensor once, however often it is returned
            if tensor.requires_grad:
                tensor.register_hook(partial(received, place))

    def layer_used(self, layer: nn.Module, a: Tensor, g: Tensor) -> None:
        """Multiply or keep the gradients of one call of a ruled layer."""
        for name, rule in RULES[type(layer)].items():
            parameter = layer._parameters.get(name)
            if parameter is None or not self._is_wanted(parameter):
                continue
            key = id(parameter)
            waits = self.products is None or key in self.plan.repeated
            if self._is_kept_apart(key, name, layer, g):
                use = LayerUse(layer, a, g)
                if waits or self.products is None:
                    self.recording.uses[key] = use.compact()
                else:
                    self.products.add_use(key, use)
                    self.products.finish(key)
            elif waits or self.products is None:
                self._keep_rows(key, joined(rule(layer, a, g, self.columns)))
            elif parameter.numel() <= SMALL:
                self.products.add_small(joined(rule(layer, a, g, self.columns)))
            else:
                self.products.add_rows(key, rule(layer, a, g, self.columns))
                self.products.finish(key)

    def _is_kept_apart(self, key: int, name: str, layer: nn.Module, g: Tensor) -> bool:
        """Tell whether input and output gradient are kept, so that no gradients are formed."""
        if name != "weight" or key in self.plan.repeated:
            return False
        if self.products is None and self.apart is not None:
            return key in self.apart
        return has_cheaper_gram(layer, g, self.plan.n_images)

    def finish_fallbacks(self, summed: dict[int, Tensor | None]) -> None:
        """Compute the fallbacks' vector-Jacobian products, once hooks are gone, and check them.

        Args:
            summed: parameter id → gradient by autograd, summed over the images.

        Raises:
            ScoreError: the per-image gradients of a parameter do not add up to autograd's.
        """
        floors: dict[nn.Module, float] = defaultdict(float)
        n = len(self.images)
        # Hooks of the inputs refer to this recorder; if kept, such a cycle is freed late.
        calls, self.fallback_calls = self.fallback_calls, []
        for module, inputs, gradients in calls:
            names = [
                name
                for name in self.plan.fallbacks[module]
                if summed.get(id(module.get_parameter(name))) is not None
            ]
            if not names:
                continue
            inputs.check_unchanged(module)
            floors[module] += sum(
                ROUNDING * torch.finfo(g.dtype).eps * float(g.abs().sum(dtype=torch.float64))
                for g in gradients.values()
            )
            given = (inputs.args, inputs.kwargs)
            with _naming(module):
                parts = by_vjp(module, names, given, gradients, n, batch_dim=batch_dim(module))
            for name, rows in parts.items():
                self._keep_rows(id(module.get_parameter(name)), rows)
        for module, names in self.plan.fallbacks.items():
            for name in names:
                key = id(module.get_parameter(name))
                expected = summed.get(key)
                if expected is not None:
                    start, stop = (0, expected.numel()) if self.wanted is None else self.wanted[key]
                    expected = expected.reshape(1, -1)[:, start:stop]
                    rows = self.recording.rows.get(key, torch.zeros_like(expected))
                    title = f"{type(module).__name__}: {name}"
                    check_sum(title, rows, expected, floors[module])

    def _is_wanted(self, parameter: nn.Parameter) -> bool:
        key = id(parameter)
        return key in self.plan.sizes and (self.wanted is None or key in self.wanted)

    def _keep_rows(self, key: int, rows: Tensor) -> None:
        start, stop = (0, rows.shape[1]) if self.wanted is None else self.wanted[key]
        rows = rows if stop - start == rows.shape[1] else rows[:, start:stop].clone()
        earlier = self.recording.rows.get(key)
        self.recording.rows[key] = rows if earlier is None else earlier + rows

    def codes(self, pre_activation: Tensor) -> None:
        """Record the signs of a pre-activation, before its ReLU is called.

        Raises:
            ScoreError: the tensor depends on the images, but they cannot be told apart in it.
        """
        if pre_activation.ndim == 0 or len(pre_activation) != len(self.images):
            if depends_on(pre_activation, self.images):
                raise ScoreError(
                    f"a ReLU is called on a tensor of shape {tuple(pre_activation.shape)}; "
                    f"expected the {len(self.images)} images in its first dimension; permute it"
                )
            return
        if (
            self.plan.fallbacks
            and pre_activation.requires_grad
            and not depends_on(pre_activation, self.images, self.anchor)
        ):
            return  # made of parameters alone; it has as many rows as there are images by chance
        on = (pre_activation.detach().reshape(len(self.images), -1)) > 0
        if self.products is not None:
            self.products.add_codes(on)
        else:
            self.recording.codes.append(Signs.of(on))


def join(
    recordings: list[Recording],
    products: Products,
    steps: Steps,
    ended: Collection[int],
) -> None:
    """Add the products of the numbers that wait in the pieces of one batch, and drop the numbers.

    Args:
        recordings: recordings of the pieces, in order.
        products: sums to which the products are added.
        steps: limits on how much is computed at a time.
        ended: ids of the parameters that are complete with these recordings.
    """
    for key in list(recordings[0].rows):
        rows = torch.cat([recording.rows.pop(key) for recording in recordings])
        products.add_rows(key, torch.split(rows, products.columns, dim=1))
        del rows
        if key in ended:
            products.finish(key)
    for key in list(recordings[0].uses):
        parts = [recording.uses.pop(key) for recording in recordings]
        a, g = torch.cat([part.a for part in parts]), torch.cat([part.g for part in parts])
        use = LayerUse(parts[0].layer, a, g)
        del parts
        if use.has_cheaper_gram() and steps.unfolds(use.unfolded):
            products.add_use(key, use)
        else:
            rule = RULES[type(use.layer)]["weight"]
            products.add_rows(key, rule(use.layer, a, g, products.columns))
        products.finish(key)
    for call in range(len(recordings[0].codes)):
        signs = Signs.cat([recording.codes[call] for recording in recordings])
        step = max(8, products.columns // 8 * 8)
        for start in range(0, signs.n_units, step):
            products.add_codes(signs.unpack(start, start + step))
    for recording in recordings:
        recording.codes.clear()


def check_sum(name: str, rows: Tensor, expected: Tensor, floor: float) -> None:
    """Compare the sum of per-image gradients with the gradient by plain autograd.

    Gradients that are not finite pass: the scores report them.

    Args:
        name: name of the layer or parameter.
        rows: (n, P), per-image gradients.
        expected: P values by plain autograd.
        floor: rounding error of a gradient that is zero (for example, of a bias before a
            normalisation).

    Raises:
        ScoreError: both differ by more than rounding explains.
    """
    got, expected = rows.sum(0), expected.flatten()
    finite = math.isfinite(floor) and all(bool(torch.isfinite(x).all()) for x in (got, expected))
    if not finite:
        return
    tolerance = 1e-3 * float(expected.abs().max()) + floor
    if got.shape != expected.shape or not torch.allclose(got, expected, rtol=1e-2, atol=tolerance):
        raise ScoreError(
            f"{name}: its gradients per image do not add up to the gradient of the batch, so the "
            "layer mixes images or is called in a way that is not understood; score a network in "
            "which every image passes by itself"
        )
