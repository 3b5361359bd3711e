"""``pymoo-nas train``: from a front, or from a name, to a trained and tested network."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from pymoo_nas._machine import expanded, in_shell, require_tensorboard
from pymoo_nas.cli._options import (
    DEFAULT_OPERATIONS,
    NO_CELLS,
    OF_CELLS,
    Augment,
    BatchSize,
    DataDir,
    Device,
    Download,
    Epochs,
    FinalCells,
    ImageSize,
    Operations,
    Precision,
    Reduction,
    Seed,
    Shortcut,
    TensorBoardOption,
    Threads,
    Widths,
    cell_space,
    checked_augment,
    is_given,
    number_or_auto,
    refuse_among_images,
    refuse_given,
)
from pymoo_nas.cli._terminal import complain, terminal
from pymoo_nas.datasets import load_dataset
from pymoo_nas.errors import SearchError
from pymoo_nas.networks import count_flops, count_parameters
from pymoo_nas.runs import RunFolder, final_of, network_by_name
from pymoo_nas.spaces import REDUCTIONS, CellSpace, design_of
from pymoo_nas.training import AUTO, STATE_FILE, Settings, Training, as_judging, describe_data
from pymoo_nas.training import train as train_network

OF_MODEL = ("operations", "reduction", "widths", "shortcut")
"""Options that are allowed only with --model."""

IN_FOLDERS = str.maketrans("|~'\"", "_-__")
"""Characters of a genotype that some systems refuse in folder names → their replacements."""

LONGEST = 100
"""Characters of a folder name; longer genotypes are cut."""


def train(
    ctx: typer.Context,
    run: Annotated[
        Path | None, typer.Argument(help="Run folder of a search; none with --model.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Train this instead: resnet20, a torchvision name, or a genotype."),
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="As for search; a run is trained on its own unless this is given.")
    ] = "digits",
    operations: Operations = DEFAULT_OPERATIONS,
    cells: FinalCells = None,
    reduction: Reduction = None,
    widths: Widths = None,
    shortcut: Shortcut = False,
    epochs: Epochs = AUTO,
    batch_size: BatchSize = AUTO,
    learning_rate: Annotated[
        float, typer.Option(help="Peak of the one-cycle schedule; Muon's is a tenth of it.")
    ] = 0.2,
    validation: Annotated[
        float | None,
        typer.Option(
            help="Share of the training images that is held out to choose the epoch; default: "
            "the validation images of the data set, or 0.1 where it has none."
        ),
    ] = None,
    balance: Annotated[
        bool, typer.Option("--balance", help="Weigh classes alike, however few images they have.")
    ] = False,
    ema: Annotated[
        float,
        typer.Option(
            help="Decay per step, such as 0.99, of a moving average of the weights, which is kept "
            "in their place; 0: none."
        ),
    ] = 0.0,
    cutout: Annotated[
        int,
        typer.Option(
            help="Side in pixels of a square that is cut out of each training image: 16 for "
            "images of 32 pixels and long trainings; 0: none."
        ),
    ] = 0,
    test_flip: Annotated[
        bool,
        typer.Option(
            "--test-flip",
            help="Judge, test and predict by the mean over each image and its mirror image, at "
            "twice the time; with --augment flip.",
        ),
    ] = False,
    optimizer: Annotated[
        str, typer.Option(help="muon; or sgd, which is cheaper for kernels of many channels.")
    ] = "muon",
    precision: Precision = AUTO,
    compile_: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile forward and backward pass, on CUDA with CUDA graphs: for trainings of "
            "thousands of steps, since it takes a minute or more.",
        ),
    ] = False,
    image_size: ImageSize = None,
    augment: Augment = None,
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
    data_dir: DataDir = Path("data"),
    download: Download = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder; default RUN/final (RUN/final-2, … for further choices), or runs/MODEL."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a training.")] = False,
    tensorboard: TensorBoardOption = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue after the last whole epoch in the folder.")
    ] = False,
) -> None:
    """Build the final network of a run, train it, test it, and write its weights as safetensors.

    The cell that `choose` chose stands at every stage. Without a choice, cells of the front follow
    each other. With --model, any other network is trained by the same recipe.
    """
    if tensorboard:
        require_tensorboard()
    if (run is None) == (model is None):
        raise SearchError("train what? expected either a run folder, or --model and --dataset")
    augment = checked_augment(augment)
    if resume and overwrite:
        raise SearchError("--resume and --overwrite; expected one of them")
    if validation is not None and not 0 <= validation < 1:
        raise SearchError(f"--validation {validation:g}; expected a share from 0 to below 1")
    settings: dict[str, Any] = {
        "epochs": number_or_auto("epochs", epochs),
        "batch_size": number_or_auto("batch-size", batch_size),
        "learning_rate": learning_rate,
        "validation": AUTO if validation is None else validation,
        "balance": balance,
        "ema": ema,
        "cutout": cutout,
        "test_flip": test_flip,
        "optimizer": optimizer,
        "precision": precision,
        "compile": compile_,
        "seed": seed,
    }
    # What is out of range is refused before the images are read, which may know the augmentation.
    Settings(**settings, augment=augment or "flip")
    places: dict[str, Any] = {
        "dataset": dataset,
        "image_size": image_size,
        "data_dir": data_dir,
        "download": download,
    }
    asked: dict[str, Any] = {}
    target = None if out is None else expanded(out)
    if run is not None:
        refuse_given(ctx, OF_MODEL, f"with {run}, a run that knows its own")
        asked = {name: value for name, value in places.items() if is_given(ctx, name)}
        network, images, title = final_of(run, cells, seed, **asked)
        target = target or RunFolder(run).place_of(design_of(network), resume=resume)
    else:
        title = str(model)
        target = target or Path("runs") / _folder_name(title)
        if not CellSpace.looks_like(title):
            refuse_given(ctx, OF_CELLS, f"with --model {title}, {NO_CELLS}")
        images = load_dataset(dataset, image_size=image_size, root=data_dir, download=download)
        spaces = [
            cell_space(operations, cells, halved, widths, shortcut)
            for halved in (REDUCTIONS if reduction is None else [reduction])
        ]
        network = network_by_name(title, spaces, images, seed, target if resume else None)
    if not resume:  # it would stand before the trainings of the run's choices
        RunFolder(target).check_free("a training takes a folder of its own: give another --out")
    terminal().print(
        describe_data(images, augment or images.augment, validation),
        highlight=False,
        soft_wrap=True,
    )
    source = places if run is None else {**RunFolder(run).config().arguments(), **asked}
    if isinstance(source.get("dataset"), str):  # else the run was not made by a command
        refuse_among_images(target, source["dataset"], source.get("data_dir", data_dir))
    sample = images.normalized(images.train_images[:1])
    judging = as_judging(network, flip=test_flip)
    terminal().print(
        f"{title}: {count_parameters(network):,} parameters, "
        f"{count_flops(judging, sample):,} multiply-accumulates per image",
        highlight=False,
        soft_wrap=True,
    )
    try:
        trained = train_network(
            network,
            images,
            **settings,
            augment=augment,
            device=device,
            threads=threads,
            out=target,
            overwrite=overwrite,
            resume=resume,
            tensorboard=tensorboard,
            progress=True,
        )
    except KeyboardInterrupt:
        _interrupted(target)
        raise typer.Exit(130) from None
    _report(trained, target)
    if images.train_images.dtype == np.uint8:  # files hold no other pixels
        place = target if run is None or out is not None else run
        terminal().print(
            f"next: pymoo-nas predict {in_shell(place)} IMAGES", highlight=False, soft_wrap=True
        )


def _folder_name(title: str) -> str:
    """The name of a folder for a model: its own name, or its beginning and a checksum.

    >>> _folder_name("|nor_conv_3x3~0|")
    '_nor_conv_3x3-0_'
    """
    name = title.translate(IN_FOLDERS)
    if len(name) <= LONGEST:
        return name
    checksum = hashlib.sha256(title.encode()).hexdigest()[:8]
    return f"{name[: LONGEST - 9].rstrip(' .')}-{checksum}"


def _interrupted(target: Path) -> None:
    """Tell what is kept, and how to continue."""
    kept = (target / STATE_FILE).exists()
    complain(
        f"interrupted; {target} holds the last whole epoch; continue with the same command and "
        "--resume (without --overwrite)"
        if kept
        else "interrupted before the end of the first epoch; nothing is kept"
    )


def _report(trained: Training, target: Path) -> None:
    console = terminal()
    table = Table(title="recall by class")
    for name in trained.recall.columns:
        table.add_column(str(name), justify="right")
    for _, row in trained.recall.iterrows():
        table.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row))
    console.print(table)
    auc = (
        "AUC undefined, as all test images are of one class"
        if math.isnan(trained.auc)
        else f"AUC {trained.auc:.4f}"
    )
    console.print(
        f"test accuracy {100 * trained.test_accuracy:.2f} %, balanced "
        f"{100 * trained.balanced_accuracy:.2f} %, {auc} (epoch {trained.best_epoch} kept, "
        f"{trained.seconds:.0f} s); wrote {target}",
        highlight=False,
        soft_wrap=True,
    )
