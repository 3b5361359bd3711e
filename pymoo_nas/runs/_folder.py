"""Run folders: the results and the state of a search, as plain files.

A folder holds ``config.json`` (settings, versions, state), ``front.csv`` (what survived),
``archive.csv`` (the non-dominated of all candidates), ``history.csv``, ``tournaments.json``,
``front.png``, ``evolution.png``, ``offspring.png``, ``cell.png``; ``checkpoint.json``, from which
the search is continued, and the checkpoint before it, ``checkpoint.previous.json``; after a choice,
``choice.json``; after training, ``final/``, and for each further network ``final-2/`` and so on;
with ``--tensorboard``, ``tensorboard/``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import count, cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from pymoo_nas._machine import (
    TENSORBOARD,
    expanded,
    forget_curves,
    has_curves,
    in_shell,
    locked,
    make_folder,
    processor,
    read_object,
    versions,
    write_json,
)
from pymoo_nas.errors import GenotypeError, RunError
from pymoo_nas.runs._checkpoint import CHECKPOINT, PREVIOUS, write_checkpoint
from pymoo_nas.runs._choice import Choice, read_choice, write_choice
from pymoo_nas.runs._config import CONFIG, RunConfig
from pymoo_nas.runs._earlier import table_of_today
from pymoo_nas.scores import COLUMNS, SIZES, objectives_in
from pymoo_nas.search import (
    NASProblem,
    front_to_frame,
    history_to_frame,
    missing_columns,
    read_frame,
    tournaments_in,
    write_frame,
)
from pymoo_nas.spaces import (
    Genotype,
    cell_operations,
    title_of,
)
from pymoo_nas.training import DESCRIPTION, design_in, network_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRONT = "front.csv"
ARCHIVE = "archive.csv"
HISTORY = "history.csv"
TOURNAMENTS = "tournaments.json"
CHOICE = "choice.json"
TABLES = (CONFIG, CHECKPOINT, FRONT, ARCHIVE, HISTORY, TOURNAMENTS)
PICTURES = ("front.png", "evolution.png", "offspring.png", "cell.png")
FINAL = "final"
REPORT = "report.html"
BESIDE = (CHOICE, *PICTURES, REPORT)
"""Files beside the tables of a run, which are made from them."""


class RunFolder:
    """The folder of one search.

    Args:
        path: path of the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = expanded(path)

    def create(self, *, overwrite: bool = False) -> None:
        """Make the folder, or refuse a folder that holds a run or files of the names of one.

        Raises:
            RunError: the folder holds such files, and `overwrite` is not set; it holds a training
                of a run, even if `overwrite` is set; or it cannot be made.
        """
        if not overwrite:
            self.check_unused()
        self.prepare()
        self.clear()

    def prepare(self) -> None:
        """Make the folder; a run that it holds stays until `clear` removes it.

        Raises:
            RunError: the folder holds a training of its run, or cannot be made.
        """
        trained = self.training_folders()
        if trained:
            raise RunError(
                f"folder {trained[0]} holds what was trained from the run to be replaced; move or "
                "remove it, or choose another --out"
            )
        make_folder(self.path)

    def clear(self) -> None:
        """Remove what a search writes; other files stay."""
        # Pictures too: old pictures must not stand beside the tables of the new run.
        for name in (*TABLES, PREVIOUS, *BESIDE):
            (self.path / name).unlink(missing_ok=True)
        forget_curves(self.path / TENSORBOARD)

    def holds_run(self) -> bool:
        """Whether the folder holds any of the tables of a run."""
        return bool(self._found(TABLES))

    def _found(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if (self.path / name).exists()]

    def check_unused(self) -> None:
        """Refuse a folder that holds a run, or other files that a search would replace.

        Raises:
            RunError: see above; the message names the files that were found.
        """
        self.check_free()
        found = self._found((PREVIOUS, *BESIDE))
        if has_curves(self.path / TENSORBOARD):
            found.append(TENSORBOARD)
        if found:
            raise RunError(
                f"folder {self.path} holds {', '.join(found)}, which a search replaces; move what "
                "is yours, pass --overwrite to replace it, or choose another --out"
            )

    def check_free(self, remedy: str = "pass --overwrite to replace it, or another --out") -> None:
        """Refuse a folder that holds a run.

        Args:
            remedy: advice for the message.

        Raises:
            RunError: the folder holds a run; the message names the files that were found.
        """
        found = self._found(TABLES)
        if found:
            raise RunError(f"folder {self.path} holds a run already ({', '.join(found)}); {remedy}")

    def locked(self) -> AbstractContextManager[None]:
        """Lock the folder against other processes; the system frees it if this process dies.

        Raises:
            RunError: another process works on the folder, or it cannot be made.
        """
        return locked(self.path)

    def save(self, algorithm: Any, config: Mapping[str, Any]) -> None:
        """Write the checkpoint, all tables and the configuration, after any generation.

        Args:
            algorithm: an `EvolutiveNAS` between two generations, or at its end.
            config: plain values that `config.json` keeps, besides counters and versions.
        """
        write_checkpoint(self.path, algorithm)
        self.save_tables(algorithm, config)

    def save_tables(self, algorithm: Any, config: Mapping[str, Any]) -> None:
        """Write the same files as `save` without the checkpoint, which is there already."""
        write_frame(history_to_frame(algorithm), self.path / HISTORY)
        write_frame(front_to_frame(algorithm), self.path / FRONT)
        archive = front_to_frame(algorithm.front_of_all(), algorithm.problem)
        write_frame(archive, self.path / ARCHIVE)
        held = [row for t in tournaments_in(algorithm.callback) for row in t.data["tournaments"]]
        write_json(self.path / TOURNAMENTS, {"tournaments": held})
        self.save_config(algorithm, config)

    def save_config(self, algorithm: Any, config: Mapping[str, Any]) -> None:
        """Write the configuration alone, before the first generation."""
        started = algorithm.start_time  # pymoo's, from the first generation on
        state = {
            "generations_done": max(0, (algorithm.n_iter or 1) - 1),
            "candidates": algorithm.evaluator.n_eval,
            "seconds": 0.0 if started is None else round(time.time() - started, 3),
            "versions": versions(),
            "threads": torch.get_num_threads(),
            "processor": processor(getattr(algorithm.problem, "device", torch.device("cpu"))),
        }
        write_json(self.path / CONFIG, {**config, **state})

    @contextmanager
    def continuing(self) -> Iterator[RunConfig]:
        """Keep other processes away from the run, and read its configuration.

        Raises:
            RunError: no run there, a damaged file, or another process works on the folder.
        """
        self._check_run()  # before a lock is put into a folder that holds no run
        with self.locked():
            # Read under the lock: before it another process may have changed the run.
            yield self.config()

    def _check_run(self) -> None:
        if not (self.path / CONFIG).exists():
            raise RunError(self._absent())

    def _absent(self) -> str:
        return (
            f"folder {self.path} holds no run ({CONFIG} is missing); expected what "
            "pymoo-nas search --out writes"
        )

    def config(self) -> RunConfig:
        """The content of ``config.json``.

        Raises:
            RunError: no run there, or a damaged file.
        """
        values = read_object(self.path / CONFIG, self._absent(), "search again")
        return RunConfig(self.path, values)

    def front(self) -> pd.DataFrame:
        """The front, best rank sum first."""
        return self._table(FRONT)

    def archive(self) -> pd.DataFrame:
        """The non-dominated of all scored candidates, best rank sum first."""
        return self._table(ARCHIVE)

    def history(self) -> pd.DataFrame:
        """Every scored candidate."""
        return self._table(HISTORY)

    def _table(self, name: str) -> pd.DataFrame:
        if not (self.path / CONFIG).is_file():
            return read_frame(self.path / name)
        if not (self.path / HISTORY).is_file():
            raise RunError(
                f"folder {self.path}: the search has not finished its first generation; continue "
                f"it with pymoo-nas search --resume {in_shell(self.path)}"
            )
        names = self.config().objective_names()
        table = read_frame(self.path / name, names)
        # A search of this package tells the sizes of all candidates.
        sizes = [size for size in SIZES if not COLUMNS[size].added_later]
        if missing := missing_columns(table, objectives_in(table)) or [
            size for size in sizes if table[size].isna().any()
        ]:
            raise RunError(f"{self.path / name}: damaged (without {missing}); search again")
        return table_of_today(table, names)

    def tournaments(self) -> list[int]:
        """Generations that ended in a tournament.

        Raises:
            RunError: a damaged file.
        """
        path = self.path / TOURNAMENTS
        if not path.is_file():
            return []
        try:
            held = json.loads(path.read_text(encoding="utf-8"))["tournaments"]
            return [int(row["generation"]) for row in held]
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}: damaged ({error}); remove it, or search again") from error

    def choose(self, choice: Choice, **how: Any) -> None:
        """Write a choice of architectures, with plain values that tell how it was made.

        Raises:
            RunError: the folder cannot be written to.
        """
        write_choice(self.path / CHOICE, choice, **how)

    def choice(self) -> Choice | None:
        """Read the choice that `choose` wrote; None where nothing has been chosen.

        Raises:
            RunError: a damaged file.
        """
        return read_choice(self.path / CHOICE)

    def chosen(self, parse: Callable[[str], Any]) -> list[Any] | None:
        """The genotypes of the choice; None where nothing has been chosen.

        Args:
            parse: text → genotype, of the run's search space.

        Raises:
            RunError: a damaged file, or texts that spell no genotype.
        """
        choice = self.choice()
        if choice is None:
            return None
        try:
            return [parse(text) for text in choice.genotypes]
        except GenotypeError as error:
            raise RunError(f"{self.path / CHOICE}: {error}; choose again, or remove it") from error

    def trained(self) -> Path | None:
        """The folder of the trained final network; after a choice, of the chosen network.

        Returns:
            the folder; None where nothing was trained.

        Raises:
            RunError: not the chosen network was trained, but another; the message names both.
        """
        finished = {folder: network_of(folder) for folder in self._trainings()}
        if not finished:
            return None
        choice = self.choice()
        if choice is None:
            return list(finished)[-1]
        # Nothing tells the cells of a user's own network.
        fitting = [f for f, network in finished.items() if _is_of(network, choice.genotypes)]
        if not fitting:
            names = ", ".join(f"{title_of(network)} in {f}" for f, network in finished.items())
            raise RunError(
                f"{self.path}: the network that was chosen is not trained yet "
                f"({' → '.join(choice.genotypes)}; trained: {names}); train it with pymoo-nas "
                f"train {in_shell(self.path)}, or name the folder of the training that is meant"
            )
        return fitting[-1]

    def place_of(self, design: str, *, resume: bool = False) -> Path:
        """The folder for the training of a final network: ``final``, or ``final-2`` and so on.

        Args:
            design: design of the network, see `design_of`.
            resume: whether a training is to be continued.

        Returns:
            the folder that holds a training of this network, finished or interrupted; else the
            first folder without any training. Where `resume` is set and no folder holds this
            network, the first folder of all: its error tells why nothing can be continued.
        """
        taken = {folder: design_in(folder) for folder in self._places()}
        mine = [folder for folder, found in taken.items() if found == design]
        free = [folder for folder, found in taken.items() if not found]
        first: Path = [*mine, *(taken if resume else free)][0]
        return first

    def _places(self) -> list[Path]:
        """``final``, ``final-2``, …: all folders that exist, and the next one."""
        names = (FINAL if number == 1 else f"{FINAL}-{number}" for number in count(1))
        folders: list[Path] = []
        # For a name that is too long, os.path says that it does not exist; pathlib raises.
        while not folders or os.path.exists(folders[-1]):
            folders.append(self.path / next(names))
        return folders

    def training_folders(self) -> list[Path]:
        """``final``, ``final-2``, …: the folders of trainings, finished or with a whole epoch."""
        return [folder for folder in self._places() if design_in(folder)]

    def _trainings(self) -> list[Path]:
        return [folder for folder in self._places() if os.path.exists(folder / DESCRIPTION)]

    def problem(self, **changes: Any) -> NASProblem:
        """The problem that was searched, see `RunConfig.problem`."""
        return self.config().problem(**changes)

    def draw(self, *names: str) -> list[Path]:
        """(Re)draw pictures from the tables.

        ``cell.png`` shows the chosen cell; before a choice, it shows the best cell of the front.

        Args:
            *names: names from `PICTURES`; without any name, all are drawn.

        Returns:
            the files written. ``cell.png`` is left out in spaces whose genotypes are no such cells,
            ``front.png`` needs two objectives or more, ``offspring.png`` three or more.
        """
        from pymoo_nas import plots  # noqa: PLC0415 - matplotlib is heavy

        config = self.config()
        history, front = self.history(), self.front()
        n_objectives = len(objectives_in(history))
        draw: dict[str, Callable[[], Figure | None]] = {
            "front.png": lambda: plots.plot_front(history, front) if n_objectives > 1 else None,
            "evolution.png": lambda: plots.plot_evolution(history, self.tournaments()),
            "offspring.png": lambda: plots.plot_offspring(history) if n_objectives > 2 else None,
            "cell.png": lambda: self._cell_figure(config.get("search_space", {}), front),
        }
        written = []
        for name in names or PICTURES:
            figure = draw[name]()
            if figure is not None:
                plots.save_figure(figure, self.path / name)
                written.append(self.path / name)
        return written

    def _cell_figure(self, settings: Mapping[str, Any], front: pd.DataFrame) -> Figure | None:
        from pymoo_nas.plots import plot_cell  # noqa: PLC0415 - matplotlib is heavy

        operations = cell_operations(settings)
        if operations is None:
            return None
        parse = partial(Genotype.parse, n_operations=len(operations))
        drawn = self.chosen(parse) or [parse(text) for text in front["genotype"][:1]]
        return plot_cell(drawn[0], operations) if drawn else None


def _is_of(network: Mapping[str, Any] | None, genotypes: Sequence[str]) -> bool:
    """Whether a network was made of these cells, repeated in turn; true where nothing tells."""
    cells = (network or {}).get("genotypes")
    return not cells or list(islice(cycle(genotypes), len(cells))) == cells
