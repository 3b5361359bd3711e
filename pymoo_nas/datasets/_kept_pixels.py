"""Keep the decoded pixels of an image folder in a file that is mapped into memory.

A cache holds a folder's pixels at one size under a key: a checksum of the names, sizes and times of
the files and of everything else that decides the pixels. ``KEY.json`` is written last: where it is,
``KEY.pixels`` is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import secrets
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import PIL
from filelock import FileLock, Timeout
from PIL import Image
from PIL import ImageFile as PilFile

from pymoo_nas._machine import LOCK, Report, atomic_write, cache_folder, free_memory
from pymoo_nas.datasets._decoding import (
    Decoded,
    ImageFile,
    MemoryRows,
    arranged,
    decode_files,
    sliced,
    tell,
)
from pymoo_nas.datasets._file_rows import CannotKeepError, FileRows, kept_or_refused, mapped
from pymoo_nas.datasets._kept_cleaning import Origin, clean, remove
from pymoo_nas.datasets._many_images import FilesRead
from pymoo_nas.errors import DatasetError

FORMAT = 2
"""Version of the cache; it is raised when the same files would be decoded to other pixels."""

SMALL_FILES = 16 * 2**20
"""Bytes of image files up to which nothing is kept: they are decoded in about two seconds."""

SMALL_PIXELS = 64 * 2**20
"""Bytes of pixels up to which nothing is kept."""

WAIT = 0.5
"""Seconds between two looks at a cache that another process is writing."""


SHARE_OF_MEMORY = 0.5
"""Share of the free memory that pixels may take where they cannot be kept."""


KNOWN = ("mean", "std", "fingerprint", "val_fingerprint")
"""Properties of a `Dataset` that take a pass over all pixels to find."""


class KeptPixels:
    """The cache of one image folder at one size.

    Args:
        folder: the image folder.
        files: its image files.
        size: (H, W) of the pixels.
        key: see `key_of`.

    Attributes:
        place: folder of the cache.
    """

    def __init__(
        self, folder: Path, files: Sequence[ImageFile], size: tuple[int, int], key: str
    ) -> None:
        self.folder = folder
        self.files = files
        self.size = size
        self.key = key
        where = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:16]
        self.place = cache_folder() / "images" / f"{where}-{size[0]}x{size[1]}"

    def read(self) -> Decoded | None:
        """Return what is kept; None where nothing is, or what is there is damaged."""
        paths = {self._name(file.path): file.path for file in self.files}
        try:
            kept = json.loads(self._file("json").read_text("ascii"))
            skipped = {paths[name]: why for name, why in kept["skipped"].items()}
            readable = {*paths.values()} - {*skipped}
            parts = arranged(self.files, readable)
            shape = tuple(map(int, kept["shape"]))
            if shape[0] != sum(map(len, parts.values())):
                return None
            (low, high), grey_range = kept["sizes"], kept["grey_range"]
            pixels = mapped(self.pixels, shape)
            with contextlib.suppress(OSError):  # a cache that may only be read
                os.utime(self._file("json"))  # pixels that are not used are removed, see `clean`
            return Decoded(
                *sliced(self.files, parts, pixels),
                skipped,
                {paths[name]: note for name, note in kept["notes"].items()},
                ((low[0], low[1]), (high[0], high[1])),
                None if grey_range is None else (grey_range[0], grey_range[1]),
                {part: int(level) for part, level in kept["brightest"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
            return None  # to be decoded again

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Lock the cache against other processes, which wait for its end.

        What is not whole at the end is removed.

        Yields:
            a temporary path for `FileRows`.

        Raises:
            CannotKeepError: the cache cannot be written.
        """
        with kept_or_refused(self.place):
            self.place.mkdir(parents=True, exist_ok=True)
            # A lock without the system's help would outlive a process that is killed.
            lock = FileLock(self.place / LOCK, fallback_to_soft=False)
            self._wait_for(lock)
        try:
            temporary = self.place / f".{secrets.token_hex(4)}.pixels"
            try:
                yield temporary
            finally:
                remove(temporary)
                if not self._file("json").exists():
                    remove(self.pixels)
        finally:
            lock.release()

    @property
    def pixels(self) -> Path:
        """File of the pixels."""
        return self._file("pixels")

    def clear(self) -> None:
        """Remove what is of no more use, see `clean`; the caller holds the lock."""
        clean(self.place, self.key, _origin())

    def keep(self, decoded: Decoded) -> None:
        """Write the account of decoded pixels, which makes them whole.

        Args:
            decoded: what was decoded to `pixels`.

        Raises:
            CannotKeepError: the account cannot be written.
        """
        first = decoded.images["train"]
        shape = (sum(map(len, decoded.images.values())), *first.shape[1:])
        account = {
            **_origin()._asdict(),
            "folder": os.path.realpath(self.folder),
            "shape": shape,
            "skipped": {self._name(path): why for path, why in decoded.skipped.items()},
            "notes": {self._name(path): note for path, note in decoded.notes.items()},
            "sizes": decoded.sizes,
            "grey_range": decoded.grey_range,
            "brightest": decoded.brightest,
        }
        with kept_or_refused(self.place), atomic_write(self._file("json")) as written:
            # ASCII: names of files may hold bytes that are no UTF-8, which JSON escapes.
            written.write_text(json.dumps(account), "ascii")

    def known(self) -> dict[str, Any] | None:
        """Return the values of `KNOWN` that `remember` has kept; None where they are not there."""
        try:
            known = json.loads(self._file("known.json").read_text("ascii"))
        except (OSError, ValueError):
            return None
        whole = isinstance(known, dict) and {*known} >= {*KNOWN}
        return {name: known[name] for name in KNOWN} if whole else None

    def remember(self, known: Mapping[str, Any]) -> None:
        """Keep plain values of `KNOWN`."""
        # Where they cannot be kept, they are found again.
        with contextlib.suppress(OSError), atomic_write(self._file("known.json")) as written:
            written.write_text(json.dumps(known), "ascii")

    def _file(self, ending: str) -> Path:
        return self.place / f"{self.key}.{ending}"

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.folder))

    def _wait_for(self, lock: FileLock) -> None:
        work = "waiting for another process, which decodes the same images"
        has_waited = False
        while not lock.is_locked:
            try:
                lock.acquire(timeout=WAIT)
            except Timeout:
                has_waited = True
                tell(Report(work, 0))
        if has_waited:
            tell(Report(work, 1, 1))


