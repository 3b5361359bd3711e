"""Networks that are tested by the mean over images and their mirror images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from command_line import Run
from exported import save_npz
from small_training import small_dataset, small_network
from test_training_resume import OPTIONS, STEPS, interrupted
from torch import nn

from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.errors import RunError, SearchError
from pymoo_nas.networks import count_all
from pymoo_nas.runs import export, load_trained
from pymoo_nas.runs._report_trainings import training_in
from pymoo_nas.spaces import Architecture
from pymoo_nas.training import STATE_FILE, train
from pymoo_nas.training._evaluation import evaluate


def by_hand(network: nn.Module, data: Dataset) -> np.ndarray:
    """The mean of two softmaxes for each test image, one image at a time."""
    network.eval()
    found = []
    for image in data.test_images:
        both = [data.normalized(pixels[None]) for pixels in (image, image[:, ::-1])]
        shares = [torch.softmax(network(one).detach().double(), dim=1) for one in both]
        found.append(torch.stack(shares).mean(0)[0].numpy())
    return np.stack(found)


@pytest.mark.parametrize("batch_size", [1, 4, 256])
def test_probabilities_are_the_mean_of_both(batch_size: int) -> None:
    """For any number at once; predictions, loss and accuracy are those of the mean."""
    data, network = small_dataset(n_test=11, size=(8, 6), channels=2), small_network(2)
    found = evaluate(
        network, data.test_images, data.test_labels, data, batch_size=batch_size, flip=True
    )
    expected = by_hand(network, data)
    assert torch.softmax(found.logits, dim=1).numpy() == pytest.approx(expected, abs=1e-6)
    assert (found.predictions == expected.argmax(1)).all()
    assert found.accuracy == (expected.argmax(1) == data.test_labels).mean()
    losses = -np.log(expected[np.arange(11), data.test_labels])
    assert found.loss == pytest.approx(losses.mean(), rel=1e-5)


def test_folder_keeps_how_it_was_tested(tmp_path: Path) -> None:
    """What `load_trained` gives agrees with the accuracy that was reported."""
    data, network = small_dataset(n_test=30, augment=True), small_network()
    training = train(network, data, epochs=1, out=tmp_path, test_flip=True)
    trained = load_trained(tmp_path, network=small_network())
    assert trained.test_flip
    found = trained.probabilities(data.test_images)
    assert found == pytest.approx(by_hand(network, data), abs=1e-6)
    assert (found.argmax(1) == data.test_labels).mean() == training.test_accuracy
    assert json.loads((tmp_path / "training.json").read_text())["settings"]["test_flip"] is True


@pytest.mark.parametrize("augment", ["flip", "none"])
def test_mirror_images_are_asked_for(tmp_path: Path, augment: str) -> None:
    """They double the price of a prediction, so that no network is tested on them unasked."""
    train(small_network(), small_dataset(), epochs=1, out=tmp_path, augment=augment)
    assert not load_trained(tmp_path, network=small_network()).test_flip


@pytest.mark.parametrize("augment", ["none", "shift"])
def test_mirror_images_of_others_are_refused(run: Run, augment: str) -> None:
    """A network that never saw mirrored images is not tested on them."""
    with pytest.raises(SearchError, match="test_flip with augment"):
        train(small_network(), small_dataset(), augment=augment, test_flip=True)
    code, _, err = run("train", "--model", "8000", "--augment", augment, "--test-flip")
    assert (code, err.count("\n"), "test_flip with augment" in err) == (2, 1, True)


def strip(folder: Path) -> None:
    """Make the state of an interrupted training one of a version without these settings."""
    path = folder / STATE_FILE
    with safetensors.safe_open(path, framework="pt") as stored:
        metadata = stored.metadata()
    described = json.loads(metadata["training"])
    for name in ("ema", "cutout", "test_flip"):
        del described["settings"][name]
    del described["averaged_steps"]
    metadata["training"] = json.dumps(described)
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, metadata)


def test_earlier_trainings_go_on_without(tmp_path: Path) -> None:
    """A training that began before there was such a test ends without it."""
    interrupted(tmp_path, 1 + STEPS, test_flip=False)
    strip(tmp_path)
    again: dict[str, Any] = {**OPTIONS, "out": tmp_path, "resume": True}
    with pytest.raises(RunError, match="test_flip: False then, True now"):
        train(small_network(dropout=0.5), small_dataset(), **again, test_flip=True)
    network, data = small_network(dropout=0.5), small_dataset()
    training = train(network, data, **again)
    plain = evaluate(network, data.test_images, data.test_labels, data)
    assert training.test_loss == pytest.approx(plain.loss, rel=1e-6)
    kept = json.loads((tmp_path / "training.json").read_text())["settings"]
    assert (kept["test_flip"], kept["ema"], kept["cutout"]) == (False, 0.0, 0)


@pytest.mark.parametrize(
    "to", ["pt2", *(pytest.param(to, marks=pytest.mark.slow) for to in ("python", "onnx"))]
)
def test_exported_files_mirror_too(tmp_path: Path, to: str) -> None:
    """A file gives the probabilities of the mean, and the accuracy that was reported."""
    save_npz(tmp_path / "noise.npz", small_dataset(32, n_test=12, channels=3))
    data = load_dataset(tmp_path / "noise.npz")
    network = Architecture.read("3000").build("trained", data)
    training = train(network, data, epochs=1, out=tmp_path / "training", test_flip=True)
    exported = export(tmp_path / "training", to, dataset=tmp_path / "noise.npz", int8=to == "onnx")
    assert exported.file.accuracy == exported.torch.accuracy == training.test_accuracy
    alone = count_all(network, data.normalized(data.test_images[:1]))
    assert (exported.counts.params, exported.counts.flops) == (alone.params, 2 * alone.flops)
    assert (exported.counts.acts, exported.counts.peak_memory) == (
        2 * alone.acts,
        2 * alone.peak_memory,
    )
    reported = training_in(tmp_path / "training")
    assert reported is not None
    assert reported[0].flops == 2 * alone.flops
    if to == "python":  # compared with torch by `export`
        source = (exported.path / "model.py").read_text("utf-8")
        assert source.count("torch.flip") == 1
        return
    opened = load_trained(exported.path)
    assert opened.test_flip
    found = opened.probabilities(data.test_images)
    assert found == pytest.approx(by_hand(network, data), abs=1e-5)
    if exported.int8_path is not None:
        small = load_trained(exported.int8_path).probabilities(data.test_images)
        assert small == pytest.approx(found, abs=0.2)
