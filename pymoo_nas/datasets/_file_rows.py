"""Rows of pixels in a file that is mapped into memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pymoo_nas.datasets._decoding import in_place


class CannotKeepError(Exception):
    """The cache cannot be written; the text says why."""


class FileRows:
    """Rows in a file, see `Rows`; written as a file, since a full disk kills who writes to a map.

    Args:
        path: file that is written, of a temporary name.
        final: name that the file takes when it is finished, before it is mapped: some systems
            rename no file that is mapped.
        n: number of rows.
        shape: (H, W, C).

    Raises:
        CannotKeepError: also by the methods; the file cannot be written.
    """

    def __init__(self, path: Path, final: Path, n: int, shape: tuple[int, int, int]) -> None:
        self.path = path
        self.final = final
        self.shape = shape
        self._row_bytes = int(np.prod(shape))
        with kept_or_refused(path.parent):
            free = shutil.disk_usage(path.parent).free
            if n * self._row_bytes > free:
                raise CannotKeepError(
                    f"{n * self._row_bytes / 2**30:.1f} GiB are needed in {path.parent}, "
                    f"{free / 2**30:.1f} GiB are free"
                )
            # Without a buffer: with one, closing fails again where writing has failed.
            self._file = path.open("w+b", buffering=0)

    def close(self) -> None:
        """Close the file; further calls do nothing."""
        self._file.close()

    def write(self, row: int, pixels: NDArray[np.uint8]) -> None:
        """See `Rows`."""
        content = memoryview(np.broadcast_to(pixels, self.shape).tobytes())
        with kept_or_refused(self.path.parent):
            self._file.seek(row * self._row_bytes)
            while content:
                content = content[self._file.write(content) :]

    def finish(self, order: Sequence[int], channels: int) -> NDArray[np.uint8]:
        """See `Rows`; the file is closed, and takes its final name."""
        shape = (*self.shape[:2], channels)
        with kept_or_refused(self.path.parent):
            if in_place(order) and channels == self.shape[2]:
                self._file.truncate(len(order) * self._row_bytes)
                os.fsync(self._file.fileno())
            else:
                self._rewrite(order, channels)
            self.close()
            self.path.replace(self.final)
        return mapped(self.final, (len(order), *shape))

    def _rewrite(self, order: Sequence[int], channels: int) -> None:
        """Write the rows to a file of their own in this order, and put it in place of the first."""
        second = self.path.with_name(f"{self.path.name}-2")
        try:
            with second.open("wb") as written:
                for row in order:
                    self._file.seek(row * self._row_bytes)
                    pixels = np.frombuffer(self._file.read(self._row_bytes), np.uint8)
                    written.write(pixels.reshape(self.shape)[..., :channels].tobytes())
                written.flush()
                os.fsync(written.fileno())
            self.close()
            second.replace(self.path)
        finally:
            second.unlink(missing_ok=True)


def mapped(path: Path, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Map a file of uint8 into memory, read-only: its pages are read as they are used.

    Raises:
        ValueError: the file has another size.
        OSError: there is no such file.
    """
    expected = int(np.prod(shape, dtype=np.int64))
    if path.stat().st_size != expected:
        raise ValueError(f"{path}: {path.stat().st_size} bytes; expected {expected}")
    return np.asarray(np.memmap(path, np.uint8, "r", shape=tuple(shape)))


@contextmanager
def kept_or_refused(place: Path) -> Iterator[None]:
    """Turn an error of the system into one that says that a cache cannot be kept."""
    try:
        yield
    except OSError as error:
        raise CannotKeepError(f"{place} cannot be written to ({error})") from error
