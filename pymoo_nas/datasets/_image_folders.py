"""Read images and labels as found in folders of image files; warn of files that are left out."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pymoo_nas._machine import expanded, in_unicode
from pymoo_nas.datasets._decoding import Decoded, ImageFile
from pymoo_nas.datasets._image_files import Reading, Splits
from pymoo_nas.datasets._image_reading import EXTENSIONS, FULL_RANGE, HALF, GreyRange
from pymoo_nas.datasets._kept_pixels import decoded_pixels
from pymoo_nas.datasets._many_images import FilesRead
from pymoo_nas.datasets._splits import HELD_OUT
from pymoo_nas.errors import DatasetError

PART_WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "vali", "dev", "devel", "development"),
    "test": ("test", "testing", "tests", "tst", "eval", "evaluation", "holdout", "heldout"),
}
"""Part → names of its folder, the usual name first. Upper case, hyphens, blanks, underscores and
endings are allowed, as in ``test_set`` and ``TrainImages``."""

PART_ENDING = re.compile(r"(sets?|data|images?|imgs?)$")

UNREAD = (
    ".arw .avif .cr2 .dcm .dng .eps .exr .hdr .heic .heif .ico .jxl .mat .nef .nii .npy .npz .pdf "
    ".psd .raw .svg"
)
"""Endings of image formats that are not read; a warning names such files among other images."""

STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")
"""First bytes of usual image files, by which those without a usual ending are noticed."""

TEXTS = ".csv .db .html .ini .json .log .md .py .toml .tsv .txt .xml .yaml .yml"
"""Endings of files beside images, of which there may be many; they are not looked into."""

N_NAMED = 5
"""Number of files or folders that a message names."""


def read_image_folder(folder: Path, size: tuple[int, int]) -> Splits:
    """Read ``<folder>/<class>/*`` or ``<folder>/{train,val,test}/<class>/*``.

    The second layout is taken where a training folder holds folders; the parts may have any of the
    names of `PART_WORDS`. Without a test part, the validation part takes its place.

    Images are uint8, grey where every file is grey, else RGB. A transparent image loses its alpha
    channel, a photograph is turned as its EXIF entry says, and 16 bits per channel become 8. All
    16-bit grey files are scaled by one factor, from their highest level (see
    `common_range`).
    Hidden files, files without an image's ending and folders inside a class are left out.

    Args:
        folder: an existing folder.
        size: (H, W) to which each image is resized, whatever its proportions (bilinear).

    Warns:
        UserWarning: files cannot be read, or are links to a place outside `folder`; they are
            skipped, and the warning has their count and the first names. Folders with images are
            not used, files have further frames or broken metadata, or grey levels were scaled. Or
            test images have no classes.

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

    def check(read: FilesRead) -> None:
        skipped = _skipped(folder, read.skipped, len(files))
        for part, path in parts.items():
            labels = {file.label for file in files if file.part == part and file.path in read.sizes}
            _require_images(path, labels, names, skipped)
        _require_bright(folder, read)

    # Kept pixels are not checked again, and a class without files must not be missed.
    classes = [path for part in parts.values() for path in _class_folders(part)]
    decoded, kept = decoded_pixels(folder, files, classes, size, check)
    remarks = (
        _skipped(folder, decoded.skipped, len(files)),
        _named(folder, decoded.notes, f"read {{}} of {len(files)} image files with a remark"),
        _scaled(folder, decoded.grey_range),
        *_left_out(folder, parts),
    )
    for remark in filter(None, remarks):
        warnings.warn(remark, stacklevel=4)
    arrays: dict[str, Any] = {f"{part}_images": array for part, array in decoded.images.items()}
    arrays |= {f"{part}_labels": array for part, array in decoded.labels.items()}
    return Splits(
        **arrays,
        class_names=[in_unicode(name) for name in names],
        reading=_reading(folder, parts, decoded),
        channels="last",
        brightest=decoded.brightest,
        kept=kept,
    )


def refuse_among_classes(target: Path, folder: Path) -> None:
    """Refuse to write into an image folder where each folder is a class.

    Args:
        target: a folder that is to be made, or exists.
        folder: folder of images, see `read_image_folder`.

    Raises:
        DatasetError: `target` would become a class, so that the images could not be read again.
    """
    place = Path(os.path.realpath(target))
    for part in _parts(folder).values():
        if place.is_relative_to(os.path.realpath(part)):
            raise DatasetError(
                f"folder {target} would lie in {part}, where every folder is a class of images; "
                "give an --out elsewhere"
            )


def holds_classes(path: str | Path) -> bool:
    """Whether this is a folder with image files in folders, such as `read_image_folder` reads."""
    if not os.path.isdir(path):
        return False
    folders = _class_folders(Path(path))
    return any(next(_files_below(folder), None) is not None for folder in folders)


def find_images(path: Path) -> list[Path]:
    """List a file itself, or the image files in a folder and below, sorted, without hidden files.

    Warns:
        UserWarning: files in the folder may be images, and are left out for their endings.

    Raises:
        DatasetError: the path does not exist, or the folder holds no image files.
    """
    path = expanded(path)
    if not os.path.exists(path):
        raise DatasetError(f"image {path}: no such file or folder; expected one or the other")
    if not path.is_dir():
        return [path]
    files = list(_files_below(path))
    if not files:
        raise DatasetError(
            f"image folder {path}: no image files in it; expected some ({EXTENSIONS})"
        )
    others = {file: why for file in _all_below(path) if (why := _why_unread(file))}
    if others:
        warnings.warn(_named(path, others, "{} files are left out"), stacklevel=2)
    return files


def _files_below(folder: Path) -> Iterator[Path]:
    return filter(_is_image, _all_below(folder))


def _all_below(folder: Path) -> Iterator[Path]:
    for path in _visible(folder):
        if path.is_dir() and not path.is_symlink():  # a link may lead back
            yield from _all_below(path)
        else:
            yield path


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS.split() and not path.is_dir()


def _why_unread(path: Path) -> str:
    """Why a file that may be an image is left out; empty for an image, and for all others."""
    if path.suffix.lower() in UNREAD.split():
        return "a format that is not read"
    if path.suffix.lower() in (*EXTENSIONS.split(), *TEXTS.split()) or not path.is_file():
        return ""
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return "it cannot be opened"
    is_webp = start[:4] == b"RIFF" and start[8:] == b"WEBP"
    is_bitmap = start[:2] == b"BM" and start[6:10] == bytes(4)
    is_image = start.startswith(STARTS) or is_webp or is_bitmap
    return "an image by its content, not by its ending" if is_image else ""


def _visible(folder: Path) -> list[Path]:
    try:
        # macOS adds the folder __MACOSX to its archives.
        return sorted(p for p in folder.iterdir() if not p.name.startswith((".", "__MACOSX")))
    except OSError as error:
        raise DatasetError(f"image folder {folder}: cannot be listed ({error})") from error


def _class_folders(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_dir()]


def _part_of(name: str) -> tuple[str, int] | None:
    """Find the part that a folder's name stands for, and the rank of the name (0: the usual)."""
    plain = re.sub(r"[\W_]", "", name).casefold()
    for part, words in PART_WORDS.items():
        for word in (plain, PART_ENDING.sub("", plain)):
            if word in words:
                return part, words.index(word)
    return None


def _parts(folder: Path) -> dict[str, Path]:
    """Find the folder of each part: training images, and other parts with a folder of their own.

    Raises:
        DatasetError: folders have the names of parts, but hold no class folders.
    """
    found: dict[str, list[tuple[int, bool, Path]]] = {part: [] for part in PART_WORDS}
    siblings = _class_folders(folder)
    for path in siblings:
        if named := _part_of(path.name):
            found[named[0]].append((named[1], path.name not in PART_WORDS[named[0]], path))
    usable = {
        part: [path for *_, path in sorted(paths) if _class_folders(path)]
        for part, paths in found.items()
    }
    if not usable["train"]:
        if found["train"] and len(siblings) == sum(map(len, found.values())) > len(found["train"]):
            raise DatasetError(
                f"image folder {folder}: {', '.join(path.name for path in siblings)} are parts by "
                "their names, and hold no class folders, so that nothing tells what their images "
                f"show; expected {folder}/train/<class>/*"
            )
        return {"train": folder}
    parts = {part: paths[0] for part, paths in usable.items() if paths}
    if "test" not in parts and "val" in parts:
        parts["test"] = parts.pop("val")
    return {part: parts[part] for part in ("train", "test", "val") if part in parts}


def _left_out(folder: Path, parts: Mapping[str, Path]) -> Iterator[str]:
    """Describe the files and folders with images that are not read."""
    if parts["train"] != folder:
        used = {path.resolve() for path in parts.values()}
        for path in _class_folders(folder):
            if path.resolve() not in used and next(_files_below(path), None) is not None:
                yield _unused(path, parts)
    loose: dict[Path, str] = {}
    nested: dict[Path, str] = {}
    unread: dict[Path, str] = {}
    for part in dict.fromkeys((folder, *parts.values())):
        loose |= {path: "in no class" for path in _visible(part) if _is_image(path)}
    for part in parts.values():
        for class_folder in _class_folders(part):
            for path in _visible(class_folder):
                if path.is_dir():
                    if not path.is_symlink() and next(_files_below(path), None) is not None:
                        nested[path] = "a folder inside a class"
                elif why := _why_unread(path):
                    unread[path] = why
    yield _named(folder, loose, "{} images are left out")
    yield _named(folder, nested, "{} folders with images are left out")
    yield _named(folder, unread, "{} files are left out")


def _unused(path: Path, parts: Mapping[str, Path]) -> str:
    """Say why a folder beside the training images is not used."""
    named = _part_of(path.name)
    if named and not _class_folders(path):
        instead = "; some of the training images are held out for the test instead"
        return (
            f"image folder {path}: no class folders in it, so that nothing tells what its images "
            "show" + ("" if "test" in parts else instead)
        )
    used = ", ".join(f"{used.name}/" for used in parts.values())
    return (
        f"image folder {path}: holds images and is not used, {used} being taken; expected at most "
        "one folder for each of train/, val/ and test/ (or a usual name of these)"
    )


def _image_files(parts: Mapping[str, Path], names: Sequence[str]) -> Iterator[ImageFile]:
    labels = {name: label for label, name in enumerate(names)}
    for part, folder in parts.items():
        for class_folder in _class_folders(folder):
            if class_folder.name not in labels:
                raise DatasetError(
                    f"image folder {class_folder}: there is no training class of that name; "
                    f"expected one of {', '.join(names)}"
                )
            for path in _visible(class_folder):
                if _is_image(path):
                    yield ImageFile(path, part, labels[class_folder.name])


def _named(folder: Path, why: Mapping[Path, str], what: str) -> str:
    """Make a message that names the first of some files; empty where there are no files.

    Args:
        folder: folder that holds the files.
        why: path → reason.
        what: text of the message, with a place for the number of files.
    """
    if not why:
        return ""
    named = [f"{in_unicode(path.relative_to(folder))} ({reason})" for path, reason in why.items()]
    more = f", and {len(named) - N_NAMED} more" if len(named) > N_NAMED else ""
    return f"image folder {folder}: {what.format(len(named))}: {', '.join(named[:N_NAMED])}{more}"


def _skipped(folder: Path, why: Mapping[Path, str], n_files: int) -> str:
    return _named(folder, why, f"skipped {{}} of {n_files} image files")


def _scaled(folder: Path, grey_range: GreyRange | None) -> str:
    """Describe how 16-bit grey levels are scaled, where they are not simply divided by 257."""
    if grey_range is None or grey_range == FULL_RANGE:
        return ""
    low, high = grey_range
    how = "stay as they are" if (low, high) == (0, 255) else "become 0 to 255 by one factor"
    return (
        f"image folder {folder}: 16-bit grey files use the levels {low} to {high} only, which "
        f"{how}; 8-bit files, where there are some, stay as they are"
    )


def _require_bright(folder: Path, read: FilesRead) -> None:
    """Refuse 16-bit colour files that all leave the upper half of their range empty.

    Raises:
        DatasetError: all such files do so; names them.
    """
    why = {path: f"up to {level} of 255" for path, level in read.deep.items()}
    if why and max(read.deep.values()) < HALF:
        raise DatasetError(
            _named(folder, why, "{} colour files of 16 bits per channel use a small part of them")
            + "; of such files the upper 8 bits are read, in which little is left; convert them to "
            "8 bits per channel"
        )


def _require_images(
    part: Path, labels: Collection[int], names: Sequence[str], skipped: str
) -> None:
    """Refuse a class folder without an image; the test part may lack a class folder altogether."""
    for path in _class_folders(part):
        if names.index(path.name) not in labels:
            below = next(_files_below(path), None)
            there = ""
            if below is not None and below.parent != path:
                there = (
                    f"found {below.relative_to(path)}, deeper in; give {_holder(below, path)} "
                    "if that holds the classes, or move the images up; "
                )
            elif below is None and (other := next(iter(_visible(path)), None)) is not None:
                there = f"found {in_unicode(other.name)}, which is none; "
            text = (
                f"image folder {path}: no readable image in this class; {there}expected image "
                f"files ({EXTENSIONS}) directly in it; add some or remove the folder. {skipped}"
            )
            raise DatasetError(text.rstrip())


def _holder(image: Path, within: Path) -> Path:
    """The folder to give for an image: its folder is a class there, or a class of a part there."""
    holder = image.parent.parent
    return holder.parent if holder != within and _part_of(holder.name) else holder


def _reading(folder: Path, parts: Mapping[str, Path], decoded: Decoded) -> Reading:
    """Describe the origin of the images, and how they were read."""
    places = {
        part: "class folders" if path == folder else f"{path.name}/" for part, path in parts.items()
    }
    if "test" in parts and (_part_of(parts["test"].name) or ("",))[0] == "val":
        places["test"] += ", in place of a test part"
    if "test" not in parts and "test" in decoded.images:
        places["test"] = HELD_OUT
    return Reading(
        places["train"],
        places.get("test", ""),
        places.get("val", ""),
        decoded.sizes,
        decoded.grey_range,
    )
