"""``pymoo-nas train``: from a front, or from a name, to a trained and tested network."""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table
from torch import nn

from pymoo_nas.cli_options import (
    NO_CELLS,
    DataDir,
    Device,
    Download,
    FinalCells,
    ImageSize,
    Precision,
    Reduction,
    Seed,
    complain,
    refuse_given,
    terminal,
)
from pymoo_nas.counts import count_flops, count_parameters
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.errors import RunError, SearchError
from pymoo_nas.final import build_final, check_limits, check_n_cells, choose_cells
from pymoo_nas.models import build_model, is_cell
from pymoo_nas.runs import FINAL, RunFolder
from pymoo_nas.search_space import CellSpace
from pymoo_nas.training import Training
from pymoo_nas.training import train as train_network
from pymoo_nas.training_state import STATE_FILE

OF_MODEL = ("dataset", "reduction", "image_size", "data_dir", "download")
"""Options that go with --model."""


def train(
    ctx: typer.Context,
    run: Annotated[
        Path | None, typer.Argument(help="Run folder of a search; none with --model.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Train this instead: resnet20, a torchvision name, or a genotype."),
    ] = None,
    dataset: Annotated[str, typer.Option(help="For --model; as for search.")] = "digits",
    cells: FinalCells = None,
    reduction: Reduction = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.", min=1)] = 20,
    batch_size: Annotated[int, typer.Option(help="Images per step.", min=1)] = 128,
    learning_rate: Annotated[
        float, typer.Option(help="Peak of the one-cycle schedule; Muon's is a tenth of it.")
    ] = 0.2,
    validation: Annotated[
        float, typer.Option(help="Share of the training images that chooses the best epoch.")
    ] = 0.1,
    optimizer: Annotated[
        str, typer.Option(help="muon; or sgd, which is cheaper for kernels of many channels.")
    ] = "muon",
    precision: Precision = "float32",
    image_size: ImageSize = None,
    seed: Seed = 0,
    device: Device = "cpu",
    data_dir: DataDir = Path("data"),
    download: Download = False,
    out: Annotated[Path | None, typer.Option(help="Folder; default RUN/final.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a training.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue after the last whole epoch in the folder.")
    ] = False,
) -> None:
    """Build the final network of a run, train it, test it; weights as safetensors.

    The cell that `choose` chose stands at every stage; without a choice, cells of the front follow
    each other. With --model any other network is trained by the same recipe.
    """
    if (run is None) == (model is None):
        raise SearchError("train what? expected either a run folder, or --model and --dataset")
    if resume and overwrite:
        raise SearchError("--resume and --overwrite; expected one of them")
    if run is not None:
        refuse_given(ctx, OF_MODEL, f"with {run}, a run that knows its own")
        network, images = final_of(run, cells, seed)
        target = out if out is not None else run / FINAL
    else:
        if not is_cell(str(model)):
            refuse_given(ctx, ("cells", "reduction"), f"with --model {model}, {NO_CELLS}")
        images = load_dataset(dataset, image_size=image_size, root=data_dir, download=download)
        options: dict[str, Any] = {"n_cells": cells, "reduction": reduction}
        space = CellSpace(**{name: value for name, value in options.items() if value is not None})
        network = build_model(str(model), images, space=space, seed=seed)
        target = out if out is not None else Path("runs") / str(model)
    sample = images.normalized(images.train_images[:1])
    terminal().print(
        f"{model or 'final network'}: {count_parameters(network):,} parameters, "
        f"{count_flops(network, sample):,} multiply-accumulates per image",
        highlight=False,
        soft_wrap=True,
    )
    try:
        trained = train_network(
            network,
            images,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            validation=validation,
            optimizer=optimizer,
            precision=precision,
            seed=seed,
            device=device,
            out=target,
            overwrite=overwrite,
            resume=resume,
            progress=True,
        )
    except KeyboardInterrupt:
        kept = (target / STATE_FILE).exists()
        complain(
            f"interrupted; {target} holds the last whole epoch; continue with the same command and "
            "--resume (without --overwrite)"
            if kept
            else "interrupted before the end of the first epoch; nothing is kept"
        )
        raise typer.Exit(130) from None
    _report(trained, target)
    if images.train_images.dtype == np.uint8:
        terminal().print(
            f"next: pymoo-nas predict {target} IMAGES", highlight=False, soft_wrap=True
        )


def final_of(run: Path, cells: int | None, seed: int) -> tuple[nn.Module, Dataset]:
    """The final network of a run folder, and its images.

    Raises:
        RunError: no run there, or an empty front.
        SearchError: so many cells cannot be had, or break the run's limits.
    """
    folder = RunFolder(run)
    problem = folder.problem(device="cpu")
    space = problem.search_space
    check_n_cells(space, cells)
    n_cells = cells or space.n_cells
    chosen = [space.parse(text) for text in folder.choice()]
    if chosen:
        chosen = list(islice(cycle(chosen), n_cells))
        check_limits(chosen, problem)
    else:
        front = folder.front()
        if front.empty:
            raise RunError(f"{run}: the front is empty; search again with higher limits")
        chosen = choose_cells([space.parse(text) for text in front["genotype"]], n_cells, problem)
    return build_final(chosen, n_cells, problem=problem, seed=seed), problem.dataset


def _report(trained: Training, target: Path) -> None:
    console = terminal()
    table = Table(title="recall by class")
    for name in trained.recall.columns:
        table.add_column(str(name), justify="right")
    for _, row in trained.recall.iterrows():
        table.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row))
    console.print(table)
    console.print(
        f"test accuracy {100 * trained.test_accuracy:.2f} % (best epoch {trained.best_epoch}, "
        f"{trained.seconds:.0f} s); wrote {target}",
        highlight=False,
        soft_wrap=True,
    )
