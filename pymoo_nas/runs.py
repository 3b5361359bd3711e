"""Run folders: what a search leaves behind, as plain files.

``config.json`` (settings, versions, state), ``front.csv``, ``history.csv``, ``tournaments.json``,
``front.png``, ``evolution.png``, ``offspring.png``, ``cell.png``; ``checkpoint.json``, from which
the search is continued, and ``checkpoint.previous.json``, the one before; after a choice,
``choice.json``; after training, ``final/``.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from filelock import FileLock, Timeout

from pymoo_nas.cell_drawing import plot_cell
from pymoo_nas.checkpoint import CHECKPOINT, PREVIOUS, write_checkpoint
from pymoo_nas.datasets import DATASET_NAMES
from pymoo_nas.errors import DatasetError, RunError
from pymoo_nas.files import read_object, write_json
from pymoo_nas.genotype import Genotype
from pymoo_nas.plots import plot_evolution, plot_front, plot_offspring, save_figure
from pymoo_nas.problem import NASProblem
from pymoo_nas.results import front_to_frame, history_to_frame, read_frame, write_frame
from pymoo_nas.spaces import space_from_settings
from pymoo_nas.tournament import tournaments_in

CONFIG = "config.json"
FRONT = "front.csv"
HISTORY = "history.csv"
TOURNAMENTS = "tournaments.json"
CHOICE = "choice.json"
LOCK = ".lock"
TABLES = (CONFIG, CHECKPOINT, FRONT, HISTORY, TOURNAMENTS)
PICTURES = ("front.png", "evolution.png", "offspring.png", "cell.png")
FINAL = "final"


class Choice(NamedTuple):
    """Which architectures of a run are to be trained.

    Attributes:
        genotypes: texts, in the order of the stages; repeated in turn.
        by: the method, one of `METHODS`.
        n_cells: of the network that was meant; None for as many as were scored.
        generations: that the search had done; None where that is not known.
    """

    genotypes: list[str]
    by: str = ""
    n_cells: int | None = None
    generations: int | None = None


class RunFolder:
    """One folder, one search.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def create(self, *, overwrite: bool = False) -> None:
        """Make the folder, or refuse one that holds a run.

        Raises:
            RunError: it holds a run and `overwrite` is not set, or the training of one in any case;
                or it cannot be made.
        """
        if not overwrite:
            self.check_free()
        if (self.path / FINAL).exists():
            raise RunError(
                f"folder {self.path / FINAL} holds what was trained from the run to be replaced; "
                "move or remove it, or choose another --out"
            )
        self._make()
        # Pictures too: those of another run must not stand beside this one's tables.
        for name in (*TABLES, PREVIOUS, CHOICE, *PICTURES):
            (self.path / name).unlink(missing_ok=True)

    def check_free(self) -> None:
        """Refuse a folder that holds a run.

        Raises:
            RunError: names what was found.
        """
        found = [name for name in TABLES if (self.path / name).exists()]
        if found:
            raise RunError(
                f"folder {self.path} holds a run already ({', '.join(found)}); pass --overwrite to "
                "replace it, or another --out"
            )

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"folder {self.path} cannot be made ({error}); choose another --out"
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from working on the folder; the system frees it if this one dies.

        Raises:
            RunError: another process works on it, or it cannot be made.
        """
        self._make()
        lock = FileLock(self.path / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise RunError(
                f"folder {self.path} is in use by another process; wait for it, or choose another "
                "folder"
            ) from error
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            yield
        finally:
            lock.release()

    def _unwritable(self, error: OSError) -> RunError:
        return RunError(
            f"folder {self.path} cannot be written to ({error}); make room, get the rights, or "
            "copy it to where you have them"
        )

    def save(self, algorithm: Any, config: Mapping[str, Any]) -> None:
        """Write the checkpoint, all tables and the configuration, after any generation.

        Args:
            algorithm: an `EvolutiveNAS` between two generations, or at its end.
            config: plain values that `config.json` keeps, besides counters and versions.
        """
        write_checkpoint(self.path, algorithm)
        self.save_tables(algorithm, config)

    def save_tables(self, algorithm: Any, config: Mapping[str, Any]) -> None:
        """As `save`, without a checkpoint: for one that is there already."""
        write_frame(history_to_frame(algorithm), self.path / HISTORY)
        write_frame(front_to_frame(algorithm), self.path / FRONT)
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
        }
        write_json(self.path / CONFIG, {**config, **state})

    def config(self) -> dict[str, Any]:
        """What `config.json` holds.

        Raises:
            RunError: no run there, or a damaged file.
        """
        absent = (
            f"folder {self.path} holds no run ({CONFIG} is missing); expected what "
            "pymoo-nas search --out writes"
        )
        return read_object(self.path / CONFIG, absent, "search again")

    def front(self) -> pd.DataFrame:
        """The front, best rank sum first."""
        return read_frame(self.path / FRONT)

    def history(self) -> pd.DataFrame:
        """Every scored candidate."""
        return read_frame(self.path / HISTORY)

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
        """Keep a choice of architectures, with plain values that tell how it was made.

        Raises:
            RunError: the folder cannot be written to.
        """
        try:
            write_json(self.path / CHOICE, {**choice._asdict(), **how})
        except OSError as error:
            raise self._unwritable(error) from error

    def choice(self) -> Choice | None:
        """What `choose` kept; None where nothing has been chosen.

        Raises:
            RunError: a damaged file.
        """
        path, again = self.path / CHOICE, "choose again, or remove it"
        if not path.is_file():
            return None
        try:
            kept = read_object(path, f"{path}: no such file", again)
            genotypes = list(kept["genotypes"])
            if not genotypes or not all(isinstance(text, str) for text in genotypes):
                raise TypeError("genotypes are no texts")
            numbers = {name: kept.get(name) for name in ("n_cells", "generations")}
            if any(type(value) not in (int, type(None)) for value in numbers.values()):
                raise TypeError(f"numbers are none: {numbers}")
            return Choice(genotypes, str(kept.get("by", "")), **numbers)
        except (KeyError, TypeError) as error:
            raise RunError(f"{path}: damaged ({error}); {again}") from error

    def problem(self, **changes: Any) -> NASProblem:
        """The problem that was searched.

        Args:
            **changes: keyword arguments of `NASProblem` to replace, such as ``device``.

        Raises:
            RunError: settings are missing, or the run had operations of a user's own.
            DatasetError: the run's images are not where they were.
        """
        config = self.config()
        try:
            arguments = dict(config["problem"])
            space = space_from_settings(config["search_space"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{self.path / CONFIG}: the problem cannot be rebuilt ({error}); operations of "
                "your own are rebuilt in Python: build_final(genotypes, problem=...)"
            ) from error
        try:
            return NASProblem(**{**arguments, "search_space": space, **changes})
        except DatasetError as error:
            place = arguments.get("dataset", "")
            if "dataset" in changes or place in DATASET_NAMES or os.path.exists(place):
                raise
            raise DatasetError(
                f"{error}; where the images of {self.path} have moved to PATH: pymoo-nas search "
                f"PATH --resume {self.path}, or train --dataset PATH"
            ) from error
        except TypeError as error:
            raise RunError(
                f"{self.path / CONFIG}: settings that NASProblem does not take ({error}); "
                "search again"
            ) from error

    def draw(self) -> list[Path]:
        """(Re)draw all pictures from the tables.

        Returns:
            the files written.
        """
        config = self.config()
        history, front = self.history(), self.front()
        figures = {
            "front.png": plot_front(history, front),
            "evolution.png": plot_evolution(history, self.tournaments()),
            "offspring.png": plot_offspring(history),
        }
        settings = config.get("search_space", {})
        if settings.get("space") == "cell" and len(front):
            best = Genotype.parse(front["genotype"].iloc[0], len(settings["operations"]))
            figures["cell.png"] = plot_cell(best, settings["operations"])
        for name, figure in figures.items():
            save_figure(figure, self.path / name)
        return [self.path / name for name in figures]


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    packages = ("pymoo-nas", "pymoo", "torch", "torchvision", "numpy", "pandas")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            # A source tree on the path works as well as an installed package.
            found[package] = "not installed"
    return found
