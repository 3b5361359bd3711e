"""Draw a cell as in Fig. 1 of the paper."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from pymoo_nas.errors import GenotypeError, OperationError
from pymoo_nas.plots._style import COLOURS, STYLE, Look, plain_legend
from pymoo_nas.spaces import Genotype, edges

_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)))
_DEAD, _DEAD_TEXT = "#C8C8C8", "#8A8A8A"


@matplotlib.rc_context(STYLE)
def plot_cell(genotype: Genotype, operation_names: Sequence[str]) -> Figure:
    """Draw a cell as in Fig. 1: nodes from input (left) to output, an arrow per used operation.

    Arrows carry the operation and its channels. The genotype is drawn as given; parts on no path
    from the input to the output are light grey.

    Raises:
        GenotypeError: the genotype is not a `Genotype`.
        OperationError: a block has another number of channel counts than there are names.
    """
    if not isinstance(genotype, Genotype):
        raise GenotypeError(f"plot: expected a Genotype, got {genotype!r}; use Genotype.parse")
    if isinstance(operation_names, str) or len(operation_names) != genotype.n_operations:
        raise OperationError(
            f"plot: genotype {genotype} has {genotype.n_operations} operations, got the names "
            f"{operation_names!r}; give one name per operation, in the order of the search space"
        )
    return _CellDrawing(genotype, operation_names).draw()


@dataclass
class _Arrow:
    """Arrow of one used operation; heights are in inches above the line of the nodes."""

    source: int
    target: int
    operation: int
    label: str
    live: bool
    lane: float = 0.0  # height of its horizontal part
    start: float = 0.0  # height at which it leaves its source
    end: float = 0.0  # height at which it enters its target


class _CellDrawing:
    """Lays out a cell in inches, then draws it.

    The horizontal part of each arrow has a lane of its own, and labels stand where no arrow rises
    or falls. The lanes in the middle join neighbours; longer arrows arch around these lanes.
    """

    pitch, port, box, margin = 0.2, 0.085, 0.62, 0.3  # lanes, arrow ends, box width, border

    def __init__(self, genotype: Genotype, names: Sequence[str]) -> None:
        self.genotype, self.names = genotype, names
        self.live = live = set(genotype.live_nodes())
        self.nodes = range(genotype.n_nodes + 1)
        self.arrows = [
            _Arrow(source, target, i, f"{names[i]} · {count}", source in live and target in live)
            for source, target, block in genotype.items()
            for i, count in enumerate(block)
            if count
        ]
        self.leaving = [[a for a in self.arrows if a.source == node] for node in self.nodes]
        self.entering = [[a for a in self.arrows if a.target == node] for node in self.nodes]
        ports = [max(map(len, pair)) for pair in zip(self.leaving, self.entering, strict=True)]
        self.half = [max(0.24, (count + 1) * self.port / 2) for count in ports]
        self._assign_lanes()
        for ends, name in ((self.leaving, "start"), (self.entering, "end")):
            for arrows in ends:
                for row, arrow in enumerate(sorted(arrows, key=lambda a: a.lane)):
                    setattr(arrow, name, (row - (len(arrows) - 1) / 2) * self.port)
        # Arrows that rise higher get more room.
        self.fan = min(1.1, 0.45 + 0.12 * max((abs(a.lane) for a in self.arrows), default=0))
        step = self.box + 2 * self.fan + _widest(a.label for a in self.arrows) + 0.2
        self.x = [self.margin + self.box / 2 + step * node for node in self.nodes]

    def _assign_lanes(self) -> None:
        """Stack the blocks, shortest first, each on the side with fewer obstacles."""
        # taken[side][gap]: how far from the middle the lanes between two neighbours reach.
        taken = {side: [0.0] * self.genotype.n_nodes for side in (+1, -1)}
        for source, target in sorted(edges(self.genotype.n_nodes), key=lambda e: e[1] - e[0]):
            arrows = [arrow for arrow in self.leaving[source] if arrow.target == target]
            height, side = len(arrows) * self.pitch, +1
            if target == source + 1:
                bottom = -height / 2
                taken[+1][source] = taken[-1][source] = height / 2
            elif arrows:
                boxes = max(self.half[source + 1 : target])
                floors = {s: max(boxes, *taken[s][source:target]) for s in (+1, -1)}
                side = min(floors, key=floors.__getitem__)
                bottom = floors[side] + 0.05
                taken[side][source:target] = [bottom + height] * (target - source)
            # The first operation of the space is uppermost on both sides.
            for row, arrow in enumerate(arrows if side < 0 else reversed(arrows)):
                arrow.lane = side * (bottom + (row + 0.5) * self.pitch)

    def draw(self) -> Figure:
        """Draw the figure, as large as the cell needs."""
        used = sorted({arrow.operation for arrow in self.arrows if arrow.live})
        entries = {f" {self.names[i]}": Line2D([], [], **self._line(i)) for i in used}
        if not all(arrow.live for arrow in self.arrows):
            entries[" on no path from input to output"] = Line2D([], [], color=_DEAD, linewidth=1.5)
        entry = 0.6 + _widest(entries)
        width = max(self.x[-1] + self.box / 2 + self.margin, 3.6, entry + 0.4)
        columns = max(1, min(len(entries), int(width / entry)))
        title = textwrap.fill(str(self.genotype).replace("|", "| "), int(width / 0.08))
        title = title.replace("| ", "|")
        title += "" if self.live else "\nthe output is not connected to the input"
        above = 0.25 + 0.17 * (title.count("\n") + 1)
        below = 0.25 + 0.21 * math.ceil(len(entries) / columns)
        reach = [*(a.lane for a in self.arrows), *self.half, *(-half for half in self.half)]
        low, high = min(reach) - self.pitch / 2 - below, max(reach) + self.pitch / 2 + above

        figure = Figure(figsize=(width, high - low))
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(low, high))
        axes.set_axis_off()
        figure.text(0.5, 1 - 0.1 / (high - low), title, ha="center", va="top", family="monospace")
        for arrow in self.arrows:
            self._draw_arrow(axes, arrow)
        for node in self.nodes:
            self._draw_node(axes, node)
        if entries:
            handles, labels = list(entries.values()), list(entries)
            plain_legend(axes.legend(handles, labels, loc="lower center", ncols=columns))
        return figure

    def _line(self, operation: int) -> Look:
        dashes = _DASHES[operation // len(COLOURS) % len(_DASHES)]
        return {"color": COLOURS[operation % len(COLOURS)], "linestyle": dashes, "linewidth": 1.5}

    def _draw_arrow(self, axes: Axes, arrow: _Arrow) -> None:
        left, right = self.x[arrow.source] + self.box / 2, self.x[arrow.target] - self.box / 2
        rise = [(left + self.fan / 2, arrow.start), (left + self.fan / 2, arrow.lane)]
        fall = [(right - self.fan / 2, arrow.lane), (right - self.fan / 2, arrow.end)]
        flat = [(left + self.fan, arrow.lane), (right - self.fan, arrow.lane)]
        points = [(left, arrow.start), *rise, *flat, *fall, (right, arrow.end)]
        curve = Path(points, [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3])
        line = self._line(arrow.operation) if arrow.live else {"color": _DEAD, "linewidth": 1.2}
        head: Look = {"arrowstyle": "-|>", "mutation_scale": 7, "zorder": 1 + arrow.live}
        axes.add_patch(FancyArrowPatch(path=curve, gid="operation", **head, **line))
        gap = (arrow.source + arrow.target - 1) // 2  # the middle gap of the arrow
        text: Look = {
            "color": "k" if arrow.live else _DEAD_TEXT,
            "fontsize": 8,
            "parse_math": False,
        }
        text |= {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.8}, "zorder": 3}
        x = (self.x[gap] + self.x[gap + 1]) / 2
        axes.text(x, arrow.lane, arrow.label, ha="center", va="center", gid="label", **text)

    def _draw_node(self, axes: Axes, node: int) -> None:
        x, half, live = self.x[node], self.half[node], node in self.live
        line: Look = {
            "edgecolor": "k" if live else _DEAD,
            "facecolor": "#EAF2F8" if live else "white",
        }
        shape: Look = {"boxstyle": "round,pad=0,rounding_size=0.08", "gid": "node", "zorder": 4}
        corner = (x - self.box / 2, -half)
        axes.add_patch(FancyBboxPatch(corner, self.box, 2 * half, **shape, **line))
        name = "input" if node == 0 else "output" if node == self.nodes[-1] else str(node)
        colour = "k" if live else _DEAD_TEXT
        axes.text(x, 0, name, ha="center", va="center", zorder=5, color=colour)


def _widest(labels: Iterable[str]) -> float:
    """Measure the widest label in inches, at 8 points; 0.5 where there are no labels."""
    plain = (label.strip().replace("$", "S") or "x" for label in labels)  # a pair of $ is a formula
    paths = (TextPath((0, 0), label, size=8, usetex=False) for label in plain)
    return max((float(path.get_extents().width) / 72 for path in paths), default=0.5)
