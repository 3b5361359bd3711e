"""Torchvision's data sets, read from small files of their own formats."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_images import alternating, random_images
from scipy.io import savemat
from torchvision import datasets as torchvision_datasets

from pymoo_nas.datasets import load_dataset
from pymoo_nas.errors import DatasetError


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("cifar10", "cifar-10-batches-py"),
        ("cifar100", "cifar-100-python"),
        ("fashion-mnist", "FashionMNIST/raw"),
        ("mnist", "MNIST/raw"),
        ("svhn", "*_32x32.mat"),
    ],
)
def test_absent(name: str, place: str, tmp_path: Path) -> None:
    """An absent data set is answered with the folder looked in and the command to fetch it."""
    with pytest.raises(DatasetError) as caught:
        load_dataset(name, root=tmp_path)
    assert str(tmp_path.resolve() / place) in str(caught.value)
    assert f"`pymoo-nas search {name} --download`" in str(caught.value)


def test_failed_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that fails is a DatasetError that keeps the cause."""

    def refuse(self: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision_datasets.CIFAR10, "download", refuse)
    with pytest.raises(DatasetError, match=r"could not be downloaded.*no route to host") as caught:
        load_dataset("cifar10", root=tmp_path, download=True)
    assert isinstance(caught.value.__cause__, OSError)


def write_idx(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    path.write_bytes(header + values.tobytes())


@pytest.mark.parametrize(("name", "augment"), [("mnist", "none"), ("fashion-mnist", "flip")])
def test_mnist(name: str, augment: str, tmp_path: Path) -> None:
    """MNIST and Fashion-MNIST are read as grey images with all ten class names."""
    images, labels = random_images(20, 28, 28, 1)[..., 0], alternating(20, 10).astype(np.uint8)
    raw = tmp_path / {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}[name] / "raw"
    for part in ("train", "t10k"):
        write_idx(raw / f"{part}-images-idx3-ubyte", images)
        write_idx(raw / f"{part}-labels-idx1-ubyte", labels)
    dataset = load_dataset(name, root=tmp_path)
    assert np.array_equal(dataset.train_images, images[..., None])
    assert np.array_equal(dataset.test_labels, labels)
    assert (dataset.n_classes, dataset.augment) == (10, augment)
    (raw / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    with pytest.raises(DatasetError, match="damaged"):
        load_dataset(name, root=tmp_path)


def with_md5(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10's planes become channels-last images; a file with another checksum is refused."""
    images, labels = random_images(20, 32, 32, 3), alternating().tolist()
    batch = {"data": images.transpose(0, 3, 1, 2).reshape(20, -1), "labels": labels}
    folder = tmp_path / "cifar-10-batches-py"
    cifar = torchvision_datasets.CIFAR10
    md5 = with_md5(folder / "b", pickle.dumps(batch))
    meta = with_md5(folder / "m", pickle.dumps({"label_names": ["cat", "dog"]}))
    monkeypatch.setattr(cifar, "train_list", [["b", md5]])
    monkeypatch.setattr(cifar, "test_list", [["b", md5]])
    monkeypatch.setattr(cifar, "meta", {"filename": "m", "key": "label_names", "md5": meta})
    dataset = load_dataset("cifar10", root=tmp_path)
    assert np.array_equal(dataset.train_images, images)
    assert dataset.test_labels.tolist() == labels
    assert dataset.class_names == ("cat", "dog")
    assert dataset.augment == "flip"
    with_md5(folder / "b", pickle.dumps(batch) + b" ")
    with pytest.raises(DatasetError, match="damaged"):
        load_dataset("cifar10", root=tmp_path)


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SVHN's digit 0, stored as class 10, is class 0; its images become channels-last."""
    images, labels = random_images(20, 32, 32, 3), alternating(20, 10)
    split_list = {}
    for part in ("train", "test"):
        path = tmp_path / f"{part}_32x32.mat"
        stored = {"X": images.transpose(1, 2, 3, 0), "y": np.where(labels, labels, 10)[:, None]}
        savemat(path, stored)
        split_list[part] = ["", path.name, with_md5(path, path.read_bytes())]
    monkeypatch.setattr(torchvision_datasets.SVHN, "split_list", split_list)
    dataset = load_dataset("svhn", root=tmp_path)
    assert np.array_equal(dataset.test_images, images)
    assert np.array_equal(dataset.train_labels, labels)
    assert (dataset.class_names, dataset.augment) == (tuple("0123456789"), "none")
