"""What is removed from the folder of kept pixels, and what stays."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from filelock import FileLock
from kept_images import Told, made_large
from made_images import make_folder

from pymoo_nas import load_dataset

DAY = 24 * 3600


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pymoo-nas" / "images"


def is_decoded(folder: Path) -> bool:
    """Whether loading a folder decodes it."""
    told = Told()
    load_dataset(folder, progress=told)
    return told.decoded


def aged(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then))


def account_in(place: Path) -> Path:
    (path,) = (path for path in place.rglob("*.json") if path.name.count(".") == 1)
    return path


def test_folder_that_is_away(tmp_path: Path) -> None:
    """Pixels stay while their folder is not there, as a drive that is not mounted."""
    first, second = (made_large(make_folder(tmp_path / name)) for name in "fg")
    load_dataset(first)
    first.rename(tmp_path / "away")
    assert is_decoded(second)
    (tmp_path / "away").rename(first)
    assert not is_decoded(first)


@pytest.mark.parametrize("other", ["host", "reader"])
def test_pixels_of_others(other: str, tmp_path: Path, cache: Path) -> None:
    """Pixels that another machine, or another version of Pillow, has kept stay beside new ones."""
    folder = made_large(make_folder(tmp_path / "f"))
    load_dataset(folder)
    account = account_in(cache)
    account.write_text(json.dumps(json.loads(account.read_text()) | {other: "another"}))
    for change in (1, 2):
        os.utime(folder / "b" / "1.png", ns=(change, change))
        assert is_decoded(folder)
    assert account.exists()
    assert len([*cache.rglob("*.pixels")]) == 2  # the first of the two changes has gone


def test_pixels_out_of_use(tmp_path: Path, cache: Path) -> None:
    """Pixels that were not used for 30 days are removed with all that belongs to them."""
    first, second = (made_large(make_folder(tmp_path / name)) for name in "fg")
    load_dataset(first)
    (place,) = cache.iterdir()
    aged(account_in(place), 31)
    load_dataset(second)
    assert {path.name for path in place.iterdir()} == {".lock"}
    assert len([*cache.rglob("*.pixels")]) == 1


def test_pixels_in_use(tmp_path: Path, cache: Path) -> None:
    """Pixels that were kept long ago stay where they were used since."""
    first, second = (made_large(make_folder(tmp_path / name)) for name in "fg")
    load_dataset(first)
    aged(account_in(cache), 31)
    assert not is_decoded(first)
    load_dataset(second)
    assert not is_decoded(first)


def test_killed_process(tmp_path: Path, cache: Path) -> None:
    """What a killed process has left of a folder is removed when the folder is decoded again."""
    folder = made_large(make_folder(tmp_path / "f"))
    load_dataset(folder)
    (place,) = cache.iterdir()
    (place / ".0123abcd.pixels").write_bytes(bytes(1000))
    os.utime(folder / "b" / "1.png", ns=(1, 1))
    load_dataset(folder)
    assert len(list(place.glob("*.pixels"))) == 1


@pytest.mark.parametrize("name", [".0123abcd.pixels", ".0123abcd.pixels-2", "0123.pixels"])
@pytest.mark.parametrize(("days", "is_locked"), [(2, False), (0.5, False), (2, True)])
def test_killed_process_elsewhere(
    name: str, days: float, is_locked: bool, tmp_path: Path, cache: Path
) -> None:
    """Unfinished pixels of another folder go after a day, unless a process works on them."""
    first, second = (made_large(make_folder(tmp_path / name)) for name in "fg")
    load_dataset(first)
    (place,) = cache.iterdir()
    unfinished = place / name
    unfinished.write_bytes(bytes(1000))
    aged(unfinished, days)
    lock = FileLock(place / ".lock")
    if is_locked:
        lock.acquire()
    load_dataset(second)
    lock.release()
    assert unfinished.exists() is (days < 1 or is_locked)
    assert not is_decoded(first)
