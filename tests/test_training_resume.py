"""Trainings that are interrupted and continued."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import safetensors
import safetensors.torch
import torch
from small_training import same_state, small_dataset, small_network
from torch import Tensor, nn

from pymoo_nas._machine import Report
from pymoo_nas.errors import RunError, SearchError
from pymoo_nas.spaces import REDUCTIONS, Architecture, CellSpace
from pymoo_nas.training import STATE_FILE, Training, train
from pymoo_nas.training._weights import WEIGHTS_FILE, copy_state

OPTIONS: dict[str, Any] = {"epochs": 4, "batch_size": 4, "validation": 0.25, "augment": True}
STEPS = 5
"""Per epoch: 18 of 24 images in batches of at most 4."""


def stop_after(network: nn.Module, passes: int) -> None:
    """Let a network raise KeyboardInterrupt in a training forward pass."""
    left = passes

    def count(module: nn.Module, _: tuple[Tensor, ...]) -> None:
        nonlocal left
        left -= module.training
        if left < 0:
            raise KeyboardInterrupt

    network.register_forward_pre_hook(count)


def interrupted(folder: Path, passes: int, **options: Any) -> None:
    """Train until the interrupt."""
    network = small_network(dropout=0.5)
    stop_after(network, passes)
    with pytest.raises(KeyboardInterrupt):
        train(network, small_dataset(), out=folder, **(OPTIONS | options))


def ends_as_undisturbed(folder: Path, passes: int, **options: Any) -> bool:
    """Whether a training that is interrupted and continued ends as the whole one, to the bit."""
    whole, network = (small_network(dropout=0.5) for _ in range(2))
    expected = train(whole, small_dataset(), **OPTIONS, **options)
    interrupted(folder, passes, **options)
    found = train(network, small_dataset(), out=folder, resume=True, **OPTIONS, **options)
    pd.testing.assert_frame_equal(timeless(found), timeless(expected), check_exact=True)
    return same_state(copy_state(network), copy_state(whole))


def timeless(training: Training) -> pd.DataFrame:
    """What an epoch came to, but for its wall time."""
    return training.epochs.drop(columns="seconds")


@pytest.mark.parametrize("passes", [1 + STEPS, 1 + STEPS + 2, 1 + 2 * STEPS + 1, 4 * STEPS])
def test_continued_equals_undisturbed(tmp_path: Path, passes: int) -> None:
    """Interrupted anywhere after its first epoch, a training ends as the undisturbed one."""
    whole = small_network(dropout=0.5)
    expected = train(whole, small_dataset(), **OPTIONS)
    interrupted(tmp_path, passes)
    assert (tmp_path / STATE_FILE).exists()
    network = small_network(dropout=0.5)
    with torch.no_grad():
        network[0].weight.zero_()  # the state holds the weights: the initial ones do not matter
    found = train(network, small_dataset(), out=tmp_path, resume=True, **OPTIONS)
    assert same_state(copy_state(network), copy_state(whole))
    pd.testing.assert_frame_equal(timeless(found), timeless(expected), check_exact=True)
    assert (found.best_epoch, found.test_loss) == (expected.best_epoch, expected.test_loss)
    stored = safetensors.torch.load_file(tmp_path / WEIGHTS_FILE)
    assert same_state(stored, copy_state(whole))
    assert not (tmp_path / STATE_FILE).exists()
    assert len(pd.read_csv(tmp_path / "training.csv")) == OPTIONS["epochs"]


@pytest.mark.parametrize("left_out", [["epochs"], ["batch_size"], ["epochs", "batch_size"]])
def test_what_is_chosen_stays_as_it_began(tmp_path: Path, left_out: list[str]) -> None:
    """Numbers that are left to "auto" are those with which the training began."""
    whole = small_network(dropout=0.5)
    train(whole, small_dataset(), **OPTIONS)
    interrupted(tmp_path, 1 + STEPS)
    network = small_network(dropout=0.5)
    options = {name: value for name, value in OPTIONS.items() if name not in left_out}
    found = train(network, small_dataset(), out=tmp_path, resume=True, **options)
    assert len(found.epochs) == OPTIONS["epochs"]
    assert same_state(copy_state(network), copy_state(whole))


def test_without_validation(tmp_path: Path) -> None:
    """Validation accuracies that do not exist stay so when a training is continued."""
    interrupted(tmp_path, 1 + 8, validation=0.0)
    network, options = small_network(dropout=0.5), OPTIONS | {"validation": 0.0}
    found = train(network, small_dataset(), out=tmp_path, resume=True, **options)
    assert found.epochs["validation_accuracy"].isna().all()
    assert found.best_epoch == OPTIONS["epochs"]


def test_interrupted_after_the_last_epoch(tmp_path: Path) -> None:
    """What is continued only to be tested ends as undisturbed, and reports no epoch beyond."""

    def stop(report: Report) -> None:
        if report.done == report.total:
            raise KeyboardInterrupt

    folder = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        train(small_network(), small_dataset(), out=folder, progress=stop, **OPTIONS)
    told: list[Report] = []
    given: dict[str, Any] = {"out": folder, "resume": True, "progress": told.append}
    again = train(small_network(), small_dataset(), **given, **OPTIONS)
    whole = train(small_network(), small_dataset(), **OPTIONS)
    pd.testing.assert_frame_equal(timeless(again), timeless(whole), check_exact=True)
    assert again.test_loss == whole.test_loss
    assert not [report for report in told if report.work.startswith("epoch 5")]


def test_interrupted_training_is_not_begun_anew_unasked(tmp_path: Path) -> None:
    """The folder of an interrupted training is not called that of a finished one."""
    interrupted(tmp_path, 1 + STEPS)
    with pytest.raises(RunError, match=r"was interrupted; continue it with --resume"):
        train(small_network(), small_dataset(), epochs=1, out=tmp_path)


def test_interrupted_twice(tmp_path: Path) -> None:
    """A continued training can be interrupted and continued again; its seconds add up."""
    whole = small_network(dropout=0.5)
    train(whole, small_dataset(), **OPTIONS)
    interrupted(tmp_path, 1 + STEPS)
    interrupted(tmp_path, 1 + STEPS, resume=True)
    network = small_network(dropout=0.5)
    found = train(network, small_dataset(), out=tmp_path, resume=True, **OPTIONS)
    assert same_state(copy_state(network), copy_state(whole))
    assert found.seconds >= found.epochs["seconds"].sum()


def test_a_precision_that_is_not_named_is_that_of_the_beginning(tmp_path: Path) -> None:
    """Without a word on the precision a training goes on in the one that it was started in."""
    interrupted(tmp_path, 1 + STEPS, precision="bfloat16")
    train(small_network(dropout=0.5), small_dataset(), out=tmp_path, resume=True, **OPTIONS)
    described = json.loads((tmp_path / "training.json").read_text("utf-8"))
    assert described["settings"]["precision"] == "bfloat16"
    folder = tmp_path / "other"
    interrupted(folder, 1 + STEPS, precision="bfloat16")
    with pytest.raises(RunError, match="precision: bfloat16 then, float32 now"):
        interrupted(folder, 1 + STEPS, resume=True, precision="float32")


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = {
    "epochs": ({"epochs": 5}, {}, {}, "epochs: 4 then, 5 now"),
    "seed": ({"seed": 1}, {}, {}, "seed: 0 then, 1 now"),
    "images": ({}, {"n_train": 32}, {}, "training_images: 24 then, 32 now"),
    "network": ({}, {}, {"width": 4}, "sha256"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_another_training_is_refused(tmp_path: Path, case: str) -> None:
    """Other settings, images or networks than the training's are refused with the difference."""
    options, images, network, message = REFUSED[case]
    interrupted(tmp_path, 1 + STEPS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunError, match=message):
        train(
            small_network(**network),
            small_dataset(**images),
            out=tmp_path,
            resume=True,
            **(OPTIONS | options),
        )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_layer_without_weights_is_refused(tmp_path: Path) -> None:
    """A network that differs in a layer without weights is another network."""
    interrupted(tmp_path, 1 + STEPS)
    network = small_network(dropout=0.5)
    network[2] = nn.GELU()
    with pytest.raises(RunError, match="started otherwise"):
        train(network, small_dataset(), out=tmp_path, resume=True, **OPTIONS)


