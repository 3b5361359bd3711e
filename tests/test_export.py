"""``pymoo-nas export`` and `export`: folders of trainings in, verified files out."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from command_line import Run
from exported import as_trained, save_npz, untrained, without_package, write_training
from made_images import random_images
from PIL import Image
from small_training import small_dataset
from torch import Tensor, nn

from pymoo_nas._machine import seeded
from pymoo_nas.datasets import load_dataset
from pymoo_nas.errors import DatasetError, ExportError, PymooNasError, RunError
from pymoo_nas.exports import LabelledImages, export_network
from pymoo_nas.exports import _comparison as comparison
from pymoo_nas.runs import export, load_trained
from pymoo_nas.spaces import Architecture
from pymoo_nas.training import train

COLOUR = small_dataset(32, n_test=12, channels=3)


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """A training of a small cell on colour images, and the images beside it."""
    network = Architecture.read("3000").build("trained", COLOUR)
    save_npz(tmp_path / "noise.npz", COLOUR)
    return write_training(tmp_path / "training", network, load_dataset(tmp_path / "noise.npz"))


def images_of(folder: Path) -> Path:
    return folder.parent / "noise.npz"


@pytest.mark.slow
def test_python_runs_without_the_package(training: Path, tmp_path: Path) -> None:
    """The source is imported where only torch is, and gives the probabilities to the bit."""
    exported = export(training, "python", dataset=images_of(training))
    assert exported.path == training / "python"
    assert exported.difference == 0
    assert exported.file.accuracy == exported.torch.accuracy
    expected = load_trained(training).probabilities(COLOUR.test_images)
    np.save(tmp_path / "pixels.npy", np.moveaxis(COLOUR.test_images, 3, 1).copy())
    np.save(tmp_path / "expected.npy", expected)
    without_package(
        f"""
import numpy, torch
sys.path.insert(0, {str(exported.path)!r})
from model import CLASS_NAMES, IMAGE_SIZE, load
torch.set_num_threads(1)
pixels = torch.from_numpy(numpy.load("pixels.npy"))
assert torch.equal(load()(pixels), torch.from_numpy(numpy.load("expected.npy")))
assert torch.equal(load()(pixels.float()), torch.from_numpy(numpy.load("expected.npy")))
assert (CLASS_NAMES, IMAGE_SIZE) == (("0", "1", "2"), (8, 8))
""",
        tmp_path,
    )
    weights = safetensors.torch.load_file(exported.path / "weights.safetensors")
    assert "stem.basis" in weights


@pytest.mark.slow
def test_pt2_runs_without_the_package(training: Path, tmp_path: Path) -> None:
    """Plain torch loads the archive, for any number of images."""
    exported = export(training, "pt2", dataset=images_of(training), out=tmp_path / "my.pt2")
    expected = load_trained(training).probabilities(COLOUR.test_images)
    np.save(tmp_path / "pixels.npy", np.moveaxis(COLOUR.test_images, 3, 1).copy())
    np.save(tmp_path / "expected.npy", expected)
    assert exported.file.n_bytes == (tmp_path / "my.pt2").stat().st_size
    without_package(
        """
