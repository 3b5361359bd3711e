"""The commands that made a run, from the settings that its folder keeps."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pymoo_nas._machine import in_shell
from pymoo_nas.datasets import DATASET_NAMES, height_and_width
from pymoo_nas.errors import PymooNasError
from pymoo_nas.networks import PAPER_OPERATIONS
from pymoo_nas.reports import Command, TrainedContent
from pymoo_nas.runs._config import RENAMED, RunConfig, SearchSettings
from pymoo_nas.scores import OBJECTIVES, PAPER_OBJECTIVES
from pymoo_nas.search import NASProblem
from pymoo_nas.spaces import REDUCTIONS, CellSpace, SearchSpace, chosen_by_gradients
from pymoo_nas.training import AUTO, OWN_IMAGES, Settings

OPTIONS = {name: option for option, name in RENAMED.items()}
"""Setting → option of the command line, where the names differ."""

NOT_COMMAND = (
    "The search, or a part of it, was made in Python, with something of the user's own that no "
    "option of the command line names."
)


def search_command(config: RunConfig, name: str) -> Command:
    """The command of a search; without a text where its settings do not tell a command.

    Args:
        config: of the run.
        name: of its folder.
    """
    try:
        kept, settings = config.arguments(), asdict(config.settings())
    except PymooNasError as error:
        return Command(made="Search", text="", note=str(error))
    space = config.get("search_space") or {}
    space_options = _of_space(space)
    own = [one for one in config.objectives() if ":" not in one and one not in OBJECTIVES]
    source = kept.pop("dataset", None)
    if space_options is None or own or not isinstance(source, str):
        return Command(made="Search", text="", note=NOT_COMMAND)
    usual = asdict(SearchSettings(algorithm=settings["algorithm"]))
    arguments = inspect.signature(NASProblem).parameters
    words = ["pymoo-nas", "search", in_shell(source)]
    given = {key: value for key, value in settings.items() if value != usual.get(key)}
    if given.get("steady") == chosen_by_gradients(space):
        del given["steady"]  # as the search space has it
    if settings["algorithm"] != SearchSettings().algorithm:
        given["algorithm"] = settings["algorithm"]
    for key, value in kept.items():
        is_usual = key in arguments and value == arguments[key].default
        if key not in ("objectives", "data_dir", "download") and not is_usual:
            given[key] = value
    if source in DATASET_NAMES and source != "digits" and kept.get("data_dir"):
        given["data_dir"] = kept["data_dir"]  # a run is looked at in another folder
    if config.objectives() != list(PAPER_OBJECTIVES):
        given["objectives"] = ",".join(config.objectives())
    words += _options({**space_options, **given})
    done = config.get("generations_done")
    note = ""
    if isinstance(done, int) and done < settings["generations"]:
        note = (
            f"{done} of {settings['generations']} generations are done. The search goes on with: "
            f"pymoo-nas search --resume {in_shell(name)}"
        )
    return Command(made="Search", text=" ".join([*words, "--out", in_shell(name)]), note=note)


def _of_space(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The options of a search space; None where no options make it."""
    kind = settings.get("space")
    if kind != "cell":
        return {"space": kind} if isinstance(kind, str) else None
    usual = CellSpace().settings()
    asked = ("space", "operations", "n_cells", "reduction", "widths", "shortcut")
    others = {key: value for key, value in settings.items() if key not in asked}
    operations = settings.get("operations")
    if any(key in usual and usual[key] != value for key, value in others.items()):
        return None
    if not isinstance(operations, list):
        return None
    found: dict[str, Any] = {}
    if operations != list(PAPER_OPERATIONS):
        found["operations"] = ",".join(operations)
    if settings.get("n_cells", SearchSpace.n_cells) != SearchSpace.n_cells:
        found["n_cells"] = settings["n_cells"]
    if settings.get("reduction", REDUCTIONS[0]) != REDUCTIONS[0]:
        found["reduction"] = settings["reduction"]
    if settings.get("widths") is not None:
        found["widths"] = ",".join(f"{width:g}" for width in settings["widths"])
    if settings.get("shortcut"):
        found["shortcut"] = True
    return found