def test_cells_that_halve_elsewhere_are_refused(tmp_path: Path) -> None:
    """Cells with the same layers that halve the map elsewhere make another network."""
    cell = "8,0,0,0|0,0,0,0|0,8,0,0"
    inside, between = (
        Architecture.read(cell, CellSpace(reduction=reduction)).build("trained", small_dataset())
        for reduction in REDUCTIONS
    )
    stop_after(inside, 1 + STEPS)
    with pytest.raises(KeyboardInterrupt):
        train(inside, small_dataset(), out=tmp_path, **OPTIONS)
    with pytest.raises(RunError, match="started otherwise"):
        train(between, small_dataset(), out=tmp_path, resume=True, **OPTIONS)


def test_begun_anew_forgets_the_interrupted_one(tmp_path: Path) -> None:
    """Interrupted again before its first epoch ends, an overwriting training leaves no state."""
    interrupted(tmp_path, 1 + STEPS)
    interrupted(tmp_path, 2, overwrite=True)
    assert not (tmp_path / STATE_FILE).exists()


def test_nothing_to_continue(tmp_path: Path) -> None:
    """A folder without an interrupted training, or no folder, is refused."""
    for out, message in ((tmp_path, "no training was interrupted"), (None, "expected out=")):
        with pytest.raises(RunError, match=message):
            train(small_network(), small_dataset(), out=out, resume=True, **OPTIONS)


