"""Headers of studies tell what their kept rows come to; pages tell what headers do."""

from __future__ import annotations

import ast
import re
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import budgets
import cells
import epochs as epochs_study
import handed_over
import own_images
import pandas as pd
import pytest
import rivals
import spaces
import tournaments
from documentation import ROOT

from common import budget_networks
from common.budget_searches import KINDS, SEARCH_OF
from common.own_images import SETS
from common.rows import read_rows, with_deviation
from pymoo_nas.datasets import load_dataset

KEPT = ROOT / "studies" / "rows"
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def in_header(study: ModuleType, capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether all that was printed stands in the header of a study, but for its line breaks."""
    printed = " ".join(capsys.readouterr().out.split())
    return bool(printed) and printed in " ".join(str(study.__doc__).split())


def test_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    """Each mean of the changes of the space, and its gain over base where that is there."""
    for name in ("fitted", "fitted-10"):
        spaces.report_means(read_rows(KEPT / "spaces" / f"{name}.csv"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 24 + 3
    assert spaces.__doc__ is not None
    assert [line for line in lines if line not in spaces.__doc__] == []


def test_own_images(capsys: pytest.CaptureFixture[str]) -> None:
    """Each mean and each gain of the data sets."""
    folder, names = KEPT / "own_images", ["ours", "later", "inside", "shortcut"]
    searches = [
        read_rows(folder / f"{name}.csv", own_images.SEARCHES[name][1]).set_index("key")
        for name in names
    ]
    trainings = read_rows(folder / "trainings.csv").set_index("key")
    asked = Namespace(sets=[*SETS], seeds=5, searches=names)
    own_images.report(asked, pd.concat(searches, axis=1), trainings)
    assert in_header(own_images, capsys)


def test_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    """Each accuracy and epoch of the rules, and their means over the sets."""
    epochs_study.report(read_rows(KEPT / "epochs" / "trainings.csv"))
    assert in_header(epochs_study, capsys)


def test_budgets(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line of the three schedules that are measured so far, and of the steps."""
    folder = KEPT / "budgets"
    searches = read_rows(folder / "searches.csv", ["key", *KINDS])
    for epochs in (4, 17, 20):
        rows = read_rows(folder / f"trained-{epochs}.csv", ["rival", "model"])
        budgets.report(rows, searches, epochs)
    budget_networks.report_paces(read_rows(folder / "paces.csv", ["model"]))
    assert in_header(budgets, capsys)


def test_handed_over(capsys: pytest.CaptureFixture[str]) -> None:
    """Each agreement of a score with the accuracy, of all networks that are trained by now."""
    rows = read_rows(KEPT / "handed_over" / "scores.csv")
    trainings = handed_over.handed_over(
        read_rows(KEPT / "budgets" / "trained-4.csv", ["rival", "model"])
    )
    assert set(rows["rival"]) == set(trainings["rival"])
    handed_over.report(rows, 500)
    assert in_header(handed_over, capsys)


def test_networks_that_were_handed_over() -> None:
    """Equal ones count once; those of several cells, and those that no score chose, not at all."""
    made = [
        ("A later 0 8000", "later", "8000", 9),
        ("A chosen 1 8000", "chosen", "8000", 9),
        ("A tried 0 8000", "tried", "8000", 12),
        ("A front 0 8000+0800+0080", "front", "8000+0800+0080", 9),
        ("A largest 0 0800", "largest", "0800", 9),
        ("A resnet8 0 16", "resnet8", "16", 9),
    ]
    rows = pd.DataFrame(made, columns=["rival", "kind", "model", "params"])
    rows = rows.assign(budget="A", flops=1, acts=1)
    assert list(handed_over.handed_over(rows)["rival"]) == ["A later 0 8000", "A tried 0 8000"]


def test_tournaments(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line of the settings with a tournament for each of sixteen seeds."""
    folder = KEPT / "tournaments"
    accuracy = read_rows(folder / "cells.csv").set_index("genotype")["accuracy"]
    rows = read_rows(folder / "tournaments.csv")
    rows = rows.assign(accuracy=rows["genotype"].map(accuracy))
    for name in tournaments.SETTINGS:
        held = [
            of.reset_index(drop=True) for _, of in rows[rows["setting"] == name].groupby("seed")
        ]
        assert len(held) == 16
        tournaments.show(name, held)
    assert in_header(tournaments, capsys)


def test_cells(capsys: pytest.CaptureFixture[str]) -> None:
    """The table of the cells that tournaments are held among."""
    cells.report(read_rows(KEPT / "tournaments" / "cells.csv"))
    assert in_header(cells, capsys)


@pytest.mark.parametrize("name", ["paper", "same_time", "more", "later"])
def test_rivals(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both tables of searches by the paper's scores, also in the same time, and by later ones."""
    rivals.report(read_rows(KEPT / "rivals" / f"{name}.csv"))
    assert in_header(rivals, capsys)


RIVALS = {
    "random, by sum of log ranks": "random",
    "regularised evolution (Real 2019)": "regularised evolution",
    "NSGA-II (Deb 2002)": "nsga2",
    "random, with our choice": "random, our choice",
    "TE-NAS's pruning (Chen 2021)": "te-nas",
    "the largest of them": "largest",
    "ours, without tournaments": "ours, no tournament",
    "ours": "ours",
    "random, by its gradients in depth (`choose --by gradients`)": "random, steady gradients",
    "ours, by its gradients in depth (`choose --by gradients`)": "ours, steady gradients",
    "random, steady ones first": "random, steady first",
    "NSGA-II, steady ones first": "nsga2, steady first",
    "ours, steady ones first, without tournaments": "ours, steady first, no tournament",
    "ours, steady ones first, the default here": "ours, steady first",
}
"""Names of searches in the tables of docs/benchmarks.md → in rivals.py."""


MEASURED = {
    "scored": lambda rows: f"{rows['scored'].mean():.0f}",
    "handed over, % (known in n)": lambda rows: (
        f"{with_deviation(rows['accuracy'], 2)} ({rows['accuracy'].count()})".strip()
    ),
    "first known, %": lambda rows: with_deviation(rows["first_known_accuracy"], 2),
    "mean of the front, %": lambda rows: with_deviation(rows["front_mean"], 2),
    "best of the front, %": lambda rows: with_deviation(rows["front_best"], 2),
    "hypervolume": lambda rows: with_deviation(rows["hypervolume"], 3),
    "minutes": lambda rows: (
        f"{rows[['seconds', 'scoring', 'measuring']].sum(axis=1).mean() / 60:.1f}"
    ),
}
"""Columns of these tables → what the rows of a search come to."""


def table_behind(title: str) -> tuple[list[str], list[list[str]]]:
    """Columns, but for the first, and rows of the table of a section of docs/benchmarks.md."""
    _, _, section = (ROOT / "docs" / "benchmarks.md").read_text("utf-8").partition(f"{title}\n")
    lines = [line for line in section.partition("\n#")[0].splitlines() if line.startswith("|")]
    (_, *columns), _, *rows = ([c.strip() for c in line.split("|")[1:-1]] for line in lines)
    return columns, rows


@pytest.mark.parametrize(
    ("title", "names", "n"),
    [
        ("## Search strategies on NAS-Bench-201", ["paper"], 14),
        ("### About the same time for every search", ["same_time", "paper"], 10),
    ],
)
def test_the_page_of_rivals(title: str, names: list[str], n: int) -> None:
    """Each cell of the tables of searches on NAS-Bench-201 is what the kept rows come to."""
    columns, rows = table_behind(title)
    kept = [read_rows(KEPT / "rivals" / f"{name}.csv") for name in names]
    assert len(rows) == n
    for label, *told in rows:
        found = (of[of["rival"] == RIVALS[label]] for of in kept)
        mine = next(of for of in found if len(of))
        assert told == [MEASURED[column](mine) for column in columns], label


def measured_in(texts: list[str]) -> set[str]:
    """Each mean ± standard deviation of texts, without its sign, wherever its line breaks."""
    return set(re.findall(r"\d+\.\d+ ± \d+\.\d+", " ".join(" ".join(texts).split())))


BUDGET_KINDS = {
    "ours, by defaults": "ours",
    "ours, by `--shortcut`": "shortcut",
    "ours, by `--reduction inside`": "inside",
    "so, of separable convolutions": "light",
    "ours, by `--objectives later`": "later",
    "later, cells of the front in sequence": "front",
    "later, a cell for each stage": "staged",
    "later, a cell for each stage, choice by training": "staged-chosen",
    "later, of separable convolutions, `--max-acts`": "separable",
    "later, choice by training": "chosen",
    "later, `--shortcut`, choice by training": "tried",
    "later, `--shortcut`, choice by training, `--max-acts`": "lean",
    "later, `--shortcut`, `--max-acts`": "limited",
    "`--shortcut`, choice by te-nas": "evolved",
    "random search, later, `--shortcut`, choice by training": "random",
    "random search, later": "random-later",
    "random search, `--shortcut`, choice by te-nas": "te-nas",
    "random search, `--shortcut`, its largest": "largest",
    "ResNet-8": "resnet8",
    "ResNet-14": "resnet14",
    "ResNet-20": "resnet20",
    "ResNet-32": "resnet32",
    "MobileNetV2": "mobilenetv2",
    "ShuffleNetV2": "shufflenetv2",
}
"""Networks in the tables of budgets in docs/benchmarks.md → in budgets.py."""

OF_BUDGETS = {
    "parameters": (4, lambda rows: f"{rows['params'].mean():,.0f}"),
    "MACs": (4, lambda rows: f"{rows['flops'].mean() / 1e6:.1f} M"),
    "4 epochs, % (n)": (4, lambda rows: f"{with_deviation(rows['accuracy'], 2)} ({len(rows)})"),
    "20 epochs, % (n)": (20, lambda rows: f"{with_deviation(rows['accuracy'], 2)} ({len(rows)})"),
    "minutes to search": (0, lambda rows: f"{rows['seconds'].mean() / 60:.1f}"),
    "to train 4": (4, lambda rows: f"{rows['minutes'].mean():.1f}"),
    "to train 20": (20, lambda rows: f"{rows['minutes'].mean():.1f}"),
    "ms per image": (4, lambda rows: f"{rows['milliseconds'].mean():.2f}"),
}
"""Columns of these tables → epochs of the rows (0: the searches) that they are of, and what."""


def budget_rows() -> dict[int, pd.DataFrame]:
    """Epochs → rows of trainings; 0 → those of searches, each with its budget and kind."""
    folder = KEPT / "budgets"
    searches = read_rows(folder / "searches.csv", ["key", *KINDS])
    searches[["budget", "kind", "seed"]] = searches["key"].str.split(" ", expand=True)
    trainings = {n: read_rows(folder / f"trained-{n}.csv", ["rival", "model"]) for n in (4, 20)}
    return {0: searches, **trainings}


def told_of_budget(rows: dict[int, pd.DataFrame], budget: str, kind: str, column: str) -> str:
    """A cell of the tables; nothing where nothing was measured."""
    epochs, told = OF_BUDGETS[column]
    kept = rows[epochs]
    kind = kind if epochs else SEARCH_OF.get(kind, kind)
    mine = kept[(kept["budget"] == budget) & (kept["kind"] == kind)]
    return told(mine) if len(mine) else ""


@pytest.mark.parametrize(
    ("title", "budget"),
    [
        ("## Within the limits of ResNet-8", "A"),
        ("### Within those of ResNet-20", "B"),
        ("### Within twice those", "C"),
    ],
)
def test_the_page_of_budgets(title: str, budget: str) -> None:
    """Each kind that is measured has a row, each cell of which is what the kept rows come to."""
    columns, rows = table_behind(title)
    kept = budget_rows()
    assert columns == [*OF_BUDGETS]
    measured = kept[4][kept[4]["budget"] == budget]["kind"].unique()
    assert sorted(BUDGET_KINDS[label] for label, *_ in rows) == sorted(measured)
    for label, *told in rows:
        assert told == [told_of_budget(kept, budget, BUDGET_KINDS[label], c) for c in columns]


def header(study: Path) -> str:
    """The docstring of a study, or the whole of an archived one."""
    text = study.read_text("utf-8")
    return ast.get_docstring(ast.parse(text)) or "" if study.suffix == ".py" else text


def test_pages_tell_what_studies_have_measured() -> None:
    """Each mean ± standard deviation of README, changelog and docs stands in a study's header."""
    studies = [*(ROOT / "studies").rglob("*.py"), *(ROOT / "studies" / "archive").glob("*.md")]
    told = measured_in([page.read_text("utf-8") for page in PAGES])
    known = measured_in([header(study) for study in studies])
    assert len(told) > 100
    assert told - known == set()


def test_steps_that_are_known_are_not_timed_again(tmp_path: Path) -> None:
    """A part of the kinds of a budget, with the same models, leaves the rows as they were."""
    kept = read_rows(KEPT / "budgets" / "paces.csv", ["model"])
    kept.to_csv(tmp_path / "paces.csv", index=False)
    asked = Namespace(device="cpu", precision="auto")
    part = kept[kept["kind"].isin(["resnet14", "later"])]
    found = budget_networks.paced(asked, load_dataset("digits"), tmp_path, part)
    pd.testing.assert_frame_equal(found, kept)
    pd.testing.assert_frame_equal(read_rows(tmp_path / "paces.csv", ["model"]), kept)


def test_steps_of_one_network_are_not_timed(tmp_path: Path) -> None:
    """A budget with a single network has no ratio, and gets no rows."""
    asked = Namespace(device="cpu", precision="auto")
    one = pd.DataFrame([{"budget": "C", "kind": "later", "model": "8000"}])
    assert budget_networks.paced(asked, load_dataset("digits"), tmp_path, one).empty
    assert list(tmp_path.iterdir()) == []
