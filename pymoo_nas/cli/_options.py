"""The options that commands share, and what their values mean."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from pymoo_nas._machine import LARGEST
from pymoo_nas.datasets import (
    AUGMENTATIONS,
    DATASET_NAMES,
    MAX_IMAGE_SIZE,
    existing_path,
    height_and_width,
    holds_classes,
    refuse_among_classes,
)
from pymoo_nas.errors import DatasetError, SearchError
from pymoo_nas.networks import PAPER_OPERATIONS, operation_table
from pymoo_nas.scores import LATER_OBJECTIVES, OBJECTIVE_SETS, OBJECTIVES, PAPER_OBJECTIVES
from pymoo_nas.spaces import REDUCTIONS, CellSpace, SearchSpace, space_class, space_from_settings
from pymoo_nas.training import AUTO

DEFAULT_OPERATIONS = ",".join(PAPER_OPERATIONS)
DEFAULT_OBJECTIVES = ",".join(PAPER_OBJECTIVES)

Images = Annotated[int, typer.Option("--images", help="Images in the probe batch.", min=2)]
Inits = Annotated[int, typer.Option("--inits", help="Initialisations to average over.", min=1)]
MaxParams = Annotated[int | None, typer.Option(help="Largest number of parameters.")]
MaxFlops = Annotated[
    int | None, typer.Option(help="Largest number of multiply-accumulates per image.")
]
MaxActs = Annotated[
    int | None,
    typer.Option(help="Largest number of values that convolutions and poolings make per image."),
]
BYTES = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
"""Unit → bytes."""

MILLISECONDS = {"ms": 1.0, "us": 1e-3, "µs": 1e-3, "s": 1e3}
"""Unit → milliseconds."""


def quantity(text: str, units: Mapping[str, float]) -> float:
    """A number with a unit, such as 256KiB or 5 ms, in the unit that counts 1.

    Raises:
        typer.BadParameter: another text, or no positive number.

    >>> quantity("256KiB", BYTES), quantity("0.5s", MILLISECONDS)
    (262144.0, 500.0)
    """
    found = re.fullmatch(r"([0-9.]+(?:e[+-]?[0-9]+)?) ?([a-zµμ]*)", text.strip().lower())
    known = {"": 1.0, "μs": 1e-3, **{unit.lower(): size for unit, size in units.items()}}
    try:
        value = float(found[1]) * known[found[2]] if found else 0.0
    except (ValueError, KeyError):
        value = 0.0
    if not 0 < value < math.inf:
        named = ", ".join(units)
        raise typer.BadParameter(
            f"{text!r}; expected a positive number, with one of the units {named} or without"
        )
    return value


MaxMemory = Annotated[
    Any,
    typer.Option(
        help="Largest memory of feature maps at one time, for one image: 256KiB, or bytes.",
        parser=lambda text: math.ceil(quantity(text, BYTES)),
        metavar="BYTES",
    ),
]
MaxLatency = Annotated[
    Any,
    typer.Option(
        help="Longest time for one image on this machine: 5ms, or milliseconds.",
        parser=lambda text: quantity(text, MILLISECONDS),
        metavar="MS",
    ),
]
Objectives = Annotated[
    str,
    typer.Option(
        help=f"Comma-separated, minimised, in order: {', '.join(OBJECTIVES)}, or module:name of "
        f"your own; paper stands for the default three, later for {', '.join(LATER_OBJECTIVES)}."
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:0, or auto.")]


def parse_image_size(text: str) -> int | list[int]:
    """Read a size: ``32`` → 32; ``4x128`` → [4, 128], height and width, a list as JSON keeps it.

    Raises:
        typer.BadParameter: another text, or a size that images cannot have.
    """
    sides = [int(side) for side in re.split("[x×X]", text) if re.fullmatch("[0-9]{1,9}", side)]
    if len(sides) != 1 + len(re.findall("[x×X]", text)):
        sides = []
    try:
        size = height_and_width(sides[0] if len(sides) == 1 else sides)
    except DatasetError as error:
        raise typer.BadParameter(
            f"{text!r}; expected pixels from 1 to {MAX_IMAGE_SIZE}: one number such as 32, or "
            "height x width such as 4x128"
        ) from error
    return sides[0] if size is None or size[0] == size[1] else list(size)


ImageSize = Annotated[
    Any,
    typer.Option(
        help="Pixels that images are resized to, 32 for 32×32, 4x128 for height × width; default: "
        "as they are, those of a folder 32; of a run, as it had them.",
        parser=parse_image_size,
        metavar="PIXELS|HxW",
    ),
]
DataDir = Annotated[Path, typer.Option(help="Folder of torchvision's data sets.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch an absent torchvision data set.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.", min=0, max=2**32 - 1)]
Precision = Annotated[
    str,
    typer.Option(
        help="float32; or bfloat16: faster where the processor knows it; auto: bfloat16 on CUDA, "
        "else float32."
    ),
]
FinalCells = Annotated[
    int | None,
    typer.Option(
        "--cells",
        help="Cells in sequence; default: as many as were chosen for, or scored.",
        min=1,
    ),
]
ScoredCells = Annotated[
    int,
    typer.Option(
        "--cells", help="Cells in sequence; from one to the next the map is halved.", min=1
    ),
]
Reduction = Annotated[
    str | None,
    typer.Option(
        help="Where the map is halved: between cells (the default); or inside: the same cell is "
        "slightly less accurate, and trained in two thirds of the time. With --resume, as it began."
    ),
]
Widths = Annotated[
    str | None,
    typer.Option(
        help="Factors of a cell's channels in the first stage, the second, and so on, such as "
        "1,1.5,2. Default: 1,2,4."
    ),
]
Shortcut = Annotated[
    bool,
    typer.Option(
        "--shortcut",
        help="Add the input of each cell to its output: more accurate within tight limits.",
    ),
]
Epochs = Annotated[
    str, typer.Option(help="Passes over the training images; auto: as many as few images need.")
]
BatchSize = Annotated[
    str, typer.Option(help="Images per step; auto: 8 to 128, by the number of images.")
]
Augment = Annotated[
    str | None,
    typer.Option(
        help="In training: none; shift: shifted crops; flip: those and mirrored images, which text "
        "and signs must not be. Default: flip; none for digits, mnist and svhn; of a run, as it "
        "had it."
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        help="Threads of torch on the CPU; default: torch's own choice. Results are equal to the "
        "bit only with as many.",
        min=1,
    ),
]
TensorBoardOption = Annotated[
    bool,
    typer.Option("--tensorboard", help="Write curves for TensorBoard to FOLDER/tensorboard."),
]
Operations = Annotated[
    str, typer.Option(help="Comma-separated operations of a cell, in order; see `operations`.")
]


OF_CELLS = ("operations", "cells", "reduction", "widths", "shortcut")
"""Options for cells: their operations, number, widths and shortcuts, and where they halve maps."""


NO_CELLS = "which is no cell such as 5000|0001|0800"
"""The reason why `OF_CELLS` are refused with other networks."""


def cell_space(
    operations: str,
    cells: int | None,
    reduction: str | None,
    widths: str | None,
    shortcut: bool,
) -> CellSpace:
    """The paper's search space with the options `OF_CELLS`; None takes the default.

    Raises:
        SearchError: a value that the space does not take.
    """
    return CellSpace(
        operation_table(operations),
        n_cells=SearchSpace.n_cells if cells is None else cells,
        reduction=REDUCTIONS[0] if reduction is None else reduction,
        widths=None if widths is None else _factors(widths),
        shortcut=shortcut,
    )


def _factors(text: str) -> list[float]:
    """Read numbers with commas between them.

    Raises:
        SearchError: something else.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SearchError(
            f"--widths {text}; expected numbers with commas between them, such as 1,1.5,2"
        ) from None


