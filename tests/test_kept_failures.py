"""Failures and other processes while the pixels of image folders are kept."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from kept_images import Told, assert_equal, is_mapped, made_large
from made_images import make_folder

from pymoo_nas import Dataset, load_dataset
from pymoo_nas._machine import Report, free_memory
from pymoo_nas.errors import DatasetError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pymoo-nas" / "images"


@pytest.mark.parametrize("work", ["looking at images", "decoding images"])
def test_interrupt(work: str, tmp_path: Path, cache: Path) -> None:
    """An interrupt in the middle leaves nothing behind, and the next load decodes all files."""
    folder = made_large(make_folder(tmp_path / "f", n=20))

    def interrupt(report: Report) -> None:
        if report.work == work and report.done == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_dataset(folder, progress=interrupt)
    assert {path.name for path in cache.rglob("*") if path.is_file()} <= {".lock"}
    told = Told()
    kept = load_dataset(folder, progress=told)
    assert {r.done for r in told if r.work == work} >= {*range(1, 41)}
    os.truncate(folder / "a" / "0.png", 1000)
    assert_equal(load_dataset(folder), kept)


def test_no_place_for_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be kept, images are in memory, and a warning says what to do."""
    folder = make_folder(tmp_path / "f")
    expected = load_dataset(folder)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="decoded again each time.*XDG_CACHE_HOME") as caught:
        found = load_dataset(made_large(folder))
    assert caught[0].filename == __file__
    assert not is_mapped(found.train_images)
    assert_equal(expected, found)


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX systems")
@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_disk_without_locks(error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system locks no files, images are in memory at once, and a warning says why."""
    import fcntl

    folder = make_folder(tmp_path / "f")
    expected = load_dataset(folder)
    made_large(folder)

    def refuse(*_: Any) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match=os.strerror(error)) as caught:
        found = load_dataset(folder)
    assert len(caught) == 1
    assert not is_mapped(found.train_images)
    assert_equal(expected, found)


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX systems")
def test_full_disk(tmp_path: Path, cache: Path) -> None:
    """A disk that is full in the middle costs memory, leaves nothing behind, and ends nothing."""
    import resource

    folder = make_folder(tmp_path / "f")
    expected = load_dataset(folder)
    made_large(folder)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.warns(UserWarning, match="decoded again each time"):
            found = load_dataset(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_equal(expected, found)
    assert {path.name for path in cache.rglob("*") if path.is_file()} <= {".lock"}


def test_neither_disk_nor_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that neither the disk nor memory can hold are refused before they are decoded."""
    folder = make_folder(tmp_path / "f")
    for index in range(int(free_memory() / (3 * 4096**2)) + 1):
        (folder / "a" / f"link{index}.png").symlink_to("0.png")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DatasetError, match=r"GiB.*XDG_CACHE_HOME.*--image-size"):
        load_dataset(folder, image_size=4096)


def test_errors_leave_no_cache(tmp_path: Path, cache: Path) -> None:
    """A class without a readable image is refused each time, and nothing is kept."""
    folder = made_large(make_folder(tmp_path / "f"))
    (folder / "c").mkdir()
    (folder / "c" / "x.png").write_text("no image")
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"f/c: no readable image.*c/x\.png \(no image\)"):
            load_dataset(folder)
    assert {path.name for path in cache.rglob("*") if path.is_file()} <= {".lock"}


def test_two_at_once(tmp_path: Path, cache: Path) -> None:
    """Who comes second waits for the first, and takes what the first has decoded."""
    folder = made_large(make_folder(tmp_path / "f", n=10))
    in_the_middle, second_waits = threading.Event(), threading.Event()
    found: dict[str, Dataset] = {}

    def pause(report: Report) -> None:
        if report.work == "decoding images" and report.done == 10:
            in_the_middle.set()
            assert second_waits.wait(60)

    told: list[str] = []

    def note(report: Report) -> None:
        told.append(report.work)
        if "waiting" in report.work:
            second_waits.set()

    def first() -> None:
        found["first"] = load_dataset(folder, progress=pause)

    thread = threading.Thread(target=first)
    thread.start()
    assert in_the_middle.wait(60)
    found["second"] = load_dataset(folder, progress=note)
    thread.join()
    assert "decoding images" not in told
    assert_equal(found["first"], found["second"])
    assert len(list(cache.rglob("*.pixels"))) == 1


@pytest.mark.slow
def test_two_processes_at_once(tmp_path: Path, cache: Path) -> None:
    """Two processes that begin together find the same images, decoded once."""
    folder = made_large(make_folder(tmp_path / "f", n=300))
    code = (
        "import sys; from pymoo_nas import load_dataset\n"
        "input(); told = []\n"
        "found = load_dataset(sys.argv[1], progress=lambda report: told.append(report.work))\n"
        "print(found.fingerprint['sha256'], 'decoding images' in told)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    printed = sorted(process.communicate(timeout=120)[0].split() for process in both)
    assert [words[1] for words in printed] == ["False", "True"]
    assert printed[0][0] == printed[1][0] == load_dataset(folder).fingerprint["sha256"]
    assert len(list(cache.rglob("*.pixels"))) == 1