def decoded_pixels(
    folder: Path,
    files: Sequence[ImageFile],
    classes: Sequence[Path],
    size: tuple[int, int],
    check: Callable[[FilesRead], None],
) -> tuple[Decoded, KeptPixels | None]:
    """Decode the files of a folder, or take from the cache what was decoded before.

    Args:
        folder: the image folder, which links must not leave.
        files: its image files.
        classes: the class folders of all parts, also those without images.
        size: (H, W) to which each image is resized.
        check: see `decode_files`.

    Returns:
        the pixels, the same with a cache as without; and the cache, or None where nothing is kept.

    Raises:
        DatasetError: what `check` raises; or pixels that neither the cache nor memory can hold.

    Warns:
        UserWarning: the cache cannot be written.
    """
    kept = kept_pixels(folder, files, classes, size)
    if kept is not None:
        found = kept.read()
        if found is not None:
            return found, kept
        try:
            decoded = _kept_at_once(kept, check)
            return decoded, None if decoded.passing else kept
        except CannotKeepError as error:
            _refuse_or_warn(kept, str(error))
    return decode_files(files, size, MemoryRows, check, within=folder), None


def _kept_at_once(kept: KeptPixels, check: Callable[[FilesRead], None]) -> Decoded:
    """Decode a folder to its cache; what another process has kept in the meantime is taken."""
    with kept.writing() as temporary, ExitStack() as opened:
        found = kept.read()
        if found is not None:
            return found
        with kept_or_refused(kept.place):
            kept.clear()
        started = time.perf_counter()
        n_files = len(kept.files)
        height, width = kept.size
        tell(
            Report(
                "decoding images",
                0,
                n_files,
                found=f"decoding {n_files:,} images of {kept.folder} to {height}×{width} pixels; "
                f"this is done once, and kept in {kept.place}",
            )
        )

        def rows_of(n: int, shape: tuple[int, int, int]) -> FileRows:
            return opened.enter_context(closing(FileRows(temporary, kept.pixels, n, shape)))

        decoded = decode_files(kept.files, kept.size, rows_of, check, within=kept.folder)
        if not decoded.passing:  # else the files that were refused would be left out for ever
            kept.keep(decoded)
        seconds = time.perf_counter() - started
        n_bytes = sum(array.nbytes for array in decoded.images.values())
        told = f"decoded in {seconds:.0f} s: {n_bytes / 2**30:.2f} GiB of pixels"
        tell(Report("decoding images", n_files, n_files, found=told))
        return decoded


