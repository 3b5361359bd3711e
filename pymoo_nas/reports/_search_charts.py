"""Charts of a search: its candidates, its course, the descent of a cell, its tournaments."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pymoo_nas.reports._altair import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    Spec,
    around,
    rows_of,
    spec_of,
    whole_numbers,
)
from pymoo_nas.reports._candidates import STATUSES, Candidates, Measure
from pymoo_nas.reports._descent import Ancestor
from pymoo_nas.scores import is_sound, objectives_in, title_of_objective

COLOURS = (ORANGE, BLUE, GREEN, PINK, GREY)
"""Colours of `STATUSES`."""


def front_chart(candidates: Candidates) -> Spec:
    """All candidates, on axes that the reader chooses; a brush tells the page which are meant.

    The axes end at robust limits. A candidate beyond them stands at the border, as a triangle.
    """
    import altair as alt  # noqa: PLC0415 - an extra

    measures = candidates.measures
    second = measures[min(1, len(measures) - 1)]
    chosen = {"x_axis": measures[0], "y_axis": second}
    axes = [_axis_choice(name, measure, measures) for name, measure in chosen.items()]
    limits = alt.param(name="limits", value={m.key: [m.low, m.high] for m in measures})
    titles = alt.param(name="titles", value={m.key: m.title for m in measures})
    brush = alt.selection_interval(name="brush")
    shown = alt.selection_point(name="shown", fields=["status"], bind="legend")
    tips = [alt.Tooltip("genotype:N", title="title"), alt.Tooltip("image:N", title="image")]
    tips += [alt.Tooltip("status:N"), alt.Tooltip("number:Q", title="number")]
    tips += [
        alt.Tooltip(f"{m.key}:Q", title=m.title, format=",d" if m.whole else ",.4g")
        for m in measures
    ]
    # Opacity, not colour: a candidate outside the brush still shows what it is.
    faded = alt.condition(shown & brush, alt.value(0.85), alt.value(0.12))
    points = (
        alt.Chart(rows_of(candidates.rows), name="front")
        .transform_calculate(**_placed("x"), **_placed("y"))
        .transform_calculate(
            beyond="datum.x != datum[x_axis] || datum.y != datum[y_axis]",
        )
        .transform_filter("isValid(datum[x_axis]) && isValid(datum[y_axis])")
        .mark_point(filled=True, size=70, stroke="white", strokeWidth=0.5)
        .encode(
            x=alt.X(
                "x:Q", title=None, scale=alt.Scale(domain=alt.ExprRef("limits[x_axis]"), nice=False)
            ),
            y=alt.Y(
                "y:Q", title=None, scale=alt.Scale(domain=alt.ExprRef("limits[y_axis]"), nice=False)
            ),
            color=alt.Color(
                "status:N",
                title=None,
                sort=list(STATUSES),
                legend=alt.Legend(offset=24),
                scale=alt.Scale(domain=list(STATUSES), range=list(COLOURS)),
            ),
            shape=alt.condition(
                "datum.beyond", alt.value("triangle-up"), alt.value("circle"), empty=False
            ),
            opacity=faded,
            tooltip=tips,
        )
        .add_params(*axes, limits, titles, brush, shown)
    )
    below = _axis_title("x_axis", x="width", y="height + 34", align="right", arrow="→")
    above = _axis_title("y_axis", x="0", y="-10", align="left", arrow="↑")
    return spec_of((points + below + above).properties(width="container", height=420))


def _axis_choice(name: str, first: Measure, measures: Sequence[Measure]) -> Any:
    import altair as alt  # noqa: PLC0415 - an extra

    bind = alt.binding_select(
        options=[measure.key for measure in measures],
        labels=[measure.title for measure in measures],
        name=f"{'horizontal' if name == 'x_axis' else 'vertical'} axis ",
    )
    return alt.param(name=name, value=first.key, bind=bind)


def _robust(axis: str) -> Any:
    """A scale that ends at the limits of the column on an axis."""
    import altair as alt  # noqa: PLC0415 - an extra

    return alt.Scale(domain=alt.ExprRef(f"limits[{axis}_axis]"), nice=False)


def _placed(axis: str) -> dict[str, str]:
    """The place on an axis: the value, or the end of the axis where the value lies beyond."""
    column = f"{axis}_axis"
    return {axis: f"clamp(datum[{column}], limits[{column}][0], limits[{column}][1])"}


def _axis_title(param: str, *, x: str, y: str, align: Any, arrow: str) -> Any:
    """The title of an axis as a text, since Vega-Lite's own titles cannot change."""
    import altair as alt  # noqa: PLC0415 - an extra

    text = f"titles[{param}] + ' {arrow}'" if arrow == "→" else f"'{arrow} ' + titles[{param}]"
    return (
        alt.Chart(rows_of([{}]), name=f"title_of_{param}")
        .mark_text(align=align, baseline="middle", fontSize=12, limit=320)
        .encode(
            x=alt.value(alt.ExprRef(x)),
            y=alt.value(alt.ExprRef(y)),
            text=alt.value(alt.ExprRef(text)),
        )
    )


