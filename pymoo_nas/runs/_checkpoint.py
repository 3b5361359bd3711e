"""Checkpoints: all the state of a search after a generation, as plain JSON with a checksum.

The last two checkpoints are kept, so that a damaged file costs one generation.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pymoo.core.individual import Individual
from pymoo.core.population import Population

from pymoo_nas._machine import atomic_write, strict_json
from pymoo_nas.errors import RunError
from pymoo_nas.scores import NOTED, SCORED, STEADINESS
from pymoo_nas.search import (
    BEFORE_EQUALS,
    GenotypeDuplicates,
    as_column,
    number_scored,
    tournaments_in,
)

FORMAT = 2
"""Version of the format; it is raised when older checkpoints cannot be continued any more."""

CHECKPOINT = "checkpoint.json"
PREVIOUS = "checkpoint.previous.json"


def write_checkpoint(folder: Path, algorithm: Any) -> None:
    """Write the state of a search between two generations; the last state becomes the previous.

    Args:
        folder: the run folder.
        algorithm: an `EvolutiveNAS`.
    """
    path = folder / CHECKPOINT
    state = state_of(algorithm)
    stored = {"format": FORMAT, "sha256": _checksum(state), "state": state}
    with atomic_write(path, earlier=folder / PREVIOUS) as temporary:
        temporary.write_text(json.dumps(stored, allow_nan=False), encoding="utf-8")


def has_checkpoint(folder: Path) -> bool:
    """Whether there is a checkpoint, of whatever content: the last one or the one before."""
    return any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read the state in a checkpoint.

    Raises:
        RunError: no such file, a truncated or edited file, or a file of another format.
    """
    if not path.is_file():
        raise RunError(f"{path}: no such file; the run cannot be continued, search again")
    try:
        stored = strict_json(path.read_text(encoding="utf-8"))
        version, checksum, state = stored["format"], stored["sha256"], stored["state"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: truncated or damaged ({error})") from error
    if version != FORMAT:
        raise RunError(
            f"{path}: format {version}; this version of pymoo-nas continues format {FORMAT}; "
            "continue with the version that config.json names"
        )
    if _checksum(state) != checksum:
        raise RunError(f"{path}: edited or damaged (its checksum does not fit)")
    return dict(state)


def last_good(folder: Path) -> dict[str, Any]:
    """Read the state to continue from.

    Raises:
        RunError: the last checkpoint is damaged; the message names it and, where the previous
            checkpoint is intact, says how to continue.
    """
    path, previous = folder / CHECKPOINT, folder / PREVIOUS
    if not path.exists() and previous.exists():
        # The search was killed between the two renames: nothing is damaged.
        return read_checkpoint(previous)
    try:
        return read_checkpoint(path)
    except RunError as error:
        try:
            done = read_checkpoint(previous)["n_iter"] - 1
        except RunError:
            raise error from None
        raise RunError(
            f"{error}; generation {done} is intact in {previous.name}: to continue from there, "
            f"remove {path.name} and resume again"
        ) from error


def state_of(algorithm: Any) -> dict[str, Any]:
    """The state of an algorithm as plain values, from which `restore` makes it again."""
    place = {id(individual): index for index, individual in enumerate(algorithm.scored)}
    form = algorithm.problem.search_space.format
    return {
        "n_iter": algorithm.n_iter,
        "n_eval": algorithm.evaluator.n_eval,
        "seconds": round(time.time() - algorithm.start_time, 3),
        "random": algorithm.random_state.bit_generator.state,
        "data": algorithm.data,
        "scored": [_row(individual, form) for individual in algorithm.scored],
        "population": [place[id(individual)] for individual in algorithm.pop],
        "tournaments": [t.data["tournaments"] for t in tournaments_in(algorithm.callback)],
        # Nothing new could be bred any more.
        "exhausted": bool(algorithm.termination.force_termination),
    }


def restore(algorithm: Any, state: Mapping[str, Any]) -> None:
    """Put a search back into a state, in place.

    Args:
        algorithm: an `EvolutiveNAS` after `setup`, with the settings of the run.
        state: the state, as `state_of` returned it.

    Raises:
        RunError: the state does not fit the algorithm and its problem.
    """
    space = algorithm.problem.search_space
    try:
        algorithm.scored = [_individual(row, space.parse) for row in state["scored"]]
        for individual in algorithm.scored:
            individual.set("scored_by", getattr(algorithm.problem, "scored_by", None))
        number_scored(algorithm.scored)
        algorithm.pop = Population([algorithm.scored[index] for index in state["population"]])
        algorithm.random_state.bit_generator.state = state["random"]
        algorithm.data = dict(state["data"])
        algorithm.n_iter = int(state["n_iter"])
        algorithm.evaluator.n_eval = int(state["n_eval"])
        algorithm.start_time = time.time() - float(state["seconds"])
        held = list(state["tournaments"])
        algorithm.termination.force_termination = bool(state.get("exhausted", False))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(f"the checkpoint does not fit the run ({error}); search again") from error
    for tournament, rows in zip(tournaments_in(algorithm.callback), held, strict=False):
        tournament.data["tournaments"] = rows
    if isinstance(algorithm.eliminate_duplicates, GenotypeDuplicates):
        algorithm.eliminate_duplicates.remember(algorithm.scored)
    algorithm.is_initialized = True
    algorithm._set_optimum()
    _count_generations(algorithm)


def _count_generations(algorithm: Any) -> None:
    """Tell the termination how many generations are done already."""
    algorithm.n_iter -= 1
    algorithm.termination.update(algorithm)
    algorithm.n_iter += 1


def _row(individual: Any, form: Any) -> dict[str, Any]:
    noted = {name: _plain(individual.get(name)) for name in (*SCORED, *NOTED)}
    if noted["mutation"] is not None:
        noted["mutation"] = str(noted["mutation"])
    scores = individual.get("scores")
    if scores is not None and [*scores.values()] != individual.F.tolist():
        noted["scores"] = scores  # one of pymoo's wrappers has made another F of these scores
    return {
        "genotype": form(individual.X[0]),
        "F": individual.F.tolist(),
        "G": individual.G.tolist(),
        **noted,
    }


def _individual(row: Mapping[str, Any], parse: Any) -> Individual:
    individual = Individual(X=as_column([parse(row["genotype"])])[0])
    individual.F = np.array(row["F"], dtype=float)
    individual.G = np.array(row["G"], dtype=float)
    individual.evaluated.update(("F", "G", "H", *SCORED))
    for name in (*SCORED, *NOTED):
        if row.get(name) is not None:  # what earlier versions did not measure is not there
            is_float = name in (BEFORE_EQUALS, *STEADINESS)  # it may be infinite, so a text
            individual.set(name, float(row[name]) if is_float else row[name])
    if "scores" in row:
        individual.set("scores", row["scores"])
    return individual


def _plain(value: Any) -> Any:
    """Turn a scalar of numpy into Python's; JSON has no NaN, here None, and no infinity, a text."""
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)


def _checksum(state: Mapping[str, Any]) -> str:
    text = json.dumps(state, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
