"""Trainings to export, and Python processes in which the package cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from small_training import small_dataset

from pymoo_nas._machine import write_json
from pymoo_nas.datasets import Dataset
from pymoo_nas.spaces import description_of, design_of
from pymoo_nas.training import TrainedNetwork
from pymoo_nas.training._trained import describe_images
from pymoo_nas.training._weights import WEIGHTS_FILE, copy_state, save_weights

BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"pymoo_nas", "safetensors"}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocked())
"""
"""The first lines of a program that cannot import this package, nor safetensors."""


def without_package(program: str, folder: Path) -> None:
    """Run a program in a folder where only torch and numpy can be imported."""
    finished = subprocess.run(
        [sys.executable, "-c", BLOCKED + program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr


def untrained(network: torch.nn.Module, data: Dataset) -> TrainedNetwork:
    """A network as if it had been trained on a data set; its norms have seen some images."""
    network.train()
    with torch.no_grad():
        for _ in range(5):
            network(data.normalized(data.train_images))
    return as_trained(network, data)


def as_trained(network: torch.nn.Module, data: Dataset) -> TrainedNetwork:
    """A network as `load_trained` gives it."""
    return TrainedNetwork(
        network=network.eval(),
        class_names=data.class_names,
        image_size=data.image_size,
        mean=data.mean,
        std=data.std,
        pixels=str(data.train_images.dtype),
        device=torch.device("cpu"),
        title="small",
        folder=Path("small"),
        test_accuracy=0.5,
    )


def write_training(folder: Path, network: torch.nn.Module, data: Dataset) -> Path:
    """Write the files of a training, as `train` does, without training."""
    untrained(network, data)
    folder.mkdir(parents=True)
    save_weights(copy_state(network), folder / WEIGHTS_FILE)
    described = {"network": description_of(network), "design": design_of(network)}
    rest = {"dataset": data.name, "test_accuracy": 0.5}
    write_json(folder / "training.json", {**describe_images(data), **described, **rest})
    return folder


def save_npz(path: Path, data: Dataset) -> Path:
    """Write a data set as a file that `load_dataset` reads."""
    np.savez(
        path,
        train_images=data.train_images,
        train_labels=data.train_labels,
        test_images=data.test_images,
        test_labels=data.test_labels,
    )
    return path


SMALL = small_dataset(32, n_test=12, channels=3)
"""Images to export networks for."""
