"""Messages of a search: a line per generation, and the reason for an end without a result."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
from pymoo.util.display.column import Column
from pymoo.util.display.output import Output

from pymoo_nas.search._given import parsed
from pymoo_nas.search._tables import objective_names


class NothingFoundWarning(UserWarning):
    """A search has ended without an architecture that keeps the limits and can be judged."""


def nothing_found(algorithm: Any) -> str:
    """Tell why a search ends without any usable architecture; empty where it has one.

    Args:
        algorithm: an `EvolutiveNAS`, on any problem with a search space.
    """
    problem, scored = algorithm.problem, algorithm.scored
    feasible = [individual for individual in algorithm.pop if individual.FEAS[0]]
    if not feasible:
        return (
            f"none of {len(scored)} candidates keeps the {_what_binds(problem)}; "
            f"{_closest(problem, scored)}; {_raise_limits(problem)}, or search a smaller space"
        )
    reasons = Counter(individual.get("degenerate") for individual in feasible)
    if not all(reasons):
        return ""
    found = [f"{n} × {reason}" for reason, n in reasons.most_common()]
    over = [individual for individual in scored if not individual.FEAS[0]]
    if over:
        found.append(f"{len(over)} over the {_what_binds(problem)}, {_closest(problem, over)}")
    return (
        f"none of {len(scored)} candidates is left that could be judged "
        f"({', '.join(found)}); {_raise_limits(problem)}, search another space, or score on fewer "
        "images"
    )


def _limits(problem: Any) -> dict[str, float]:
    """The limits of a `NASProblem`; other problems have none."""
    return dict(getattr(problem, "limits", {}))


def _what_binds(problem: Any) -> str:
    """The name of a problem's constraints in a message."""
    limits = _limits(problem)
    names = ["limits"] if limits else []
    names += ["constraints"] if problem.n_constr > len(limits) else []
    return " and ".join(names) or "limits"


def _raise_limits(problem: Any) -> str:
    """The remedy for constraints that are too tight."""
    limits = _limits(problem)
    if limits:
        names = (f"--max-{name.removeprefix('peak_')}, max_{name}=" for name in limits)
        return f"raise the limits ({'; '.join(names)})"
    return "loosen the constraints" if problem.n_constr else "set other limits"


def _closest(problem: Any, infeasible: Any) -> str:
    """Describe the infeasible candidate that comes closest to the constraints."""
    closest = min(infeasible, key=lambda individual: float(individual.CV[0]))
    limits = _limits(problem)
    counts = {name: closest.get(name) for name in limits}
    over = {name: n for name, n in counts.items() if n is not None and n > limits[name]}
    found = [
        f"{n:,.4g} ms {name} (limit {limits[name]:g})"
        if name == "latency"
        else f"{n:,.10g} {name} (limit {limits[name]:,})"
        for name, n in over.items()
    ]
    # Every limit is a constraint too, whose value is the excess as a share of the limit.
    known = [(n - limits[name]) / limits[name] for name, n in over.items()]
    found += [
        f"G[{index}] = {value:.3g} (limit 0)"
        for index, value in enumerate(closest.G)
        if value > 0 and not any(math.isclose(value, excess) for excess in known)
    ]
    found += [
        f"H[{index}] = {value:.3g} (to be 0)"
        for index, value in enumerate(closest.H)
        if abs(value) > closest.config["cv_eq"]["eps"]
    ]
    space = problem.search_space
    text = space.format(parsed(space, closest.X[0]))
    return f"the closest, {text}, has {', '.join(found)}"


class NASOutput(Output):
    """Columns of a run: size of the front, and the best of each objective in the population."""

    def __init__(self) -> None:
        super().__init__()
        self.front = Column("n_nds", width=6)
        self.columns += [self.front]
        self.best: list[Column] = []

    def initialize(self, algorithm: Any) -> None:
        """Add one column per objective of the problem."""
        self.best = [Column(name) for name in objective_names(algorithm.problem)]
        self.columns += self.best

    def update(self, algorithm: Any) -> None:
        """Read the generation's values."""
        super().update(algorithm)
        self.front.set(len(algorithm.opt))
        scores = np.array([individual.F for individual in algorithm.opt])
        for column, value in zip(self.best, scores.min(0), strict=True):
            column.set(float(value))
