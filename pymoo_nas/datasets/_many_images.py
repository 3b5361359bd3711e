"""Read many image files, several at a time, each with its own remarks and its own failure.

Threads are enough: PIL leaves Python's lock while it decodes and while it resizes.
"""

from __future__ import annotations

import errno
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pymoo_nas.datasets._image_reading import UNREADABLE, GreyRange, Pixels, read_pixels_of

T = TypeVar("T")

MOST_THREADS = 8
"""Largest number of files that are read at one time; each may be a photograph of 200 MB."""

AHEAD = 4
"""Number of files per thread that are read before the results of earlier files are taken."""


class Outcome(NamedTuple, Generic[T]):
    """Result of the work on one file.

    Attributes:
        value: the result; None where the file cannot be read.
        why: why the file cannot be read; empty where it can.
        remarks: PIL's warnings, which do not name the file.
        passing: whether the failure may be gone the next time, though the file stays as it is.
    """

    value: T | None
    why: str
    remarks: list[str]
    passing: bool = False


class FilesRead(NamedTuple):
    """Results of reading image files.

    Attributes:
        images: path → pixels (H, W) or (H, W, 3) of each readable file.
        skipped: path → why the file could not be read.
        notes: path → note on parts of a readable file that were left out or changed.
        sizes: path → (H, W) of each readable file, upright, before it was resized.
        grey_range: range of all 16-bit grey files; None where there are no such files.
        deep: path → highest level of a colour file with 16 bits per channel, see `Pixels`.
        passing: skipped files that may be readable the next time, see `Outcome`.
    """

    images: dict[Path, NDArray[np.uint8]]
    skipped: dict[Path, str]
    notes: dict[Path, str]
    sizes: dict[Path, tuple[int, int]]
    grey_range: GreyRange | None
    deep: dict[Path, int]
    passing: set[Path]


def read_images(
    paths: Sequence[Path],
    size: tuple[int, int],
    *,
    grey_range: GreyRange | None,
    channels: int | None = None,
    within: Path | None = None,
) -> FilesRead:
    """Read the pixels of each readable file, and note why each other file was skipped.

    Args:
        paths: image files.
        size: (H, W) to which each image is resized.
        grey_range: levels of 16-bit grey files that become 0 and 255; levels outside are clipped.
            None accepts only files that use more than half of the 16 bits, with `FULL_RANGE`.
        channels: 1 for (H, W), 3 for (H, W, 3); None for (H, W) where an image is grey, else
            (H, W, 3).
        within: folder that links must not leave; None allows all links.
    """
    images: dict[Path, NDArray[np.uint8]] = {}

    def take(index: int, pixels: NDArray[np.uint8]) -> None:
        images[paths[index]] = pixels

    read = read_each(paths, size, take, grey_range=grey_range, channels=channels, within=within)
    return read._replace(images=images)


def read_each(
    paths: Sequence[Path],
    size: tuple[int, int],
    take: Callable[[int, NDArray[np.uint8]], None],
    *,
    grey_range: GreyRange | None,
    channels: int | None = None,
    within: Path | None = None,
    told: Callable[[int], None] | None = None,
) -> FilesRead:
    """Read files as `read_images` does, and hand over the pixels of each in place of keeping them.

    Args:
        paths: as for `read_images`, likewise the following.
        size: see there.
        take: takes the index of a readable file among `paths`, and its pixels; in their order.
        grey_range: see there.
        channels: see there.
        within: see there.
        told: takes the number of files that are done, readable or not, after each of them.

    Returns:
        the results without `images`.
    """
    read = FilesRead({}, {}, {}, {}, grey_range, {}, set())
    work = partial(
        read_pixels_of, size=size, grey_range=grey_range, channels=channels, within=within
    )

    def note(index: int, outcome: Outcome[Pixels]) -> None:
        path, found = paths[index], outcome.value
        if found is None:
            read.skipped[path] = outcome.why
            if outcome.passing:
                read.passing.add(path)
        else:
            take(index, found.pixels)
            read.sizes[path] = found.size
            if found.deep is not None:
                read.deep[path] = found.deep
            notes = [*found.notes, *outcome.remarks]
            if notes:
                read.notes[path] = "; ".join(dict.fromkeys(notes))
        if told is not None:
            told(index + 1)

    for_each(paths, work, note)
    return read


def for_each(
    paths: Sequence[Path],
    work: Callable[[Path], T],
    take: Callable[[int, Outcome[T]], None],
) -> None:
    """Work on files in several threads; the results are taken here, in the order of the files.

    An exception of `take`, or an interrupt, waits for the files that are in hand, not for others.

    Args:
        paths: image files.
        work: returns the result for a file, or raises one of `UNREADABLE`.
        take: takes the index of a file among `paths`, and its outcome.
    """
    n_threads = min(MOST_THREADS, _processors())
    waiting: deque[Future[Outcome[T]]] = deque()
    with _remarks_by_thread() as remarks:
        pool = ThreadPoolExecutor(n_threads, "pymoo-nas-images")
        try:
            for taken in range(len(paths)):
                while len(waiting) < n_threads * AHEAD and taken + len(waiting) < len(paths):
                    path = paths[taken + len(waiting)]
                    waiting.append(pool.submit(_outcome, path, work, remarks))
                take(taken, waiting.popleft().result())
        finally:
            pool.shutdown(cancel_futures=True)


def _processors() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _outcome(path: Path, work: Callable[[Path], T], remarks: threading.local) -> Outcome[T]:
    heard: list[str] = []
    remarks.heard = heard
    try:
        return Outcome(work(path), "", heard)
    except UnidentifiedImageError:
        return Outcome(None, "no image", heard)
    except UNREADABLE as error:
        return Outcome(None, str(error) or type(error).__name__, heard, _may_pass(error))


def _may_pass(error: Exception) -> bool:
    """Tell a failure of the system, such as missing rights or memory, from that of a damaged file.

    PIL reports damage as an OSError too, but without the system's number of an error.
    """
    if isinstance(error, OSError):
        if error.errno is None:
            return "out of memory" in str(error)  # of a decoder
        return error.errno != errno.EINVAL  # a damaged file sends its reader to before its start
    return isinstance(error, MemoryError)


@contextmanager
def _remarks_by_thread() -> Iterator[threading.local]:
    """Let each thread that sets ``heard`` hear its own warnings; others are shown as before.

    Python's own recording of warnings belongs to the whole process, so that threads would hear
    each other's.
    """
    remarks = threading.local()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def hear(message: Any, *place: Any, **more: Any) -> None:
            heard = getattr(remarks, "heard", None)
            if heard is None:
                show(message, *place, **more)
            else:
                heard.append(" ".join(str(message).split()))

        warnings.simplefilter("always")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.showwarning = hear
        yield remarks