def choice_command(kept: Mapping[str, Any], name: str) -> Command:
    """The command of a choice.

    Args:
        kept: content of ``choice.json``.
        name: of the run folder.
    """
    by = str(kept.get("by") or "")
    words = ["pymoo-nas", "choose", in_shell(name)]
    weights = kept.get("weights") or {}
    if weights:
        words += ["--weights", *(f"{key}={_written(value)}" for key, value in weights.items())]
    elif by:
        words += ["--by", by]
    options = dict(kept.get("options") or {})
    if kept.get("n_cells"):
        options["n_cells"] = kept["n_cells"]
    if kept.get("seed"):
        options["seed"] = kept["seed"]
    options = {key: value for key, value in options.items() if value not in (AUTO, None)}
    note = ""
    if "options" not in kept:
        note = "An earlier version chose, which did not keep the limits and options of the choice."
    return Command(made="Choice", text=" ".join([*words, *_options(options)]), note=note)


def train_command(
    training: TrainedContent, config: RunConfig, choice: Mapping[str, Any], name: str, *, same: bool
) -> Command:
    """The command of a training.

    Args:
        training: finished or interrupted.
        config: of the run.
        choice: content of ``choice.json``; empty where nothing was chosen.
        name: of the run folder.
        same: whether it was trained on the images of the search.
    """
    kept, usual = dict(training.settings), asdict(Settings())
    augment = kept.pop("augment", None)
    balance = ["--balance"] if kept.pop("balance", False) else []
    asked = {key: value for key, value in kept.items() if value != usual.get(key)}
    only_python = [key for key in ("weight_decay", "label_smoothing") if key in asked]
    for key in only_python:
        del asked[key]
    if asked.get("validation") == OWN_IMAGES:
        del asked["validation"]
    searched = config.arguments()
    if augment is not None and not (same and augment == searched.get("augment")):
        asked["augment"] = augment
    asked |= _other_network(training.described, config, choice) | _other_images(
        training.described, searched.get("image_size"), same
    )
    words = ["pymoo-nas", "train", in_shell(name), *_options(asked), *balance]
    note = f"Written to {training.name}. The cells are those that were chosen at that time."
    if not training.described:
        words.append("--resume")
        note = "It was interrupted; this continues it. Where it had other images, add --dataset."
    elif not same:
        note += " Its images are told by their name; give their path."
    if only_python:
        note += f" {' and '.join(only_python)} can be set in Python only."
    return Command(made=f"Training in {training.name}", text=" ".join(words), note=note)


def _other_network(
    described: Mapping[str, Any], config: RunConfig, choice: Mapping[str, Any]
) -> dict[str, Any]:
    """The number of cells, where it is none that `train` takes by itself."""
    cells = (described.get("network") or {}).get("genotypes") or ()
    space = config.get("search_space") or {}
    usual = choice.get("n_cells") or space.get("n_cells", SearchSpace.n_cells)
    return {} if not cells or len(cells) == usual else {"n_cells": len(cells)}


def _other_images(described: Mapping[str, Any], searched: Any, is_same: bool) -> dict[str, Any]:
    """Name and size of the images, where they are not those of the search."""
    size = described.get("image_size")
    if is_same or not described:
        others = searched is not None and size not in (None, [*(height_and_width(searched) or ())])
        return {"image_size": size} if others else {}
    return {"dataset": described.get("dataset"), **({"image_size": size} if size else {})}


def export_commands(training: TrainedContent, name: str, *, is_main: bool) -> list[Command]:
    """The commands of the exports of a training.

    Args:
        training: with its exports.
        name: of the run folder.
        is_main: whether the run folder itself stands for this training.
    """
    place = in_shell(name if is_main else f"{name}/{training.name}")
    measured = [exported.measured for exported in training.exports if exported.measured]
    formats = dict.fromkeys(str(one.get("to")) for one in measured)
    int8 = ["--int8"] if "int8" in formats else []
    return [
        Command(
            made=f"Export from {training.name} to {to}",
            text=" ".join(
                ["pymoo-nas", "export", place, "--to", to, *(int8 if to == "onnx" else [])]
            ),
        )
        for to in formats
        if to != "int8"
    ]


def _options(values: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in values.items():
        option = OPTIONS.get(name, name).replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{option}")
        else:
            words += [f"--{option}", in_shell(_written(value))]
    return words


def _written(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "x".join(map(str, value))  # height and width
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
