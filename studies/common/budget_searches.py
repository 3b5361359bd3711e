"""The budgets of budgets.py, and the searches that hand networks over within them."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from pymoo.optimize import minimize

from common.cell_variants import DifferentCells
from common.hand_designed import Limits
from pymoo_nas.choice import choose_cells, order_te_nas
from pymoo_nas.datasets import Dataset
from pymoo_nas.runs import choose
from pymoo_nas.scores import LATER_OBJECTIVES, PAPER_OBJECTIVES, is_sound
from pymoo_nas.search import (
    DartsTournament,
    EvolutiveNAS,
    NASProblem,
    RandomSearch,
    front_to_frame,
    history_to_frame,
    read_genotypes,
)
from pymoo_nas.spaces import Architecture, CellSpace

BUDGETS = {
    "A": Limits(78_700, 12_500_000),
    "B": Limits(280_000, 41_000_000),
    "C": Limits(560_000, 82_000_000),
}

FEW_ACTS = MappingProxyType({"A": 155_000, "B": 295_000, "C": 435_000})
"""Budget → 1.9 times the acts of ResNet-14, so that trainings are short."""

SEPARABLE_ACTS = MappingProxyType({"A": 245_000, "B": 466_000, "C": 688_000})
"""Budget → three times these acts: separable convolutions return many values for little work."""

BETWEEN = "+"
"""Stands between the genotypes of a network of different cells."""

SEPARABLE_NAMES = ("conv3x3", "separable3x3", "max_pool3x3", "avg_pool3x3")
"""The paper's operations, with a separable convolution in the place of the residual block."""


class Search(NamedTuple):
    """What a search changes.

    Attributes:
        cells: arguments of `CellSpace`.
        objectives: of the problem.
        choice: arguments of `choose`.
        max_acts: budget → limit of the acts.
        in_sequence: take cells of the front in sequence, in place of one that is chosen.
        staged: look for a cell for each stage, without tournaments, which are among single cells.
    """

    cells: Mapping[str, Any] = MappingProxyType({})
    objectives: Sequence[str] = PAPER_OBJECTIVES
    choice: Mapping[str, Any] = MappingProxyType({})
    max_acts: Mapping[str, int] = MappingProxyType({})
    in_sequence: bool = False
    staged: bool = False


TRIED = Search(
    {"shortcut": True},
    LATER_OBJECTIVES,
    {"by": "training", "top": 8, "n_random": 0},
)

OURS = {
    "ours": Search(),
    "shortcut": Search({"shortcut": True}),
    "inside": Search({"reduction": "inside"}),
    "light": Search(
        {
            "reduction": "inside",
            "operations": SEPARABLE_NAMES,
            "widths": (1, 1.5, 2),
            "shortcut": True,
        }
    ),
    "later": Search({}, LATER_OBJECTIVES),
    "front": Search({}, LATER_OBJECTIVES, in_sequence=True),
    "staged": Search({}, LATER_OBJECTIVES, staged=True),
    "staged-chosen": TRIED._replace(cells=MappingProxyType({}), staged=True),
    "tried": TRIED,
    "lean": TRIED._replace(max_acts=FEW_ACTS),
    "limited": Search({"shortcut": True}, LATER_OBJECTIVES, max_acts=FEW_ACTS),
    "chosen": TRIED._replace(cells=MappingProxyType({})),
    "separable": Search({"operations": SEPARABLE_NAMES}, LATER_OBJECTIVES, max_acts=SEPARABLE_ACTS),
    "evolved": Search({"shortcut": True}, choice={"by": "te-nas"}),
}
"""Kind → a search of ours: "light" by spaces.py, the scores of "later" by score_quality.py, "tried"
is "later" with shortcuts by spaces.py and with a choice by short trainings, "lean" the same with a
limit of acts, "limited" that without the trainings; "chosen" is "tried" without shortcuts,
"separable" is "later" with other convolutions and a limit of acts; "shortcut" has the defaults but
for its shortcuts, "evolved" is that with the choice of te-nas; "front" is what "later" hands over
without a choice, as the paper does; "staged" is "later" with other cells at other stages,
"staged-chosen" likewise "chosen"."""