def evolution_charts(
    history: pd.DataFrame, tournaments: Collection[int]
) -> dict[str, tuple[str, Spec]]:
    """Objective → its title and a chart of the best of each generation, and the best so far."""
    usable = is_sound(history) & history["feasible"].to_numpy(dtype=bool)
    held = sorted(set(tournaments))
    charts = {}
    for name in objectives_in(history):
        best = history[usable].groupby("generation")[name].min()
        if len(best):
            title = title_of_objective(name)
            charts[name] = (title, _evolution_chart(best, title, held))
    return charts


def _evolution_chart(best: pd.Series[float], title: str, tournaments: Sequence[int]) -> Spec:
    import altair as alt  # noqa: PLC0415 - an extra

    lines = ("best of the generation", "best so far")
    values = {lines[0]: best, lines[1]: best.cummin()}
    generations = best.index.tolist()
    rows = [
        {"generation": int(generation), "what": what, "value": float(value)}
        for what, series in values.items()
        for generation, value in zip(generations, series, strict=True)
    ]
    last = int(best.index.max())
    across = alt.Scale(domain=[0.5, last + 0.5], nice=False)
    axis = whole_numbers(last, "generation")
    x = alt.X("generation:Q", scale=across, axis=axis)
    ends = alt.Scale(domain=around(best), nice=False)
    y = alt.Y("value:Q", title=title, scale=ends)
    colour = alt.Color(
        "what:N", title=None, scale=alt.Scale(domain=list(lines), range=[GREY, BLUE])
    )
    tips = [
        alt.Tooltip("what:N"),
        "generation:Q",
        alt.Tooltip("value:Q", format=".5g", title=title),
    ]
    base = alt.Chart(rows_of(rows)).encode(x=x, y=y, color=colour)
    is_so_far = f"datum.what == '{lines[1]}'"
    steps = base.transform_filter(is_so_far).mark_line(interpolate="step-after", strokeWidth=2.5)
    dots = base.mark_point(filled=True, size=45).encode(tooltip=tips)
    layers = [steps, dots]
    if tournaments:
        bands = rows_of([{"from": t - 0.5, "to": t + 0.5} for t in tournaments if t <= last])
        held = alt.Chart(bands).mark_rect(color=GREY, opacity=0.2)
        layers.insert(0, held.encode(x=alt.X("from:Q", scale=across), x2="to:Q"))
    return spec_of(alt.layer(*layers).properties(width="container", height=240))


