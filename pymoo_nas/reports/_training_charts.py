"""Charts of a training: its course over the epochs, and which classes were taken for which."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pymoo_nas.reports._altair import (
    BLUE,
    GREY,
    ORANGE,
    Spec,
    around,
    rows_of,
    spec_of,
    whole_numbers,
)

MAX_CLASSES = 60
"""Most classes of which the confusion matrix is drawn."""

WITH_NUMBERS = 20
"""Most classes whose confusion matrix has numbers in its fields."""

LINES = {
    "train_accuracy": ("training images", BLUE),
    "validation_accuracy": ("validation images", ORANGE),
}
"""Column of the epochs → name and colour of its line."""


def accuracy_chart(epochs: pd.DataFrame, best_epoch: int) -> Spec:
    """Accuracy over the epochs; a line marks the epoch whose weights were kept."""
    lines = {column: line for column, line in LINES.items() if epochs[column].notna().any()}
    rows = [
        {"epoch": int(epoch), "images": lines[column][0], "accuracy": 100 * float(value)}
        for column in lines
        for epoch, value in zip(epochs["epoch"], epochs[column], strict=True)
        if np.isfinite(value)
    ]
    colours = dict(lines.values())
    return _course(rows, "accuracy", "accuracy, %", colours, best_epoch)


def loss_chart(epochs: pd.DataFrame, best_epoch: int) -> Spec:
    """Training loss over the epochs."""
    rows = [
        {"epoch": int(epoch), "images": "training images", "loss": float(value)}
        for epoch, value in zip(epochs["epoch"], epochs["loss"], strict=True)
        if np.isfinite(value)
    ]
    return _course(rows, "loss", "loss", {"training images": BLUE}, best_epoch)


def _course(
    rows: list[dict[str, Any]],
    field: str,
    title: str,
    colours: dict[str, str],
    best_epoch: int,
) -> Spec:
    import altair as alt  # noqa: PLC0415 - an extra

    ends = around([row[field] for row in rows] or [0.0])
    last = max((row["epoch"] for row in rows), default=1)
    x = alt.X(
        "epoch:Q",
        scale=alt.Scale(domain=[0.5, last + 0.5], nice=False),
        axis=whole_numbers(last, "epoch"),
    )
    colour = alt.Color(
        "images:N", title=None, scale=alt.Scale(domain=[*colours], range=[*colours.values()])
    )
    tips = ["epoch:Q", "images:N", alt.Tooltip(f"{field}:Q", format=".4g", title=title)]
    lines = (
        alt.Chart(rows_of(rows))
        .mark_line(point=alt.OverlayMarkDef(size=45, filled=True))
        .encode(
            x=x,
            y=alt.Y(f"{field}:Q", title=title, scale=alt.Scale(domain=ends, nice=False)),
            color=colour,
            tooltip=tips,
        )
    )
    kept = alt.Chart(rows_of([{"epoch": best_epoch}])).mark_rule(color=GREY, strokeDash=[4, 3])
    return spec_of(alt.layer(kept.encode(x=x), lines).properties(width="container", height=240))


def confusion_chart(confusion: pd.DataFrame) -> Spec:
    """Test images by true and named class; a darker field has a larger share of its row."""
    import altair as alt  # noqa: PLC0415 - an extra

    # Numbers before the names keep classes of one name apart, and their order.
    names = [str(name) for name in confusion.columns]
    twice = len(set(names)) < len(names)
    shown = [f"{place} {name}" if twice else name for place, name in enumerate(names)]
    counts = confusion.to_numpy(dtype=int)
    totals = np.maximum(counts.sum(axis=1), 1)
    rows = [
        {
            "true": shown[true],
            "named": shown[named],
            "images": int(counts[true, named]),
            "share": round(float(counts[true, named] / totals[true]), 4),
        }
        for true in range(len(names))
        for named in range(len(names))
    ]
    small = len(names) <= WITH_NUMBERS
    tips: Any = [
        alt.Tooltip("true:N", title="class"),
        alt.Tooltip("named:N", title="named"),
        "images:Q",
        alt.Tooltip("share:Q", format=".1%"),
    ]
    angle = 0 if max(map(len, shown)) <= 3 else -60
    below = alt.Axis(labelLimit=90, labelAngle=angle)
    base = alt.Chart(rows_of(rows)).encode(
        x=alt.X("named:N", sort=shown, title="named class", axis=below),
        y=alt.Y("true:N", sort=shown, title="true class", axis=alt.Axis(labelLimit=90)),
        tooltip=tips,
    )
    is_right = "datum.true == datum.named"
    fields = base.mark_rect(cursor="default").encode(
        opacity=alt.Opacity(
            "share:Q", scale=alt.Scale(domain=[0, 1], range=[0.03, 0.8]), legend=None
        ),
        color=alt.condition(is_right, alt.value(BLUE), alt.value(ORANGE), empty=False),
    )
    layers = [fields]
    if small:
        numbers = base.transform_filter("datum.images > 0").mark_text(fontSize=11)
        layers.append(numbers.encode(text="images:Q"))
    step = 24 if small else max(6, 480 // len(names))
    return spec_of(alt.layer(*layers).properties(width="container", height=step * len(names)))
