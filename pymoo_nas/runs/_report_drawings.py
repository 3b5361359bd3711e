"""Drawings of the cells that matter in a report, few enough for one page."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from PIL import Image

from pymoo_nas.reports import Content, candidates_of, descent
from pymoo_nas.runs._config import RunConfig
from pymoo_nas.runs._report_trainings import png_uri
from pymoo_nas.spaces import Genotype, cell_operations

MAX_DRAWINGS = 60
"""Most cells that are drawn in a report."""

MAX_BYTES = 1_000_000
"""Most bytes of all drawings together, about."""

DOTS_PER_INCH = 90

COLOURS = 32
"""Colours of a drawing; its lines and letters have fewer."""


def with_drawings(content: Content, config: RunConfig) -> Content:
    """A content with drawings of its cells, where its search space has such drawings.

    Args:
        content: of a run.
        config: of the run.
    """
    described = config.get("search_space") or {}
    operations = cell_operations(described)
    if operations is None:
        space = described.get("space") or "of the user's own"
        return replace(
            content,
            no_drawings=f"Architectures of the search space {space} have no drawing; their "
            "genotypes are their whole description.",
        )
    drawings: dict[str, str] = {}
    alts: dict[str, str] = {}
    n_bytes = 0
    for text in dict.fromkeys(_important(content)):
        if len(drawings) == MAX_DRAWINGS or n_bytes > MAX_BYTES:
            break
        genotype = Genotype.parse(text, n_operations=len(operations))
        drawings[text] = _drawn(genotype, operations)
        alts[text] = _in_words(genotype, operations)
        n_bytes += len(drawings[text])
    return replace(content, drawings=drawings, alts=alts)


def _important(content: Content) -> Iterator[str]:
    """Genotypes to draw, the most important first."""
    yield from content.cells
    yield from content.chosen
    first = content.chosen[:1] or tuple(content.front["genotype"][:1])
    for text in first:
        for ancestor in descent(content.history, text, at_random=content.at_random):
            yield ancestor.genotype
    for row in reversed(candidates_of(content).rows):
        if row["status"] != "other":
            yield row["genotype"]
    for tournament in reversed(content.tournaments):
        yield from tournament["winners"]


def _drawn(genotype: Genotype, operations: list[str]) -> str:
    """A drawing as a data URI."""
    from pymoo_nas.plots import plot_cell  # noqa: PLC0415 - matplotlib is heavy

    buffer = io.BytesIO()
    plot_cell(genotype, operations).savefig(buffer, dpi=DOTS_PER_INCH, format="png")
    with Image.open(buffer) as picture:
        return png_uri(picture.convert("RGB").quantize(COLOURS))


def _in_words(genotype: Any, operations: list[str]) -> str:
    """A cell in words, for people who do not see its drawing."""
    names = {0: "the input", genotype.n_nodes: "the output"}
    parts = []
    for source, target, block in genotype.items():
        used = [f"{name} {count}" for name, count in zip(operations, block, strict=True) if count]
        if used:
            ends = (names.get(node, f"node {node}") for node in (source, target))
            parts.append(f"from {' to '.join(ends)} {', '.join(used)}")
    return f"Cell {genotype}: {'; '.join(parts)}"
