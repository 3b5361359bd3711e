"""``pymoo-nas score | plot | operations``: look at networks and runs."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pymoo_nas._machine import threads_set
from pymoo_nas.cli._options import (
    DEFAULT_OBJECTIVES,
    DEFAULT_OPERATIONS,
    NO_CELLS,
    OF_CELLS,
    DataDir,
    Device,
    Download,
    Images,
    ImageSize,
    Inits,
    Objectives,
    Operations,
    Reduction,
    ScoredCells,
    Seed,
    Shortcut,
    Threads,
    Widths,
    cell_space,
    refuse_given,
)
from pymoo_nas.cli._terminal import complain, terminal
from pymoo_nas.errors import PymooNasError
from pymoo_nas.networks import OPERATIONS, PAPER_OPERATIONS, build_operation, count_parameters
from pymoo_nas.runs import RunFolder
from pymoo_nas.scores import BATCH_SIZE, Latencies, Scores, measure_latencies, score
from pymoo_nas.search import NASProblem
from pymoo_nas.spaces import Architecture, CellSpace


def score_models(
    ctx: typer.Context,
    models: Annotated[
        list[str],
        typer.Argument(
            help="Genotypes (5000|0001|0800), cells of NAS-Bench-201 and DARTS, resnet20, or "
            "torchvision names.",
            metavar="MODEL…",
        ),
    ],
    dataset: Annotated[str, typer.Option(help="As for search.")] = "digits",
    operations: Operations = DEFAULT_OPERATIONS,
    cells: ScoredCells = 3,
    reduction: Reduction = None,
    widths: Widths = None,
    shortcut: Shortcut = False,
    objectives: Objectives = DEFAULT_OBJECTIVES,
    images: Images = 64,
    inits: Inits = 3,
    image_size: ImageSize = None,
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
    data_dir: DataDir = Path("data"),
    download: Download = False,
) -> None:
    """Score any networks without training: the objectives, their spread, size and time."""
    if not any(map(CellSpace.looks_like, models)):
        refuse_given(ctx, OF_CELLS, f"with {', '.join(models)}, {NO_CELLS}")
    problem = NASProblem(
        dataset,
        search_space=cell_space(operations, cells, reduction, widths, shortcut),
        n_images=images,
        objectives=objectives,
        image_size=image_size,
        device=device,
        seed=seed,
        data_dir=data_dir,
        download=download,
    )
    averaged = f", mean ± deviation of {inits} initialisations" if inits > 1 else ""
    table = Table(title=f"{problem.dataset.name}: lower is better{averaged}")
    table.add_column("model", overflow="fold")
    sizes = ("params", "MACs", "acts", "bytes of maps", "ms, batch 1", f"ms, batch {BATCH_SIZE}")
    for name in (*problem.objective_names, *sizes, "s"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("degenerate", overflow="fold")
    failed = False
    for name in models:
        try:
            with threads_set(threads):
                scores, times = _scored(name, problem, inits, seed)
        except PymooNasError as error:
            failed = True
            complain(f"error: {name}: {error}")
        else:
            table.add_row(name, *_cells(scores, times, inits))
    if table.row_count:
        table.caption = "ms per image on 1 thread of this machine"
        terminal().print(table)
    if failed:
        raise typer.Exit(2)


def _scored(name: str, problem: NASProblem, inits: int, seed: int) -> tuple[Scores, Latencies]:
    """Score a network by name; for a genotype, give size and time of the network to train."""
    architecture = Architecture.read(name, problem.search_space)
    images = problem.probe.images
    network = architecture.build("scored", problem.dataset, seed=seed).to(problem.device)
    counted = architecture.build("trained", problem.dataset, seed=seed).to(problem.device)
    scores = score(
        network,
        images,
        n_inits=inits,
        seed=seed,
        objectives=problem.objectives,
        labels=problem.probe.labels,
        counted=counted,
    )
    return scores, measure_latencies(counted, images)


def _cells(scores: Scores, times: Latencies, inits: int) -> list[str]:
    """The texts of a row; the scores of a single initialisation have no deviation."""
    pairs = ((value, scores.spread[name]) for name, value in scores.objectives.items())
    return [
        *(f"{value:.4g}" + (f" ± {spread:.2g}" if inits > 1 else "") for value, spread in pairs),
        f"{scores.params:,}",
        f"{scores.flops:,}",
        f"{scores.acts:,}",
        f"{scores.peak_memory:,}",
        f"{times.latency:.3g}",
        f"{times.batch_latency:.3g}",
        f"{scores.seconds:.2f}",
        scores.degenerate,
    ]


def plot(run: Annotated[Path, typer.Argument(help="Run folder of a search.")]) -> None:
    """Draw the pictures of a run again from its tables."""
    for path in RunFolder(run).draw():
        terminal().print(f"wrote {path}", highlight=False, soft_wrap=True)


def operations() -> None:
    """List the operations that a cell can be made of."""
    table = Table(title="operations: parameters of 16 → 16 and 16 → 32 channels")
    for name in ("name", "16 → 16", "16 → 32", "in the paper's space", "what it is"):
        table.add_column(name, justify="right" if "→" in name else "left")
    for name, factory in OPERATIONS.items():
        sizes = [count_parameters(build_operation(name, factory, 16, c)) for c in (16, 32)]
        summary = (inspect.getdoc(factory) or "").splitlines()[0].rstrip(".")
        paper = "yes" if name in PAPER_OPERATIONS else ""
        table.add_row(name, *map(str, sizes), paper, summary)
    terminal().print(table)
