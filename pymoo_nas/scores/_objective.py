"""What an objective is: a quantity that a search minimises, computed from what was measured."""

from __future__ import annotations

import keyword
import math
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from pymoo_nas._machine import is_out_of_memory
from pymoo_nas.errors import PymooNasError, ScoreError, SearchError
from pymoo_nas.kernels import Kernels
from pymoo_nas.networks import Counts
from pymoo_nas.scores._candidate import ADDED, COLUMNS, SIZES
from pymoo_nas.scores._from_kernels import Judgement, Matrix
from pymoo_nas.scores._probe import Probe


@dataclass(frozen=True, eq=False)
class Measured:
    """A network at one initialisation, and the measurements of one pass over the probe.

    Attributes:
        network: (N, C, H, W) → logits (N, n_classes); an objective must not change it. A noisy
            objective gets the network whose size is counted, others the network that is scored.
        probe: the images, and their classes where these are known.
        count: function that counts the size of the network.
        measured_kernels: see `measure_kernels`; None for a noisy objective.
    """

    network: nn.Module
    probe: Probe
    count: Callable[[], Counts]
    measured_kernels: Kernels | None = None

    @property
    def images(self) -> Tensor:
        """The images of the probe, (N, C, H, W)."""
        return self.probe.images

    @property
    def kernels(self) -> Kernels:
        """The kernels of the network.

        Raises:
            ScoreError: the objective is noisy, and measured without them.
        """
        if self.measured_kernels is None:
            raise ScoreError("a noisy objective has no kernels; leave noisy=True out, or use none")
        return self.measured_kernels

    @property
    def distances(self) -> Matrix:
        """Squared distances of the images, (N, N)."""
        return self.probe.distances

    @cached_property
    def counts(self) -> Counts:
        """Size of the network, counted when an objective asks for it."""
        return self.count()

    @cached_property
    def gradients(self) -> Matrix:
        """(N, D), gradients of the summed logits at the images."""
        return numbers(self.kernels.input_gradients)


FAILED = "failed objective "
"""With this the reason of a candidate begins whose objective failed."""

RESERVED = ("objectives", "spread", "values")
"""Attributes of `Scores`, whose names no objective may have."""


def numbers(tensor: Tensor) -> Matrix:
    """Convert a tensor on any device to numpy's float64."""
    array: Matrix = tensor.double().cpu().numpy()
    return array


def layer_weights(network: nn.Module) -> list[Tensor]:
    """The weights of convolutions and linear layers, in the order of the modules."""
    return [
        module.weight
        for module in network.modules()
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear)
        and isinstance(module.weight, Tensor)
    ]


