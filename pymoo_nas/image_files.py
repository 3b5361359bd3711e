"""Image folders, ``.npz`` files and torchvision's data sets → images and labels as found there.

`pymoo_nas.datasets` checks them and brings them into one form.
"""

from __future__ import annotations

import http.client
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torchvision import datasets

from pymoo_nas.errors import DatasetError
from pymoo_nas.memory import free_memory

EXTENSIONS = ".bmp .gif .jp2 .jpeg .jpg .pbm .pgm .png .pnm .ppm .tga .tif .tiff .webp"
"""Endings, in lower case, of the files in a class folder that count as images."""

# Without these PIL would go by content and hand, for instance, an EPS file that is named .png to an
# external program.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")

# What the readers raise on damaged, cut off, oversized or forged files.
UNREADABLE = (
    ArithmeticError,
    AssertionError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    http.client.HTTPException,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

MODES = {1: "L", 3: "RGB"}
"""Channels → PIL's name for them, of 8 bits each."""

TEST_FOLDERS = ("test", "val", "valid", "validation")
"""Beside ``train``: the first of these that holds class folders has the test images."""

N_NAMED = 5
"""How many skipped files a message names."""


class _Torchvision(NamedTuple):
    """A data set of torchvision: its class, its place under the root, and `Dataset.augment`."""

    loader: Any
    place: str
    augment: bool


TORCHVISION = {
    "cifar10": _Torchvision(datasets.CIFAR10, "cifar-10-batches-py", True),
    "cifar100": _Torchvision(datasets.CIFAR100, "cifar-100-python", True),
    "fashion-mnist": _Torchvision(datasets.FashionMNIST, "FashionMNIST/raw", True),
    "mnist": _Torchvision(datasets.MNIST, "MNIST/raw", False),
    "svhn": _Torchvision(datasets.SVHN, "*_32x32.mat", False),
}
"""Name → where torchvision has it."""


class Splits(NamedTuple):
    """Images, labels and names (label → name) as they were found; None where there are none."""

    train_images: Any
    train_labels: Any
    test_images: Any = None
    test_labels: Any = None
    class_names: Sequence[str] | None = None
    val_images: Any = None
    val_labels: Any = None


class _ImageFile(NamedTuple):
    """A file of an image folder, its part (a key of `_parts`) and its class's index."""

    path: Path
    part: str
    label: int


def read_image_folder(folder: Path, size: tuple[int, int]) -> Splits:
    """Read ``<folder>/<class>/*`` or ``<folder>/{train,val,test}/<class>/*``.

    The second layout is taken where ``train`` holds folders; without ``test``, ``val`` takes its
    place (see `TEST_FOLDERS`). Images are uint8, grey where every file is grey, else RGB: 16 bits
    per channel become 8, a transparent image loses its alpha channel, a photograph is turned as its
    EXIF entry says. Hidden files, files without an image's ending and folders inside a class are
    left out.

    Args:
        folder: an existing folder.
        size: (H, W) that each image is resized to, whatever its proportions (bilinear).

    Warns:
        UserWarning: files that cannot be read, or that are links to somewhere outside `folder`,
            with their count and the first names; they are skipped. Or test images without classes.

    Raises:
        DatasetError: there are no class folders, or a class has no readable image.
    """
    parts = _parts(folder)
    names = [path.name for path in _class_folders(parts["train"])]
    if not names:
        raise DatasetError(
            f"image folder {folder}: no class folders in it; expected {folder}/<class>/* or "
            f"{folder}/{{train,test}}/<class>/*, with image files ({EXTENSIONS})"
        )
    files = list(_image_files(parts, names))
    pixels, skipped = read_images([file.path for file in files], size, within=folder)
    images = {file: pixels[file.path] for file in files if file.path in pixels}
    notice = _notice(folder, skipped, len(files))
    for part, path in parts.items():
        _require_images(path, [file.label for file in images if file.part == part], names, notice)
    if notice:
        warnings.warn(notice, stacklevel=4)

    grey = all(image.ndim == 2 for image in images.values())
    arrays: dict[str, Any] = {}
    for part in parts:
        chosen = {file: image for file, image in images.items() if file.part == part}
        arrays[f"{part}_labels"] = np.array([file.label for file in chosen])
        arrays[f"{part}_images"] = np.stack(
            [p if grey or p.ndim == 3 else np.dstack([p, p, p]) for p in chosen.values()]
        )
    return Splits(**arrays, class_names=names)


def find_images(path: Path) -> list[Path]:
    """A file itself, or the image files in a folder and below, sorted, without hidden ones.

    Raises:
        DatasetError: nothing there, or a folder without image files.
    """
    if not os.path.exists(path):
        raise DatasetError(f"image {path}: no such file or folder; expected one or the other")
    if not path.is_dir():
        return [path]
    files = list(_files_below(path))
    if not files:
        raise DatasetError(
            f"image folder {path}: no image files in it; expected some ({EXTENSIONS})"
        )
    return files


def _files_below(folder: Path) -> Iterator[Path]:
    for path in _visible(folder):
        if path.is_dir() and not path.is_symlink():  # a link may lead back
            yield from _files_below(path)
        elif path.suffix.lower() in EXTENSIONS.split() and not path.is_dir():
            yield path


def read_images(
    paths: Sequence[Path],
    size: tuple[int, int],
    *,
    channels: int | None = None,
    within: Path | None = None,
) -> tuple[dict[Path, NDArray[np.uint8]], dict[Path, str]]:
    """The pixels of each readable file, and for each other file why it was skipped.

    Args:
        paths: image files.
        size: (H, W) that each is resized to.
        channels: 1 for (H, W), 3 for (H, W, 3); None for (H, W) where an image is grey, else the
            other.
        within: folder that links must not leave; None lets them.
    """
    images = {}
    skipped = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for path in paths:
            try:
                images[path] = _pixels(path, size, channels, within)
            except UnidentifiedImageError:
                skipped[path] = "no image"
            except UNREADABLE as error:
                skipped[path] = str(error) or type(error).__name__
    return images, skipped


def _parts(folder: Path) -> dict[str, Path]:
    """Where the training images are, and those of parts that have a folder of their own."""
    if not ((folder / "train").is_dir() and _class_folders(folder / "train")):
        return {"train": folder}
    parts = {"train": folder / "train"}
    beside = [folder / name for name in TEST_FOLDERS if (folder / name).is_dir()]
    usable = [path for path in beside if _class_folders(path)]
    if usable:
        parts["test"] = usable[0]
        if usable[0].name == "test" and len(usable) > 1:
            parts["val"] = usable[1]
    elif beside:
        warnings.warn(
            f"image folder {beside[0]}: no class folders in it, so that nothing tells what its "
            "images show; some of the training images are held out for the test instead",
            stacklevel=5,
        )
    return parts


def read_npz(path: Path) -> Splits:
    """Read an ``.npz`` file with MedMNIST's key names (Yang 2023).

    ``train_images`` and ``train_labels``, and optionally ``test_images`` with ``test_labels``,
    ``val_images`` with ``val_labels``, and ``class_names``. Further keys are left alone. Nothing is
    unpickled.

    Raises:
        DatasetError: the file is damaged, holds Python objects, or lacks a key.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile("not a zip archive, as .npz files are")
        size = _unpacked_size(path)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    if size > free_memory():
        # A few kilobytes of zip can hold terabytes.
        raise DatasetError(
            f"{path}: its arrays take {size / 2**30:.1f} GiB, {free_memory() / 2**30:.1f} GiB are "
            "free; store smaller images, or fewer"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = sorted(archive.files)
            wanted = ["train_images", "train_labels"]
            for part in ("test", "val"):
                keys = [f"{part}_images", f"{part}_labels"]
                wanted += keys if not set(keys).isdisjoint(found) else []
            arrays = {key: archive[key] for key in wanted if key in found}
            names = archive["class_names"].astype(str) if "class_names" in found else None
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    missing = [key for key in wanted if key not in found]
    if missing:
        raise DatasetError(
            f"{path}: no {', '.join(missing)} in it; found {', '.join(found) or 'nothing'}; "
            "expected train_images and train_labels, and test_images together with test_labels, "
            "val_images together with val_labels"
        )
    return Splits(**arrays, class_names=None if names is None else names.ravel().tolist())


def _unpacked_size(path: Path) -> int:
    """Bytes of the arrays that `read_npz` reads, as the archive states them."""
    read = ("train_", "test_", "val_", "class_names")
    with zipfile.ZipFile(path) as archive:
        return sum(m.file_size for m in archive.infolist() if m.filename.startswith(read))


def _unreadable(path: Path, error: BaseException) -> DatasetError:
    return DatasetError(
        f"{path}: cannot be read ({error}); expected an .npz file as numpy.savez writes it, "
        "of numbers, and of text for class_names (not dtype=object)"
    )


def read_torchvision(name: str, root: Path, download: bool) -> Splits:
    """Read a data set of `TORCHVISION` from `root`, where torchvision itself would look for it.

    Raises:
        DatasetError: it is absent or damaged, or cannot be downloaded.
    """
    loader, place, _ = TORCHVISION[name]
    svhn = name == "svhn"
    kinds = [{"split": "train"}, {"split": "test"}] if svhn else [{"train": True}, {"train": False}]
    try:
        # CIFAR's files are pickles: torchvision compares their MD5 sums before it opens them.
        train, test = (loader(root, download=download, **kind) for kind in kinds)
    except UNREADABLE as error:
        failed = "could not be downloaded to" if download else "is not there or damaged in"
        raise DatasetError(
            f"data set {name!r} {failed} {(root / place).resolve()} ({error}); expected "
            f"torchvision's files; run `pymoo-nas search {name} --download`, connected to the "
            "internet, or put the files there"
        ) from error
    if svhn:
        images = [np.moveaxis(part.data, 1, 3) for part in (train, test)]
        return Splits(images[0], train.labels, images[1], test.labels)
    return Splits(train.data, train.targets, test.data, test.targets, train.classes)


def _visible(folder: Path) -> list[Path]:
    try:
        # __MACOSX is what macOS adds to its archives.
        return sorted(p for p in folder.iterdir() if not p.name.startswith((".", "__MACOSX")))
    except OSError as error:
        raise DatasetError(f"image folder {folder}: cannot be listed ({error})") from error


def _class_folders(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_dir()]


def _image_files(parts: dict[str, Path], names: Sequence[str]) -> Iterator[_ImageFile]:
    labels = {name: label for label, name in enumerate(names)}
    for part, folder in parts.items():
        for class_folder in _class_folders(folder):
            if class_folder.name not in labels:
                raise DatasetError(
                    f"image folder {class_folder}: there is no training class of that name; "
                    f"expected one of {', '.join(names)}"
                )
            for path in _visible(class_folder):
                if path.suffix.lower() in EXTENSIONS.split() and not path.is_dir():
                    yield _ImageFile(path, part, labels[class_folder.name])


def _pixels(
    path: Path, size: tuple[int, int], channels: int | None, within: Path | None
) -> NDArray[np.uint8]:
    """(H, W) for a grey image, else (H, W, 3); or of so many channels.

    Raises:
        ValueError: no regular file, or a link that leaves the folder; the others of `UNREADABLE`.
    """
    real = Path(os.path.realpath(path))
    if within is not None and not real.is_relative_to(os.path.realpath(within)):
        raise ValueError("a link that leaves the folder")
    if not real.is_file():
        # A named pipe, for instance, would block for ever.
        raise ValueError("a broken link, or no regular file")
    with Image.open(real, formats=FORMATS) as opened:
        image = _grey_or_rgb(ImageOps.exif_transpose(opened))
    if channels is not None:
        image = image.convert(MODES[channels])
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    """Any mode of PIL → ``L`` or ``RGB``, 8 bits per channel."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("grey values outside 0..65535; convert them, or give arrays")
        return Image.fromarray((values / 257 + 0.5).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels; convert them to 8 or 16 bits, or give arrays")
    if image.mode in ("1", "L", "LA", "La"):
        return image.convert("L")
    if image.mode in ("P", "PA"):
        # By way of RGBA, since PIL warns where a palette with transparency goes straight to RGB.
        rgb = image.convert("RGBA").convert("RGB")
        red, green, blue = rgb.split()
        return red if red == green == blue else rgb
    return image.convert("RGB")


def _notice(folder: Path, skipped: dict[Path, str], n_files: int) -> str:
    named = [f"{path.relative_to(folder)} ({why})" for path, why in skipped.items()]
    more = f", and {len(named) - N_NAMED} more" if len(named) > N_NAMED else ""
    text = f"skipped {len(named)} of {n_files} image files: {', '.join(named[:N_NAMED])}{more}"
    return f"image folder {folder}: {text}" if named else ""


def _require_images(part: Path, labels: Sequence[int], names: Sequence[str], notice: str) -> None:
    """Every class needs an image; a class that the test part leaves out altogether does not."""
    for path in _class_folders(part):
        if names.index(path.name) not in labels:
            raise DatasetError(
                f"image folder {path}: no readable image in this class; expected image files "
                f"({EXTENSIONS}) directly in it; add some or remove the folder. {notice}".rstrip()
            )
