"""The lines of docs/deploying.md that run an exported file without this package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documentation import ROOT, blocks
from exported import save_npz, write_training
from made_images import random_images
from PIL import Image
from small_training import small_dataset

from pymoo_nas.datasets import load_dataset
from pymoo_nas.runs import export, load_trained
from pymoo_nas.spaces import Architecture

TURNED = Image.Exif()
TURNED[0x0112] = 6  # a camera held upright


def recipe() -> str:
    """The block of the page."""
    texts = [block.text for block in blocks(ROOT / "docs" / "deploying.md")]
    [text] = [text for text in texts if "onnxruntime" in text]
    return text


@pytest.fixture(scope="module", params=[1, 3], ids=["grey", "colour"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the training of a small cell and its ONNX file."""
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    folder = tmp_path_factory.mktemp("recipe")
    dataset = small_dataset(32, n_test=12, channels=request.param)
    images = load_dataset(save_npz(folder / "noise.npz", dataset))
    network = Architecture.read("3000").build("trained", dataset)
    training = write_training(folder / "training", network, images)
    export(training, dataset=folder / "noise.npz")
    return training


@pytest.mark.parametrize(
    ("mode", "name", "settings"),
    [
        ("RGB", "photo.png", {}),
        ("RGB", "photo.jpg", {}),
        ("RGB", "turned.jpg", {"exif": TURNED}),
        ("L", "grey.png", {}),
        ("RGBA", "transparent.png", {}),
        ("P", "palette.gif", {}),
        ("CMYK", "print.jpg", {}),
        ("1", "bits.png", {}),
    ],
)
def test_the_recipe_answers_as_the_training_does(
    mode: str, name: str, settings: dict[str, Any], exported: Path, tmp_path: Path
) -> None:
    """Of a file of any mode, larger than the images of the training and not square."""
    file = tmp_path / name
    Image.fromarray(random_images(1, 40, 28, 3)[0]).convert(mode).save(file, **settings)
    lines = recipe().replace("runs/shapes/final/model.onnx", str(exported / "model.onnx"))
    found: dict[str, Any] = {}
    exec(lines.replace("shapes/digit-3/3.png", str(file)), found)
    trained = load_trained(exported)
    np.testing.assert_allclose(found["probabilities"], trained.probabilities(file), atol=1e-5)
    assert found["told"]["class_names"] == list(trained.class_names)
