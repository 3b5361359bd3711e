"""A callback that shows a search in TensorBoard while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pymoo.core.callback import Callback
from pymoo.indicators.hv import Hypervolume
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from pymoo_nas._machine import Curves, whole
from pymoo_nas.errors import SearchError
from pymoo_nas.scores import objectives_in
from pymoo_nas.search import (
    front_to_frame,
    history_to_frame,
    objective_names,
    tournaments_in,
)
from pymoo_nas.spaces import Genotype, cell_operations, space_settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_OBJECTIVES = 3
"""The hypervolume of more objectives takes too long for every generation."""

BEYOND = 1.1
"""The reference point, where 0 is the ideal and 1 the nadir point; see `NASProblem.normalise`."""


class TensorBoard(Callback):
    """Curves of a search for TensorBoard, a step per generation, and pictures now and then.

    The tags are, with all objectives minimised:

    - ``best/NAME`` and ``median/NAME``: objectives of the survivors that keep the limits and can be
      judged;
    - ``search/candidates``: number of candidates so far;
    - ``search/usable``: share of the generation's candidates that keep the limits and can be
      judged;
    - ``search/hypervolume``: of all candidates so far, for up to three objectives; larger is
      better. The unit of an objective is its extent over the front of the first generation that
      has usable candidates, and the reference point lies a tenth beyond the nadir point of this
      front, so that the curve never falls;
    - pictures ``front``, ``evolution``, and ``cell``, the best cell of the front.

    The search is not changed. The last two curves and ``evolution`` need a strategy of this
    package, ``front`` two objectives of a `NASProblem`. Use it as the callback, or in a
    `CallbackChain` behind a tournament. It closes its file after the last generation; as a context
    it does so in any case.

    Args:
        folder: folder for the event files, for ``tensorboard --logdir``. A continued search gives
            the same folder again.
        pictures_every: generations between pictures, which the last one has too; 0 for none.

    Raises:
        SearchError: the package tensorboard is missing; or a number below 0.
    """

    def __init__(self, folder: str | Path, *, pictures_every: int = 3) -> None:
        super().__init__()
        self.pictures_every = whole("TensorBoard: pictures_every", pictures_every, 0)
        self.curves = Curves(folder)

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, *_: Any) -> None:
        self.curves.close()

    def notify(self, algorithm: Any) -> None:
        """Write the values of a generation.

        Raises:
            RunError: the folder cannot be made or written to.
        """
        step = int(algorithm.n_iter)
        ends = not algorithm.has_next()
        history = _history(algorithm)
        scalars = {**_survivors(algorithm), "search/candidates": algorithm.evaluator.n_eval}
        if history is not None:
            scalars |= _searched(history, step, algorithm.problem)
        every = self.pictures_every
        drawn = every > 0 and (ends or step % every == 0)
        self.curves.write(step, scalars, _pictures(algorithm, history) if drawn else {})
        if ends:
            self.curves.close()


def _history(algorithm: Any) -> pd.DataFrame | None:
    """Every candidate so far; None where the algorithm does not keep them."""
    try:
        return history_to_frame(algorithm)
    except SearchError:
        return None


def _survivors(algorithm: Any) -> dict[str, float]:
    """Best and median of each objective of the survivors."""
    front = [i.F for i in algorithm.pop if i.FEAS[0] and not i.get("degenerate")]
    if not front:
        return {}
    F = np.array(front, dtype=float)
    names = objective_names(algorithm.problem)
    kinds = {"best": F.min(axis=0), "median": np.median(F, axis=0)}
    return {
        f"{kind}/{name}": float(value)
        for kind, values in kinds.items()
        for name, value in zip(names, values, strict=True)
    }


def _searched(history: pd.DataFrame, generation: int, problem: Any) -> dict[str, float]:
    """The share of usable candidates of a generation, and the hypervolume so far."""
    usable = _usable(history)
    mine = (history["generation"] == generation).to_numpy()
    found = {"search/usable": float(usable[mine].mean())} if mine.any() else {}
    names = objectives_in(history)
    if len(names) > MOST_OBJECTIVES or not usable.any() or not hasattr(problem, "normalise"):
        return found
    F = history[names].to_numpy(dtype=float)
    begun = history["generation"].to_numpy() == history["generation"][usable].min()
    scaled = problem.normalise(F[usable], scores=F[usable & begun])
    return {**found, "search/hypervolume": _hypervolume(scaled)}


def _usable(history: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which candidates keep the limits and can be judged."""
    judged = history["degenerate"].fillna("") == ""
    return np.asarray(judged & history["feasible"].astype(bool))


def _hypervolume(scaled: npt.NDArray[np.float64]) -> float:
    """The hypervolume that points (n, m) dominate within the reference point."""
    front = scaled[NonDominatedSorting().do(scaled, only_non_dominated_front=True)]
    return float(Hypervolume(ref_point=np.full(scaled.shape[1], BEYOND)).do(front))


def _pictures(algorithm: Any, history: pd.DataFrame | None) -> Mapping[str, Figure]:
    """The pictures that a search of this kind has."""
    from pymoo_nas import plots  # noqa: PLC0415 - matplotlib is heavy

    front = front_to_frame(algorithm)
    drawn: dict[str, Figure] = {}
    table = front if history is None else history
    if len(objectives_in(table)) > 1 and "params" in table:
        drawn["front"] = (
            plots.plot_front(front) if history is None else plots.plot_front(history, front)
        )
    if history is not None:
        held = [
            int(row["generation"])
            for tournament in tournaments_in(algorithm.callback)
            for row in tournament.data["tournaments"]
        ]
        drawn["evolution"] = plots.plot_evolution(history, held)
    operations = cell_operations(space_settings(algorithm.problem.search_space))
    if operations is not None and not front.empty:
        cell = Genotype.parse(front["genotype"][0], n_operations=len(operations))
        drawn["cell"] = plots.plot_cell(cell, operations)
    return drawn
