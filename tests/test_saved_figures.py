"""Figures in files."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from pymoo_nas.errors import RunError
from pymoo_nas.networks import PAPER_OPERATIONS
from pymoo_nas.plots import plot_cell, save_figure
from pymoo_nas.spaces import Genotype


def test_save_png(tmp_path: Path) -> None:
    """The file is a PNG of 150 dots per inch and the only one in the folder."""
    figure = Figure(figsize=(4, 3))
    save_figure(figure, tmp_path / "cell.png")
    content = (tmp_path / "cell.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    size = struct.unpack(">II", content[16:24])
    assert size == tuple(round(150 * inches) for inches in figure.get_size_inches())
    assert [path.name for path in tmp_path.iterdir()] == ["cell.png"]


@pytest.mark.parametrize(
    ("name", "start"), [("a.pdf", b"%PDF"), ("a.svg", b"<?xml"), ("a.JPG", b"\xff\xd8")]
)
def test_save_suffix_decides(tmp_path: Path, name: str, start: bytes) -> None:
    """The suffix, in either case, decides the format."""
    save_figure(plot_cell(Genotype.parse("0804"), PAPER_OPERATIONS), str(tmp_path / name))
    assert (tmp_path / name).read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["front", "front.", "front.bmpx", "front.csv"])
def test_save_unknown_suffix(tmp_path: Path, name: str) -> None:
    """An unknown suffix is refused with those that are known, and nothing is written."""
    with pytest.raises(RunError, match=r"expected one of \.png, \.pdf"):
        save_figure(Figure(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_save_absent_folder(tmp_path: Path) -> None:
    """An absent folder is an error that names it, and is not created."""
    with pytest.raises(RunError, match=r"there is no folder .*runs; create it first"):
        save_figure(Figure(), tmp_path / "runs" / "front.png")
    assert not list(tmp_path.iterdir())


def test_save_over_a_folder(tmp_path: Path) -> None:
    """What the system refuses becomes an error of this package, without a file left behind."""
    (tmp_path / "front.png").mkdir()
    with pytest.raises(RunError, match="cannot be written"):
        save_figure(Figure(), tmp_path / "front.png")
    assert [path.name for path in tmp_path.iterdir()] == ["front.png"]
