"""The sections of a report that tell of the search and of what was chosen."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pymoo_nas.reports._candidates import STATUSES, TITLES, candidates_of
from pymoo_nas.reports._content import Content
from pymoo_nas.reports._descent import descent, is_known
from pymoo_nas.reports._html import Html, code, element, joined, pairs, table
from pymoo_nas.reports._page import Page
from pymoo_nas.reports._search_charts import (
    descent_chart,
    evolution_charts,
    front_chart,
    tournament_chart,
)
from pymoo_nas.scores import SIZES, STEADINESS, objectives_in, title_of_objective

MAX_TOURNAMENTS = 12
"""Most tournaments that a report shows, the last ones."""

MAX_ROWS = 200
"""Most rows of a table in a report."""


def add_searched(page: Page, content: Content) -> None:
    """What was searched, and the commands that made the run."""
    parts: list[Any] = []
    for title, values in content.settings.items():
        parts += [element("h3", title), pairs(values)]
    page.section("searched", "What was searched", *parts)
    told: list[Any] = [
        element(
            "p",
            "The commands follow from the settings that the run folder keeps. They are for a shell "
            f"in the folder that holds {content.name}.",
        )
    ]
    for command in content.commands:
        told.append(element("h3", command.made))
        if command.text:
            told.append(element("pre", code(command.text), tabindex="0"))
        if command.note:
            told.append(element("p", command.note))
    page.section("commands", "Commands", *told)


def add_front(page: Page, content: Content) -> None:
    """The interactive front, the table that follows its brush, and the front as a table."""
    candidates = candidates_of(content)
    parts: list[Any] = []
    if candidates.rows and candidates.measures:
        counts = dict.fromkeys(STATUSES, 0)
        for row in candidates.rows:
            counts[row["status"]] += 1
        in_words = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        parts.append(
            element(
                "p",
                "All objectives are minimised. Point at a candidate to see it, drag a rectangle to "
                "list candidates in the table below, click on the legend to see one kind alone. "
                "The axes end where outliers begin; triangles at the border lie beyond.",
            )
        )
        parts.append(
            page.chart(
                "front",
                front_chart(candidates),
                f"Scatter plot of candidates: {in_words}. The axes are chosen below the chart.",
            )
        )
        columns = [["number", "number"], ["genotype", "genotype"], ["status", "status"]]
        columns += [[measure.key, measure.title] for measure in candidates.measures]
        page.data["brushed"] = columns
        parts.append(element("h3", "Candidates in the rectangle", id="brushed-title"))
        parts.append(element("p", "", id="brushed-count", aria_live="polite"))
        parts.append(element("div", id="brushed-table", class_="scroll", tabindex="0"))
    else:
        parts.append(element("p", "No candidate has scores that can be drawn."))
    if candidates.left_out:
        left = [f"{count} × {reason}" for reason, count in candidates.left_out.items()]
        parts.append(element("p", f"Without scores, and not in the chart: {'; '.join(left)}."))
    if candidates.thinned:
        parts.append(
            element(
                "p",
                f"{candidates.thinned:,} candidates of no front are left out, evenly over the "
                "search, to keep this file small; history.csv has all of them.",
            )
        )
    if {*STEADINESS} <= {*content.history.columns}:
        parts.append(
            element(
                "p",
                "The search measured the gradients of what could survive. Candidates that are not "
                "steady are in no front where others are, even if their objectives are better.",
            )
        )
    parts.append(element("h3", "The front that the search kept"))
    parts.append(_front_table(content))
    page.section("front", "Front", *parts)


def _front_table(content: Content) -> Html:
    front = content.front
    names = objectives_in(content.history)
    columns = [n for n in dict.fromkeys([*names, *SIZES]) if n in front]
    titles = [TITLES.get(name) or title_of_objective(name) for name in columns]
    known = [content.accuracies.get(text) for text in front["genotype"]]
    with_known = any(value is not None for value in known)
    rows = []
    for row, accuracy in zip(front.head(MAX_ROWS).to_dict("records"), known, strict=False):
        values = [_value(row[name]) for name in columns]
        rows.append([code(row["genotype"]), *values, *([accuracy] if with_known else [])])
    if not rows:
        return element("p", "The search kept no candidate: none was within the limits.")
    extra = [content.accuracy_title] if with_known else []
    cut = f", the first {MAX_ROWS} of {len(front)}" if len(front) > MAX_ROWS else ""
    return table(["genotype", *titles, *extra], rows, f"Best sum of ranks first{cut}")


def _value(value: Any) -> Any:
    """Whole numbers of a column with gaps are whole again."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) >= 1000
    return int(value) if whole else value


