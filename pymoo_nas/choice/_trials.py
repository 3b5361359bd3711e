"""Order the candidates of a search by a short training."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import numpy as np
import pandas as pd

from pymoo_nas._machine import Progress, Report, resolve_device, seeded, whole
from pymoo_nas.choice._cells import build_final, keeps_limits
from pymoo_nas.choice._given_tables import table_of
from pymoo_nas.datasets import Dataset
from pymoo_nas.errors import SearchError
from pymoo_nas.search import Limits, NASProblem
from pymoo_nas.training import (
    AUTO,
    SHORT_EPOCHS,
    SHORT_STEPS,
    Settings,
    Trainer,
    fitted_and_judging,
    none_to_hold_out,
    standard_error,
    warn_of_tie,
    with_validation,
)


def try_out(
    front: pd.DataFrame,
    problem: NASProblem,
    *,
    top: int = 5,
    n_random: int = 3,
    epochs: int | str = AUTO,
    batch_size: int | str = AUTO,
    n_cells: int | None = None,
    limits: Mapping[str, float | None] | None = None,
    precision: str = AUTO,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Train some architectures of a table for a short time, and sort them by accuracy.

    These are the first of the table, and some that are drawn from the first generation, which a
    search draws at random within its limits: beside them, the first tell what the search is worth.
    Accuracies that are at most a standard error below the highest one count as equal to it, and the
    architecture of the fewest multiply-accumulates comes first of these (Breiman 1984); those that
    were drawn come behind the others of these: small ones that are better by chance are many
    (studies/own_images.py).

    Args:
        front: architectures in the order of trial, see `order_scored` and `order_front`.
        problem: gives search space and images. Its validation images judge, or a tenth of the
            training images where it has none. The test images are not used.
        top: number of first architectures that are trained.
        n_random: number of others of the first generation that are trained too; fewer, where the
            table holds fewer or does not tell generations.
        epochs: epochs of each training; the schedule runs its whole cycle in them. "auto" takes 2,
            or more to make 100 steps.
        batch_size: see `train`.
        n_cells: number of cells of the trained network, which has the architecture at every stage;
            None for as many as were scored.
        limits: ``max_params`` and the like of the trained network, besides the problem's; a latency
            is none of them.
        precision: see `train`.
        seed: seed of the weights and of the training.
        device: see `resolve_device`.
        progress: takes a `Report` after each training; the first report tells the plan of all.

    Returns:
        the rows that were tried with a column ``accuracy``: the fraction of correct answers on the
        images that judge, in the epoch that is kept (balanced accuracy where classes are unequal,
        see `train`), descending but for those that are about as good as the best; and a column
        ``drawn``: whether the row was drawn at random.

    Raises:
        SearchError: an empty front, a number that is too low, or no architecture that keeps the
            limits with so many cells.
        DatasetError: no image can be held out to judge.

    Warns:
        UserWarning: the accuracies are equal, or closer than so many images can tell apart.
    """
    top, n_random = whole("top", top), whole("n_random", n_random, 0)
    if table_of(front, "genotype").empty:
        raise SearchError("no architectures to try; expected at least one")
    dataset = problem.dataset
    asked = Settings(epochs, batch_size, augment=dataset.augment, precision=precision, seed=seed)
    settings = _short(dataset, asked)
    target = resolve_device(device)
    counted = {name: most for name, most in (limits or {}).items() if name != "max_latency"}
    tried = _tried(
        front, problem, n_cells, Limits.read(counted), top=top, n_random=n_random, seed=seed
    )
    accuracies: list[float] = []
    for genotype in tried["genotype"]:
        network = build_final(genotype, n_cells, problem=problem, seed=seed)
        with seeded(target, seed):
            trainer = Trainer(network, dataset, settings, target)
            if progress is not None and not accuracies:
                progress(Report("trainings", 0, len(tried), found=trainer.plan()))
            trainer.run(lambda _: None)
        accuracies.append(trainer.best_score)
        if progress is not None:
            line = f"{genotype}: {accuracies[-1]:.1%} of the held-out images"
            progress(Report("trainings", len(accuracies), len(tried), found=line))
    warn_of_tie(accuracies, len(trainer.judging[1]), trainer.n_judging)
    return smaller_first(tried.assign(accuracy=accuracies), trainer.n_judging)


def smaller_first(tried: pd.DataFrame, n_images: float) -> pd.DataFrame:
    """Sort by accuracy; of those about as good as the best the smallest comes first, see `try_out`.

    Args:
        tried: rows with a column ``accuracy``; without a column ``flops`` none is smaller, without
            a column ``drawn`` none was drawn at random.
        n_images: number of images that judged; of balanced accuracies see `number_for_recall`.
    """
    ordered = tried.sort_values("accuracy", ascending=False, kind="stable", ignore_index=True)
    order = [column for column in ("drawn", "flops") if column in ordered]
    if not order:
        return ordered
    best = float(ordered["accuracy"].iloc[0])
    near = ordered["accuracy"] >= best - standard_error(best, n_images)
    smaller = ordered[near].sort_values(order, kind="stable")
    return pd.concat([smaller, ordered[~near]], ignore_index=True)


def _short(dataset: Dataset, settings: Settings) -> Settings:
    """Settings of a short training, with numbers in place of "auto".

    Raises:
        DatasetError: no image can be held out to judge.
    """
    settings = with_validation(settings, dataset)
    fitted, judging = fitted_and_judging(dataset, settings)
    if not len(judging[1]):
        raise none_to_hold_out(dataset, "choose by another method (--by ranks)")
    return settings.resolved(len(fitted), least_epochs=SHORT_EPOCHS, least_steps=SHORT_STEPS)


def _tried(
    front: pd.DataFrame,
    problem: NASProblem,
    n_cells: int | None,
    limits: Limits,
    *,
    top: int,
    n_random: int,
    seed: int,
) -> pd.DataFrame:
    """The rows to try: those whose network of `n_cells` cells keeps the limits, see `try_out`.

    Raises:
        SearchError: no genotype does.
    """
    n_cells = n_cells or problem.search_space.n_cells

    def keeps(place: int) -> bool:
        genotype = problem.search_space.parse(front["genotype"].iloc[place])
        return keeps_limits([genotype] * n_cells, problem, limits)

    first = list(islice(filter(keeps, range(len(front))), top))
    if not first:
        told = ", ".join(filter(None, map(str, (problem.limits, limits))))
        raise SearchError(
            f"no architecture keeps the limits {told} with {n_cells} cells; use "
            "fewer, or search with higher limits"
        )
    drawn = list(islice(filter(keeps, _of_first_generation(front, first, seed)), n_random))
    return front.iloc[[*first, *drawn]].assign(drawn=[False] * len(first) + [True] * len(drawn))


def _of_first_generation(front: pd.DataFrame, others: list[int], seed: int) -> list[int]:
    """Shuffled places of the first generation, but for some others."""
    if "generation" not in front:
        return []
    places = np.setdiff1d(np.flatnonzero(front["generation"] == 1), others)
    shuffled: list[int] = np.random.default_rng(seed).permutation(places).tolist()
    return shuffled