def _refuse_or_warn(kept: KeptPixels, why: str) -> None:
    """Say that pixels stay in memory; or refuse, where memory cannot hold them.

    Raises:
        DatasetError: memory cannot hold them.
    """
    needed = len(kept.files) * kept.size[0] * kept.size[1] * 3
    there = f"image folder {kept.folder}: its decoded images take up to {needed / 2**30:.2g} GiB"
    remedy = "set XDG_CACHE_HOME to a folder with room and rights, or give a smaller --image-size"
    if needed > SHARE_OF_MEMORY * free_memory():
        raise DatasetError(
            f"{there}, which cannot be kept on the disk ({why}), and {free_memory() / 2**30:.2g} "
            f"GiB of memory are free; {remedy}"
        )
    warnings.warn(
        f"{there} of memory, and are decoded again each time: they cannot be kept on the disk "
        f"({why}); {remedy}",
        stacklevel=6,
    )


def kept_pixels(
    folder: Path, files: Sequence[ImageFile], classes: Sequence[Path], size: tuple[int, int]
) -> KeptPixels | None:
    """Find the cache of a folder; None where its images are so few that nothing is kept."""
    n_bytes, key = key_of(folder, files, classes, size)
    if n_bytes <= SMALL_FILES and len(files) * size[0] * size[1] * 3 <= SMALL_PIXELS:
        return None
    return KeptPixels(folder, files, size, key)


def key_of(
    folder: Path, files: Sequence[ImageFile], classes: Sequence[Path], size: tuple[int, int]
) -> tuple[int, str]:
    """Add up the bytes of files, and compute the checksum of all that decides their pixels.

    Names, numbers, sizes and times stand for the content of the files. Links count too, as those
    that leave the folder are not read.
    """
    digest = hashlib.sha256()
    digest.update(repr((_origin().reader, size)).encode())
    for path in classes:
        digest.update(os.fsencode(path.relative_to(folder)) + b"\0")
    within = os.path.realpath(folder)
    # A link to a class folder counts as one for all files in it.
    inside = {parent: _is_inside(parent, within) for parent in {file.path.parent for file in files}}
    n_bytes = 0
    for file in files:
        is_link = file.path.is_symlink()
        links = (is_link, _is_inside(file.path, within) if is_link else inside[file.path.parent])
        try:
            found = os.stat(file.path)
            n_bytes += found.st_size
            state = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        except OSError:
            state = (-1, -1, -1, -1)  # a broken link
        digest.update(os.fsencode(file.path.relative_to(folder)))
        digest.update(repr((file.part, file.label, *links, *state)).encode())
    return n_bytes, digest.hexdigest()[:32]


def _origin() -> Origin:
    reader = (FORMAT, PIL.__version__, Image.MAX_IMAGE_PIXELS, PilFile.LOAD_TRUNCATED_IMAGES)
    return Origin(platform.node(), repr(reader))


def _is_inside(path: Path, real_folder: str) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(real_folder)
