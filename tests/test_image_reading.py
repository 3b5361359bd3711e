"""Image files that are read one by one, and found in folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_images import make_folder, random_images, read_one, write
from PIL import Image, TiffImagePlugin, TiffTags

from pymoo_nas.datasets import find_images, load_dataset, read_images
from pymoo_nas.errors import DatasetError


def test_channels_as_asked(tmp_path: Path) -> None:
    """Colour is read as grey with the weights of Rec. 601, and grey as three equal channels."""
    rgb = random_images(1, 8, 9, 3)[0]
    write(tmp_path / "rgb.png", rgb)
    write(tmp_path / "grey.png", rgb[..., 0])
    paths = [tmp_path / "rgb.png", tmp_path / "grey.png"]
    as_grey = read_images(paths, (8, 9), channels=1, grey_range=None).images
    assert np.abs(as_grey[paths[0]] - rgb @ [0.299, 0.587, 0.114]).max() <= 1
    assert np.array_equal(as_grey[paths[1]], rgb[..., 0])
    as_colour = read_images(paths, (8, 9), channels=3, grey_range=None).images
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


def test_modes_keep_brightness(tmp_path: Path) -> None:
    """16-bit grey, a grey palette and 1-bit images are grey with the same brightness as 8-bit."""
    grey = random_images(1, 8, 9, 1)[0, ..., 0]
    write(tmp_path / "l.png", grey)
    write(tmp_path / "16.png", grey.astype(np.uint16) * 257)
    write(tmp_path / "32.tif", grey.astype(np.int32) * 257)
    write(tmp_path / "la.png", grey, "LA")
    palette = Image.fromarray(grey).convert("P")
    palette.save(tmp_path / "p.png")
    for name in ("l.png", "16.png", "32.tif", "la.png", "p.png"):
        assert np.array_equal(read_one(tmp_path / name, (8, 9)), grey), name
    write(tmp_path / "1.png", grey > 128)
    assert np.array_equal(read_one(tmp_path / "1.png", (8, 9)), (grey > 128) * np.uint8(255))
    write(tmp_path / "rgb.png", random_images(1, 8, 9, 3)[0], "RGBA")
    assert np.array_equal(read_one(tmp_path / "rgb.png", (8, 9)), random_images(1, 8, 9, 3)[0])


def test_photograph_is_turned(tmp_path: Path) -> None:
    """An image that its EXIF entry calls rotated is read upright."""
    pixels = np.zeros((10, 20), np.uint8)
    pixels[:, :10] = 255
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees clockwise to see it upright
    write(tmp_path / "p.png", pixels, exif=exif)
    upright = read_one(tmp_path / "p.png", (20, 10))
    assert (upright[:9].min(), upright[11:].max()) == (255, 0)


# Metadata, and what is in a file besides one image


BROKEN_METADATA = {
    "cut EXIF": {"exif": b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12"},
    "no TIFF header": {"exif": b"Exif\0\0hello, this is no header"},
    "empty": {"exif": b"Exif\0\0"},
}


@pytest.mark.parametrize("name", BROKEN_METADATA)
@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_broken_exif(name: str, ending: str, tmp_path: Path) -> None:
    """An image whose EXIF is broken keeps its pixels; where PIL says so, the file is named."""
    pixels = random_images(1, 8, 9, 3)[0]
    for broken in (False, True):
        options = BROKEN_METADATA[name] if broken else {}
        write(tmp_path / f"{broken}.{ending}", pixels, quality=90, **options)
    paths = [tmp_path / f"{broken}.{ending}" for broken in (False, True)]
    read = read_images(paths, (8, 9), grey_range=None)
    assert not read.skipped
    assert np.array_equal(read.images[paths[0]], read.images[paths[1]])
    assert set(read.notes) <= {paths[1]}
    assert (paths[1] in read.notes) == (name != "empty")


def test_broken_metadata_in_a_folder(tmp_path: Path) -> None:
    """A folder's images with broken EXIF are kept, and named in one warning."""
    make_folder(tmp_path)
    for index in range(2):
        options = BROKEN_METADATA["no TIFF header"]
        write(tmp_path / "a" / f"broken{index}.jpg", random_images(1)[0], **options)
    with pytest.warns(UserWarning, match=r"read 2 of 12 .*a/broken0\.jpg \(its EXIF") as caught:
        dataset = load_dataset(tmp_path)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert len(dataset.train_labels) + len(dataset.test_labels) == 12


def test_broken_xmp(tmp_path: Path) -> None:
    """A TIFF whose XMP is of a wrong type is read, upright where its EXIF tells how."""
    pixels = random_images(1, 8, 9, 1)[0, ..., 0]
    path = tmp_path / "x.tif"
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[274], tags[700] = 3, 5
    tags.tagtype[700] = TiffTags.LONG
    Image.fromarray(pixels).save(path, tiffinfo=tags)
    assert np.array_equal(read_one(path, (8, 9)), pixels[::-1, ::-1])


def test_further_frames(tmp_path: Path) -> None:
    """Of an animation and of a TIFF of several pages the first is taken, and the file named."""
    frames = [Image.fromarray(p) for p in random_images(3, 8, 9, 1)[..., 0]]
    paths = [tmp_path / name for name in ("x.gif", "x.tif", "x.png", "x.webp")]
    for path in paths:
        options = {"lossless": True} if path.suffix == ".webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    read = read_images(paths, (8, 9), channels=1, grey_range=None)
    assert set(read.notes) == set(paths)
    assert all("first of 3" in note for note in read.notes.values())
    for path in paths:
        assert np.abs(read.images[path].astype(int) - np.asarray(frames[0])).max() <= 2


def test_shape_in_alpha(tmp_path: Path) -> None:
    """An icon that is black all over but for its transparency is named."""
    icon = np.zeros((8, 9, 4), np.uint8)
    icon[2:5, 2:5, 3] = 255
    photograph = random_images(1, 8, 9, 4)[0]
    write(tmp_path / "icon.png", icon)
    write(tmp_path / "photograph.png", photograph)
    paths = [tmp_path / "icon.png", tmp_path / "photograph.png"]
    read = read_images(paths, (8, 9), grey_range=None)
    assert list(read.notes) == paths[:1]
    assert "alpha channel" in read.notes[paths[0]]


def test_names_of_files(tmp_path: Path) -> None:
    """Names with blanks, other scripts and upper-case endings are read like any others."""
    for label, name in enumerate(("große Hunde", "猫")):
        for index, ending in enumerate(("PNG", "JpG", "jfif", "TIFF", "Bmp")):
            image = Image.fromarray(random_images(1, seed=label)[0])
            path = tmp_path / name / f"ein bild № {index}.{ending}"
            path.parent.mkdir(exist_ok=True)
            image.save(path, format={"jfif": "JPEG"}.get(ending))
    dataset = load_dataset(tmp_path)
    assert dataset.class_names == ("große Hunde", "猫")
    assert len(dataset.train_labels) + len(dataset.test_labels) == 10
