"""Draw the pictures of the page "How it works".

    python docs/_scripts/drawings.py docs/figures

The pictures are SVG files without fonts: letters are paths. Cells are drawn by `plot_cell`, and the
kernels are measured here, so that both stay those of the package.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from pymoo_nas import CellSpace, Genotype, NASProblem, plot_cell
from pymoo_nas.kernels import measure_kernels

BLUE, ORANGE, GREEN, GREY, INK = "#DCEAF5", "#FBE6D4", "#D9EFE6", "#ECECEC", "#222222"
STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "svg.fonttype": "path",
    "svg.hashsalt": "pymoo-nas",
    "text.usetex": False,
}
PAPER_CELL = "5000|0001|0800"
GOOD, BAD = "0,8,0,0|8,0,0,0|0,8,0,0", "0,0,8,0|0,0,8,0|8,0,0,0"


class Box(NamedTuple):
    """A box by its centre, its size and its text, in inches."""

    x: float
    y: float
    text: str
    colour: str = BLUE
    width: float = 1.5
    height: float = 0.62


def page(width: float, height: float) -> tuple[Figure, Axes]:
    """Make an empty picture whose coordinates are inches."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    return figure, axes


def draw_box(axes: Axes, box: Box, **look: Any) -> None:
    """Draw a box with its text in the middle."""
    corner = (box.x - box.width / 2, box.y - box.height / 2)
    shape = "round,pad=0,rounding_size=0.08"
    line = {"edgecolor": INK, "linewidth": 1.0} | look
    axes.add_patch(
        FancyBboxPatch(corner, box.width, box.height, boxstyle=shape, facecolor=box.colour, **line)
    )
    axes.text(box.x, box.y, box.text, ha="center", va="center", color=INK, linespacing=1.3)


def draw_arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], text: str = "", **look: Any
) -> None:
    """Draw an arrow, with a text beside its middle."""
    line = {"arrowstyle": "-|>", "mutation_scale": 9, "color": INK, "linewidth": 1.0} | look
    axes.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **line))
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    axes.text(x, y + 0.06, text, ha="center", va="bottom", fontsize=8, color=INK)


def join(axes: Axes, left: Box, right: Box) -> None:
    """Draw an arrow from the right side of a box to the left side of the next one."""
    draw_arrow(axes, (left.x + left.width / 2, left.y), (right.x - right.width / 2, right.y))


def draw_search() -> Figure:
    """Draw the flow of a search, from genotypes to the trained network."""
    figure, axes = page(8.6, 4.4)
    top = [
        Box(0.95, 3.85, "genotypes\nsampled, crossed,\nmutated", GREY, height=0.8),
        Box(2.9, 3.85, "network\nof each genotype,\nuntrained", height=0.8),
        Box(4.85, 3.85, "one pass over\nthe probe: three\nkernels (N × N)", height=0.8),
        Box(7.2, 3.85, "three objectives\nntk · activation ·\ncorrelation", width=2.0, height=0.8),
    ]
    probe = Box(4.85, 2.9, "probe: N images", GREY, height=0.4)
    survival = Box(7.2, 2.0, "survival\nfirst front, then sum of\nranks (other generations)",
                   ORANGE, 2.0, 0.8)  # fmt: skip
    tournament = Box(4.3, 2.0, "tournament\na short training\n(every third generation)",
                     ORANGE, 1.9, 0.8)  # fmt: skip
    last = [
        Box(2.5, 0.6, "front", GREEN, width=1.1, height=0.5),
        Box(4.7, 0.6, "choice\nby ranks, gradients,\ntraining, …", GREEN, 1.7, 0.8),
        Box(7.2, 0.6, "final network\ntrained, tested,\nexported", GREEN, height=0.8),
    ]
    for box in (*top, probe, survival, tournament, *last):
        draw_box(axes, box)
    for boxes in (top, last):
        for left, right in pairwise(boxes):
            join(axes, left, right)
    draw_arrow(axes, (4.85, 3.1), (4.85, 3.45))
    draw_arrow(axes, (7.2, 3.45), (7.2, 2.4))
    draw_arrow(axes, (6.2, 2.0), (5.25, 2.0))
    axes.plot([3.35, 0.95], [2.0, 2.0], color=INK, linewidth=1.0)
    draw_arrow(axes, (0.95, 2.0), (0.95, 3.45))
    axes.text(2.1, 2.06, "survivors are parents\nof the next generation", fontsize=8, ha="center",
              va="bottom", color=INK)  # fmt: skip
    draw_arrow(axes, (2.5, 2.0), (2.5, 0.85))
    axes.text(2.57, 1.35, "at the end", fontsize=8, color=INK)
    return figure


