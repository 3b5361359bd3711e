"""The state of a training after an epoch, in one safetensors file.

A training that continues from it ends as without the interruption. The tensors are the weights, the
best weights so far, the state of optimizers, and random states. Everything else is JSON in the
file's metadata.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import torch
from torch import Tensor

from pymoo_nas._machine import strict_json, whole
from pymoo_nas.errors import RunError
from pymoo_nas.spaces import design_of
from pymoo_nas.training._settings import AUTO, OWN_IMAGES, Settings
from pymoo_nas.training._weights import (
    DESCRIPTION,
    WEIGHTS_FILE,
    copy_state,
    misfits,
    read_description,
    save_weights,
)

if TYPE_CHECKING:
    from pymoo_nas.training._trainer import Trainer

STATE_FILE = "training.state.safetensors"
"""Name of the file with which an interrupted training is continued."""

FORMAT = "3"
"""Version of the format; it is raised when older states cannot be continued any more."""

MOMENTUM = "momentum_buffer"
"""Torch's name for the momentum of SGD; `Muon` uses the same name."""

BEFORE: Mapping[str, Any] = {"ema": 0.0, "cutout": 0, "test_flip": False, "compile": False}
"""Settings that earlier versions did not have, with the values that stand for what they did."""

CHOSEN: Mapping[str, type] = {"epochs": int, "batch_size": int, "precision": str}
"""Settings that are chosen where they are "auto", and the types of what is chosen."""

SCHEDULED = ("last_epoch", "_step_count", "_last_lr")
"""The counters and rates of a schedule that are kept."""


def write_state(folder: Path, trainer: Trainer, seconds: float) -> None:
    """Write the state of a training between two epochs, in place of its last state.

    Args:
        folder: folder of the training.
        trainer: see `Trainer`.
        seconds: wall time so far.
    """
    described = {
        **_identity(trainer),
        "history": [_strict(row) for row in trainer.history],
        "best_epoch": trainer.best_epoch,
        "schedules": [
            {name: schedule.state_dict()[name] for name in SCHEDULED}
            for schedule in trainer.schedules
        ],
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "optimizers": [_shape_of(state) for state, _ in _optimized(trainer)],
        "averaged_steps": 0 if trainer.average is None else trainer.average.steps,
    }
    metadata = {"format": FORMAT, "training": json.dumps(described, allow_nan=False)}
    save_weights(_tensors(trainer), folder / STATE_FILE, metadata)


def restore_state(folder: Path, trainer: Trainer) -> float:
    """Put a training back into the state in its folder, in place.

    Args:
        folder: folder of the training.
        trainer: a trainer with the same network, images and settings, not yet run.

    Returns:
        the wall time of the training until then, in seconds.

    Raises:
        RunError: nothing to continue, a damaged file, or another network, data set or settings.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise RunError(
            f"{path}: no such file; no training was interrupted there: start one without --resume"
        )
    described, metadata, tensors = _stored(path)
    if metadata.get("format") != FORMAT:
        raise RunError(
            f"{path}: format {metadata.get('format')}; this version continues format {FORMAT}; "
            "continue with the version that wrote it"
        )
    _continue_as_before(trainer, described["settings"])
    described["settings"] = {**BEFORE, **described["settings"]}
    _check_same(path, described, _identity(trainer))
    _check_fit(path, tensors, _tensors(trainer))
    _check_optimizers(path, trainer, tensors, described.get("optimizers"))
    _put_back(trainer, tensors, described)
    return float(described["seconds"])


def threads_in(folder: Path) -> int | None:
    """Torch's threads in the training that was interrupted in a folder; None where nothing tells.

    Raises:
        RunError: a damaged file, or a damaged value in it.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    threads = _stored(path)[0].get("threads")  # an earlier version did not keep them
    return None if threads is None else whole(f"{path}: threads", threads, error=RunError)


def as_begun(folder: Path, settings: Settings) -> Settings:
    """Settings in which "auto" is what it was in the training that was interrupted in a folder.

    Versions choose other numbers, and machines other formats; a training goes on as it began.

    Raises:
        RunError: a damaged file.
    """
    path = folder / STATE_FILE
    stored = _stored(path)[0].get("settings") if path.is_file() else None
    kept = stored if isinstance(stored, dict) else {}
    chosen = {
        name: kept[name]
        for name, kind in CHOSEN.items()
        if getattr(settings, name) == AUTO and type(kept.get(name)) is kind
    }
    return replace(settings, **chosen)