def search_space_of(
    ctx: typer.Context,
    name: str,
    operations: str,
    cells: int,
    reduction: str | None,
    widths: str | None,
    shortcut: bool,
) -> SearchSpace[Any]:
    """The search space of ``--space`` and of `OF_CELLS`.

    Raises:
        SearchError: an unknown search space, or options that do not apply to it.
    """
    if space_class(name) is CellSpace:
        return cell_space(operations, cells, reduction, widths, shortcut)
    space = space_from_settings({"space": name})
    made = f"{space.n_cells} stages" if space.n_cells > 1 else "no cells"
    refuse_given(
        ctx,
        OF_CELLS,
        f"with --space {name}, whose networks have {made}, operations, reductions, widths and "
        "shortcuts of their own",
    )
    return space


def number_or_auto(option: str, text: str) -> int | str:
    """The number that an option gives, or "auto".

    Raises:
        SearchError: another text, or a number below 1.

    >>> number_or_auto("epochs", "20"), number_or_auto("epochs", "auto")
    (20, 'auto')
    """
    if text == AUTO:
        return text
    # Python reads no numbers of thousands of digits.
    if text.isdecimal() and len(text) <= len(str(LARGEST)) and int(text) >= 1:
        return int(text)
    raise SearchError(f"--{option} {text}; expected a whole number from 1, or auto")