import numpy, torch
torch.set_num_threads(1)
network = torch.export.load("my.pt2").module()
pixels = torch.from_numpy(numpy.load("pixels.npy"))
expected = torch.from_numpy(numpy.load("expected.npy"))
assert torch.equal(network(pixels), expected)
assert torch.allclose(network(pixels[:1]), expected[:1], atol=1e-6)
""",
        tmp_path,
    )


@pytest.mark.slow
def test_onnx_and_int8(training: Path, tmp_path: Path) -> None:
    """Both files are verified; the metadata holds what a user of the file needs."""
    import onnx

    exported = export(training, dataset=images_of(training), int8=True)
    assert exported.difference < 1e-5
    assert exported.file.accuracy == exported.torch.accuracy
    assert exported.int8 is not None
    assert exported.int8_path == training / "model.int8.onnx"
    assert exported.calibrated_on == 32
    assert load_trained(exported.int8_path).test_accuracy == exported.int8.accuracy
    for path in (exported.path, exported.int8_path):
        model = onnx.load(path)
        onnx.checker.check_model(model)
        metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
        assert metadata["class_names"] == ["0", "1", "2"]
        assert metadata["image_size"] == [8, 8]
        assert metadata["producer"].startswith("pymoo-nas ")
        assert model.opset_import[0].version == 18 or path == exported.int8_path
        shape = model.graph.input[0].type.tensor_type.shape.dim
        assert [d.dim_param or d.dim_value for d in shape] == ["batch", 3, 8, 8]
        assert str(tmp_path).encode() not in path.read_bytes()
        assert b"site-packages" not in path.read_bytes()
    assert any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def test_a_large_loss_names_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where int8 loses accuracy, layers are quantised one at a time; the worst one is named."""
    from pymoo_nas.exports import _quantised as quantised
    from pymoo_nas.exports._deployed import deployed, describe, raw
    from pymoo_nas.exports._onnx import onnx_bytes
    from pymoo_nas.exports._program import graph_of

    monkeypatch.setattr(quantised, "N_LAYERS", 2)
    trained = untrained(Architecture.read("3000").build("trained", COLOUR), COLOUR)
    example = raw(COLOUR.test_images[:2], "uint8")
    program = graph_of(deployed(trained), example, "small")
    content = onnx_bytes(program, example, describe(trained, "uint8"), "small")
    accuracies = iter([0.5, 0.9, 0.6])
    made = quantised.quantise(
        content, COLOUR.train_images, "uint8", lambda _: next(accuracies), 0.95
    )
    assert made.worst is not None
    assert (made.worst.accuracy, made.worst.tried) == (0.6, 2)
    assert made.worst.name == "classifier"
    assert made.worst.of >= 4
    accuracies = iter([0.5, 0.96, 0.95])
    made = quantised.quantise(
        content, COLOUR.train_images, "uint8", lambda _: next(accuracies), 0.95
    )
    assert made.worst is None  # no layer alone loses anything


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "culprits"), [(1, {"0", "3"}), (4, {"3", "6"})])
def test_a_real_loss_is_that_of_the_layer_behind_it(
    norm: int, culprits: set[str], tmp_path: Path
) -> None:
    """One channel on another scale is rounded away with all others, where it is written or read.

    The network computes the same in float, as the next layer takes the scale back.
    """
    digits = load_dataset("digits")
    with seeded(torch.device("cpu"), 0):
        network = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10)),
        )
    train(network, digits, epochs=4, validation=0)
    with torch.no_grad():
        network[norm].weight[0] *= 300
        network[norm].bias[0] *= 300
        network[norm + 2].weight[:, 0] /= 300
    images = LabelledImages(
        digits.train_images, digits.train_labels, digits.test_images, digits.test_labels
    )
    trained = as_trained(network, digits)
    exported = export_network(trained, "onnx", tmp_path / "it.onnx", images=images, int8=True)
    assert exported.file.accuracy is not None
    assert exported.int8 is not None
    assert exported.int8.accuracy is not None
    assert exported.worst is not None
    assert exported.file.accuracy > 0.95
    assert exported.file.accuracy - exported.int8.accuracy > 0.01
    assert exported.worst.name in culprits


def test_float_pixels(training: Path) -> None:
    """A file can take floats from 0 to 255 in place of bytes."""
    exported = export(training, "pt2", pixels="float32", dataset=images_of(training))
    network = torch.export.load(exported.path).module()
    pixels = torch.from_numpy(np.moveaxis(COLOUR.test_images, 3, 1).copy()).float()
    expected = load_trained(training).probabilities(COLOUR.test_images)
    assert torch.equal(network(pixels), torch.from_numpy(expected))
    found = load_trained(exported.path).probabilities(COLOUR.test_images)
    assert np.array_equal(found, expected)


def test_images_that_are_not_found(training: Path) -> None:
    """Random pixels take the place of the test images, and no accuracy is told."""
    exported = export(training, "python")
    assert exported.compared == "64 images of random pixels"
    assert exported.file.accuracy is None
    with pytest.raises(ExportError, match="--dataset"):
        export(training, int8=True)