def add_evolution(page: Page, content: Content) -> None:
    """The best of each generation in each objective."""
    held = [int(t["generation"]) for t in content.tournaments]
    charts = evolution_charts(content.history, held)
    if not charts:
        page.section("evolution", "Evolution", element("p", "No candidate has scores."))
        return
    bands = " Grey bands mark generations with a tournament." if held else ""
    figures = [
        page.chart(
            f"evolution-{place}",
            spec,
            f"{title} over the generations: from {_first_and_last(content.history, name)}.",
        )
        for place, (name, (title, spec)) in enumerate(charts.items())
    ]
    told = element("p", f"Lower is better in every chart.{bands}")
    page.section("evolution", "Evolution", told, element("div", *figures, class_="grid"))


def _first_and_last(history: pd.DataFrame, name: str) -> str:
    """The best of the first generation and of all, in words."""
    usable = history[(history["degenerate"] == "") & history["feasible"]]
    best = usable.groupby("generation")[name].min()
    return f"{best.iloc[0]:.4g} in the first to {best.min():.4g} at best"


def add_descent(page: Page, content: Content) -> None:
    """The genealogy of the cell that was chosen, or of the best of the front."""
    subject = content.chosen[0] if content.chosen else next(iter(content.front["genotype"]), "")
    parts: list[Any] = []
    if not subject:
        page.section("genealogy", "Genealogy", element("p", "The front is empty."))
        return
    which = "The chosen architecture" if content.chosen else "The best of the front"
    parts.append(element("p", f"{which}: ", code(subject)))
    ancestors = descent(content.history, subject, at_random=content.at_random)
    if not ancestors:
        parts.append(element("p", "It is not among the candidates of this search."))
    elif not is_known(ancestors):
        parts.append(
            element(
                "p",
                "Its parents are not known: an earlier version searched, which did not keep them, "
                "or operators of the user's own.",
            )
        )
    elif len(ancestors) == 1:
        parts.append(element("p", f"It has no parents: it was {ancestors[0].made_by}."))
    else:
        parts.append(
            page.chart(
                "genealogy",
                descent_chart(ancestors),
                f"The ancestors of candidate {ancestors[0].number} by generation: "
                f"{len(ancestors) - 1}. "
                "The numbers are rows of history.csv; the table below says the same.",
            )
        )
    if len(ancestors) > 1:
        rows = [
            [a.number, a.generation, code(a.genotype), a.made_by, a.parents_in_words]
            for a in ancestors
        ]
        columns = ["number", "generation", "genotype", "made by", "parents"]
        parts.append(table(columns, rows, "The cell and its ancestors, nearest first"))
    page.section("genealogy", "Genealogy", *parts)


def add_tournaments(page: Page, content: Content) -> None:
    """The shares of the contenders of each tournament."""
    held = content.tournaments
    if not held:
        told = element("p", "The search held no tournament.")
        page.section("tournaments", "Tournaments", told)
        return
    parts: list[Any] = [
        element(
            "p",
            "In each slot, contenders train side by side in one network. The largest share (alpha) "
            "wins the slot.",
        )
    ]
    if len(held) > MAX_TOURNAMENTS:
        parts.append(element("p", f"The last {MAX_TOURNAMENTS} of {len(held)} are shown."))
    for tournament in held[-MAX_TOURNAMENTS:]:
        generation = int(tournament["generation"])
        winners = joined([code(text) for text in tournament["winners"]], ", ")
        parts += [
            element("h3", f"Generation {generation}"),
            page.chart(
                f"tournament-{generation}",
                tournament_chart(tournament),
                f"Shares of {sum(map(len, tournament['slots']))} contenders in "
                f"{len(tournament['slots'])} slots.",
            ),
            element("p", "Winners: ", winners),
        ]
    page.section("tournaments", "Tournaments", *parts)


def add_network(page: Page, content: Content) -> None:
    """The choice, and drawings of the cells."""
    parts: list[Any] = []
    if "choice" in content.missing:
        parts.append(element("p", content.missing["choice"], class_="missing"))
    else:
        parts.append(pairs(content.choice))
    if content.cells:
        parts.append(element("h3", f"Cells: {content.cells_source}"))
    for number, text in enumerate(dict.fromkeys(content.cells), 1):
        stages = [str(s) for s, cell in enumerate(content.cells, 1) if cell == text]
        where = f"stage {stages[0]}" if len(stages) == 1 else f"stages {', '.join(stages)}"
        told = (f"Cell {number}, {where}: ", code(text))
        drawn = content.drawings.get(text)
        if drawn is None:
            parts.append(element("p", *told))
            continue
        caption = element("figcaption", *told)
        image = element("img", src=drawn, alt=content.alts.get(text, text), class_="drawing")
        scroll = element("div", image, class_="scroll", tabindex="0")
        parts.append(element("figure", scroll, caption))
    if content.cells and content.no_drawings:
        parts.append(element("p", content.no_drawings, class_="missing"))
    page.section("network", "Chosen network", *parts)
