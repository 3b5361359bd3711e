"""Tables and JSON in files, written so that a reader never finds half of one."""

from __future__ import annotations

import json
import os
import secrets
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from pymoo_nas.errors import RunError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Write a file under a temporary name in the same folder, then rename it.

    The block writes the temporary file and closes it. When the block ends, the bytes are forced to
    the disk and the file takes its name, in place of an older one. When the block raises, also on
    an interrupt, the temporary file is removed and what was there before stays as it was.

    Args:
        path: the file to make; its folder must exist.

    Yields:
        The temporary path. It keeps the suffix, from which some writers infer the format.

    Raises:
        FileNotFoundError: the block wrote nothing to the path that it was given.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "front.csv"
    >>> with atomic_write(target) as temporary:
    ...     written = temporary.write_text("ntk", encoding="utf-8")
    >>> target.read_text(encoding="utf-8")
    'ntk'
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        # Without this the rename can reach the disk before the bytes do.
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def expanded(path: str | Path) -> Path:
    """A path with the home folder for ``~``, which shells leave alone in ``--out=~/run``."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # of a user that there is not
        return Path(path)


def in_unicode(name: str | Path) -> str:
    r"""A name in a file system as text that can be written: a byte that is no UTF-8 as ``\xe9``.

    >>> in_unicode("caf\udce9/1.png")
    'caf\\xe9/1.png'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def in_shell(path: str | Path) -> str:
    """A path as one word of a command line that a user may copy.

    >>> in_shell("my runs/digits"), in_shell("-x"), in_shell("runs/digits")
    ("'my runs/digits'", './-x', 'runs/digits')
    """
    text = str(path)
    return shlex.quote(f".{os.sep}{text}" if text.startswith("-") else text)


def write_csv(path: Path, table: pd.DataFrame, *, index: bool = False) -> None:
    """Write a table; floats are written so that they read back to the bit."""
    with atomic_write(path) as temporary:
        # Of a relative path pandas would take a tilde for the home folder.
        table.to_csv(temporary.absolute(), index=index)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values as indented JSON.

    Raises:
        ValueError: a float that JSON cannot hold (NaN or infinity).
    """
    text = json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False)
    with atomic_write(path) as temporary:
        # A path may hold bytes that are no UTF-8; such an escape is JSON's own, and read back.
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def read_object(path: Path, absent: str, again: str) -> dict[str, Any]:
    """Read what `write_json` wrote of a mapping.

    Args:
        path: the file.
        absent: the message where there is none.
        again: what to do about a damaged one.

    Raises:
        RunError: no such file, or no JSON object.
    """
    if not os.path.isfile(path):
        raise RunError(absent)
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error}); {again}") from error
    if not isinstance(read, dict):
        raise RunError(f"{path}: damaged (no JSON object); {again}")
    return read
