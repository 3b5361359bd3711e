"""Make folders, and keep a folder for one process at a time."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pymoo_nas.errors import RunError

LOCK = ".lock"


def cache_folder() -> Path:
    """Name the user's folder for files that can be made again; it need not exist.

    ``$XDG_CACHE_HOME/pymoo-nas`` where the variable is set, else the usual place of the system.
    """
    given = os.environ.get("XDG_CACHE_HOME")
    if given:
        return Path(given) / "pymoo-nas"
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "pymoo-nas" / "Cache"
    try:
        home = Path.home()
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir()) / "pymoo-nas"
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "pymoo-nas"


def make_folder(path: Path) -> None:
    """Make a folder and the folders above it, where they are missing.

    Raises:
        RunError: the folder cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"folder {path} cannot be made ({error}); choose another --out") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a folder against other processes; the system unlocks it if this process dies.

    Raises:
        RunError: another process works on the folder, or the folder cannot be made or written to.
    """
    make_folder(path)
    lock = FileLock(path / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise RunError(
            f"folder {path} is in use by another process; wait for it, or choose another folder"
        ) from error
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield
    finally:
        lock.release()


def check_writable(path: Path) -> None:
    """Refuse a folder that cannot be written to before the work whose result it is to hold.

    Raises:
        RunError: see above.
    """
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> RunError:
    """Make the error for a folder that cannot be written to."""
    return RunError(
        f"folder {path} cannot be written to ({error}); make room, get the rights, or copy it to "
        "where you have them"
    )