def test_images_of_other_classes_are_refused(training: Path, tmp_path: Path) -> None:
    """Given images must have the classes and the pixels of the training; others are told."""
    others = save_npz(tmp_path / "others.npz", small_dataset(30, n_test=9, channels=3))
    with pytest.warns(UserWarning, match="not the images that"):
        export(training, "python", dataset=others)
    with pytest.raises(DatasetError, match=r"pixels: float32; expected uint8, .*give the images"):
        export(training, "python", dataset="digits")
    for n_classes, channels, found in ((3, 1, "channels: 1; expected 3"), (4, 3, "classes: 4; ex")):
        data = small_dataset(30, n_test=9, channels=channels, n_classes=n_classes)
        with pytest.raises(DatasetError, match=found):
            export(training, "python", dataset=save_npz(tmp_path / "more.npz", data))


@pytest.mark.parametrize("name", ["caf\udce9", 'quote" and \\', "line\nbreak", "{x}", "日本"])
@pytest.mark.parametrize("to", ["python", "pt2"])
def test_strange_class_names(tmp_path: Path, name: str, to: str) -> None:
    """Names that no text file could hold as they are come back as they were."""
    data = small_dataset(12, n_classes=2)
    trained = untrained(Architecture.read("2000").build("trained", data), data)
    vars(trained)["class_names"] = (name, "b")
    out = tmp_path / ("python" if to == "python" else "model.pt2")
    export_network(trained, to, out)
    if to == "pt2":
        assert load_trained(out).class_names == (name, "b")
    else:
        namespace: dict[str, Any] = {"__file__": str(out / "model.py")}
        exec((out / "model.py").read_text("ascii"), namespace)
        assert namespace["CLASS_NAMES"] == (name, "b")


def test_what_predict_cannot_open_is_told_what_it_is(tmp_path: Path, training: Path) -> None:
    """A Python export, its files and any other file are refused as what they are."""
    out = export(training, "python", out=tmp_path / "out").path
    with pytest.raises(ExportError, match=r"model\.py runs"):
        load_trained(out)
    for name in (*sorted(path.name for path in out.iterdir() if path.is_file()), "other.pth"):
        (out / name).touch()
        with pytest.raises(ExportError, match=re.escape(f"{out / name}: neither a folder")):
            load_trained(out / name)
    for place in (tmp_path, training):  # a file of the user's makes no export of them
        (place / "model.py").touch()
    with pytest.raises(RunError, match="holds no finished training"):
        load_trained(tmp_path)
    assert load_trained(training).class_names == ("0", "1", "2")


@pytest.mark.slow
def test_strange_class_names_in_onnx(tmp_path: Path) -> None:
    """The same in ONNX's metadata; and images of 13 channels, which no image file holds."""
    names = ("caf\udce9", 'q" \\\n', "日本")
    data = small_dataset(12, channels=13)
    trained = untrained(Architecture.read("2000").build("trained", data), data)
    vars(trained)["class_names"] = names
    export_network(trained, "onnx", tmp_path / "model.onnx")
    opened = load_trained(tmp_path / "model.onnx")
    assert opened.class_names == names
    found = opened.probabilities(data.test_images)
    assert found == pytest.approx(trained.probabilities(data.test_images), abs=1e-5)
    with pytest.raises(DatasetError, match="of 13 channels; image files hold"):
        opened.check_files()


class Counting(nn.Module):
    """A layer whose result depends on the values of its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class FixedBatch(nn.Module):
    """A layer that fixes the number of images."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(int(x.shape[0]), -1)


