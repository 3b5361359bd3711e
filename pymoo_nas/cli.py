"""The command line: ``pymoo-nas search | train | score | plot | operations``."""

from __future__ import annotations

import inspect
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from pymoo.termination.max_gen import MaximumGenerationTermination
from rich.console import Console
from rich.table import Table

import pymoo_nas
from pymoo_nas.algorithm import EvolutiveNAS, nothing_found
from pymoo_nas.datasets import DATASET_NAMES
from pymoo_nas.errors import PymooNasError, RunError, SearchError
from pymoo_nas.final import build_final, choose_cells
from pymoo_nas.models import build_model
from pymoo_nas.networks import count_parameters
from pymoo_nas.operations import OPERATIONS, PAPER_OPERATIONS, build_operation, operation_table
from pymoo_nas.problem import NASProblem
from pymoo_nas.progress import SearchProgress
from pymoo_nas.results import front_to_frame
from pymoo_nas.runs import FINAL, RunFolder, space_from_settings
from pymoo_nas.scoring import Scores, score
from pymoo_nas.search_space import CellSpace, SearchSpace
from pymoo_nas.survival import RankSumSurvival
from pymoo_nas.tournament import CallbackChain, DartsTournament
from pymoo_nas.training import train as train_network

app = typer.Typer(
    help="Multi-objective, training-free neural architecture search on pymoo.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

DEFAULT_OPERATIONS = ",".join(PAPER_OPERATIONS)

Images = Annotated[int, typer.Option("--images", help="Images in the probe batch.", min=2)]
Inits = Annotated[int, typer.Option("--inits", help="Initialisations to average over.", min=1)]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:0, or auto.")]
ImageSize = Annotated[int | None, typer.Option(help="Resize images to this many pixels.")]
DataDir = Annotated[Path, typer.Option(help="Folder of torchvision's data sets.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch an absent torchvision data set.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.", min=0, max=2**32 - 1)]
Operations = Annotated[
    str, typer.Option(help="Comma-separated operations of a cell, in order; see `operations`.")
]


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            app()
        except PymooNasError as error:
            _complain(f"error: {error}")
            sys.exit(2)


@app.command()
def search(
    dataset: Annotated[
        str, typer.Argument(help="digits, cifar10, …; a folder of images; a .npz file.")
    ] = "digits",
    generations: Annotated[int, typer.Option(help="Generations.", min=1)] = 9,
    population: Annotated[int, typer.Option(help="Survivors per generation.", min=1)] = 5,
    offspring: Annotated[int, typer.Option(help="Candidates per generation.", min=1)] = 20,
    max_params: Annotated[int | None, typer.Option(help="Largest number of parameters.")] = None,
    max_flops: Annotated[
        int | None, typer.Option(help="Largest number of multiply-accumulates per image.")
    ] = None,
    tournament_every: Annotated[
        int, typer.Option(help="Generations between DARTS tournaments; 0 for none.", min=0)
    ] = 3,
    tournament_size: Annotated[int, typer.Option(help="Contenders per slot.", min=2)] = 4,
    max_age: Annotated[
        int | None, typer.Option(help="Generations after which a parent dies.", min=1)
    ] = None,
    operations: Operations = DEFAULT_OPERATIONS,
    space: Annotated[str, typer.Option(help="Search space: cell or nasbench201.")] = "cell",
    images: Images = 64,
    inits: Inits = 1,
    image_size: ImageSize = None,
    seed: Seed = 0,
    device: Device = "cpu",
    data_dir: DataDir = Path("data"),
    download: Download = False,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<data set>.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run.")] = False,
) -> None:
    """Search architectures for a data set; writes a run folder with tables and pictures."""
    console = _console()
    arguments: dict[str, Any] = {
        "dataset": _absolute(dataset),
        "n_images": images,
        "n_inits": inits,
        "max_params": max_params,
        "max_flops": max_flops,
        "image_size": image_size,
        "device": device,
        "seed": seed,
        "data_dir": str(data_dir.expanduser().resolve()),
    }
    search_space = _space(space, operations)
    folder = RunFolder(out if out is not None else Path("runs") / Path(_absolute(dataset)).stem)
    problem = NASProblem(**arguments, search_space=search_space, download=download)
    folder.create(overwrite=overwrite)
    algorithm = EvolutiveNAS(population, offspring, survival=RankSumSurvival(max_age))
    tournament = DartsTournament(tournament_every, tournament_size) if tournament_every else None
    config = {
        "problem": arguments,
        "search_space": search_space.settings(),
        "algorithm": {
            "generations": generations,
            "population": population,
            "offspring": offspring,
            "max_age": max_age,
            "tournament_every": tournament_every,
            "tournament_size": tournament_size,
            "seed": seed,
        },
    }
    _describe(console, problem, folder)
    progress = SearchProgress(console, problem, generations, offspring, tournament)
    termination = MaximumGenerationTermination(generations)
    callback = progress if tournament is None else CallbackChain(tournament, progress)
    algorithm.setup(problem, termination=termination, callback=callback, seed=seed)
    with progress, warnings.catch_warnings():
        # The report says the same, as an error.
        warnings.filterwarnings("ignore", message="none of .* candidates ")
        _run(algorithm, folder, config)
    _report(console, algorithm, folder)


def _run(algorithm: Any, folder: RunFolder, config: dict[str, Any]) -> None:
    """Generation by generation, each saved when it is done."""
    done = saved = 0
    try:
        while algorithm.has_next():
            algorithm.next()
            done += 1
            folder.save(algorithm, config)
            saved += 1
    except KeyboardInterrupt:
        if done > saved:
            # In the middle of saving: the tables would disagree on how many there are.
            folder.save(algorithm, config)
        _complain(f"interrupted; {done} generations are kept in {folder.path}")
        raise typer.Exit(130) from None


def _describe(console: Console, problem: NASProblem, folder: RunFolder) -> None:
    dataset = problem.dataset
    height, width = dataset.image_size
    console.print(
        f"{dataset.name}: {len(dataset.train_labels)} training images {dataset.in_channels}×"
        f"{height}×{width}, {dataset.n_classes} classes; scored on {len(problem.probe.images)} "
        f"of them, {problem.device}, {torch.get_num_threads()} threads; run folder {folder.path}",
        highlight=False,
        soft_wrap=True,
    )


def _report(console: Console, algorithm: Any, folder: RunFolder) -> None:
    """The front as a table, and where everything is."""
    failure = nothing_found(algorithm)
    if failure:
        raise SearchError(f"{failure}; the tables are in {folder.path}")
    front = front_to_frame(algorithm)
    table = Table(title="front, best rank sum first")
    columns = ["genotype", "ntk", "activation", "correlation", "params", "flops"]
    for name in columns:
        table.add_column(name, justify="left" if name == "genotype" else "right", overflow="fold")
    for _, row in front.iterrows():
        table.add_row(*(f"{row[n]:.4g}" if n in columns[1:4] else str(row[n]) for n in columns))
    console.print(table)
    for path in folder.draw():
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    console.print(f"next: pymoo-nas train {folder.path}", highlight=False, soft_wrap=True)


@app.command()
def train(
    run: Annotated[Path, typer.Argument(help="Run folder of a search.")],
    cells: Annotated[int, typer.Option(help="Cells of the final network.", min=1)] = 3,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.", min=1)] = 20,
    batch_size: Annotated[int, typer.Option(help="Images per step.", min=1)] = 128,
    learning_rate: Annotated[float, typer.Option(help="Peak of the one-cycle schedule.")] = 0.2,
    validation: Annotated[
        float, typer.Option(help="Share of the training images that chooses the best epoch.")
    ] = 0.1,
    seed: Seed = 0,
    device: Device = "cpu",
    out: Annotated[Path | None, typer.Option(help="Folder; default RUN/final.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a training.")] = False,
) -> None:
    """Build the final network of a run, train it, test it; weights as safetensors."""
    console = _console()
    folder = RunFolder(run)
    problem = folder.problem(device="cpu")
    front = folder.front()
    if front.empty:
        raise RunError(f"{run}: the front is empty; search again with higher limits")
    genotypes = [problem.search_space.parse(text) for text in front["genotype"]]
    chosen = choose_cells(genotypes, cells, problem)
    network = build_final(chosen, cells, problem=problem, seed=seed)
    console.print(
        f"final network: {cells} cells, {count_parameters(network):,} parameters",
        highlight=False,
    )
    target = out if out is not None else run / FINAL
    result = train_network(
        network,
        problem.dataset,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        validation=validation,
        seed=seed,
        device=device,
        out=target,
        overwrite=overwrite,
        progress=True,
    )
    table = Table(title="recall by class")
    for name in result.recall.columns:
        table.add_column(str(name), justify="right")
    for _, row in result.recall.iterrows():
        table.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row))
    console.print(table)
    console.print(
        f"test accuracy {100 * result.test_accuracy:.2f} % (best epoch {result.best_epoch}, "
        f"{result.seconds:.0f} s); wrote {target}",
        highlight=False,
        soft_wrap=True,
    )


