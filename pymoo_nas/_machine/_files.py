"""Write tables and JSON to files, so that a reader never finds half a file."""

from __future__ import annotations

import json
import math
import os
import secrets
import shlex
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from pymoo_nas.errors import RunError


@contextmanager
def atomic_write(path: str | Path, *, earlier: Path | None = None) -> Iterator[Path]:
    """Write a file under a temporary name in the same folder, then rename it.

    The block writes the temporary file and closes it. When the block ends, the bytes are forced to
    the disk and the file takes its name, in place of an older file. When the block raises, also on
    an interrupt, the temporary file is removed and an older file stays as it was.

    Args:
        path: file to write; its folder must exist.
        earlier: name that an older file takes, in the same folder; None replaces it.

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
        if earlier is not None and path.exists():
            path.replace(earlier)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def holds_other(path: Path, ours: Callable[[bytes], bool]) -> bool:
    """Whether a file is there that a command must not replace, as it did not write it.

    Args:
        path: of the file; it need not exist.
        ours: bytes of a file → whether it is an earlier one of the same kind.

    Raises:
        OSError: it cannot be read, or is a folder.
    """
    return os.path.exists(path) and not ours(path.read_bytes())


def expanded(path: str | Path) -> Path:
    """Replace ``~`` in a path by the home folder; shells leave it alone in ``--out=~/run``."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # the path names a user that does not exist
        return Path(path)


def in_unicode(name: str | Path) -> str:
    r"""Turn a file's name into text that can be shown: other bytes than UTF-8 become ``\xe9``.

    So do control characters, by which a name could clear a terminal or end a line.

    >>> in_unicode("caf\udce9/1.png"), in_unicode("b\x1b[2J\n.png")
    ('caf\\xe9/1.png', 'b\\x1b[2J\\n.png')
    """
    return without_controls(os.fsencode(name).decode("utf-8", "backslashreplace"))


def without_controls(text: str, allowed: str = "") -> str:
    r"""Write control characters as escapes, but for those that are allowed.

    >>> without_controls("a\tb\nc\x07", allowed="\n")
    'a\\tb\nc\\x07'
    """
    return "".join(
        ascii(c)[1:-1] if unicodedata.category(c) == "Cc" and c not in allowed else c for c in text
    )


def in_shell(path: str | Path) -> str:
    """Quote a path as one word of a command line that a user may copy.

    >>> in_shell("my runs/digits"), in_shell("-x"), in_shell("runs/digits")
    ("'my runs/digits'", './-x', 'runs/digits')
    """
    text = str(path)
    return shlex.quote(f".{os.sep}{text}" if text.startswith("-") else text)


def write_csv(path: Path, table: pd.DataFrame, *, index: bool = False) -> None:
    """Write a table; floats are written so that they read back to the bit."""
    with atomic_write(path) as temporary:
        # In a relative path pandas would read a tilde as the home folder.
        table.to_csv(temporary.absolute(), index=index)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values as indented JSON.

    Raises:
        ValueError: JSON cannot hold a float (NaN or infinity).
    """
    text = json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False)
    with atomic_write(path) as temporary:
        # A path may hold bytes that are not UTF-8. They are escaped as in JSON, and read back.
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def strict_json(text: str) -> Any:
    """Read JSON that holds finite numbers only, as all that this package writes.

    Python's own reader takes NaN and Infinity, and makes 1e999 infinite.

    Raises:
        ValueError: the text is no such JSON.

    >>> strict_json('{"rate": 1e-3}')
    {'rate': 0.001}
    """
    return json.loads(text, parse_float=_finite, parse_constant=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number


def read_object(path: Path, absent: str, again: str) -> dict[str, Any]:
    """Read a mapping that `write_json` wrote.

    Args:
        path: file to read.
        absent: message where there is no such file.
        again: advice for a damaged file, for the message.

    Raises:
        RunError: there is no such file, or it holds no JSON object.
    """
    if not os.path.isfile(path):
        raise RunError(absent)
    try:
        read = strict_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error}); {again}") from error
    if not isinstance(read, dict):
        raise RunError(f"{path}: damaged (no JSON object); {again}")
    return read


Kinds: TypeAlias = Mapping[str, type | tuple[type, ...]]
"""Name → the type, or the types, that a value of this name may have in a file."""

NUMBER = (int, float, type(None))
"""Kinds of a number that a file may lack."""


def check_kinds(path: Path, values: Mapping[str, Any], kinds: Kinds, again: str) -> None:
    """Refuse a file that was damaged or edited so that a value is of another kind.

    Args:
        path: of the file, for the message.
        values: what was read of it; names may be absent.
        kinds: the kinds to expect.
        again: advice for the message.

    Raises:
        RunError: a value has another type.
    """
    for name, kind in kinds.items():
        if name in values and not isinstance(values[name], kind):
            raise RunError(f"{path}: damaged ({name} is {values[name]!r:.80}); {again}")
