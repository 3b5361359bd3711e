"""``pymoo-nas search``: a search from the command line."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from pymoo.termination.max_gen import MaximumGenerationTermination
from rich.console import Console
from rich.table import Table

from pymoo_nas.algorithm import EvolutiveNAS, nothing_found
from pymoo_nas.cli_options import (
    DEFAULT_OPERATIONS,
    DataDir,
    Device,
    Download,
    Images,
    ImageSize,
    Inits,
    Operations,
    Seed,
    absolute_dataset,
    complain,
    search_space_of,
    terminal,
)
from pymoo_nas.errors import SearchError
from pymoo_nas.problem import NASProblem
from pymoo_nas.progress import SearchProgress
from pymoo_nas.results import front_to_frame
from pymoo_nas.runs import RunFolder
from pymoo_nas.survival import RankSumSurvival
from pymoo_nas.tournament import CallbackChain, DartsTournament


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
    console = terminal()
    arguments: dict[str, Any] = {
        "dataset": absolute_dataset(dataset),
        "n_images": images,
        "n_inits": inits,
        "max_params": max_params,
        "max_flops": max_flops,
        "image_size": image_size,
        "device": device,
        "seed": seed,
        "data_dir": str(data_dir.expanduser().resolve()),
    }
    search_space = search_space_of(space, operations)
    folder = RunFolder(
        out if out is not None else Path("runs") / Path(absolute_dataset(dataset)).stem
    )
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
        complain(f"interrupted; {done} generations are kept in {folder.path}")
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
