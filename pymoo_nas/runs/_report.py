"""Write a report of a run folder: one page of HTML with all that the folder tells."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from pymoo_nas._machine import (
    atomic_write,
    expanded,
    holds_other,
    in_shell,
    in_unicode,
    read_object,
)
from pymoo_nas.comparison import read_truth
from pymoo_nas.errors import ReportError, RunError
from pymoo_nas.reports import (
    Command,
    Content,
    TrainedContent,
    is_report,
    page_of,
    require_altair,
)
from pymoo_nas.runs._config import RunConfig
from pymoo_nas.runs._folder import CHOICE, HISTORY, REPORT, TOURNAMENTS, RunFolder
from pymoo_nas.runs._report_commands import (
    choice_command,
    export_commands,
    search_command,
    train_command,
)
from pymoo_nas.runs._report_drawings import with_drawings
from pymoo_nas.runs._report_trainings import mistakes_of, training_in
from pymoo_nas.scores import title_of_objective
from pymoo_nas.search import RandomSearch
from pymoo_nas.spaces import join_truth, space_from_settings
from pymoo_nas.training import TrainedNetwork

SUFFIXES = (".html", ".htm")
"""How the name of a report ends."""

TOURNAMENT_FIELDS = ("generation", "slots", "alphas", "winners")
"""What a report needs of a tournament."""


def report(run: Any, *, out: str | Path | None = None, truth: Any = None) -> Path:
    """Write a report of a run: one page of HTML with interactive charts, which needs no network.

    The page tells what was searched and by which commands, and shows the front, the evolution, the
    descent of the chosen cell, the tournaments, the training, its worst mistakes and the exported
    files. It also tells what is missing, and which command makes it. Two reports of one run with
    the same versions are equal to the byte. A report that is there already is replaced.

    Args:
        run: the path of a run folder, or a `RunFolder`.
        out: the file, whose name ends in .html or .htm; None for ``report.html`` in the run folder.
        truth: known accuracies, a table with the columns genotype and accuracy, or the path of such
            a CSV file; None takes the test accuracies of the networks that were trained from the
            run.

    Returns:
        the file that was written.

    Raises:
        RunError: no run there, or a damaged file.
        ReportError: the run has not finished its first generation, the file has another ending,
            holds something else than a report or cannot be written, or the extra
            ``pymoo-nas[report]`` is missing.
        DatasetError: known accuracies that cannot be read.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    require_altair()
    config = folder.config()
    target = folder.path / REPORT if out is None else expanded(out)
    _check_target(target)
    page = page_of(with_drawings(_content(folder, config, truth), config))
    try:
        with atomic_write(target) as temporary:
            temporary.write_text(page, encoding="utf-8")
    except OSError as error:
        raise _unwritable(target, error.strerror) from error
    return target


def _check_target(target: Path) -> None:
    """Refuse a target that cannot be written, or holds something else, before the work begins.

    Raises:
        ReportError: see above.
    """
    if os.path.isdir(target):
        raise _unwritable(target, "it is a folder")
    if not os.path.isdir(target.parent):
        raise _unwritable(target, f"there is no folder {target.parent}")
    if not os.access(target.parent, os.W_OK):
        raise _unwritable(target, "its folder cannot be written to")
    if target.suffix.lower() not in SUFFIXES:
        raise _unwritable(target, f"its name does not end in {' or '.join(SUFFIXES)}")
    try:
        other = holds_other(target, is_report)
    except OSError as error:
        raise _unwritable(target, error.strerror) from error
    if other:
        raise _unwritable(target, "it is there already, and no report")


def _unwritable(target: Path, why: str | None) -> ReportError:
    return ReportError(f"report {target}: cannot be written ({why}); choose another --out")


class _Trainings(NamedTuple):
    """The trainings of a run, and the one to show in detail with its network."""

    found: tuple[TrainedContent, ...]
    main: int | None
    network: TrainedNetwork | None
    missing: str


