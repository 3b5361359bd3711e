"""Write exported files whole, and refuse targets that hold something else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pymoo_nas._machine import atomic_write
from pymoo_nas.errors import ExportError
from pymoo_nas.training import MODEL_FILE, WEIGHTS_FILE


def check_file(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that is there, or whose folder cannot be written to.

    Raises:
        ExportError: see above.
    """
    try:
        if path.is_dir():
            raise ExportError(f"file {path} is a folder; choose another --out")
        if path.exists() and not overwrite:
            raise ExportError(
                f"file {path} is there already; choose another --out, or pass --overwrite "
                "(overwrite=True)"
            )
        _check_writable(path)
    except OSError as error:
        raise _unwritable(path, error) from error


def check_folder(path: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds anything but an earlier export that may be replaced.

    Raises:
        ExportError: see above.
    """
    try:
        if path.exists():
            files = {p.name for p in path.iterdir()} if path.is_dir() else {path.name}
            of_export = {MODEL_FILE, WEIGHTS_FILE, "__pycache__"}
            if files and (files - of_export or MODEL_FILE not in files):
                raise ExportError(
                    f"{path} holds something else than an exported network; choose another --out"
                )
            if files and not overwrite:
                raise ExportError(
                    f"folder {path} is there already; choose another --out, or pass --overwrite "
                    "(overwrite=True)"
                )
        _check_writable(path)
    except OSError as error:
        raise _unwritable(path, error) from error


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write files, each whole.

    Raises:
        ExportError: a file cannot be written.
    """
    for path, content in files.items():
        try:
            with atomic_write(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise _unwritable(path, error) from error


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files under another name, then give it its name.

    Raises:
        ExportError: the folder cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as temporary:
            made = Path(temporary) / path.name
            made.mkdir()
            for name, content in files.items():
                with atomic_write(made / name) as file:
                    file.write_bytes(content)
            if path.exists():
                path.rename(Path(temporary) / "earlier")
            shutil.move(made, path)
    except OSError as error:
        raise _unwritable(path, error) from error


def _check_writable(path: Path) -> None:
    """Make the folder of a target, and try to write there.

    Raises:
        OSError: that fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        pass  # better refused now than after the export


def _unwritable(path: Path, error: OSError) -> ExportError:
    return ExportError(f"{path} cannot be written ({error}); choose another --out")