def _continue_as_before(trainer: Trainer, stored: Mapping[str, Any]) -> None:
    """Leave the choice of a setting that is newer than the training at what was done then."""
    unknown = {
        name: value
        for name, value in BEFORE.items()
        if name not in stored and getattr(trainer.asked, name) == AUTO
    }
    trainer.settings = replace(trainer.settings, **unknown)


def _stored(path: Path) -> tuple[dict[str, Any], dict[str, str], dict[str, Tensor]]:
    """Read a state file: the JSON, the metadata around it, and the tensors.

    Raises:
        RunError: a damaged file.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        return dict(strict_json(metadata["training"])), metadata, tensors
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise RunError(f"{path}: damaged ({error}); train again with --overwrite") from error


def network_of(folder: Path) -> dict[str, Any] | None:
    """The description of a trained network, see `description_of`; None for a user's own network.

    Raises:
        RunError: no finished training there, or a damaged file.
    """
    network: dict[str, Any] | None = _description(folder).get("network")
    return network


def dataset_of(folder: Path) -> str:
    """The name of the data set that a network was trained on, empty where the file lacks it.

    Raises:
        RunError: no finished training there, or a damaged file.
    """
    return str(_description(folder).get("dataset", ""))


def settings_in(folder: Path) -> dict[str, Any]:
    """The settings of a training, finished or interrupted; empty where its file lacks them.

    Raises:
        RunError: no training there, or a damaged file.
    """
    finished = (folder / DESCRIPTION).exists()
    kept = _description(folder) if finished else _stored(folder / STATE_FILE)[0]
    return dict(kept.get("settings") or {})


def design_in(folder: Path) -> str:
    """The design (see `design_of`) of the network of a training, finished or interrupted.

    Returns:
        the checksum; empty where the folder holds no training; "unknown", which is no checksum,
        where a damaged or older file does not tell the design.
    """
    path = folder / STATE_FILE
    if not any((folder / name).exists() for name in (DESCRIPTION, STATE_FILE, WEIGHTS_FILE)):
        return ""
    try:
        if (folder / DESCRIPTION).exists():
            return str(_description(folder)["design"])
        return str(_stored(path)[0]["network"]["sha256"])
    except (RunError, KeyError, TypeError):
        return "unknown"


def _description(folder: Path) -> dict[str, Any]:
    return read_description(
        folder, f"{folder / DESCRIPTION}: no such file; no training ended there"
    )


def _identity(trainer: Trainer) -> dict[str, Any]:
    """The values that must not change between two parts of a training."""
    own = trainer.settings.validation == OWN_IMAGES
    return {
        "settings": asdict(trainer.settings),
        "data": trainer.dataset.fingerprint,
        "validation": (trainer.dataset.val_fingerprint or {}) if own else {},
        # Layers without weights leave no trace among the tensors.
        "network": {"sha256": design_of(trainer.network)},
    }


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
    network = copy_state(trainer.network)
    tensors = {f"network.{name}": tensor for name, tensor in network.items()}
    best = trainer.best_state or network
    tensors |= {f"best.{name}": tensor.clone() for name, tensor in best.items()}
    if trainer.average is not None:
        averages = enumerate(trainer.average.values)
        tensors |= {f"average.{i}": _on_cpu(value) for i, value in averages}
    for index, (state, _) in enumerate(_optimized(trainer)):
        kept = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        tensors |= {_place(index, name): _on_cpu(value) for name, value in kept.items()}
    tensors["random.order"] = trainer.generator.get_state()
    tensors["random.torch"] = torch.get_rng_state()
    if trainer.device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(trainer.device)
    return tensors


def _on_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _put_back(
    trainer: Trainer, tensors: Mapping[str, Tensor], described: Mapping[str, Any]
) -> None:
    trainer.network.load_state_dict(_under("network.", tensors))
    trainer.best_state = _under("best.", tensors)
    trainer.best_epoch = int(described["best_epoch"])
    trainer.history = [
        {name: math.nan if value is None else value for name, value in row.items()}
        for row in described["history"]
    ]
    for index, (state, parameter) in enumerate(_optimized(trainer)):
        kept = _states(tensors, index)
        state |= {name: _arranged_as(parameter, value) for name, value in kept.items()}
        numbers = described["optimizers"][index] if "optimizers" in described else {}
        state |= {name: value for name, value in numbers.items() if not isinstance(value, list)}
    if trainer.average is not None:
        for index, value in enumerate(trainer.average.values):
            value.copy_(tensors[f"average.{index}"])
        trainer.average.steps = int(described["averaged_steps"])
    for schedule, stored in zip(trainer.schedules, described["schedules"], strict=True):
        schedule.load_state_dict(stored)
        groups = schedule.optimizer.param_groups
        for group, rate in zip(groups, stored["_last_lr"], strict=True):
            group["lr"] = rate
    trainer.generator.set_state(tensors["random.order"])
    torch.set_rng_state(tensors["random.torch"])
    if trainer.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], trainer.device)


def _arranged_as(parameter: Tensor, kept: Tensor) -> Tensor:
    """Put a kept tensor on the device of a parameter, and into its memory format.

    A fused optimizer reads both in the order of the memory.
    """
    if kept.shape != parameter.shape:
        return kept.to(parameter.device)
    return torch.empty_like(parameter, dtype=kept.dtype, requires_grad=False).copy_(kept)


def _shape_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Describe an optimizer's state for a parameter: shape and type of tensors, plain numbers.

    Raises:
        RunError: a value that cannot be kept.
    """
    described: dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, Tensor):
            described[name] = [list(value.shape), str(value.dtype)]
        elif isinstance(value, bool | int | float):
            described[name] = value
        elif value is not None:
            raise RunError(
                f"the optimizer keeps {name}, a {type(value).__name__}, with which a training "
                "cannot be continued; expected tensors and numbers; train without a folder (out)"
            )
    return described


