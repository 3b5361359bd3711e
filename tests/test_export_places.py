"""Where exports are written, what is kept beside them, and when they go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from exported import write_training
from small_training import small_dataset

from pymoo_nas.errors import ExportError
from pymoo_nas.exports import read_record, record_of
from pymoo_nas.runs import export
from pymoo_nas.spaces import Architecture
from pymoo_nas.training import train

COLOUR = small_dataset(32, n_test=12, channels=3)


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """A training of a small cell on colour images, which are not found any more."""
    network = Architecture.read("3000").build("trained", COLOUR)
    return write_training(tmp_path / "training", network, COLOUR)


def test_an_empty_folder_takes_an_export(training: Path, tmp_path: Path) -> None:
    """As one that mktemp makes; a folder of other things is refused, with --overwrite too."""
    empty, other = tmp_path / "empty", tmp_path / "other"
    for folder in (empty, other):
        folder.mkdir()
    (other / "notes.txt").touch()
    assert (export(training, "python", out=empty).path / "model.py").is_file()
    for overwrite in (False, True):
        with pytest.raises(ExportError, match="holds something else"):
            export(training, "python", out=other, overwrite=overwrite)
    with pytest.raises(ExportError, match="--overwrite"):
        export(training, "python", out=empty)


@pytest.mark.parametrize(
    ("field", "value"),
    [("accuracy", "x"), ("latency", True), ("torch", "x"), ("sha256", "0"), ("bytes", None)],
)
def test_a_record_of_another_file_is_none(training: Path, field: str, value: Any) -> None:
    """Figures are told of the file that was measured: of its bytes, and as they were written."""
    out = export(training, "python").path
    place = record_of(out)
    sound = json.loads(place.read_text("utf-8"))
    assert read_record(out) == sound
    earlier = {name: value for name, value in sound.items() if name != "sha256"}
    place.write_text(json.dumps(earlier), "utf-8")
    assert read_record(out) == earlier
    place.write_text(json.dumps({**sound, field: value}), "utf-8")
    assert read_record(out) is None
    place.write_text(json.dumps(sound), "utf-8")
    weights = out / "weights.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    assert read_record(out) is None


def test_exports_of_a_replaced_training_go_with_it(training: Path, tmp_path: Path) -> None:
    """A training that replaces another one removes the exports of it, and nothing of the user's."""
    out = export(training, "python").path
    (out / "__pycache__").mkdir()
    pt2 = export(training, "pt2").path
    (training / "mine.onnx").write_text("mine", "utf-8")
    linked = export(training, "pt2", out=training / "linked.pt2").path
    linked.rename(tmp_path / "elsewhere.pt2")
    linked.symlink_to(tmp_path / "elsewhere.pt2")
    other = export(training, "python", out=training / "other").path
    (other / "mine.txt").write_text("mine", "utf-8")
    network = Architecture.read("0300").build("trained", COLOUR)
    train(network, COLOUR, epochs=1, validation=0.0, out=training, overwrite=True)
    assert not any(path.exists() for path in (out, pt2, linked, other / "model.py"))
    assert (tmp_path / "elsewhere.pt2").exists()
    assert not list(training.glob("*.export.json"))
    assert (training / "mine.onnx").exists()
    assert [path.name for path in other.iterdir()] == ["mine.txt"]