@app.command(name="score")
def score_models(
    models: Annotated[
        list[str], typer.Argument(help="torchvision names or genotypes.", metavar="MODEL…")
    ],
    dataset: Annotated[str, typer.Option(help="As for search.")] = "digits",
    operations: Operations = DEFAULT_OPERATIONS,
    images: Images = 64,
    inits: Inits = 3,
    image_size: ImageSize = None,
    seed: Seed = 0,
    device: Device = "cpu",
    data_dir: DataDir = Path("data"),
    download: Download = False,
) -> None:
    """Score any networks without training: the three objectives, their spread, size and time."""
    problem = NASProblem(
        dataset,
        search_space=_space("cell", operations),
        n_images=images,
        image_size=image_size,
        device=device,
        seed=seed,
        data_dir=data_dir,
        download=download,
    )
    table = Table(title=f"{problem.dataset.name}: lower is better, mean ± deviation of {inits}")
    for name in ("model", "ntk", "activation", "correlation", "params", "MACs", "s", "degenerate"):
        table.add_column(
            name, justify="left" if name in ("model", "degenerate") else "right", overflow="fold"
        )
    failed = False
    for name in models:
        try:
            network, takes = build_model(name, problem, seed)
            batch = problem.probe.images.expand(-1, takes, -1, -1)
            scores = score(network, batch, n_inits=inits, seed=seed)
        except PymooNasError as error:
            failed = True
            _complain(f"error: {name}: {error}")
        else:
            table.add_row(name, *_cells(scores))
    if table.row_count:
        _console().print(table)
    if failed:
        raise typer.Exit(2)