def draw_network() -> Figure:
    """Draw the network of three cells (Fig. 3), with the sides of its maps for 32×32 images."""
    figure, axes = page(8.6, 2.2)
    boxes = [
        Box(0.55, 0.75, "image\n32×32", GREY, 0.8),
        Box(1.75, 0.75, "stem\n2×2 patches,\nwhitened", width=1.1, height=0.8),
        Box(3.1, 0.75, "cell 1\nwidth × 1", width=1.0),
        Box(4.4, 0.75, "cell 2\nwidth × 2", width=1.0),
        Box(5.7, 0.75, "cell 3\nwidth × 4", width=1.0),
        Box(6.95, 0.75, "average\npooling", ORANGE, 0.9),
        Box(8.05, 0.75, "linear\nlayer", ORANGE, 0.7),
    ]
    for box in boxes:
        draw_box(axes, box)
    for left, right in pairwise(boxes):
        join(axes, left, right)
    # The image goes into every later cell as well.
    axes.plot([0.55, 0.55, 5.35], [1.06, 1.75, 1.75], color=INK, linewidth=1.0)
    for x in (4.05, 5.35):
        draw_arrow(axes, (x, 1.75), (x, 1.06))
    axes.text(2.3, 1.81, "the image, halved by averages", fontsize=8, ha="center", color=INK)
    for x, side in ((3.1, "32×32"), (4.4, "16×16"), (5.7, "8×8")):
        axes.text(x, 0.36, side, fontsize=8, ha="center", va="top", color=INK)
    return figure


def draw_tournament() -> Figure:
    """Draw the network of a tournament (Fig. 2): two slots with three contenders each."""
    figure, axes = page(8.6, 3.1)
    middle = 1.5
    ends = [
        Box(0.55, middle, "image", GREY, 0.75, 0.5),
        Box(7.85, middle, "pooling,\nlinear layer", ORANGE, 1.1),
    ]
    shares = ((0.2, 0.7, 0.1), (0.5, 0.3, 0.2))
    for box in ends:
        draw_box(axes, box)
    left = ends[0].x + ends[0].width / 2
    for slot, (x, alphas) in enumerate(zip((2.35, 5.3), shares, strict=True)):
        mixed = Box(x + 1.5, middle, "mix", GREY, 0.55, 0.5)
        for row, alpha in enumerate(alphas):
            wins = alpha == max(alphas)
            cell = Box(x, 2.4 - 0.9 * row, f"cell {'ABCDEF'[3 * slot + row]}",
                       GREEN if wins else BLUE, 0.95, 0.5)  # fmt: skip
            draw_box(axes, cell, linewidth=2.0 if wins else 1.0)
            draw_arrow(axes, (left, middle), (cell.x - cell.width / 2, cell.y))
            end = (mixed.x - mixed.width / 2, middle)
            draw_arrow(axes, (cell.x + cell.width / 2, cell.y), end,
                       linewidth=0.6 + 3 * alpha, mutation_scale=11)  # fmt: skip
            axes.text(x, cell.y + 0.29, f"α = {alpha:.1f}", fontsize=8, ha="center", color=INK)
        draw_box(axes, mixed)
        axes.text(x, 0.12, f"slot {slot + 1}", fontsize=8, ha="center", color=INK)
        left = mixed.x + mixed.width / 2
    draw_arrow(axes, (left, middle), (ends[1].x - ends[1].width / 2, middle))
    return figure


def draw_kernels(genotypes: Sequence[str] = (GOOD, BAD)) -> Figure:
    """Measure and draw the three kernels of two networks on 24 digits."""
    problem = NASProblem("digits", n_images=24, seed=0)
    images = problem.scorer.probe.images
    space = problem.search_space
    figure = Figure(figsize=(8.6, 5.4), layout="constrained")
    titles = ("tangent kernel", "agreement of ReLU codes", "correlation of image gradients")
    panels = figure.subplots(len(genotypes), 3, squeeze=False)
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    for row, text in zip(panels, genotypes, strict=True):
        scores = problem.score_genotype(text).objectives
        kernels = measure_kernels(_network(space, text, problem), images)
        gradients = kernels.input_gradients.double()
        centred = gradients - gradients.mean(1, keepdim=True)
        unit = centred / centred.norm(dim=1, keepdim=True)
        matrices = (_correlated(kernels.ntk), _correlated(kernels.agreement), unit @ unit.T)
        for axes, matrix, name in zip(row, matrices, scores, strict=True):
            shown = axes.imshow(
                matrix.numpy(), vmin=0, vmax=1, cmap="viridis", interpolation="none"
            )
            axes.set(xticks=[], yticks=[], xlabel=f"{name} = {scores[name]:.1f}")
        row[0].set_ylabel(text, family="monospace", fontsize=8)
    figure.colorbar(shown, ax=panels, shrink=0.6, label="how alike two images are")
    return figure


def _network(space: Any, text: str, problem: NASProblem) -> Any:
    import torch  # noqa: PLC0415 - seeds the drawing's weights only

    torch.manual_seed(0)
    dataset = problem.dataset
    return space.build(space.parse(text), dataset.in_channels, dataset.n_classes)


def _correlated(kernel: Any) -> Any:
    """Scale a kernel to ones on its diagonal."""
    root = kernel.diagonal().sqrt()
    return kernel / (root[:, None] * root[None, :])


def draw_cell() -> Figure:
    """Draw the paper's example of a genotype as a cell (Fig. 1)."""
    return plot_cell(Genotype.parse(PAPER_CELL), list(CellSpace().operations))


PICTURES = {
    "search": draw_search,
    "cell": draw_cell,
    "network": draw_network,
    "tournament": draw_tournament,
    "kernels": draw_kernels,
}


def main(folder: Path) -> None:
    """Write every picture into a folder."""
    with matplotlib.rc_context(STYLE):
        for name, draw in PICTURES.items():
            draw().savefig(folder / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
