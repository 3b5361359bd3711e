"""``pymoo-nas search``: a search from the command line."""

from __future__ import annotations

import math
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from pymoo_nas._machine import TENSORBOARD, in_shell, require_tensorboard
from pymoo_nas.cli._options import (
    DEFAULT_OBJECTIVES,
    DEFAULT_OPERATIONS,
    Augment,
    DataDir,
    Device,
    Download,
    Images,
    ImageSize,
    Inits,
    MaxActs,
    MaxFlops,
    MaxLatency,
    MaxMemory,
    MaxParams,
    Objectives,
    Operations,
    Reduction,
    ScoredCells,
    Seed,
    Shortcut,
    TensorBoardOption,
    Widths,
    absolute_dataset,
    cell_text,
    checked_augment,
    dataset_and_objectives,
    is_given,
    name_of,
    refuse_among_images,
    refuse_given,
    search_space_of,
)
from pymoo_nas.cli._progress import SearchProgress
from pymoo_nas.cli._terminal import complain, terminal
from pymoo_nas.errors import SearchError
from pymoo_nas.runs import OF_STRATEGY, PLACES, RunFolder, Search, SearchSettings, TensorBoard
from pymoo_nas.scores import SIZES, objectives_in, read_objectives
from pymoo_nas.search import (
    STRATEGIES,
    CallbackChain,
    NASProblem,
    NothingFoundWarning,
    Workers,
    front_to_frame,
    nothing_found,
    scoring_processes,
    told_of_steadiness,
)
from pymoo_nas.spaces import space_settings
from pymoo_nas.training import describe_data

DEFAULTS = SearchSettings()

EARLIER = "nothing replaces the earlier run in {} yet, which is kept"
"""Told where a search ends that was to replace a run, and has found nothing."""


def by_strategy(name: str) -> str:
    """The defaults of a setting in words, where strategies have different ones.

    >>> by_strategy("generations")
    'default 9, regularised-evolution 22'
    """
    usual = getattr(DEFAULTS, name)
    values = {
        strategy: getattr(SearchSettings(algorithm=strategy), name) for strategy in STRATEGIES
    }
    others = [f"{strategy} {value}" for strategy, value in values.items() if value != usual]
    return ", ".join([f"default {usual}", *others])