@pytest.mark.parametrize("damage", ["cut off", "no metadata", "other format", "empty"])
def test_damaged_state(tmp_path: Path, damage: str) -> None:
    """A state that cannot be read is named."""
    interrupted(tmp_path, 1 + STEPS)
    path = tmp_path / STATE_FILE
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        metadata = {"format": "0", "training": "{}"} if damage == "other format" else None
        safetensors.torch.save_file(safetensors.torch.load_file(path), path, metadata)
    with pytest.raises(RunError, match=f"{STATE_FILE}: (damaged|format 0)"):
        train(small_network(dropout=0.5), small_dataset(), out=tmp_path, resume=True, **OPTIONS)


def test_a_training_can_be_begun_anew(tmp_path: Path) -> None:
    """With overwrite an interrupted training is forgotten."""
    interrupted(tmp_path, 1 + 2 * STEPS)
    with pytest.raises(RunError, match="--overwrite"):
        train(small_network(dropout=0.5), small_dataset(), out=tmp_path, **OPTIONS)
    train(small_network(dropout=0.5), small_dataset(), out=tmp_path, overwrite=True, **OPTIONS)
    assert not (tmp_path / STATE_FILE).exists()


def test_an_interrupted_training_that_is_replaced_leaves_nothing(tmp_path: Path) -> None:
    """Its weights would pass for a training that nothing tells the network of."""
    interrupted(tmp_path, 1 + 2 * STEPS)
    interrupted(tmp_path, 1, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


@pytest.mark.parametrize("change", ["removed", "of another type", "of another shape"])
def test_a_damaged_momentum_is_refused(tmp_path: Path, change: str) -> None:
    """What an optimizer had kept is compared with what the file says of it."""
    interrupted(tmp_path, 1 + STEPS)
    path = tmp_path / STATE_FILE
    with safetensors.safe_open(path, framework="pt") as stored:
        metadata = stored.metadata()
    tensors = safetensors.torch.load_file(path)
    kept = tensors.pop("momentum.0")
    if change != "removed":
        tensors["momentum.0"] = kept.double() if "type" in change else kept.sum()
    safetensors.torch.save_file(tensors, path, metadata)
    with pytest.raises(RunError, match="damaged"):
        train(small_network(dropout=0.5), small_dataset(), out=tmp_path, resume=True, **OPTIONS)


@pytest.mark.slow
def test_continued_with_the_same_threads(tmp_path: Path) -> None:
    """A training goes on with the threads that it was begun with, unless others are given."""
    before = torch.get_num_threads()
    seen: list[int] = []
    for given, expected in ((None, 3), (2, 2)):
        folder = tmp_path / str(expected)
        interrupted(folder, 1 + STEPS, threads=3)
        assert torch.get_num_threads() == before
        network = small_network(dropout=0.5)
        network.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
        train(network, small_dataset(), out=folder, resume=True, threads=given, **OPTIONS)
        assert set(seen) == {expected}
        assert json.loads((folder / "training.json").read_text("utf-8"))["threads"] == expected
        assert torch.get_num_threads() == before
        seen.clear()
    with pytest.raises(SearchError, match="threads"):
        train(small_network(), small_dataset(), threads=0, **OPTIONS)