@pytest.mark.parametrize("layer", [Counting, FixedBatch])
def test_what_cannot_be_exported(tmp_path: Path, layer: type[nn.Module]) -> None:
    """A layer that cannot be recorded is refused by its name; nothing is written."""
    network = nn.Sequential(nn.Conv2d(3, 2, 1), layer(), nn.Flatten(), nn.Linear(128, 3))
    trained = untrained(network, COLOUR)
    with pytest.raises(ExportError, match=r"layer '1' \(Counting\)|whole network"):
        export_network(trained, "pt2", tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_is_not_written(
    training: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probabilities that are not torch's are an error, and no file is left."""
    monkeypatch.setattr(comparison, "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match="differs from torch by 0"):
        export(training, "python")
    assert not (training / "python").exists()


def test_targets(training: Path, tmp_path: Path) -> None:
    """What is there is replaced only when asked for, and never something else."""
    export(training, "python")
    with pytest.raises(ExportError, match="there already"):
        export(training, "python")
    export(training, "python", overwrite=True)
    with pytest.raises(ExportError, match="something else"):
        export(training, "python", out=training, overwrite=True)
    (tmp_path / "old.pt2").write_text("old", "utf-8")
    with pytest.raises(ExportError, match="there already"):
        export(training, "pt2", out=tmp_path / "old.pt2")
    with pytest.raises(ExportError, match=r"ends in \.pt2"):
        export(training, "pt2", out=tmp_path / "old.onnx")
    with pytest.raises(ExportError, match="cannot be written"):
        export(training, "pt2", out=tmp_path / "old.pt2" / "new.pt2")
    assert (tmp_path / "old.pt2").read_text("utf-8") == "old"


def test_settings_that_are_refused(training: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown formats and types, int8 of another format, and a missing extra."""
    for change, reason in (
        ({"to": "tflite"}, "expected one of onnx, pt2, python"),
        ({"to": "pt2", "int8": True}, "--to onnx"),
        ({"to": "pt2", "pixels": "int4"}, "expected one of uint8, float32"),
    ):
        with pytest.raises(ExportError, match=reason):
            export(training, **change)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExportError, match=r"pip install 'pymoo-nas\[onnx\]'"):
        export(training)


def test_calibration_with_too_few_images(training: Path) -> None:
    """Fewer different images than classes give no ranges."""
    trained = load_trained(training)
    images = np.zeros((9, 8, 8, 3), np.uint8)
    few = LabelledImages(images, np.arange(9) % 3, COLOUR.test_images, COLOUR.test_labels)
    with pytest.raises(ExportError, match="1 different training images"):
        export_network(trained, "onnx", training / "m.onnx", images=few, int8=True)


def test_predict_by_an_exported_file(run: Run, training: Path) -> None:
    """The file names the classes as the training does, in the same table."""
    for index, pixels in enumerate(random_images(5, 20, 24, 3)):
        Path("images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(Path("images") / f"{index}.png")
    code, out, err = run("export", "training", "--to", "pt2", "--dataset", "noise.npz")
    assert (code, err) == (0, "")
    assert "12 test images: probabilities differ from torch by at most 0" in out
    assert "next: pymoo-nas predict training/model.pt2 IMAGES" in out
    for place, table in (("training", "one.csv"), ("training/model.pt2", "two.csv")):
        code, out, _ = run("predict", place, "images", "--top", "2", "--out", table)
        assert code == 0
    assert "3000, of training/model.pt2: 50.00 %" in out
    assert Path("one.csv").read_bytes() == Path("two.csv").read_bytes()


def test_mistakes_on_the_command_line(run: Run, training: Path, finished: Path) -> None:
    """A user's mistake is one line and exit code 2."""
    Path("empty.onnx").write_text("nothing", "utf-8")
    for arguments, reason in (
        (("export", str(finished)), f"pymoo-nas train {finished}"),
        (("export", "nosuch"), "holds no finished training"),
        (("export", "training", "--to", "coreml"), "expected one of onnx"),
        (("predict", "empty.onnx", "x.png"), "no ONNX file"),
        (("predict", "nosuch.pt2", "x.png"), "cannot be read"),
    ):
        code, _, err = run(*arguments)
        assert (code, err.count("\n")) == (2, 1), err
        assert reason in err
    (training / "weights.safetensors").unlink()
    code, _, err = run("export", "training", "--to", "pt2")
    assert (code, "no such file" in err) == (2, True)


def test_a_network_of_a_users_own(training: Path) -> None:
    """A network of a user's own is refused until it is given."""
    described = json.loads((training / "training.json").read_text("utf-8"))
    described["network"] = None
    (training / "training.json").write_text(json.dumps(described), "utf-8")
    with pytest.raises(PymooNasError, match="network="):
        export(training, "python")
    given = Architecture.read("3000").build("trained", COLOUR)
    assert export(training, "python", network=given).difference == 0