def search(
    ctx: typer.Context,
    dataset: Annotated[
        str, typer.Argument(help="digits, cifar10, …; a folder of images; a .npz file.")
    ] = "digits",
    more: Annotated[
        list[str] | None,
        typer.Argument(help="Further objectives, after --objectives.", metavar="[NAME]..."),
    ] = None,
    algorithm: Annotated[
        str, typer.Option(help=f"Strategy: {', '.join(STRATEGIES)}.")
    ] = DEFAULTS.algorithm,
    generations: Annotated[
        int | None, typer.Option(help=f"Generations; {by_strategy('generations')}.", min=1)
    ] = None,
    population: Annotated[
        int | None,
        typer.Option(help=f"Survivors per generation; {by_strategy('population')}.", min=1),
    ] = None,
    offspring: Annotated[
        int | None,
        typer.Option(help=f"Candidates per generation; {by_strategy('offspring')}.", min=1),
    ] = None,
    max_params: MaxParams = None,
    max_flops: MaxFlops = None,
    max_acts: MaxActs = None,
    max_memory: MaxMemory = None,
    max_latency: MaxLatency = None,
    tournament_every: Annotated[
        int | None,
        typer.Option(
            help="Generations between DARTS tournaments, 0 for none; "
            f"{by_strategy('tournament_every')}.",
            min=0,
        ),
    ] = None,
    tournament_size: Annotated[
        int, typer.Option(help="Contenders per slot.", min=2)
    ] = DEFAULTS.tournament_size,
    max_age: Annotated[
        int | None,
        typer.Option(help="For evolutive: generations after which a parent dies.", min=1),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(help="Make candidates over a limit of a size smaller before they are scored."),
    ] = DEFAULTS.repair,
    steady: Annotated[
        bool | None,
        typer.Option(
            "--steady/--no-steady",
            help="Let candidates with steady gradients in the network to train survive first; "
            "default for nasbench201.",
        ),
    ] = DEFAULTS.steady,
    operations: Operations = DEFAULT_OPERATIONS,
    cells: ScoredCells = 3,
    reduction: Reduction = None,
    widths: Widths = None,
    shortcut: Shortcut = False,
    space: Annotated[
        str,
        typer.Option(help="Search space: cell, nasbench201, darts, or module:Class of your own."),
    ] = "cell",
    images: Images = 64,
    inits: Inits = 1,
    objectives: Objectives = DEFAULT_OBJECTIVES,
    image_size: ImageSize = None,
    augment: Augment = None,
    seed: Seed = 0,
    device: Device = "cpu",
    data_dir: DataDir = Path("data"),
    download: Download = False,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<data set>.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run.")] = False,
    workers: Annotated[
        int | None, typer.Option(help="Processes that score candidates, on this machine.", min=1)
    ] = None,
    dask: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler whose workers score candidates.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads per candidate; default: the cores shared by workers, 1 on Dask.", min=1
        ),
    ] = None,
    candidate_seconds: Annotated[
        float | None, typer.Option(help="With workers: longest time for one candidate.")
    ] = None,
    memory: Annotated[
        Path | None,
        typer.Option(help="File in which scores are kept, and looked up by later runs."),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Begin no further generation after so long; --resume goes on."),
    ] = None,
    tensorboard: TensorBoardOption = False,
    resume: Annotated[
        Path | None,
        typer.Option(help="Continue the run in this folder; with --generations, up to so many."),
    ] = None,
) -> None:
    """Search architectures for a data set, and write a run folder with tables and pictures.

    Objectives judge candidates without training; all are minimised. The paper's objectives are ntk
    (how unevenly the network would learn), activation (how alike it sees different images) and
    correlation (how alike its gradients at different images are). A genotype such as
    5000|0001|0800 gives the channels of each operation between each two nodes of a cell.
    """
    if tensorboard:
        require_tensorboard()
    words = [dataset, *(more or [])]
    dataset, objectives = dataset_and_objectives(ctx, words, objectives)
    arguments: dict[str, Any] = {
        "dataset": absolute_dataset(dataset),
        "n_images": images,
        "n_inits": inits,
        "objectives": [one.source or one.name for one in read_objectives(objectives)],
        "max_params": max_params,
        "max_flops": max_flops,
        "max_acts": max_acts,
        "max_peak_memory": max_memory,
        "max_latency": max_latency,
        "image_size": image_size,
        "augment": checked_augment(augment),
        "device": device,
        "seed": seed,
        "memory": None if memory is None else str(memory.expanduser().resolve()),
        "data_dir": str(data_dir.expanduser().resolve()),
    }
    settings = SearchSettings(
        generations=generations or OF_STRATEGY,
        population=population or OF_STRATEGY,
        offspring=offspring or OF_STRATEGY,
        max_age=max_age,
        tournament_every=OF_STRATEGY if tournament_every is None else tournament_every,
        tournament_size=tournament_size,
        seed=seed,
        algorithm=algorithm,
        repair=repair,
        steady=steady,
    )
    if not settings.tournament_every:
        without = "with --tournament-every 0" if tournament_every == 0 else "without tournaments"
        refuse_given(ctx, ["tournament_size"], without)
    if minutes is not None and not minutes > 0:
        raise SearchError(f"--minutes {minutes:g}; expected more than 0")
    search_space = search_space_of(ctx, space, operations, cells, reduction, widths, shortcut)
    given = [name for name in ctx.params if is_given(ctx, name)]
    if dataset not in words:  # its place was that of an objective
        given.remove("dataset")
    processes: dict[str, Any] = {"n": workers, "address": dask, "seconds": candidate_seconds}
    if resume is not None:
        folder = RunFolder(resume)
        with folder.continuing() as config:
            asked = {**space_settings(search_space), **arguments, **asdict(settings)}
            config.refuse_changes(given, asked)
            # The last bits depend on the number of threads.
            n_threads = config.threads() if threads is None else threads
            with scoring_processes(threads=n_threads, **processes) as helpers:
                search = Search.continued(
                    folder,
                    generations=generations if "generations" in given else None,
                    config=config,
                    places={name: arguments[name] for name in PLACES if name in given},
                    download=download,
                )
                _run(search, helpers, minutes, tensorboard)
        return
    scoring = scoring_processes(threads=threads, **processes)
    if settings.tournament_every:
        search_space.check_slots()
    folder = RunFolder(out if out is not None else Path("runs") / name_of(arguments["dataset"]))
    problem = NASProblem(**arguments, search_space=search_space, download=download)
    refuse_among_images(folder.path, str(arguments["dataset"]), data_dir)
    if not overwrite:
        folder.check_unused()  # before a lock is put into a folder that is not ours
    # The workers start first: where they cannot start, an old run must not be replaced.
    with folder.locked(), scoring as helpers:
        if overwrite and folder.holds_run():
            folder.prepare()  # the search itself replaces the run, with its first find
        else:
            folder.create(overwrite=overwrite)
        search = Search(folder, problem, settings, {"problem": arguments}, replaces=overwrite)
        _run(search, helpers, minutes, tensorboard)


