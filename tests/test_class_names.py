"""Names of classes that can be told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_images import alternating, make_folder, random_images

from pymoo_nas.datasets import load_dataset
from pymoo_nas.errors import DatasetError


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat", "cat"], "classes 0 and 1 are both called 'cat'"),
        (["cat", " cat"], "both called 'cat'"),
        (["cat", "cat\n"], "both called 'cat'"),
        (["big cat", "big  cat"], "both called 'big  cat'"),
        (["big cat", "big\u00a0cat"], "both called"),
        (["caf\u00e9", "cafe\u0301"], "both called"),
        (["cat", "c\u200bat"], "both called"),
        (["cat", ""], "the name of class 1 is empty"),
        ([" \t", "cat"], "the name of class 0 is empty"),
    ],
)
def test_names_that_look_alike(names: list[str], message: str, tmp_path: Path) -> None:
    """Class names that a reader cannot tell apart, or cannot see, are refused."""
    path = tmp_path / "x.npz"
    np.savez(
        path, train_images=random_images(), train_labels=alternating(), class_names=np.array(names)
    )
    with pytest.raises(DatasetError, match=message):
        load_dataset(path)


def test_names_are_stripped(tmp_path: Path) -> None:
    """Blanks around a name are taken off; upper and lower case make two names."""
    path = tmp_path / "x.npz"
    names = np.array(["Cat ", "cat", "\tdog"])
    np.savez(path, train_images=random_images(), train_labels=alternating(20, 3), class_names=names)
    assert load_dataset(path).class_names == ("Cat", "cat", "dog")


def test_folders_that_look_alike(tmp_path: Path) -> None:
    """Class folders whose names differ in blanks only are refused."""
    make_folder(tmp_path)
    (tmp_path / "b").rename(tmp_path / "a ")
    with pytest.raises(DatasetError, match="both called 'a'"):
        load_dataset(tmp_path)
