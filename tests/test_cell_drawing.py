"""The picture of a cell: what is drawn, and that nothing covers anything else."""

from __future__ import annotations

import itertools
from typing import Any

import matplotlib
import numpy as np
import pytest
from figures import draw, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from pymoo_nas.errors import GenotypeError, OperationError
from pymoo_nas.networks import OPERATIONS, PAPER_OPERATIONS
from pymoo_nas.plots import plot_cell
from pymoo_nas.spaces import Genotype, edges

NAMES = list(OPERATIONS)


def parts(figure: Figure, gid: str) -> list[Any]:
    """The arrows ("operation"), their "label"s or the "node"s of a drawn cell."""
    return list(figure.findobj(lambda artist: artist.get_gid() == gid))


def arrow_paths(figure: Figure) -> list[Path]:
    """The arrows as curves in inches, without their heads."""
    return [arrow._path_original for arrow in parts(figure, "operation")]


def legend_of(figure: Figure) -> Any:
    return figure.axes[0].get_legend()


@st.composite
def genotypes(draw: st.DrawFn) -> Genotype:
    n_nodes, n_operations = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    count = st.one_of(st.just(0), st.integers(0, 4096))
    block = st.tuples(*[count] * n_operations)
    return Genotype(tuple(draw(block) for _ in edges(n_nodes)))


def full_cell(n_nodes: int = 4, channels: int = 4096) -> Genotype:
    return Genotype(((channels,) * len(NAMES),) * len(edges(n_nodes)))


def label_boxes(figure: Figure) -> list[Bbox]:
    draw(figure)
    boxes = [matplotlib.text.Text.get_window_extent(label) for label in parts(figure, "label")]
    return [figure.axes[0].transData.inverted().transform_bbox(box) for box in boxes]


@given(genotypes())
@settings(max_examples=10)
def test_cell_arrows_and_labels(genotype: Genotype) -> None:
    """One arrow and one label per used operation; labels are apart and inside the picture."""
    names = NAMES[: genotype.n_operations]
    figure = plot_cell(genotype, names)
    used = [
        f"{name} · {count}"
        for _, _, block in genotype.items()
        for name, count in zip(names, block, strict=True)
        if count
    ]
    assert len(parts(figure, "operation")) == len(used)
    assert sorted(label.get_text() for label in parts(figure, "label")) == sorted(used)
    assert len(parts(figure, "node")) == genotype.n_nodes + 1
    boxes = label_boxes(figure)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    view = figure.axes[0].viewLim
    assert all(view.contains(*box.min) and view.contains(*box.max) for box in boxes)


def test_cell_no_arrow_runs_through_a_label() -> None:
    """In the fullest cell of 4 nodes and 9 operations each label meets its own arrow only."""
    figure = plot_cell(full_cell(), NAMES)
    paths = arrow_paths(figure)
    boxes = label_boxes(figure)
    assert len(paths) == len(boxes) == 90
    for row, box in enumerate(boxes):
        through = [i for i, path in enumerate(paths) if path.intersects_bbox(box, filled=False)]
        assert through == [row]


def test_cell_everything_is_inside() -> None:
    """Legend and title neither leave the picture nor touch what is between them."""
    for genotype in (Genotype.parse("0,0,0,0,0,0,0,0,1"), full_cell(1), full_cell()):
        figure = plot_cell(genotype, NAMES)
        boxes = label_boxes(figure)
        axes = figure.axes[0]
        back = axes.transData.inverted()
        legend = back.transform_bbox(legend_of(figure).get_window_extent())
        title = back.transform_bbox(figure.texts[0].get_window_extent())
        view = axes.viewLim
        assert view.y0 <= legend.y0 < legend.y1 < min(box.y0 for box in boxes)
        assert max(box.y1 for box in boxes) < title.y0 < title.y1 <= view.y1
        assert view.x0 <= min(legend.x0, title.x0) < max(legend.x1, title.x1) <= view.x1


def test_cell_arrows_join_their_nodes() -> None:
    """An arrow leaves the right side of its source and enters the left side of its target."""
    figure = plot_cell(Genotype.parse("5000|0001|0800"), PAPER_OPERATIONS)
    nodes = parts(figure, "node")
    left = [node.get_x() for node in nodes]
    right = [node.get_x() + node.get_width() for node in nodes]
    ends = [np.asarray(path.vertices)[[0, -1], 0] for path in arrow_paths(figure)]
    assert left == sorted(left)
    assert np.allclose(ends, [(right[0], left[1]), (right[0], left[2]), (right[1], left[2])])


def test_cell_operations_look_different() -> None:
    """Nine operations have nine different pairs of colour and dashes, which the legend repeats."""
    figure = plot_cell(full_cell(1), NAMES)
    looks = [
        (arrow.get_edgecolor(), str(arrow.get_linestyle())) for arrow in parts(figure, "operation")
    ]
    assert len(set(looks)) == 9
    legend = legend_of(figure)
    assert [text.get_text().strip() for text in legend.get_texts()] == NAMES
    colours = [to_rgba(handle.get_color()) for handle in legend.get_lines()]
    assert colours == [colour for colour, _ in looks]


def test_cell_dead_parts_are_grey() -> None:
    """Blocks and nodes on no path from the input to the output are drawn, in grey."""
    figure = plot_cell(Genotype.parse("0000|0003|0800"), PAPER_OPERATIONS)
    grey = to_rgba("#C8C8C8")
    assert [arrow.get_edgecolor() == grey for arrow in parts(figure, "operation")] == [False, True]
    nodes = parts(figure, "node")
    assert [node.get_edgecolor() == grey for node in nodes] == [False, True, False]
    assert "on no path from input to output" in texts(figure)


@pytest.mark.parametrize("text", ["0000", "0000|0000|0800", "8000|0000|0000"])
def test_cell_not_connected(text: str) -> None:
    """A cell whose output nothing reaches is drawn and says so."""
    figure = plot_cell(Genotype.parse(text), PAPER_OPERATIONS)
    draw(figure)
    assert "the output is not connected to the input" in texts(figure)


def test_cell_awkward_names() -> None:
    """Names with a first underscore or with formula signs are written as they are."""
    figure = plot_cell(Genotype.parse("12"), ["_mine", "$a_$"])
    draw(figure)
    legend = [text.get_text().strip() for text in legend_of(figure).get_texts()]
    assert legend == ["_mine", "$a_$"]


@pytest.mark.parametrize("names", [["conv3x3"], NAMES, "abcd", []])
def test_cell_names_that_do_not_fit(names: list[str]) -> None:
    """A wrong number of names is refused, and so is one text in place of a list."""
    with pytest.raises(OperationError, match="0804 has 4 operations"):
        plot_cell(Genotype.parse("0804"), names)


def test_cell_of_text() -> None:
    """Text in place of a genotype is refused with what to call."""
    with pytest.raises(GenotypeError, match=r"got '0804'; use Genotype\.parse"):
        plot_cell("0804", PAPER_OPERATIONS)  # type: ignore[arg-type]
