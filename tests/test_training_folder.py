"""The files of a training, also after an interrupt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors
import safetensors.torch
import torch
from small_training import same_state, small_dataset, small_network
from torch import Tensor, nn

from pymoo_nas._machine._folders import LOCK
from pymoo_nas.errors import NetworkError, RunError
from pymoo_nas.runs import RunFolder
from pymoo_nas.training import STATE_FILE, Trainer, load_weights, train
from pymoo_nas.training import _folder as training
from pymoo_nas.training._weights import WEIGHTS_FILE, copy_state

ALL_FILES = {WEIGHTS_FILE, "training.csv", "recall.csv", "confusion.csv", "training.json", LOCK}
INTERRUPTED = {WEIGHTS_FILE, "training.csv", STATE_FILE, LOCK}


class InterruptedNetwork(nn.Module):
    """Raises KeyboardInterrupt in its training forward pass number `at`."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.inner = small_network()
        self.left = at

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        logits: Tensor = self.inner(x)
        return logits


def test_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only folder is refused before the first epoch, a full disk is named after it."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("tempfile.TemporaryFile", refuse)
        patched.setattr(Trainer, "run", lambda *_, **__: pytest.fail("trained"))
        with pytest.raises(RunError, match=r"not be written to .*Permission denied"):
            train(small_network(), small_dataset(), epochs=1, out=tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match=r"cannot be written to .*No space left.*--overwrite"):
        train(small_network(), small_dataset(), epochs=1, out=tmp_path)
    monkeypatch.undo()

    original = training.write_csv

    def full_table(path: Path, *given: Any, **named: Any) -> None:
        if path.name == "recall.csv":
            raise OSError(28, "No space left on device")
        original(path, *given, **named)

    monkeypatch.setattr(training, "write_csv", full_table)
    with pytest.raises(RunError, match=r"No space left.*--resume"):
        train(small_network(), small_dataset(), epochs=1, out=tmp_path)
    monkeypatch.undo()
    train(small_network(), small_dataset(), epochs=1, out=tmp_path, resume=True)
    assert {path.name for path in tmp_path.iterdir()} == ALL_FILES


def test_folder_holds_the_whole_training(tmp_path: Path) -> None:
    """Everything that `train` returns is read back from the folder, floats to the bit."""
    dataset = small_dataset()
    network = small_network()
    out = tmp_path / "deep" / "run"
    training = train(network, dataset, epochs=3, batch_size=8, out=out, seed=5)
    assert {path.name for path in out.iterdir()} == ALL_FILES
    for name, table in (("training", training.epochs), ("recall", training.recall)):
        # Python's float() reads back to the bit with every version of pandas.
        text = pd.read_csv(out / f"{name}.csv", dtype=str)
        read = pd.DataFrame({c: text[c].map(kind.type) for c, kind in table.dtypes.items()})
        pd.testing.assert_frame_equal(read, table, check_exact=True)
    confusion = pd.read_csv(out / "confusion.csv", index_col="true")
    assert np.array_equal(confusion, training.confusion)
    assert list(confusion) == list(confusion.index) == ["a", "b", "c"]

    other = small_network()
    load_weights(other, out)
    assert same_state(copy_state(other), copy_state(network))


def test_description_says_how_the_training_was_made(tmp_path: Path) -> None:
    """training.json holds settings, results, parameters, versions and threads as strict JSON."""
    network = small_network()
    training = train(network, small_dataset(), epochs=2, validation=0.0, seed=5, out=tmp_path)
    text = (tmp_path / "training.json").read_text(encoding="utf-8")
    values = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert values["settings"] == {
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 0.2,
        "weight_decay": 5e-4,
        "label_smoothing": 0.1,
        "augment": "none",
        "validation": 0.0,
        "seed": 5,
        "precision": "float32",
        "optimizer": "muon",
        "balance": False,
        "ema": 0.0,
        "cutout": 0,
        "test_flip": False,
        "compile": False,
    }
    assert values["test_accuracy"] == training.test_accuracy
    assert values["balanced_accuracy"] == training.balanced_accuracy
    assert values["test_loss"] == training.test_loss
    assert values["auc"] == training.auc
    assert values["validation_accuracy"] is None
    assert values["validation_balanced_accuracy"] is None
    assert values["best_epoch"] == 2
    assert values["parameters"] == sum(weight.numel() for weight in network.parameters())
    assert values["threads"] == torch.get_num_threads()
    assert values["versions"]["torch"] == str(torch.__version__)
    assert values["image_size"] == [8, 8]


