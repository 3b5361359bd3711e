"""``pymoo-nas export``: a trained network becomes a file that runs without this package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pymoo_nas._machine import in_shell, threads_set
from pymoo_nas.cli._options import Threads
from pymoo_nas.cli._terminal import complain, terminal
from pymoo_nas.exports import FORMATS, Exported, Figures
from pymoo_nas.runs import export as export_trained


def export(
    trained: Annotated[
        Path, typer.Argument(help="Folder of a training, or of a run that was trained.")
    ],
    to: Annotated[
        str,
        typer.Option(
            help="onnx, for ONNX Runtime; pt2, for plain torch; or python: a folder with readable "
            "source and weights.",
            metavar="|".join(FORMATS),
        ),
    ] = FORMATS[0],
    int8: Annotated[
        bool, typer.Option("--int8", help="Write a quantised NAME.int8.onnx beside it.")
    ] = False,
    pixels: Annotated[
        str | None,
        typer.Option(
            help="Type of the pixels that the file takes, 0 to 255: uint8 or float32; default: "
            "that of the training images."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Images of the training, where they have moved, as for search."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File, or folder of python; default: in the folder of the training."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an export.")] = False,
    threads: Threads = None,
) -> None:
    """Write a trained network to a file that takes raw pixels and returns probabilities.

    The file is run at once on the test images. Nothing is written where its probabilities are not
    those of torch within 0.0001.
    """
    with threads_set(threads):
        exported = export_trained(
            trained,
            to,
            out=out,
            int8=int8,
            dataset=dataset,
            pixels=pixels,
            overwrite=overwrite,
        )
    counts = exported.counts
    _say(
        f"{exported.title}: {counts.params:,} parameters, {counts.flops:,} multiply-accumulates "
        f"and {counts.peak_memory:,} bytes of feature maps per image"
    )
    terminal().print(_table(exported))
    _say(
        f"{exported.compared}: probabilities differ from torch by at most {exported.difference:.1g}"
    )
    if exported.file.accuracy is None:
        complain(
            "warning: the images of the training were not found, so no accuracy is known; name "
            "them: --dataset PATH"
        )
    _tell_loss(exported)
    for path in (exported.path, exported.int8_path):
        if path is not None:
            _say(f"wrote {path}")
    if to != "python" and exported.takes_files:
        _say(f"next: pymoo-nas predict {in_shell(exported.path)} IMAGES")


def _table(exported: Exported) -> Table:
    """One row for torch and for each file."""
    table = Table()
    for name in ("network", "accuracy, %", "bytes", "ms, batch 1", "ms per image, batch 32"):
        table.add_column(name, justify="left" if name == "network" else "right")
    rows: list[tuple[str, Figures | None]] = [
        ("torch", exported.torch),
        (exported.to, exported.file),
        ("int8", exported.int8),
    ]
    for name, figures in rows:
        if figures is not None:
            table.add_row(
                name,
                "" if figures.accuracy is None else f"{100 * figures.accuracy:.2f}",
                f"{figures.n_bytes:,}" if figures.n_bytes else "",
                f"{figures.latency:.3g}",
                f"{figures.batch_latency:.3g}",
            )
    table.caption = "latencies on one thread of this machine"
    return table


def _tell_loss(exported: Exported) -> None:
    """Tell a large loss by int8, and the layer behind it."""
    worst = exported.worst
    if exported.int8 is not None:
        _say(f"int8 is calibrated on {exported.calibrated_on} training images")
    if not exported.large_loss:
        return
    cause = "no layer that was tried loses any alone, so that it is of several together"
    if worst is not None:
        cause = (
            f"with layer {worst.name!r} alone in int8 the accuracy is {100 * worst.accuracy:.2f} "
            f"%, the worst of {worst.tried} layers that were tried one at a time (of {worst.of})"
        )
    complain(f"warning: int8 loses {100 * exported.large_loss:.2f} points; {cause}")


def _say(text: str) -> None:
    terminal().print(text, highlight=False, soft_wrap=True)
