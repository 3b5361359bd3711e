"""Weights in files, and files that are never half written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_training import same_state, small_dataset, small_network
from torch import nn

from pymoo_nas._machine import atomic_write
from pymoo_nas.errors import RunError
from pymoo_nas.training import load_weights, train
from pymoo_nas.training._weights import WEIGHTS_FILE, copy_state, save_weights

# --- Weights ----------------------------------------------------------------------------------


def test_tied_weights_are_saved_and_read(tmp_path: Path) -> None:
    """A module used under two names is trained, saved, and read as one again."""

    def tied() -> nn.Sequential:
        layer = nn.Linear(64, 64)
        return nn.Sequential(nn.Flatten(), layer, nn.ReLU(), layer, nn.Linear(64, 3))

    network, other = tied(), tied()
    train(network, small_dataset(), epochs=1, out=tmp_path)
    load_weights(other, tmp_path / WEIGHTS_FILE)
    assert same_state(copy_state(other), copy_state(network))
    assert other[1].weight is other[3].weight


def test_absent_weights_are_named(tmp_path: Path) -> None:
    """A missing file, and a folder without weights, are errors with the path."""
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(RunError, match="no such file"):
            load_weights(small_network(), path)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_damaged_weights_are_refused(tmp_path: Path, kept: int) -> None:
    """A truncated file is an error and leaves the network as it was."""
    path = tmp_path / WEIGHTS_FILE
    save_weights(copy_state(small_network()), path)
    path.write_bytes(path.read_bytes()[:kept])
    network = small_network()
    with pytest.raises(RunError, match="damaged"):
        load_weights(network, path)
    assert same_state(copy_state(network), copy_state(small_network()))


def test_weights_can_be_read_by_whom_other_files_can(tmp_path: Path) -> None:
    """Their rights are those of any new file."""
    save_weights(copy_state(small_network()), tmp_path / WEIGHTS_FILE)
    (tmp_path / "usual").touch()
    assert (tmp_path / WEIGHTS_FILE).stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    """Tensors that differ are named with both shapes, three of them at most."""
    save_weights(copy_state(small_network(width=4)), tmp_path / WEIGHTS_FILE)
    network = small_network()
    with pytest.raises(RunError, match=r"0\.weight: float32 \(4, 1, 3, 3\) in the file") as caught:
        load_weights(network, tmp_path)
    assert str(caught.value).count("in the file") == 3
    assert same_state(copy_state(network), copy_state(small_network()))


def test_missing_surplus_and_retyped_tensors_are_named(tmp_path: Path) -> None:
    """A tensor that is absent, one too many, and one of another type each make a mismatch."""
    state = copy_state(nn.Linear(2, 1))
    path = tmp_path / "w.safetensors"
    for changed, message in (
        ({"weight": state["weight"]}, "bias: nothing in the file"),
        ({**state, "extra": torch.zeros(1)}, r"extra: float32 \(1,\) in the file, nothing in"),
        ({**state, "bias": state["bias"].half()}, r"bias: float16 \(1,\) in the file"),
    ):
        save_weights(changed, path)
        with pytest.raises(RunError, match=message):
            load_weights(nn.Linear(2, 1), path)


# --- Atomic files -----------------------------------------------------------------------------


def test_atomic_write_replaces_a_file(tmp_path: Path) -> None:
    """The file appears when the block ends, under a suffix kept, and no temporary stays."""
    path = tmp_path / "front.png"
    path.write_bytes(b"old")
    with atomic_write(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failed_write_changes_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    """An error or an interrupt while writing keeps the old file and removes the temporary one."""
    path = tmp_path / "front.csv"
    path.write_bytes(b"old")

    def write_half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_bytes(b"ne")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    """Forgetting to write is noticed and makes no file."""
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "front.csv"):
        pass
    assert list(tmp_path.iterdir()) == []