DRAWN = {"random": TRIED, "random-later": OURS["later"], "drawn": Search(TRIED.cells)}
"""Random searches; te-nas and largest are taken from the last."""


def space_of(name: str) -> CellSpace | DifferentCells:
    """What a search looks through."""
    cells = CellSpace(**SETTINGS[name].cells)
    return DifferentCells(cells) if SETTINGS[name].staged else cells


def architecture_of(kind: str, model: str) -> Architecture:
    """The network that a search hands over: one cell at every stage, or several in sequence."""
    space = space_of(SEARCH_OF[kind])
    if BETWEEN not in model:
        return Architecture.read(model, space)
    return Architecture.of_cells(space, [space.parse(text) for text in model.split(BETWEEN)])


def problem_of(dataset: Dataset, budget: str, name: str, seed: int, device: str) -> NASProblem:
    """The problem of a search."""
    limits = BUDGETS[budget]
    return NASProblem(
        dataset,
        search_space=space_of(name),
        objectives=SETTINGS[name].objectives,
        max_params=limits.params,
        max_flops=limits.flops,
        max_acts=SETTINGS[name].max_acts.get(budget),
        seed=seed,
        device=device,
    )


def ours(
    name: str, dataset: Dataset, budget: str, seed: int, effort: argparse.Namespace
) -> dict[str, str]:
    """Kind → the genotype that a search of ours hands over."""
    result = minimize(
        problem_of(dataset, budget, name, seed, effort.device),
        EvolutiveNAS(5, effort.offspring),
        ("n_gen", effort.generations),
        callback=None if SETTINGS[name].staged else DartsTournament(every=3, size=4),
        seed=seed,
    )
    return {name: handed_over(result, name, seed, effort.device)}


def drawn(
    name: str, dataset: Dataset, budget: str, seed: int, effort: argparse.Namespace
) -> dict[str, str]:
    """Kind → the genotypes that are taken from as many random candidates."""
    result = minimize(
        problem_of(dataset, budget, name, seed, effort.device),
        RandomSearch(5, effort.offspring),
        ("n_gen", effort.generations),
        seed=seed,
    )
    if name in KINDS:
        return {name: handed_over(result, name, seed, effort.device)}
    history = history_to_frame(result)
    usable = history[history["feasible"] & is_sound(history)]
    return {
        "te-nas": str(order_te_nas(history)["genotype"].iloc[0]),
        "largest": str(usable["genotype"].iloc[int(usable["flops"].argmax())]),
    }


def handed_over(result: Any, name: str, seed: int, device: str) -> str:
    """The genotype that is chosen from a search; or those of its network of several cells."""
    choice, space = SETTINGS[name].choice, result.problem.search_space
    if SETTINGS[name].in_sequence:
        front = read_genotypes(space, front_to_frame(result))
        cells = choose_cells(front, space.n_cells, result.problem)
        return BETWEEN.join(map(space.format, cells))
    trains = choice.get("by") == "training"
    asked = {**choice, "seed": seed, "device": device} if trains else choice
    with warnings.catch_warnings():
        # Of accuracies that few images cannot tell apart: then the smallest is taken.
        warnings.simplefilter("ignore", UserWarning)
        return str(choose(result, **asked)["genotype"].iloc[0])


SETTINGS: dict[str, Search] = {**OURS, **DRAWN}
SEARCHES: dict[str, Callable[..., dict[str, str]]] = {
    **{name: partial(ours, name) for name in OURS},
    **{name: partial(drawn, name) for name in DRAWN},
}
KINDS = (*OURS, "random", "random-later", "te-nas", "largest")
"""What searches hand over; the other kinds are designed by hand."""


SEARCH_OF = {kind: kind if kind in SEARCHES else "drawn" for kind in KINDS}
"""Kind → the search that hands its networks over."""