def _content(folder: RunFolder, config: RunConfig, truth: Any) -> Content:
    name = in_unicode(folder.path.resolve().name)
    history = _history(folder)
    front = folder.front()
    kept = _choice(folder)
    chosen = tuple(kept["genotypes"]) if kept else ()
    trainings = _trainings(folder, name)
    accuracies, accuracy_title = _accuracies(history, config, trainings.found, truth)
    cells, source = _cells(trainings, chosen, front)
    mistakes, no_mistakes = mistakes_of(folder.path, trainings.network)
    word = in_shell(name)
    missing = {
        "exports": "Nothing was exported into the folders of the trainings. Export the network: "
        f"pymoo-nas export {word}"
    }
    if not kept:
        missing["choice"] = f"Nothing was chosen yet. Choose a cell: pymoo-nas choose {word}"
    if trainings.missing:
        missing["training"] = trainings.missing
    if trainings.main is None:
        missing["exports"] = f"Nothing is exported. {missing['training']}"
    return Content(
        name=name,
        summary=_summary(config, history, front, chosen, trainings),
        settings=_settings(config),
        commands=_commands(config, kept, trainings, name),
        history=history,
        front=front,
        accuracies=accuracies,
        accuracy_title=accuracy_title,
        tournaments=_tournaments(folder),
        at_random=_is_random(config),
        chosen=chosen,
        choice=_choice_facts(kept),
        cells=cells,
        cells_source=source,
        trainings=trainings.found,
        main=trainings.main,
        mistakes=mistakes,
        no_mistakes=no_mistakes,
        missing=missing,
    )


def _history(folder: RunFolder) -> pd.DataFrame:
    """The candidates of a run.

    Raises:
        ReportError: there are none yet.
    """
    history = folder.history() if (folder.path / HISTORY).is_file() else pd.DataFrame()
    if history.empty:
        raise ReportError(
            f"{folder.path}: a run that has not finished its first generation, so there is nothing "
            f"to report; continue it: pymoo-nas search --resume {in_shell(folder.path)}"
        )
    return history


def _choice(folder: RunFolder) -> dict[str, Any]:
    """The content of ``choice.json``; empty without a choice."""
    if folder.choice() is None:
        return {}
    return read_object(folder.path / CHOICE, "", "choose again, or remove it")


def _choice_facts(kept: Mapping[str, Any]) -> dict[str, Any]:
    if not kept:
        return {}
    weights = kept.get("weights") or {}
    return {
        "chosen by": kept.get("by") or "not known",
        "weights": ", ".join(f"{name} = {value:g}" for name, value in weights.items()),
        "after generations": kept.get("generations"),
        **{str(name): str(value) for name, value in (kept.get("options") or {}).items()},
    }


def _is_random(config: RunConfig) -> bool:
    return isinstance(config.settings().made(), RandomSearch)


def _trainings(folder: RunFolder, name: str) -> _Trainings:
    found, networks = [], []
    for place in folder.training_folders():
        training = training_in(place)
        if training is not None:
            found.append(training[0])
            networks.append(training[1])
    finished = [index for index, training in enumerate(found) if training.described]
    train = f"pymoo-nas train {in_shell(name)}"
    if not finished:
        started = " A training was interrupted; continue it with --resume." if found else ""
        missing = f"Nothing was trained yet.{started} Train the network: {train}"
        return _Trainings(tuple(found), None, None, missing)
    main, missing = finished[-1], ""
    try:
        trained = folder.trained()
        names = [training.name for training in found]
        main = names.index(in_unicode(trained.name)) if trained else main
    except RunError:
        missing = (
            f"The network that was chosen is not trained yet; {found[main].name} shows another. "
            f"Train it: {train}"
        )
    return _Trainings(tuple(found), main, networks[main], missing)


def _accuracies(
    history: pd.DataFrame, config: RunConfig, trainings: tuple[TrainedContent, ...], truth: Any
) -> tuple[dict[str, float], str]:
    """Genotype → known accuracy, and what these accuracies are."""
    if truth is not None:
        space = space_from_settings(config.get("search_space") or {})
        texts = pd.DataFrame({"genotype": list(dict.fromkeys(history["genotype"]))})
        joined = join_truth(texts, read_truth(truth), space).dropna()
        known = dict(zip(joined["genotype"], joined["accuracy"].map(float), strict=True))
        return known, "known accuracy"
    found: dict[str, float] = {}
    for training in trainings:
        cells = set((training.described.get("network") or {}).get("genotypes") or ())
        accuracy = training.described.get("test_accuracy")
        if len(cells) == 1 and accuracy is not None:
            found[cells.pop()] = 100 * float(accuracy)
    return found, "test accuracy of the trained network, %"


