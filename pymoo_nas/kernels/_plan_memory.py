"""Remember the plan of one architecture for its further initialisations.

The plan tells by which way each parameter's gradients are computed. It depends on the layers and
their calls, not on the weights, so that a second initialisation needs no pass to be watched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from pymoo_nas.kernels._layer_plan import LayerPlan


class PlanMemory:
    """Plan of the architecture that was measured last.

    A network gets the remembered plan if all its layers have the types, places and parameters of
    those of the network before, and the images their shape. What else may differ, such as strides,
    is the same in all initialisations of one architecture: keep one memory for each.
    """

    def __init__(self) -> None:
        self._known: tuple[Any, nn.Module, LayerPlan] | None = None

    def plan(self, network: nn.Module, images: Tensor, make: Callable[[], LayerPlan]) -> LayerPlan:
        """Return the plan for a network and its images; `make` watches a pass and makes one."""
        key = (images.shape, images.dtype, _structure(network))
        if self._known is not None and self._known[0] == key:
            return _moved(self._known[2], self._known[1], network)
        plan = make()
        self._known = key, network, plan
        return plan


def _structure(network: nn.Module) -> list[tuple[Any, ...]]:
    """What two initialisations share: path, type, hooks, place of first use and parameters."""
    places: dict[int, int] = {}
    return [
        (
            path,
            type(module),
            places.setdefault(id(module), len(places)),
            bool(module._forward_hooks or module._forward_pre_hooks),
            [
                (name, None if own is None else (places.setdefault(id(own), len(places)),
                                                 own.shape, own.requires_grad))
                for name, own in module._parameters.items()
            ],
        )
        for path, module in network.named_modules(remove_duplicate=False)
    ]  # fmt: skip


def _moved(plan: LayerPlan, known: nn.Module, network: nn.Module) -> LayerPlan:
    """The plan of one network for another one of equal structure."""
    if known is network:
        return plan
    modules = dict(zip(known.modules(), network.modules(), strict=True))
    keys = {
        id(own): id(other)
        for own, other in zip(known.parameters(), network.parameters(), strict=True)
    }
    return replace(
        plan,
        ruled=[modules[module] for module in plan.ruled],
        fallbacks={modules[module]: names for module, names in plan.fallbacks.items()},
        repeated={keys[key] for key in plan.repeated},
        sizes={keys[key]: size for key, size in plan.sizes.items()},
        needs={keys[key]: need for key, need in plan.needs.items()},
    )
