"""Decode the files of an image folder once, each into its row of one array of pixels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pymoo_nas._machine import ConsoleProgress, Progress, Report
from pymoo_nas.datasets._image_reading import GreyRange, Header, common_range, read_header
from pymoo_nas.datasets._many_images import FilesRead, Outcome, for_each, read_each
from pymoo_nas.datasets._splits import hold_out_test

REPORTS = 1000
"""Largest number of reports while the files of a folder are decoded."""

_SHOWN: ContextVar[Progress | None] = ContextVar("decoding_shown", default=None)


class ImageFile(NamedTuple):
    """A file of an image folder, its part ("train", "test" or "val") and the index of its class."""

    path: Path
    part: str
    label: int


class Rows(Protocol):
    """Rows of pixels, each of which is written once, in any order."""

    def write(self, row: int, pixels: NDArray[np.uint8]) -> None:
        """Write the pixels (H, W, C) of a row; C = 1 fills all channels."""

    def finish(self, order: Sequence[int], channels: int) -> NDArray[np.uint8]:
        """Return these rows, in this order, with the first of their channels."""


class MemoryRows:
    """Rows in memory.

    Args:
        n: number of rows.
        shape: (H, W, C).
    """

    def __init__(self, n: int, shape: tuple[int, int, int]) -> None:
        self._rows = np.empty((n, *shape), dtype=np.uint8)

    def write(self, row: int, pixels: NDArray[np.uint8]) -> None:
        """See `Rows`."""
        self._rows[row] = pixels

    def finish(self, order: Sequence[int], channels: int) -> NDArray[np.uint8]:
        """See `Rows`."""
        if in_place(order) and channels == self._rows.shape[3]:
            return self._rows[: len(order)]
        return np.ascontiguousarray(self._rows[list(order)][..., :channels])


class Decoded(NamedTuple):
    """Pixels of the readable files of a folder, and an account of their reading.

    Attributes:
        images: part → (n, H, W, C).
        labels: part → (n,).
        skipped: path → why the file could not be read.
        notes: path → note on parts of a readable file that were left out or changed.
        sizes: smallest and largest (H, W) of the readable files, before they were resized.
        grey_range: range of all 16-bit grey files; None where there are no such files.
        brightest: part of the folder → its highest level.
        passing: whether files could not be read for a reason that may be gone the next time.
    """

    images: dict[str, NDArray[np.uint8]]
    labels: dict[str, NDArray[np.int64]]
    skipped: dict[Path, str]
    notes: dict[Path, str]
    sizes: tuple[tuple[int, int], tuple[int, int]]
    grey_range: GreyRange | None
    brightest: dict[str, int]
    passing: bool = False


@contextmanager
def decoding_shown(progress: Progress) -> Iterator[None]:
    """Let `load_dataset` report the decoding of image folders, wherever it is called in the block.

    Args:
        progress: takes a `Report` after each image (of very many images, after every few).
    """
    token = _SHOWN.set(progress)
    try:
        yield
    finally:
        _SHOWN.reset(token)


@contextmanager
def told_to(progress: bool | Progress) -> Iterator[None]:
    """Report the decoding of folders; False leaves it to whoever is told already."""
    if callable(progress):
        with decoding_shown(progress):
            yield
    elif progress:
        with ConsoleProgress() as shown, decoding_shown(shown):
            yield
    else:
        yield


def tell(report: Report) -> None:
    """Hand a report to whoever shows the decoding."""
    progress = _SHOWN.get()
    if progress is not None:
        progress(report)


def decode_files(
    files: Sequence[ImageFile],
    size: tuple[int, int],
    rows_of: Callable[[int, tuple[int, int, int]], Rows],
    check: Callable[[FilesRead], None],
    *,
    within: Path,
) -> Decoded:
    """Decode files that belong together, with one grey range that is found from all of them.

    Args:
        files: files of a folder.
        size: (H, W) to which each image is resized.
        rows_of: function from a number of rows and (H, W, C) to such rows.
        check: takes an account of the files (without images), and raises what is wrong with them.
        within: folder that links must not leave.
    """
    paths = [file.path for file in files]
    readable, is_grey, grey_range, passing = _look_at(paths, within)
    expected = list(chain(*arranged(files, readable).values()))
    # Files that seem unreadable come last: they may turn out to be readable after all.
    order = [*expected, *sorted({*range(len(files))} - {*expected})]
    row_of = {index: row for row, index in enumerate(order)}
    channels = 1 if is_grey else None
    rows = rows_of(len(files), (*size, channels or 3))
    brightest: dict[int, int] = {}
    colour = False

    def take(index: int, pixels: NDArray[np.uint8]) -> None:
        nonlocal colour
        colour |= pixels.ndim == 3
        brightest[index] = int(pixels.max())
        rows.write(row_of[index], pixels if pixels.ndim == 3 else pixels[..., None])

    told = _counted("decoding images", len(files))
    read = read_each(
        paths, size, take, grey_range=grey_range, channels=channels, within=within, told=told
    )
    check(read)
    parts = arranged(files, read.sizes)
    pixels = rows.finish([row_of[index] for index in chain(*parts.values())], 3 if colour else 1)
    sizes = sorted(read.sizes.values(), key=lambda size: (size[0] * size[1], size))
    return Decoded(
        *sliced(files, parts, pixels),
        read.skipped,
        read.notes,
        (sizes[0], sizes[-1]),
        grey_range,
        {
            part: max(level for i, level in brightest.items() if files[i].part == part)
            for part in {file.part: None for file in files if file.path in read.sizes}
        },
        passing or bool(read.passing),
    )


def arranged(files: Sequence[ImageFile], readable: Collection[Path]) -> dict[str, list[int]]:
    """Arrange the readable files, so that the images of each part lie side by side.

    Without a test part, test images are held out of the training images, unless a class has only
    one.

    Returns:
        part → indices of its files.
    """
    parts: dict[str, list[int]] = {}
    for index, file in enumerate(files):
        if file.path in readable:
            parts.setdefault(file.part, []).append(index)
    if "train" in parts and "test" not in parts:
        labels = np.array([files[index].label for index in parts["train"]])
        if np.unique(labels, return_counts=True)[1].min() > 1:
            everything = parts["train"]
            for part, chosen in zip(("train", "test"), hold_out_test(labels), strict=True):
                parts[part] = [everything[place] for place in chosen]
    return parts


def sliced(
    files: Sequence[ImageFile], parts: dict[str, list[int]], pixels: NDArray[np.uint8]
) -> tuple[dict[str, NDArray[np.uint8]], dict[str, NDArray[np.int64]]]:
    """Cut the images and the labels of each part out of pixels in the order of `arranged`."""
    images, start = {}, 0
    for part, indices in parts.items():
        images[part] = pixels[start : start + len(indices)]
        start += len(indices)
    labels = {
        part: np.array([files[index].label for index in indices], dtype=np.int64)
        for part, indices in parts.items()
    }
    return images, labels


def in_place(order: Sequence[int]) -> bool:
    """Tell whether an order of rows leaves the first rows where they are."""
    return all(row == place for place, row in enumerate(order))


def _look_at(paths: Sequence[Path], within: Path) -> tuple[set[Path], bool, GreyRange | None, bool]:
    """Find the files that seem readable, whether all of them are surely grey, and the grey range.

    The last value tells whether a file could not be read for a reason that may pass.

    A file that is not readable here is tried again with all files, which says why.
    """
    readable: set[Path] = set()
    levels: list[GreyRange] = []
    is_grey = True
    passing = False
    told = _counted("looking at images", len(paths))

    def take(index: int, outcome: Outcome[Header]) -> None:
        nonlocal is_grey, passing
        passing |= outcome.passing
        if outcome.value is not None:
            readable.add(paths[index])
            is_grey &= outcome.value.is_grey
            if outcome.value.levels is not None:
                levels.append(outcome.value.levels)
        told(index + 1)

    for_each(paths, partial(read_header, within=within), take)
    return readable, is_grey, common_range(levels), passing


def _counted(work: str, total: int) -> Callable[[int], None]:
    """Make a function that reports how many of the files are done."""
    step = max(1, total // REPORTS)

    def told(done: int) -> None:
        if done % step == 0 or done == total:
            tell(Report(work, done, total, f"{done:,} of {total:,}"))

    return told
