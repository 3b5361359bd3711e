"""Order the candidates of a search: by ranks, TE-NAS's two scores, knee, weights, or gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pymoo.decomposition.asf import ASF
from pymoo.mcdm.pseudo_weights import PseudoWeights

from pymoo_nas._machine import Progress, Report, whole
from pymoo_nas.choice._given_tables import objectives_of, table_of, within
from pymoo_nas.errors import SearchError
from pymoo_nas.scores import SIZES, STEADINESS, is_sound
from pymoo_nas.search import (
    Limits,
    NASProblem,
    Steadiness,
    front_to_frame,
    log_rank_sum,
    read_table,
    steadiness_of_rows,
)

Vector = npt.NDArray[np.float64]

BEATEN = 5
"""`steady_first` looks no further when so many architectures for each one that it looks for are
beaten by the steady ones that it has found (studies/gradient_choice.py)."""

RANK_POWER = 8
"""Power of the ranks that are added: the larger it is, the more the worst rank decides. The sum of
eighth powers ranks NAS-Bench-201 better than sums of ranks or logarithms
(studies/score_quality.py)."""

TE_NAS_SCORES = ("ntk", "activation")
"""The objectives by which TE-NAS chooses (Chen 2021)."""


def order_scored(
    history: pd.DataFrame,
    **limits: float | None,
) -> pd.DataFrame:
    """Sort the candidates of a search that keep the limits; the best one comes first.

    A candidate has one rank for each objective and one for its size, where the largest network is
    first. The rank of the size is left out where an objective is a size or a time itself. Roughly,
    the worst rank decides. The objectives separate bad candidates from good ones.
    Among good candidates, larger networks reach a higher accuracy (see studies/rivals.py).

    Where the search has measured gradients, steady candidates come first, then those that were not
    measured, then the others; each of these groups has ranks of its own.

    Args:
        history: see `history_to_frame`; or the result of a search.
        **limits: ``max_params``, ``max_flops``, ``max_acts``, ``max_peak_memory`` and
            ``max_latency``, as `NASProblem` takes them.

    Returns:
        the feasible rows with finite scores that are not degenerate, each architecture once, with a
        column ``rank_sum`` (in [0, objectives + 1]), ascending; where gradients were measured, also
        with a column ``steady``, and ascending within each group.

    Raises:
        SearchError: no candidate is left; or a table without the columns of a history.
    """
    kept = _scored_within(history, limits)
    columns = kept[objectives_of(kept)]
    if not {*columns} & {*SIZES}:  # else small networks are asked for
        columns = columns.assign(**{"-flops": -kept["flops"]})
    return _steady_groups(kept, lambda rows: rank_power_sum(columns[rows]))


def order_te_nas(history: pd.DataFrame, **limits: float | None) -> pd.DataFrame:
    """Sort the candidates of a search that keep the limits by TE-NAS's two scores.

    These are `ntk` and `activation` (Chen 2021). The order is by the sum of the logarithms of the
    ranks in both, so that to be first in one counts for more than to be in the middle of both. Size
    and other objectives do not count. Among random candidates with shortcuts the first was as good
    as any that searches handed over within two of three limits (see studies/budgets.py).

    Args:
        history: see `order_scored`.
        **limits: see `order_scored`.

    Returns:
        the rows of `order_scored`, ascending by their column ``rank_sum``, which is here the sum of
        logarithms (at least 0); where gradients were measured, steady ones come first, as there.

    Raises:
        SearchError: a search without one of the two objectives; see also `order_scored`.
    """
    kept = _scored_within(history, limits)
    missing = [name for name in TE_NAS_SCORES if name not in kept]
    if missing:
        raise SearchError(
            f"a choice by te-nas needs the objectives {', '.join(TE_NAS_SCORES)}; this search has "
            f"no {', '.join(missing)}; search with them, or choose by ranks (--by ranks, "
            'by="ranks")'
        )
    columns = kept[[*TE_NAS_SCORES]]
    return _steady_groups(kept, lambda rows: log_rank_sum(columns[rows].to_numpy(float).T))


def _scored_within(history: Any, limits: Mapping[str, float | None]) -> pd.DataFrame:
    """The candidates of a search that can be judged and keep the limits, each architecture once."""
    history = table_of(read_table(history), "genotype", "flops", "feasible", "degenerate")
    objectives_of(history)
    usable = history[history["feasible"] & is_sound(history)]
    return within(usable.drop_duplicates("genotype"), Limits.read(limits))


def _steady_groups(
    kept: pd.DataFrame, sums_of: Callable[[npt.NDArray[np.bool_]], Any]
) -> pd.DataFrame:
    """Sort by sums of ranks; where gradients were measured, within groups, steady ones first.

    Args:
        kept: the candidates.
        sums_of: which rows → their sums of ranks among themselves, smaller is better.
    """
    group, added = np.zeros(len(kept), dtype=int), kept[[]]
    if {*STEADINESS} <= {*kept.columns}:
        known = steadiness_of_rows(kept)
        steady = kept["genotype"].map(lambda text: text in known and known[text].steady)
        group = np.where(steady, 0, np.where(kept["genotype"].isin(list(known)), 2, 1))
        added = added.assign(steady=steady)
    sums = np.zeros(len(kept))
    for number in np.unique(group):
        sums[group == number] = sums_of(group == number)
    sorted_by_sums = np.lexsort((sums, group))
    return kept.assign(rank_sum=sums).join(added).iloc[sorted_by_sums].reset_index(drop=True)


def rank_power_sum(columns: pd.DataFrame) -> pd.Series:
    """Add high powers of the ranks of each row; the worst rank of a row dominates its sum.

    Args:
        columns: values to rank, smaller is better.

    Returns:
        one number per row, in [0, number of columns], smaller is better.
    """
    return (columns.rank(pct=True) ** RANK_POWER).sum(axis=1)


def order_front(
    front: pd.DataFrame,
    *,
    weights: Mapping[str, float] | None = None,
    **limits: float | None,
) -> pd.DataFrame:
    """Sort the architectures of a front that keep the limits; the one to choose comes first.

    Without weights, the order is by distance to the knee. This distance is the largest of the
    objectives, each scaled to [0, 1] over the front (the achievement scalarisation of Wierzbicki
    1980; pymoo's ``ASF``). With weights, the order is by the distance between the weights and the
    pseudo-weights of an architecture (Deb 2001; pymoo's ``PseudoWeights``).

    Args:
        front: see `front_to_frame`; or the result of a search.
        weights: objective → importance, not negative; an objective that is left out counts 0. The
            weights are scaled to sum 1.
        **limits: ``max_params``, ``max_flops``, ``max_acts``, ``max_peak_memory`` and
            ``max_latency``, as `NASProblem` takes them.

    Returns:
        the rows with a column ``distance``, ascending.

    Raises:
        SearchError: a front without an architecture that can be judged, limits that none keeps,
            senseless weights, or a table without the columns of a front.
    """
    front = table_of(front if isinstance(front, pd.DataFrame) else front_to_frame(front))
    objectives = objectives_of(front)
    kept = within(front[is_sound(front)], Limits.read(limits))
    scores = _scaled(kept[objectives].to_numpy(float))
    distance = (
        _knee_distance(scores)
        if weights is None
        else _weight_distance(scores, _checked(weights, objectives))
    )
    return kept.assign(distance=distance).sort_values("distance", kind="stable", ignore_index=True)


def steady_first(
    ordered: pd.DataFrame,
    problem: NASProblem,
    *,
    top: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Put architectures first whose final network has steady gradients.

    The scored network has few cells. The trained network may have many more, as in NAS-Bench-201.
    Then gradients explode in cells without a path around their layers, and they blur where this
    path is a pooling. Architectures with steady gradients reach a higher accuracy (see
    studies/rivals.py). All of these can be trained, so expressiveness decides among them: the worst
    rank in activation score and size.

    An architecture is not measured where a steady one has been found that is at least as good in
    both, since it would not be chosen. The ranks are those among the measured architectures, so
    that leaving some out may change which of the others is first. What the search has measured is
    not measured again, and takes part.

    Args:
        ordered: see `order_scored`; architectures are measured from the top of the table.
        problem: gives search space and probe.
        top: number of steady architectures that are looked for. Fewer may be found: the search for
            them ends too after `BEATEN` times as many that were not worth measuring.
        seed: seed of the weights.
        progress: takes a `Report` after each architecture.

    Returns:
        the rows with columns ``growth`` and ``smoothness`` (NaN where not measured) and ``steady``
        (false too where not measured): first the steady architectures, then the others in the order
        that they had.

    Raises:
        SearchError: an empty table, a table without the columns of a history, or top below 1.
    """
    top = whole("top", top)
    if isinstance(ordered, pd.DataFrame) and "activation" not in ordered:
        raise SearchError(
            "a choice by gradients needs the objective activation; search with it, or choose by "
            'ranks (--by ranks, by="ranks")'
        )
    if table_of(ordered, "genotype", "flops").empty:
        raise SearchError("no architectures to choose from; expected at least one")
    known = steadiness_of_rows(ordered) if seed == 0 else {}  # a search measures with this seed

    def judge(genotype: str) -> Steadiness:
        return known.get(genotype) or problem.steadiness(genotype, seed=seed)

    found = steadiness_of(ordered, judge, top, progress)
    places = {place: known[text] for place, text in enumerate(ordered["genotype"]) if text in known}
    return most_expressive_first(ordered, {**places, **found})


def steadiness_of(
    ordered: pd.DataFrame,
    judge: Callable[[str], Steadiness],
    top: int,
    progress: Progress | None = None,
    *,
    beaten: int | None = BEATEN,
) -> dict[int, Steadiness]:
    """Judge the architectures that may be chosen, until so many steady ones are found.

    Args:
        ordered: see `steady_first`.
        judge: text of a genotype → its steadiness.
        top: see `steady_first`.
        progress: see `steady_first`.
        beaten: see `BEATEN`; None judges what could not be chosen too.

    Returns:
        place in the table → steadiness, of the architectures that were judged.
    """
    found: dict[int, Steadiness] = {}
    steady: list[tuple[float, float]] = []
    n_beaten = 0
    columns = (ordered[name] for name in ("genotype", "activation", "flops"))
    for place, (genotype, activation, flops) in enumerate(zip(*columns, strict=True)):
        if len(steady) == top or (beaten is not None and n_beaten == beaten * top):
            break
        if beaten is not None and any(
            better <= activation and larger >= flops for better, larger in steady
        ):
            n_beaten += 1
            continue
        found[place] = judge(genotype)
        if found[place].steady:
            steady.append((activation, flops))
        if progress is not None:
            line = f"{genotype}: {found[place]}"
            progress(Report("gradients", place + 1, len(ordered), found=line))
    return found


def most_expressive_first(ordered: pd.DataFrame, found: Mapping[int, Steadiness]) -> pd.DataFrame:
    """Put steady architectures first, see `steady_first`.

    Args:
        ordered: see `steady_first`.
        found: see `steadiness_of`.
    """
    unknown = Steadiness(math.nan, math.nan)
    rows = [found.get(place, unknown) for place in range(len(ordered))]
    measured = ordered.assign(
        **{name: [getattr(one, name) for one in rows] for name in STEADINESS},
        steady=[one.steady for one in rows],
    )
    steady = measured["steady"].to_numpy(bool)
    first = measured[steady]
    columns = first[["activation"]].assign(size=-first["flops"])
    order = np.argsort(rank_power_sum(columns), kind="stable")
    return pd.concat([first.iloc[order], measured[~steady]], ignore_index=True)


def _scaled(scores: Vector) -> Vector:
    """Scale every column to [0, 1] over the rows; a constant column becomes 0."""
    low, high = scores.min(0), scores.max(0)
    scaled: Vector = (scores - low) / np.where(high > low, high - low, 1.0)
    return scaled


def _knee_distance(scores: Vector) -> Vector:
    distance: Vector = np.atleast_1d(ASF().do(scores, np.ones(scores.shape[1])).squeeze())
    return distance


def _weight_distance(scores: Vector, wanted: Vector) -> Vector:
    # A constant column cannot decide the choice; pymoo would divide by zero.
    telling = scores.max(0) > 0
    if not telling.any() or not wanted[telling].any():
        return np.zeros(len(scores))
    wanted = wanted[telling] / wanted[telling].sum()
    columns = scores[:, telling]
    # An architecture that is worst in everything has no pseudo-weights; it comes last.
    worst = (columns == 1).all(1)
    distance = np.full(len(scores), np.inf)
    chooser = PseudoWeights(wanted, ideal=np.zeros(len(wanted)), nadir=np.ones(len(wanted)))
    _, found = chooser.do(columns[~worst], return_pseudo_weights=True)
    distance[~worst] = np.abs(found - wanted).sum(1)
    return distance


def _checked(weights: Mapping[str, Any], objectives: Sequence[str]) -> Vector:
    """The weight of each objective, in order; 0 where an objective is left out.

    Raises:
        SearchError: weights of something else, or weights that make no sense.
    """
    unknown = [name for name in weights if name not in objectives]
    if unknown:
        raise SearchError(f"weights of {unknown}; expected some of {', '.join(objectives)}")
    given: list[Any] = [weights.get(name, 0.0) for name in objectives]
    sensible = all(isinstance(value, Real) and 0 <= float(value) < math.inf for value in given)
    if not sensible or not any(given):
        raise SearchError(
            f"weights {dict(weights)}; expected numbers of at least 0, not all of them 0"
        )
    return np.array(given, dtype=float)