def checked_augment(augment: str | None) -> str | None:
    """The augmentation that is asked for; None where none is asked for.

    Raises:
        SearchError: an unknown augmentation.
    """
    if augment is not None and augment not in AUGMENTATIONS:
        raise SearchError(f"--augment {augment}; expected one of {', '.join(AUGMENTATIONS)}")
    return augment


def is_given(ctx: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def dataset_and_objectives(
    ctx: typer.Context, words: list[str], objectives: str
) -> tuple[str, str]:
    """Tell the data set from objectives that stand behind ``--objectives``, separated by spaces.

    Args:
        ctx: of the command.
        words: the arguments of the command; the default data set where there are none.
        objectives: value of the option.

    Raises:
        SearchError: two data sets.
    """
    given = is_given(ctx, "objectives")
    known = [*OBJECTIVES, *OBJECTIVE_SETS]
    named = [word for word in words if given and (word in known or re.match(OWN, word))]
    others = [word for word in words if word not in named]
    unclear = [] if others else [word for word in named if holds_classes(word)]
    if unclear:
        raise SearchError(
            f"{unclear[0]}: an objective, and a folder of images here too; give ./{unclear[0]} for "
            "the folder, or a data set before --objectives"
        )
    meant = get_close_matches(others[0], known, n=1) if given and others else []
    if meant and others[0].lower() not in DATASET_NAMES and not os.path.exists(others[0]):
        raise SearchError(
            f"{others[0]}: neither a data set nor an objective; did you mean {meant[0]}?"
        )
    if len(others) > 1:
        raise SearchError(
            f"{', '.join(others)}: expected one data set, and names of objectives only behind "
            "--objectives"
        )
    return (others or ["digits"])[0], ",".join([objectives, *named])


OWN = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
"""A name ``module:name`` of what a user has written; no path of Windows, such as C:\\images."""


def refuse_given(ctx: typer.Context, names: Iterable[str], why: str) -> None:
    """Refuse options that would be ignored.

    Raises:
        SearchError: such options stand on the command line; the message names them.
    """
    given = [f"--{name.replace('_', '-')}" for name in names if is_given(ctx, name)]
    flags = " and ".join(given)
    if given:
        raise SearchError(f"{flags} {why}; leave {flags} out")


def cell_text(value: Any) -> str:
    """Format a value of a table for people.

    >>> cell_text(1234), cell_text(0.123456), cell_text(True), cell_text("8,8")
    ('1,234', '0.1235', 'yes', '8,8')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, Integral) else f"{value:.4g}"


def absolute_dataset(dataset: str) -> str:
    """Make a path absolute, so that a run can be continued from anywhere; keep a name."""
    if dataset.lower() in DATASET_NAMES:  # a name goes before a path
        return dataset
    return str(Path(dataset).resolve()) if os.path.exists(dataset) else dataset


def name_of(dataset: str) -> str:
    """The name of a data set, for a folder: of a file without its ending.

    >>> name_of("/images/photos.v2"), name_of("/images/noise.npz"), name_of("digits")
    ('photos.v2', 'noise', 'digits')
    """
    path = Path(dataset)
    return path.stem if path.suffix.lower() == ".npz" else path.name


def refuse_among_images(target: Path, dataset: str, data_dir: str | Path) -> None:
    """Refuse an output folder that would become a class of the data set, which has been read.

    Raises:
        DatasetError: see `refuse_among_classes`.
    """
    if dataset.lower() in DATASET_NAMES:
        return
    source = existing_path(dataset, Path(data_dir).expanduser())
    if source.is_dir():
        refuse_among_classes(target, source)