def descent_chart(ancestors: Sequence[Ancestor]) -> Spec:
    """The ancestors of a cell by generation; a line joins a parent to its child."""
    import altair as alt  # noqa: PLC0415 - an extra

    rows, places = _placed_by_generation(ancestors)
    known = [
        (ancestor, parent)
        for ancestor in ancestors
        for parent in ancestor.parents or ()
        if parent in places
    ]
    lines = [
        dict(zip(("x", "y", "x2", "y2"), (*places[parent], *places[child.number]), strict=True))
        for child, parent in known
    ]
    last = max(ancestor.generation for ancestor in ancestors)
    x_scale = alt.Scale(domain=[0.6, last + 0.4], nice=False)
    x = alt.X("x:Q", scale=x_scale, axis=whole_numbers(last, "generation"))
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(padding=25))
    edges = alt.Chart(rows_of(lines)).mark_rule(color=GREY, strokeWidth=1.5)
    names = ["title", "image", "number", "made by", "parents"]
    fields = ["genotype", "image", "number", "mutation", "parents"]
    tips = [
        alt.Tooltip(f"{field}:N", title=name) for field, name in zip(fields, names, strict=True)
    ]
    colour = alt.condition("datum.chosen", alt.value(ORANGE), alt.value(BLUE), empty=False)
    nodes = alt.Chart(rows_of(rows)).mark_point(filled=True, size=160, opacity=1)
    labels = alt.Chart(rows_of(rows)).mark_text(dy=-15, fontSize=11)
    height = 90 + 44 * max(int(row["y"]) for row in rows)
    chart = alt.layer(
        edges.encode(x=x, y=y, x2="x2:Q", y2="y2:Q"),
        nodes.encode(x=x, y=y, color=colour, tooltip=tips),
        labels.encode(x=x, y=y, text="number:N"),
    )
    return spec_of(chart.properties(width="container", height=height))


def _placed_by_generation(
    ancestors: Iterable[Ancestor],
) -> tuple[list[dict[str, Any]], dict[int, tuple[int, int]]]:
    """Rows of the chart; and number → generation and height, one above the other."""
    rows, places = [], {}
    counts: dict[int, int] = {}
    for ancestor in ancestors:
        height = counts.get(ancestor.generation, 0)
        counts[ancestor.generation] = height + 1
        places[ancestor.number] = (ancestor.generation, height)
        rows.append(
            {
                "x": ancestor.generation,
                "y": height,
                "number": ancestor.number,
                "genotype": ancestor.genotype,
                "mutation": ancestor.made_by,
                "parents": ancestor.parents_in_words,
                "chosen": ancestor.first,
            }
        )
    return rows, places


def tournament_chart(tournament: Mapping[str, Any]) -> Spec:
    """The share of every contender of a tournament, slot by slot; the winner is marked."""
    import altair as alt  # noqa: PLC0415 - an extra

    rows = []
    slots = zip(tournament["slots"], tournament["alphas"], strict=True)
    for slot, (genotypes, alphas) in enumerate(slots, 1):
        winner = int(np.argmax(alphas))
        for place, (genotype, alpha) in enumerate(zip(genotypes, alphas, strict=True)):
            rows.append(
                {
                    "slot": f"slot {slot}",
                    "contender": f"{slot}.{place + 1}  {genotype}",
                    "genotype": genotype,
                    "alpha": float(f"{alpha:.6g}"),
                    "result": "winner" if place == winner else "contender",
                }
            )
    names = ["winner", "contender"]
    tips = [
        alt.Tooltip("genotype:N", title="title"),
        alt.Tooltip("image:N", title="image"),
        "slot:N",
        alt.Tooltip("alpha:Q", format=".3f"),
        "result:N",
    ]
    bars = (
        alt.Chart(rows_of(rows))
        .mark_bar()
        .encode(
            x=alt.X(
                "alpha:Q",
                title="share (alpha)",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(tickCount=5),
            ),
            y=alt.Y("contender:N", sort=None, title=None, axis=alt.Axis(labelLimit=130)),
            color=alt.Color(
                "result:N", title=None, scale=alt.Scale(domain=names, range=[ORANGE, GREY])
            ),
            tooltip=tips,
        )
    )
    return spec_of(bars.properties(width="container", height=17 * len(rows)))