def _cells(
    trainings: _Trainings, chosen: tuple[str, ...], front: pd.DataFrame
) -> tuple[tuple[str, ...], str]:
    """The cells to draw, and where they come from."""
    if trainings.main is not None and not trainings.missing:
        training = trainings.found[trainings.main]
        cells = (training.described.get("network") or {}).get("genotypes") or ()
        if cells:
            return tuple(map(str, cells)), f"of the network that was trained in {training.name}"
    if chosen:
        return chosen, "those that were chosen, repeated in turn"
    return tuple(front["genotype"][:1]), "nothing was chosen; the best of the front"


def _tournaments(folder: RunFolder) -> tuple[dict[str, Any], ...]:
    """What the run keeps of its tournaments; those without slots are left out."""
    folder.tournaments()  # refuses a damaged file
    path = folder.path / TOURNAMENTS
    if not path.is_file():
        return ()
    held = json.loads(path.read_text(encoding="utf-8"))["tournaments"]
    return tuple(row for row in held if set(TOURNAMENT_FIELDS) <= set(row))


def _summary(
    config: RunConfig,
    history: pd.DataFrame,
    front: pd.DataFrame,
    chosen: tuple[str, ...],
    trainings: _Trainings,
) -> dict[str, Any]:
    described = {} if trainings.main is None else trainings.found[trainings.main].described
    accuracy = described.get("test_accuracy")
    seconds = config.get("seconds")
    return {
        "images": config.arguments().get("dataset"),
        "search space": (config.get("search_space") or {}).get("space") or "of the user's own",
        "strategy": config.settings().algorithm,
        "objectives": ", ".join(config.objective_names()),
        "candidates": len(history),
        "generations": config.get("generations_done"),
        "seconds of search": None if seconds is None else round(float(seconds), 1),
        "in the front": len(front),
        "chosen": chosen[0] if chosen else "nothing yet",
        "parameters": described.get("parameters"),
        "test accuracy": None if accuracy is None else f"{100 * float(accuracy):.2f} %",
    }


def _settings(config: RunConfig) -> dict[str, dict[str, Any]]:
    """Title → name → value, in words."""
    objectives = {title_of_objective(name): "minimised" for name in config.objective_names()}
    arguments = {k: v for k, v in config.arguments().items() if k != "objectives"}
    machine = {name: config.get(name) for name in ("processor", "threads", "seconds")}
    groups: dict[str, Mapping[str, Any]] = {
        "Objectives": objectives,
        "Problem": arguments,
        "Images": config.get("data") or {},
        "Search space": config.get("search_space") or {},
        "Strategy": config.get("algorithm") or {},
        "Machine": machine,
        "Versions": config.get("versions") or {},
    }
    return {
        title: {name.replace("_", " "): _in_words(value) for name, value in values.items()}
        for title, values in groups.items()
        if values
    }


def _in_words(value: Any) -> Any:
    if isinstance(value, Mapping):
        return ", ".join(map(str, value))
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _commands(
    config: RunConfig, kept: Mapping[str, Any], trainings: _Trainings, name: str
) -> tuple[Command, ...]:
    commands = [search_command(config, name)]
    if kept:
        commands.append(choice_command(kept, name))
    names = _image_names(config)
    for index, training in enumerate(trainings.found):
        same = training.described.get("dataset") in names
        commands.append(train_command(training, config, kept, name, same=same))
        is_main = index == trainings.main and not trainings.missing
        commands += export_commands(training, name, is_main=is_main)
    return tuple(commands)


def _image_names(config: RunConfig) -> set[str]:
    """Names that a training may give the images of the search."""
    source = str(config.arguments().get("dataset", ""))
    return {source, Path(source).name, Path(source).stem}