def _cells(scores: Scores) -> list[str]:
    pairs = zip(scores.values, scores.spread, strict=True)
    return [
        *(f"{value:.4g} ± {spread:.2g}" for value, spread in pairs),
        f"{scores.params:,}",
        f"{scores.flops:,}",
        f"{scores.seconds:.2f}",
        scores.degenerate,
    ]


@app.command()
def plot(run: Annotated[Path, typer.Argument(help="Run folder of a search.")]) -> None:
    """Draw the pictures of a run again from its tables."""
    for path in RunFolder(run).draw():
        _console().print(f"wrote {path}", highlight=False, soft_wrap=True)


@app.command()
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
    _console().print(table)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        _console().print(f"pymoo-nas {pymoo_nas.__version__}", highlight=False)
        raise typer.Exit


def _space(name: str, operations: str) -> SearchSpace[Any]:
    if name == "cell":
        return CellSpace(operation_table(operations))
    return space_from_settings({"space": name})


def _console() -> Console:
    """The terminal; a file or a pipe gets lines of 140 columns, so that tables are not cut."""
    # Without markup: brackets in a path or a reason are no instructions.
    console = Console(markup=False)
    return console if console.is_terminal else Console(markup=False, width=140)


def _absolute(dataset: str) -> str:
    """Paths are kept absolute, so that a run can be continued from anywhere."""
    if dataset.lower() in DATASET_NAMES:  # a name goes before a path
        return dataset
    return str(Path(dataset).resolve()) if Path(dataset).exists() else dataset


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    _complain(f"warning: {message}")


def _complain(text: str) -> None:
    """One line on stderr, however long."""
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
