"""Trainings that are kept in folders, so that a study continues where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pymoo_nas.training import STATE_FILE

DESCRIPTION = "training.json"


def has_ended(out: Path) -> bool:
    """Whether the folder holds a whole training."""
    return (out / DESCRIPTION).exists()


def was_interrupted(out: Path) -> bool:
    """Whether the folder holds a training that can go on."""
    return (out / STATE_FILE).exists()


def described(out: Path) -> dict[str, Any]:
    """What a training says of itself."""
    found: dict[str, Any] = json.loads((out / DESCRIPTION).read_text("utf-8"))
    return found
