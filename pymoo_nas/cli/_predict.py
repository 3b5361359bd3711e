"""``pymoo-nas predict``: a trained network names the classes of image files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from rich.progress import track
from rich.table import Table

from pymoo_nas._machine import check_writable, expanded, holds_other, in_unicode, write_csv
from pymoo_nas.cli._options import Device
from pymoo_nas.cli._terminal import complain, terminal
from pymoo_nas.datasets import HALF, PIXEL_FILE, find_images, read_images, read_pixels
from pymoo_nas.errors import DatasetError, RunError
from pymoo_nas.runs import load_trained
from pymoo_nas.training import TrainedNetwork

AT_A_TIME = 256
"""Number of files that are read at a time."""

TABLE_START = b"image,class,"
"""How a table of predictions begins."""


def predict(
    trained: Annotated[
        Path,
        typer.Argument(
            help="Folder of a training, or of a run that was trained; or an exported .onnx or .pt2."
        ),
    ],
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Image files, folders of them, and .npy files of raw pixels.", metavar="IMAGES…"
        ),
    ],
    top: Annotated[int, typer.Option(help="Name so many classes, the best first.", min=1)] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the table to this CSV file too, in place of an earlier one."),
    ] = None,
    device: Device = "cpu",
) -> None:
    """Name the class of every image, with the probability that the network gives it.

    Files are read in the same way as image folders for training. A folder stands for all image
    files in it and below it, by their endings; a file that is named is read whatever its ending.
    A .npy file holds pixels as the network was trained on, (N, height, width) or
    (N, height, width, channels): networks that were trained on floats (digits, some arrays) or on
    more channels than three take such files only. Torch loads a .pt2 file by pickle, which can run
    code: give only files that you trust.
    """
    if out is not None:
        _check_target(expanded(out))
    network = load_trained(trained, device=device)
    arrays = [path for path in images if path.suffix == PIXEL_FILE]
    files = [path for path in images if path.suffix != PIXEL_FILE]
    if files:
        network.check_files()
    where = "trained in" if network.folder.is_dir() else "of"
    terminal().print(
        f"{network.title}, {where} {network.folder}: {100 * network.test_accuracy:.2f} % of its "
        "test images",
        highlight=False,
        soft_wrap=True,
    )
    n_named = min(top, len(network.class_names))
    paths = list(dict.fromkeys(path for given in files for path in find_images(given)))
    rows = [row for part in _parts(paths) for row in _named(network, part, n_named)]
    for path in dict.fromkeys(arrays):
        pixels = read_pixels(path, len(network.mean))
        names = [f"{in_unicode(path)}[{index}]" for index in range(len(pixels))]
        rows += _rows(network, names, pixels, n_named)
    if not rows:
        raise DatasetError(
            f"none of {len(paths)} image files can be read; expected image files, or folders of "
            "them, as arguments"
        )
    table = pd.DataFrame(rows)
    _show(table)
    if out is not None:
        try:
            write_csv(expanded(out), table)
        except OSError as error:
            raise _unwritable(out, error) from error
        terminal().print(f"wrote {out}", highlight=False, soft_wrap=True)


def _check_target(target: Path) -> None:
    """Refuse a file that cannot be written, or holds something else, before the work begins.

    Raises:
        RunError: see above.
    """
    check_writable(target.parent)
    try:
        other = holds_other(target, lambda content: content.startswith(TABLE_START))
    except OSError as error:
        raise _unwritable(target, error) from error
    if other:
        raise RunError(
            f"{target} is there already, and no table of predictions; choose another --out"
        )


def _unwritable(target: Path, error: OSError) -> RunError:
    return RunError(f"{target} cannot be written ({error}); choose another --out")


def _parts(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    console = terminal()
    parts = [paths[start : start + AT_A_TIME] for start in range(0, len(paths), AT_A_TIME)]
    yield from track(
        parts, "images", console=console, transient=True, disable=not console.is_terminal
    )


def _named(
    network: TrainedNetwork, paths: Sequence[Path], n_named: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for each file that can be read; warn of each file that cannot be read."""
    read = read_images(
        paths, network.image_size, channels=len(network.mean), grey_range=network.grey_range
    )
    for path, why in read.skipped.items():
        complain(f"warning: {path}: skipped ({why})")
    for path, note in read.notes.items():
        complain(f"warning: {path}: {note}")
    for path, level in read.deep.items():
        if level < HALF:
            complain(
                f"warning: {path}: of 16 bits per channel the upper 8 are read, which reach "
                f"{level} of 255; convert it to 8 bits if it should be brighter"
            )
    if not read.images:
        return
    yield from _rows(network, map(in_unicode, read.images), list(read.images.values()), n_named)


def _rows(
    network: TrainedNetwork, names: Iterable[str], images: Any, n_named: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for each image."""
    for name, shares in zip(names, network.probabilities(images), strict=True):
        row: dict[str, Any] = {"image": name}
        for place, label in enumerate(np.argsort(-shares, kind="stable")[:n_named], start=1):
            suffix = "" if place == 1 else f"_{place}"
            row[f"class{suffix}"] = network.class_names[label]
            row[f"probability{suffix}"] = float(shares[label])
        yield row


def _show(rows: pd.DataFrame) -> None:
    table = Table()
    for name in rows.columns:
        number = name.startswith("probability")
        table.add_column(name, overflow="fold", justify="right" if number else "left")
    for row in rows.itertuples(index=False):
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row))
    terminal().print(table)