@dataclass(frozen=True)
class Objective:
    """One quantity that a search minimises.

    Attributes:
        name: name of the column in tables; a Python identifier.
        label: short description of the quantity, for the axes of pictures.
        worst: function: number of images of the probe → finite value of a degenerate candidate,
            which no proper network reaches.
        compute: function: network at one initialisation → its value, with a reason (`Judgement`)
            where it is degenerate. Workers in other processes need a function of a module.
        unit: unit of the value; empty for a number without unit.
        noisy: whether two measurements of one network differ, as times do. A noisy objective is
            measured by the process of the problem, one candidate at a time and once for all
            initialisations. Searches with it are not equal to the bit.
        source: ``module:name``, where the objective was imported from; empty otherwise.

    Raises:
        SearchError: the name is no identifier or means something else, or a function is missing.
    """

    name: str
    label: str
    worst: Callable[[int], float]
    compute: Callable[[Measured], Judgement | float]
    unit: str = ""
    noisy: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse names that cannot be the name of a column and of an attribute."""
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise SearchError(
                f"objective {self.name!r}; expected a name of letters, digits and underscores"
            )
        taken = self.name in ({*COLUMNS} - {*SIZES}) | {*ADDED, *RESERVED}
        if taken or keyword.iskeyword(self.name) or re.fullmatch(r"_.*|f\d+", self.name):
            raise SearchError(
                f"objective {self.name!r}: the name stands for something else in tables, in pymoo "
                "or in Python; choose another"
            )
        for part in ("worst", "compute"):
            if not callable(getattr(self, part)):
                raise SearchError(
                    f"objective {self.name!r}: {part}={getattr(self, part)!r}; expected a function"
                )

    @classmethod
    def of_network(
        cls,
        name: str,
        function: Callable[[nn.Module, Probe], float],
        worst: float,
        *,
        label: str = "",
        noisy: bool = False,
    ) -> Objective:
        """An objective computed from a network and the probe.

        Args:
            name: see `Objective`.
            function: (network, `Probe`) → value, minimised.
            worst: the value of a degenerate candidate, larger than that of every proper network.
            label: see `Objective`; empty takes the name.
            noisy: see `Objective`.

        Raises:
            SearchError: see `Objective`.
        """
        return cls(
            name,
            label or name,
            _Constant(worst),
            _Of(function, ("network", "probe")) if callable(function) else function,
            noisy=noisy,
        )

    @classmethod
    def of_kernels(
        cls, name: str, function: Callable[[Kernels], float], worst: float, *, label: str = ""
    ) -> Objective:
        """An objective computed from the kernels of a network.

        Args:
            name: see `Objective`.
            function: `Kernels` → value, minimised.
            worst: see `of_network`.
            label: see `of_network`.

        Raises:
            SearchError: see `Objective`.
        """
        compute = _Of(function, ("kernels",)) if callable(function) else function
        return cls(name, label or name, _Constant(worst), compute)

    @property
    def title(self) -> str:
        """Name, label and unit, for the axis of a picture."""
        return f"{self.name}: {self.label}" + (f" [{self.unit}]" if self.unit else "")

    def judge(self, measured: Measured) -> Judgement:
        """Return the value of `compute`.

        The worst value and a reason are returned where it is NaN, infinite or above the worst
        value, or `compute` fails.

        Raises:
            ScoreError: `compute` returns something else than a number.

        Warns:
            UserWarning: `compute` fails, or its value is above the worst value.
        """
        worst = float(self.worst(len(measured.images)))
        try:
            found = self.compute(measured)
        except Exception as error:
            if isinstance(error, PymooNasError) or is_out_of_memory(error):
                raise
            return self._failed(worst, f"{type(error).__name__}: {error}")
        value, reason = found if isinstance(found, Judgement) else (found, "")
        try:
            number = value.detach() if isinstance(value, Tensor) else value
            if isinstance(number, str | bytes):
                raise TypeError("a text")
            judgement = Judgement(float(number), reason)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ScoreError(
                f"objective {self.name!r}: compute returned {value!r} "
                f"({type(error).__name__}: {error}); expected a number, or a Judgement"
            ) from error
        if not math.isfinite(judgement.value):
            reason = judgement.reason or f"{self.name} is {judgement.value}"
            return Judgement(worst, reason)
        if not judgement.reason and judgement.value > worst:
            # A degenerate candidate would be better than this one.
            return self._failed(worst, f"{judgement.value:g} is above worst={worst:g}; give more")
        return judgement

    def _failed(self, worst: float, why: str) -> Judgement:
        reason = f"{FAILED}{self.name!r} ({why})"
        warnings.warn(f"{reason}; the candidate gets the worst value", stacklevel=3)
        return Judgement(worst, reason)


@dataclass(frozen=True)
class _Constant:
    """A worst value that is the same for all probes; a class, so that it can be pickled."""

    value: float

    def __call__(self, n_images: int) -> float:
        del n_images
        return float(self.value)


@dataclass(frozen=True)
class _Of:
    """Calls a function with some attributes of `Measured`."""

    function: Callable[..., Any]
    attributes: tuple[str, ...]

    def __call__(self, measured: Measured) -> Any:
        return self.function(*(getattr(measured, name) for name in self.attributes))


def is_failure(reason: str) -> bool:
    """Whether a candidate is degenerate because an objective failed, which may be mended."""
    return reason.startswith(FAILED)


def worst_values(objectives: Iterable[Objective], n_images: int) -> tuple[float, ...]:
    """Return the value of each objective that stands for a degenerate network of N images.

    Raises:
        SearchError: a value is not finite.
    """
    values = {objective.name: float(objective.worst(n_images)) for objective in objectives}
    for name, value in values.items():
        if not math.isfinite(value):
            raise SearchError(f"objective {name!r}: worst({n_images})={value}; expected a number")
    return tuple(values.values())