def test_earlier_training_is_not_overwritten_unasked(tmp_path: Path) -> None:
    """A folder with weights is refused and stays as it is; overwrite=True replaces it."""
    train(small_network(), small_dataset(), epochs=1, out=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunError, match="--overwrite"):
        train(small_network(), small_dataset(), epochs=2, out=tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    train(small_network(), small_dataset(), epochs=2, out=tmp_path, overwrite=True)
    assert len(pd.read_csv(tmp_path / "training.csv")) == 2


def test_an_earlier_training_stays_until_the_new_one_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the first epoch cannot be written, nothing of the earlier training is lost."""
    train(small_network(), small_dataset(), epochs=1, out=tmp_path)
    (tmp_path / "model.onnx").write_text("exported", encoding="utf-8")
    (tmp_path / "model.onnx.export.json").write_text("{}", encoding="utf-8")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(RunError, match=r"No space left.*--overwrite"):
            train(small_network(), small_dataset(), epochs=2, out=tmp_path, overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    train(small_network(), small_dataset(), epochs=2, out=tmp_path, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == ALL_FILES


@pytest.mark.parametrize("name", ["training.csv", "recall.csv", "confusion.csv", "training.json"])
def test_files_of_the_names_of_a_training_are_kept(tmp_path: Path, name: str) -> None:
    """Tables without weights, of a training or of the user's own, are not replaced unasked."""
    mine = tmp_path / name
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match=f"holds {name}.*--overwrite"):
        train(small_network(), small_dataset(), epochs=1, out=tmp_path)
    assert mine.read_text("utf-8") == "mine"


def test_curves_go_with_the_training_that_they_show(tmp_path: Path) -> None:
    """They stay where the new training diverges at once, or where they are of something else."""
    curves = tmp_path / "tensorboard" / "events.out.tfevents.1.mine"
    curves.parent.mkdir()
    curves.write_text("curves", encoding="utf-8")
    train(small_network(), small_dataset(), epochs=1, out=tmp_path)
    assert curves.exists()
    diverges = {"learning_rate": 1e30, "optimizer": "sgd", "overwrite": True}
    with pytest.raises(NetworkError, match="training: "):
        train(small_network(), small_dataset(), epochs=3, out=tmp_path, **diverges)
    assert curves.exists()
    train(small_network(), small_dataset(), epochs=1, out=tmp_path, overwrite=True)
    assert not curves.exists()


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A file in the place of the folder, or of its parent, is a clear error."""
    (tmp_path / "file").write_text("here", encoding="utf-8")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match="cannot be made"):
            train(small_network(), small_dataset(), epochs=1, out=out)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "here"


def test_interrupt_leaves_the_best_weights_so_far(tmp_path: Path) -> None:
    """An interrupt in the third epoch propagates and leaves the weights of the second."""
    dataset = small_dataset()
    options: dict[str, Any] = {"epochs": 4, "batch_size": 8, "validation": 0.0}
    network = InterruptedNetwork(at=1 + 3 + 3 + 2)  # the trial pass, two epochs, one step
    with pytest.raises(KeyboardInterrupt):
        train(network, dataset, out=tmp_path, **options)
    assert {path.name for path in tmp_path.iterdir()} == {
        WEIGHTS_FILE,
        "training.csv",
        STATE_FILE,
        LOCK,
    }
    assert len(pd.read_csv(tmp_path / "training.csv")) == 2

    # The network holds one step more than the file, which is that of the second epoch.
    stored = safetensors.torch.load_file(tmp_path / WEIGHTS_FILE)
    assert not same_state(stored, copy_state(network))
    assert int(stored["inner.1.num_batches_tracked"]) == 6


def test_interrupted_overwrite_leaves_no_results_of_other_weights(tmp_path: Path) -> None:
    """Once new weights are written, tables of the earlier training are gone; before, they stay."""
    train(small_network(), small_dataset(), epochs=1, out=tmp_path)
    options: dict[str, Any] = {"batch_size": 8, "validation": 0.0, "overwrite": True}
    with pytest.raises(KeyboardInterrupt):
        train(InterruptedNetwork(at=2), small_dataset(), out=tmp_path, **options)
    assert {path.name for path in tmp_path.iterdir()} == ALL_FILES
    with pytest.raises(KeyboardInterrupt):
        train(InterruptedNetwork(at=6), small_dataset(), out=tmp_path, **options)
    assert {path.name for path in tmp_path.iterdir()} == {
        WEIGHTS_FILE,
        "training.csv",
        STATE_FILE,
        LOCK,
    }


def test_one_training_at_a_time(tmp_path: Path) -> None:
    """A folder in which another process trains is refused, and nothing in it changes."""
    with RunFolder(tmp_path).locked():
        for how in ({}, {"overwrite": True}):
            with pytest.raises(RunError, match="in use by another process"):
                train(small_network(), small_dataset(), epochs=1, out=tmp_path, **how)
        assert {path.name for path in tmp_path.iterdir()} == {LOCK}
    train(small_network(), small_dataset(), epochs=1, out=tmp_path)
    with RunFolder(tmp_path).locked(), pytest.raises(RunError, match="in use by another process"):
        train(small_network(), small_dataset(), epochs=1, out=tmp_path, resume=True)


def test_measurements_of_an_export_do_not_outlive_the_network(tmp_path: Path) -> None:
    """A new training in the folder removes what an export of the network before has measured."""
    record = tmp_path / "model.onnx.export.json"
    for overwrite in (False, True):
        train(small_network(), small_dataset(), epochs=1, out=tmp_path, overwrite=overwrite)
        assert not record.exists()
        record.write_text("{}", "utf-8")