def _run(search: Search, workers: Workers | None, minutes: float | None, tensorboard: bool) -> None:
    """Run a search with live progress, and report its result."""
    search.problem.workers = workers
    console = terminal()
    _describe(console, search.problem, search.folder)
    progress = SearchProgress(console, search)
    board = TensorBoard(search.folder.path / TENSORBOARD) if tensorboard else nullcontext()
    with board, progress, stopping_between_candidates(progress), warnings.catch_warnings():
        # The report says the same, as an error.
        warnings.simplefilter("ignore", NothingFoundWarning)
        try:
            told = CallbackChain(board, progress) if tensorboard else progress
            search.run(told, seconds=math.inf if minutes is None else 60 * minutes)
        except KeyboardInterrupt:
            path = search.folder.path
            complain(
                f"interrupted; {EARLIER.format(path)}"
                if search.waits
                else f"interrupted; {search.generations_done} generations are kept in {path}; "
                f"continue with: pymoo-nas search --resume {in_shell(path)}"
            )
            raise typer.Exit(130) from None
    if search.algorithm.has_next() and not search.waits:
        console.print(
            f"{minutes:g} minutes have passed: {search.generations_done} of "
            f"{search.settings.generations} generations; continue with: pymoo-nas search --resume "
            f"{in_shell(search.folder.path)}",
            highlight=False,
            soft_wrap=True,
        )
        if nothing_found(search.algorithm):
            return
    _report(console, search)


@contextmanager
def stopping_between_candidates(progress: SearchProgress) -> Iterator[None]:
    """Let the first Ctrl-C wait for the current candidate; the second one stops at once."""

    def stop(signum: int, frame: Any) -> None:
        del signum, frame
        if progress.stopping:
            raise KeyboardInterrupt
        progress.stopping = True
        complain("stopping after the candidate in hand; press Ctrl-C again to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread only
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _describe(console: Console, problem: NASProblem, folder: RunFolder) -> None:
    dataset = problem.dataset
    console.print(describe_data(dataset, dataset.augment), highlight=False, soft_wrap=True)
    console.print(
        f"scored on {len(problem.probe.images)} training images, {problem.device}, "
        f"{torch.get_num_threads()} threads; run folder "
        f"{folder.path}",
        highlight=False,
        soft_wrap=True,
    )


def _report(console: Console, search: Search) -> None:
    """Print the front as a table, and the places of all files."""
    algorithm, folder = search.algorithm, search.folder
    failure = nothing_found(algorithm)
    if failure and search.waits:
        raise SearchError(f"{failure}; {EARLIER.format(folder.path)}")
    if failure:
        raise SearchError(
            f"{failure}; the tables are in {folder.path}, and --overwrite replaces them"
        )
    front = front_to_frame(algorithm)
    table = Table(title="front, best rank sum first")
    sizes = [name for name in SIZES if name in front]
    columns = list(dict.fromkeys(["genotype", *objectives_in(front), *sizes]))
    for name in columns:
        table.add_column(name, justify="left" if name == "genotype" else "right", overflow="fold")
    for _, row in front.iterrows():
        table.add_row(*(cell_text(row[name]) for name in columns))
    console.print(table)
    if told := told_of_steadiness(algorithm):
        console.print(told, highlight=False, soft_wrap=True)
    for path in folder.draw():
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    console.print(
        f"next: pymoo-nas choose {in_shell(folder.path)}", highlight=False, soft_wrap=True
    )
