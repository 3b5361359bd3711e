"""Run folders that were cut off, edited or made up: a clear error, or they work."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import Run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pymoo_nas.errors import PymooNasError
from pymoo_nas.runs import RunFolder
from pymoo_nas.search import resume

TEXTS = ("config.json", "checkpoint.json", "front.csv", "history.csv", "tournaments.json")

OTHER = (b"", b"null", b"[]", b"{}", b'{"a": NaN}', b"\xff\xfe", b"a,b\n1")

per_folder = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A folder for copies of a finished run."""
    return tmp_path / "copy"


def fresh(finished: Path, path: Path) -> RunFolder:
    """An undamaged copy, in place of the last."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(finished, path)
    return RunFolder(path)


def damaged(data: bytes, draw: Any) -> bytes:
    """The bytes cut off, with some of them replaced, or something else altogether."""
    kind = draw(st.sampled_from(["cut", "flip", "insert", "other"]))
    if kind == "cut":
        return data[: draw(st.integers(0, len(data) - 1))]
    if kind == "other":
        return draw(
            st.sampled_from([b"", b"null", b"[]", b"{}", b'{"a": NaN}', b"\xff\xfe", b"a,b\n1"])
        )
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(changed) - 1))
        if kind == "flip":
            changed[place] = draw(st.integers(0, 255))
        else:
            changed[place:place] = draw(st.binary(min_size=1, max_size=6))
    return bytes(changed)


def read_all(folder: RunFolder) -> None:
    """Everything that the commands read of a run."""
    folder.config()
    folder.front()
    folder.history()
    folder.choice()
    folder.problem()


@given(data=st.data())
@per_folder
def test_damaged_files(finished: Path, copied: Path, data: st.DataObject) -> None:
    """A damaged file is read as it is or refused by this package's errors, and stays as it is."""
    folder = fresh(finished, copied)
    name = data.draw(st.sampled_from(TEXTS))
    path = folder.path / name
    path.write_bytes(damaged(path.read_bytes(), data.draw))
    before = {p.name: p.read_bytes() for p in folder.path.iterdir() if p.is_file()}
    with contextlib.suppress(PymooNasError):
        read_all(folder)
    after = {p.name: p.read_bytes() for p in folder.path.iterdir() if p.is_file()}
    assert after == before


@given(data=st.data())
@per_folder
def test_edited_checkpoints(finished: Path, copied: Path, data: st.DataObject) -> None:
    """A checkpoint that was cut off or edited is never continued from."""
    folder = fresh(finished, copied)
    path = folder.path / "checkpoint.json"
    sound = path.read_bytes()
    path.write_bytes(damaged(sound, data.draw))
    if _same_values(path.read_bytes(), sound):
        return
    with pytest.raises(PymooNasError, match=r"checkpoint\.json"):
        resume(folder.path)


def _same_values(one: bytes, other: bytes) -> bool:
    """Whether only the white space of the JSON differs."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


@pytest.mark.parametrize(
    "values",
    [
        {"genotype": "1e400"},
        {"genotypes": "8000"},
        {"genotypes": [1, 2]},
        {"genotypes": []},
        {"genotypes": ["8000|"]},
        {"genotypes": ["9" * 5000]},
        [],
        "8000",
    ],
)
def test_made_up_choice(run: Run, finished: Path, values: Any) -> None:
    """A choice that names no architecture is refused by `train` before anything is written."""
    shutil.copytree(finished, "run")
    Path("run/choice.json").write_text(json.dumps(values), encoding="utf-8")
    code, _, err = run("train", "run", "--epochs", "1")
    assert code == 2, err
    assert err.startswith("error: ")
    assert not Path("run/final").exists()


@pytest.mark.parametrize("name", ["mit Leerzeichen", "日本語", "-dash", "a'b\"c", "x" * 200])
def test_names_of_folders(run: Run, finished: Path, name: str) -> None:
    """Run folders may have any name that the file system takes."""
    shutil.copytree(finished, f"./{name}")
    assert run("plot", f"./{name}")[0] == 0
    assert run("choose", f"./{name}")[0] == 0
    assert RunFolder(name).choice()
