"""Order the candidates of a search by a short training."""

from __future__ import annotations

from itertools import islice

import pandas as pd

from pymoo_nas._machine import Progress, Report, resolve_device, seeded, whole
from pymoo_nas.choice._cells import build_final, keeps_limits
from pymoo_nas.choice._given_tables import table_of
from pymoo_nas.datasets import Dataset
from pymoo_nas.errors import SearchError
from pymoo_nas.search import NASProblem
from pymoo_nas.training import (
    AUTO,
    SHORT_EPOCHS,
    SHORT_STEPS,
    Settings,
    Trainer,
    fitted_and_judging,
    none_to_hold_out,
    warn_of_tie,
    with_validation,
)


def try_out(
    front: pd.DataFrame,
    problem: NASProblem,
    *,
    top: int = 5,
    epochs: int | str = AUTO,
    batch_size: int | str = AUTO,
    n_cells: int | None = None,
    precision: str = AUTO,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Train the first architectures of a table for a short time, and sort them by accuracy.

    Args:
        front: architectures in the order of trial, see `order_scored` and `order_front`.
        problem: gives search space and images. Its validation images judge, or a tenth of the
            training images where it has none. The test images are not used.
        top: number of architectures that are trained.
        epochs: epochs of each training; the schedule runs its whole cycle in them. "auto" takes 2,
            or more to make 100 steps.
        batch_size: see `train`.
        n_cells: number of cells of the trained network, which has the architecture at every stage;
            None for as many as were scored.
        precision: see `train`.
        seed: seed of the weights and of the training.
        device: see `resolve_device`.
        progress: takes a `Report` after each training; the first report tells the plan of all.

    Returns:
        the rows that were tried with a column ``accuracy``, descending: the fraction of correct
        answers on the images that judge, in the best epoch (balanced accuracy where classes are
        unequal, see `train`).

    Raises:
        SearchError: an empty front, numbers below 1, or no architecture that keeps the limits with
            so many cells.
        DatasetError: no image can be held out to judge.

    Warns:
        UserWarning: the accuracies are equal, or closer than so many images can tell apart.
    """
    top = whole("top", top)
    if table_of(front, "genotype").empty:
        raise SearchError("no architectures to try; expected at least one")
    dataset = problem.dataset
    asked = Settings(epochs, batch_size, augment=dataset.augment, precision=precision, seed=seed)
    settings = _short(dataset, asked)
    target = resolve_device(device)
    tried = front.iloc[_keeping(front["genotype"], n_cells, problem, top)]
    accuracies: list[float] = []
    for genotype in tried["genotype"]:
        network = build_final(genotype, n_cells, problem=problem, seed=seed)
        with seeded(target, seed):
            trainer = Trainer(network, dataset, settings, target)
            if progress is not None and not accuracies:
                progress(Report("trainings", 0, len(tried), found=trainer.plan()))
            trainer.run(lambda _: None)
        accuracies.append(trainer.best_score[0])
        if progress is not None:
            line = f"{genotype}: {accuracies[-1]:.1%} of the held-out images"
            progress(Report("trainings", len(accuracies), len(tried), found=line))
    warn_of_tie(accuracies, len(trainer.judging[1]))
    return tried.assign(accuracy=accuracies).sort_values(
        "accuracy", ascending=False, kind="stable", ignore_index=True
    )


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


def _keeping(genotypes: pd.Series, n_cells: int | None, problem: NASProblem, top: int) -> list[int]:
    """Places of the first `top` genotypes whose network of `n_cells` cells keeps the limits.

    Raises:
        SearchError: no genotype does.
    """
    n_cells = n_cells or problem.search_space.n_cells
    parse = problem.search_space.parse
    fitting = (
        place
        for place, text in enumerate(genotypes)
        if keeps_limits([parse(text)] * n_cells, problem)
    )
    kept = list(islice(fitting, top))
    if not kept:
        raise SearchError(
            f"no architecture keeps the limits {problem.limits} with {n_cells} cells; use "
            "fewer, or search with higher limits"
        )
    return kept
