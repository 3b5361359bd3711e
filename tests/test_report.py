"""Reports of runs: what the page tells, that it is whole, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cheap_problems import MadeScores, made_run
from command_line import Run
from exported import write_training
from small_training import small_dataset, small_network

from pymoo_nas import report
from pymoo_nas.errors import PymooNasError, ReportError, RunError
from pymoo_nas.reports import (
    Content,
    Mistake,
    TrainedContent,
    candidates_of,
    descent,
    page_of,
)
from pymoo_nas.runs import RunFolder
from pymoo_nas.runs._report_commands import _options
from pymoo_nas.search import NASProblem

KEPT = Path(__file__).parent / "data" / "before_rooms"
HOSTILE = "</script><b>&'\"\u2028"
SECTIONS = [
    *("front", "evolution", "genealogy", "tournaments", "network"),
    *("training", "rivals", "exports", "searched", "commands"),
]


class Read(HTMLParser):
    """What a browser finds in a page: elements, texts outside scripts, and the data of charts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.open = "", ""
        self.data: dict[str, Any] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open = tag
        if tag == "script":
            self.open = "data" if dict(attrs).get("id") == "report-data" else "script"

    def handle_endtag(self, tag: str) -> None:
        del tag
        self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open == "data":
            self.data = json.loads(data)
        elif self.open not in {"script", "style"}:
            self.text += data

    def values(self, tag: str, attribute: str) -> list[str]:
        return [
            str(found[attribute]) for name, found in self.tags if name == tag and attribute in found
        ]


