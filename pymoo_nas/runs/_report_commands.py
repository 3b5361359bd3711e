"""The commands that made a run, from the settings that its folder keeps."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pymoo_nas._machine import in_shell
from pymoo_nas.errors import PymooNasError
from pymoo_nas.networks import PAPER_OPERATIONS
from pymoo_nas.reports import Command, TrainedContent
from pymoo_nas.runs._config import RENAMED, RunConfig, SearchSettings
from pymoo_nas.scores import OBJECTIVES, PAPER_OBJECTIVES
from pymoo_nas.search import NASProblem
from pymoo_nas.spaces import REDUCTIONS, CellSpace, SearchSpace, chosen_by_gradients
from pymoo_nas.training import AUTO, Settings

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


def train_command(training: TrainedContent, name: str, same_images: bool) -> Command:
    """The command of a training.

    Args:
        training: with its description.
        name: of the run folder.
        same_images: whether it was trained on the images of the search.
    """
    described = training.described
    kept, usual = dict(described.get("settings") or {}), asdict(Settings())
    balance = ["--balance"] if kept.pop("balance", False) else []
    asked = {key: value for key, value in kept.items() if value != usual.get(key)}
    only_python = [key for key in ("weight_decay", "label_smoothing") if asked.pop(key, None)]
    if asked.get("validation") in ("val", AUTO, 0.1):
        del asked["validation"]
    if same_images:
        asked.pop("augment", None)
    else:
        asked["dataset"] = described.get("dataset")
    words = ["pymoo-nas", "train", in_shell(name), *_options(asked), *balance]
    note = f"Written to {training.name}. The cells are those that were chosen at that time."
    if only_python:
        note += f" {' and '.join(only_python)} can be set in Python only."
    if not described:
        note = "It was interrupted; the same command with --resume continues it."
        words = ["pymoo-nas", "train", in_shell(name), "--resume"]
    return Command(made=f"Training in {training.name}", text=" ".join(words), note=note)


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
