"""Image files that are read one by one, and found in folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_images import make_folder, random_images, write

from pymoo_nas.errors import DatasetError
from pymoo_nas.image_files import find_images, read_images


def test_channels_as_asked(tmp_path: Path) -> None:
    """Colour is read as grey with the weights of Rec. 601, and grey as three equal channels."""
    rgb = random_images(1, 8, 9, 3)[0]
    write(tmp_path / "rgb.png", rgb)
    write(tmp_path / "grey.png", rgb[..., 0])
    paths = [tmp_path / "rgb.png", tmp_path / "grey.png"]
    as_grey, _ = read_images(paths, (8, 9), channels=1)
    assert np.abs(as_grey[paths[0]] - rgb @ [0.299, 0.587, 0.114]).max() <= 1
    assert np.array_equal(as_grey[paths[1]], rgb[..., 0])
    as_colour, _ = read_images(paths, (8, 9), channels=3)
    assert np.array_equal(as_colour[paths[0]], rgb)
    assert np.array_equal(as_colour[paths[1]], np.dstack([rgb[..., 0]] * 3))


def test_images_below_a_folder_are_found(tmp_path: Path) -> None:
    """A folder gives all visible image files in it and below, a file itself; links do not loop."""
    make_folder(tmp_path, n=1)
    write(tmp_path / "z.PNG", random_images(1)[0])
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image")
    found = [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)]
    assert found == ["a/0.png", "b/0.png", "z.PNG"]
    assert find_images(tmp_path / "a" / "notes.txt") == [tmp_path / "a" / "notes.txt"]
    with pytest.raises(DatasetError, match="no such file"):
        find_images(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no image files in it"):
        find_images(tmp_path / "empty")