def read(path: Path) -> Read:
    return Read(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an earlier version, with a choice and a training, and its report."""
    folder = tmp_path_factory.mktemp("earlier") / "run"
    shutil.copytree(KEPT / "run", folder)
    return report(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search with two objectives and without anything after it."""
    problem = MadeScores(objectives=["ntk", "activation"])
    return made_run(tmp_path_factory.mktemp("made") / "made", problem, generations=4)


@pytest.fixture(scope="module")
def plain(made: Path) -> Read:
    """The report of that search."""
    return read(report(made))


def test_parts_of_a_page(earlier: Path) -> None:
    """Every section is there, has a heading and an entry in the contents, and charts have texts."""
    page = read(earlier)
    assert page.values("section", "id") == SECTIONS
    assert page.values("a", "href") == [f"#{name}" for name in SECTIONS]
    assert [tag for tag, _ in page.tags].count("h1") == 1
    charts = [found for tag, found in page.tags if "data-chart" in found]
    assert {found["data-chart"] for found in charts} == set(page.data["specs"])
    assert all(found["aria-label"] for found in charts)
    assert all(page.values("img", "alt"))
    assert len(page.values("img", "alt")) == len(page.values("img", "src"))


def test_a_page_needs_no_network(earlier: Path) -> None:
    """No element names another file, and the page forbids its browser to fetch any."""
    page = read(earlier)
    places = [*page.values("img", "src"), *page.values("script", "src")]
    assert all(place.startswith("data:image/png;base64,") for place in places)
    assert "link" not in {tag for tag, _ in page.tags}
    (policy,) = (text for text in page.values("meta", "content") if "default-src" in text)
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert earlier.stat().st_size < 3_000_000


def test_two_reports_of_one_run_are_equal(earlier: Path, tmp_path: Path) -> None:
    """Equal to the byte, wherever they are written and called from."""
    again = report(RunFolder(earlier.parent), out=tmp_path / "again.html")
    assert again.read_bytes() == earlier.read_bytes()


def test_a_run_of_an_earlier_version(earlier: Path) -> None:
    """Candidates, training and mistakes are told; the parents are said not to be known."""
    page = read(earlier)
    history = RunFolder(earlier.parent).history()
    rows = page.data["specs"]["front"]["layer"][0]["data"]["values"]
    assert {row["genotype"] for row in rows} <= set(history["genotype"])
    assert "Its parents are not known" in page.text
    described = json.loads((earlier.parent / "final" / "training.json").read_text("utf-8"))
    assert f"{100 * described['test_accuracy']:.2f} %" in page.text
    assert len(page.values("img", "src")) > 5
    assert "pymoo-nas choose run --by ranks" in page.text
    assert "pymoo-nas train run --epochs 1" in page.text


def test_what_is_missing_is_told(plain: Read) -> None:
    """Without choice and training, the page names the commands that make them."""
    page = plain
    for command in ("choose made", "train made"):
        assert f"pymoo-nas {command}" in page.text
    assert "confusion" not in page.data["specs"]


def test_axes_of_any_objective_or_count(plain: Read) -> None:
    """All objectives and sizes can be chosen as an axis, by names that no user gives."""
    params = plain.data["specs"]["front"]["params"]
    axes = [param["bind"] for param in params if param["name"] in {"x_axis", "y_axis"}]
    assert len(axes) == 2
    assert axes[0]["labels"][:2] == ["ntk: log10 condition number", "activation: −log det"]
    assert {"parameters", "multiply-accumulates", "generation"} <= set(axes[0]["labels"])
    assert all(re.fullmatch("v[0-9]+", key) for key in axes[0]["options"])


def test_parents_lead_to_the_first_generation(made: Path) -> None:
    """Each child names its parents by their rows, which were scored before; none is lost."""
    history = RunFolder(made).history()
    later = history[history["generation"] > 1]
    assert (later["parents"] != "").all()
    assert (history.loc[history["generation"] == 1, "parents"] == "").all()
    ancestors = descent(history, history["genotype"].iloc[-1], at_random=False)
    assert ancestors[0].number == len(history)
    numbers = {ancestor.number for ancestor in ancestors}
    for ancestor in ancestors:
        row = history.iloc[ancestor.number - 1]
        assert (ancestor.genotype, ancestor.mutation) == (row["genotype"], row["mutation"])
        assert ancestor.parents is not None
        assert set(ancestor.parents) <= numbers
        assert (ancestor.parents == ()) == (ancestor.generation == 1)


def test_a_copy_has_one_parent(made: Path) -> None:
    """A child that was not crossed has the one parent whose genotype was mutated."""
    history = RunFolder(made).history()
    texts = history["genotype"].tolist()
    for text, mutation, parents in zip(
        history["genotype"], history["mutation"], history["parents"], strict=True
    ):
        if parents and ";" not in parents and not mutation:
            assert texts[int(parents) - 1] == text


def test_descent_of_what_was_drawn_or_is_unknown(made: Path) -> None:
    """Random draws have no parents; without the column, parents are unknown."""
    history = RunFolder(made).history().drop(columns="parents")
    last = history["genotype"].iloc[-1]
    assert descent(history, last, at_random=True)[0].parents == ()
    assert descent(history, last, at_random=False)[0].parents is None
    assert descent(history, "no such", at_random=False) == []


def test_a_random_search(tmp_path: Path) -> None:
    """The chosen cell of a random search was drawn."""
    folder = made_run(tmp_path / "random", algorithm="random")
    text = read(report(folder)).text
    assert "It has no parents" in text
    assert "Its parents are not known" not in text


def content(**changes: Any) -> Content:
    """A content of one generation, in which a value is far out and another degenerate."""
    n = 40
    values = np.linspace(1, 2, n)
    history = pd.DataFrame(
        {
            "generation": 1,
            "genotype": [f"{HOSTILE}{index}" for index in range(n)],
            "ntk": [*values[:-2], 1e9, 100.0],
            "activation": [*-values[:-2], 1e9, 100.0],
            "params": range(n),
            "seconds": 0.5,
            "degenerate": [*[""] * (n - 1), HOSTILE],
            "feasible": True,
            "mutation": "",
            "parents": "",
            "survived": False,
        }
    )
    given: dict[str, Any] = {
        "name": HOSTILE,
        "summary": {HOSTILE: HOSTILE},
        "settings": {HOSTILE: {HOSTILE: HOSTILE}},
        "commands": (),
        "history": history,
        "front": history.head(2),
    }
    return Content(**{**given, **changes})


def test_outliers_do_not_squash_the_axes() -> None:
    """Axes end near the bulk; degenerate candidates are counted, not drawn."""
    found = candidates_of(content())
    assert len(found.rows) == 39
    assert sum(found.left_out.values()) == 1
    for measure in found.measures[: found.n_objectives]:
        assert abs(measure.high) < 10


def test_texts_of_users_stay_texts() -> None:
    """Names of classes, genotypes and runs cannot end a script, nor make an element."""
    n_classes = 3
    names = [f"{HOSTILE}{index}" for index in range(n_classes)]
    training = TrainedContent(
        name=HOSTILE,
        title=HOSTILE,
        described={"class_names": names, "best_epoch": 1, "test_accuracy": 0.5},
        epochs=pd.DataFrame(
            {"epoch": [1], "loss": [1.0], "train_accuracy": [0.5], "validation_accuracy": [np.nan]}
        ),
        confusion=pd.DataFrame(np.eye(n_classes, dtype=int), columns=names),
        recall=pd.DataFrame({"class": names, "images": 1, "correct": 1, "recall": 1.0}),
    )
    mistake = Mistake(picture="data:,", place=0, true=names[0], named=names[1], probability=0.9)
    full = content(
        trainings=(training,),
        main=0,
        mistakes=(mistake,),
        chosen=(f"{HOSTILE}0",),
        drawings={f"{HOSTILE}0": "data:,"},
        cells=(f"{HOSTILE}0",),
        tournaments=(
            {
                "generation": 1,
                "slots": [[HOSTILE, "b"]],
                "alphas": [[0.6, 0.4]],
                "winners": [HOSTILE],
            },
        ),
    )
    page = Read(page_of(full))
    shown = [tag for tag, _ in page.tags]
    assert shown.count("script") == 3
    assert shown.count("b") == 2  # those around the names of the mistake
    rows = page.data["specs"]["confusion"]["layer"][0]
    assert HOSTILE in json.dumps(page.data, ensure_ascii=False).replace('\\"', '"')
    assert rows
    assert HOSTILE in page.text


def test_large_searches_are_thinned() -> None:
    """Of many candidates the page keeps the front, and an even share of the others."""
    one = content().history
    many = pd.concat([one.iloc[:30]] * 200, ignore_index=True)
    many["genotype"] = [f"cell {index} {'x' * 80}" for index in range(len(many))]
    front = many.iloc[[5]]
    found = candidates_of(content(history=many, front=front))
    assert found.thinned == len(many) - len(found.rows) > 0
    assert front["genotype"].iloc[0] in {row["genotype"] for row in found.rows}
    assert len(json.dumps(found.rows)) < 1_000_000


def test_several_trainings_and_images_that_are_gone(made: Path, tmp_path: Path) -> None:
    """Rivals stand side by side; where the images are not found, the page says so."""
    folder = tmp_path / "run"
    shutil.copytree(made, folder)
    for name in ("final", "final-2"):
        write_training(folder / name, small_network(), small_dataset())
    page = read(report(folder))
    assert "final-2" in page.text
    assert "The mistakes are not known" in page.text


def test_known_accuracies_become_an_axis(made: Path, tmp_path: Path) -> None:
    """A table of accuracies is joined to the candidates."""
    history = RunFolder(made).history()
    truth = pd.DataFrame({"genotype": history["genotype"], "accuracy": 90.0})
    page = read(report(made, out=tmp_path / "known.html", truth=truth))
    params = page.data["specs"]["front"]["params"]
    assert "known accuracy" in next(p for p in params if p["name"] == "x_axis")["bind"]["labels"]


def test_other_spaces_have_no_drawing(tmp_path: Path) -> None:
    """The page says that cells of NAS-Bench-201 have none, and tells the genotype."""
    from pymoo_nas.spaces import NASBench201Space

    class Made201(MadeScores):
        def __init__(self) -> None:
            NASProblem.__init__(self, "digits", search_space=NASBench201Space(), n_images=8)

    page = read(report(made_run(tmp_path / "nb", Made201())))
    assert "nasbench201 have no drawing" in page.text
    assert page.data["drawings"] == {}


def test_commands_are_refused_in_one_line(run: Run, made: Path) -> None:
    """No run, an unfinished run, a target that cannot or must not be written: one line, exit 2."""
    Path("notes.html").write_text("<!DOCTYPE html><p>mine", encoding="utf-8")
    kept = (made / "history.csv").read_bytes()
    for arguments, why in (
        (["nowhere"], "holds no run"),
        ([str(KEPT / "cut")], "holds no run"),
        ([str(made), "--out", "absent/report.html"], "there is no folder absent"),
        ([str(made), "--out", "."], "it is a folder"),
        ([str(made), "--out", str(made / "history.csv")], "does not end in .html"),
        ([str(made), "--out", "notes.html"], "it is there already, and no report"),
    ):
        code, _, err = run("report", *arguments)
        assert code == 2
        assert err.count("\n") == 1
        assert why in err
    Path("begun").mkdir()
    shutil.copy(made / "config.json", "begun")
    code, _, err = run("report", "begun")
    assert (code, err.count("\n")) == (2, 1)
    assert "pymoo-nas search --resume begun" in err
    assert (made / "history.csv").read_bytes() == kept
    for _ in range(2):  # a report is replaced
        code, out, _ = run("report", str(made), "--out", "here.html")
        assert code == 0
        assert "wrote here.html" in out


def test_a_missing_package_is_named(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the message has the command that installs it."""
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(ReportError, match=r"pip install 'pymoo-nas\[report\]'"):
        report(made)


def test_damaged_files_are_refused(earlier: Path, tmp_path: Path) -> None:
    """A damaged table of a training or of a choice is named."""
    for name in ("final/confusion.csv", "final/training.csv", "choice.json"):
        folder = tmp_path / name.replace("/", "-")
        shutil.copytree(earlier.parent, folder)
        (folder / name).write_text("nothing", encoding="utf-8")
        with pytest.raises(RunError, match="damaged"):
            report(folder)
    assert issubclass(ReportError, PymooNasError)


def test_options_are_written_as_they_are_typed() -> None:
    """Switches have no value, and numbers keep their digits."""
    options = {"repair": False, "test_flip": True, "learning_rate": 0.01234567, "max_params": 1e6}
    assert _options({**options, "image_size": [4, 8]}) == [
        *("--no-repair", "--test-flip", "--learning-rate", "0.01234567"),
        *("--max-params", "1000000", "--image-size", "4x8"),
    ]