def _check_optimizers(
    path: Path, trainer: Trainer, tensors: Mapping[str, Tensor], described: Any
) -> None:
    """Refuse tensors that differ from the state that the optimizers had.

    Raises:
        RunError: a damaged file.
    """
    for index, (_, parameter) in enumerate(_optimized(trainer)):
        kept = _states(tensors, index)
        found = {name: [list(value.shape), str(value.dtype)] for name, value in kept.items()}
        if described is None:  # of an earlier version, which kept the momentum of every weight
            expected = {MOMENTUM: [list(parameter.shape), str(parameter.dtype)]}
        else:
            one = described[index] if index < len(described) else {}
            expected = {name: value for name, value in one.items() if isinstance(value, list)}
        if found != expected:
            raise RunError(
                f"{path}: damaged (of parameter {index} the optimizer kept {expected}, found "
                f"{found}); train again with --overwrite"
            )


def _place(index: int, name: str) -> str:
    """The name in the file for a value that an optimizer keeps for a parameter."""
    return f"momentum.{index}" if name == MOMENTUM else f"optimizer.{index}.{name}"


def _states(tensors: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    """The tensors that an optimizer kept for a parameter, by the optimizer's own names."""
    found = _under(f"optimizer.{index}.", tensors)
    momentum = tensors.get(_place(index, MOMENTUM))
    return found if momentum is None else {MOMENTUM: momentum, **found}


def _optimized(trainer: Trainer) -> list[tuple[dict[str, Tensor], torch.nn.Parameter]]:
    """Each parameter that is trained, with the state that its optimizer keeps for it."""
    return [
        (optimizer.state[parameter], parameter)
        for optimizer in trainer.optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _strict(row: Mapping[str, float]) -> dict[str, float | None]:
    """Put None for NaN, which JSON does not know: an accuracy without validation images."""
    return {name: value if math.isfinite(value) else None for name, value in row.items()}


def _check_same(path: Path, stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    differences = [
        f"{name}: {stored[group].get(name)} then, {now[group].get(name)} now"
        for group in now
        for name in {**stored[group], **now[group]}
        if stored[group].get(name) != now[group].get(name)
    ]
    if differences:
        raise RunError(
            f"{path}: the training was started otherwise ({'; '.join(differences)}); repeat its "
            "settings, or train again with --overwrite"
        )


def _check_fit(path: Path, stored: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    wrong = misfits(_without_optimizers(stored), _without_optimizers(expected))
    if wrong:
        raise RunError(
            f"{path}: of another network or device, {len(wrong)} tensors differ ({wrong[0]}); "
            "build the network that was trained, or train again with --overwrite"
        )


def _without_optimizers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not name.startswith(("momentum.", "optimizer."))
    }
