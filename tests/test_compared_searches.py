"""Comparisons of results, algorithms and run folders: what may be compared, and how it is told."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cheap_problems import MadeScores, made_run, nsga2
from made_histories import history
from pymoo.optimize import minimize

from pymoo_nas import (
    CellSpace,
    EvolutiveNAS,
    NSGA2Search,
    RandomSearch,
    RunError,
    RunFolder,
    SearchError,
    compare,
    history_to_frame,
)
from pymoo_nas.comparison._measures import (
    front_of,
)

# Results and algorithms --------------------------------------------------------------------------


def searched(algorithm: Any, seed: int, **settings: Any) -> Any:
    """The result of a search that costs nothing."""
    return minimize(MadeScores(**settings), algorithm, ("n_gen", 3), seed=seed)


def test_results_algorithms_and_histories_compare_alike() -> None:
    """A result, its algorithm and its history give the same numbers; two know their seed."""
    result = searched(RandomSearch(3, 6), 1)
    given = {"r": [result], "a": [result.algorithm], "h": [history_to_frame(result)]}
    runs = compare(given).runs
    assert runs["hypervolume"].nunique() == 1
    assert runs["seed"].tolist()[:2] == [1, 1]
    assert runs["seed"].isna().tolist() == [False, False, True]


def test_pymoos_history_compares_as_its_result() -> None:
    """A list of algorithms, of any algorithm of pymoo."""
    algorithm = nsga2()
    result = minimize(MadeScores(), algorithm, ("n_gen", 3), seed=1, save_history=True)
    runs = compare({"h": [result.history], "r": [result]}).runs
    assert runs["hypervolume"].nunique() == 1
    assert runs["seed"].tolist() == [1, 1]


def test_seeds_of_results_are_paired() -> None:
    """Five seeds of two strategies are tested by pairs."""
    groups = {
        "random": [searched(RandomSearch(3, 6), seed) for seed in range(5)],
        "nsga2": [searched(NSGA2Search(6), seed) for seed in range(5)],
    }
    found = compare(groups)
    assert found.tests["test"].tolist() == ["Wilcoxon signed-rank"]
    assert 0 < found.tests["p"][0] <= 1
    assert found.table["n"].tolist() == [5, 5]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"objectives": ["ntk", "activation"]}, "b, run 1: other objectives than a, run 1"),
        ({"n_images": 9}, "b, run 1: other n_images than a, run 1: 9, expected 8"),
        ({"max_params": 9000}, "other max_params"),
    ],
)
def test_other_scoring_is_refused(settings: dict[str, Any], match: str) -> None:
    """Searches that do not score alike are named, with the setting and both values."""
    groups = {
        "a": [searched(EvolutiveNAS(2, 3), 0)],
        "b": [searched(EvolutiveNAS(2, 3), 0, **settings)],
    }
    with pytest.raises(SearchError, match=match):
        compare(groups)


def test_what_is_nothing_to_compare() -> None:
    """No searches, an empty label, something else, or one result twice are refused."""
    for nothing in ({}, [], {"a": []}):
        with pytest.raises(SearchError, match="no searches to compare"):
            compare(nothing)
    with pytest.raises(SearchError, match="a, run 1: int keeps no list"):
        compare({"a": [3]})
    with pytest.raises(SearchError, match="got a DataFrame to compare; expected run folders"):
        compare([history([[1, 2]])])
    with pytest.raises(SearchError, match="without objectives"):
        compare({"a": pd.DataFrame({"genotype": ["8"]})})
    table = history([[1, 2]])
    with pytest.raises(RunError, match="given twice"):
        compare({"a": [table], "b": [table]})


# Run folders -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of several strategies, seeds and sizes."""
    root = tmp_path_factory.mktemp("runs")
    settings: dict[str, dict[str, Any]] = {
        "e0": {"seed": 0},
        "e1": {"seed": 1},
        "big": {"seed": 0, "population": 3},
        "n0": {"algorithm": "nsga2", "seed": 0, "population": 3},
        "n1": {"algorithm": "nsga2", "seed": 1, "population": 3},
    }
    return {name: made_run(root / name, **given) for name, given in settings.items()}


def test_folders_are_grouped_by_what_differs(folders: dict[str, Path]) -> None:
    """The strategy is a label; a setting is told where it differs within a strategy."""
    given = [folders[name] for name in ("e0", "n0", "e1", "n1")]
    found = compare(given)
    assert found.table[["label", "n"]].to_numpy().tolist() == [["evolutive", 2], ["nsga2", 2]]
    assert found.runs["run"].tolist() == [str(folders[name]) for name in ("e0", "e1", "n0", "n1")]
    assert found.runs["seed"].tolist() == [0, 1, 0, 1]
    labels = compare([*given, folders["big"]]).table["label"].tolist()
    assert labels == ["evolutive, population 2", "nsga2", "evolutive, population 3"]


def test_folders_and_results_in_one_comparison(folders: dict[str, Path]) -> None:
    """A label may hold folders by path, as objects, and a result of the same problem."""
    result = searched(RandomSearch(3, 6), 1)
    given = {"old": [folders["e0"], RunFolder(folders["e1"])], "new": result}
    assert compare(given).table["n"].tolist() == [2, 1]


def test_objectives_of_a_module_in_folders_and_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An imported objective is the same one in a folder and in a result; another one is not."""
    (tmp_path / "depths.py").write_text(
        "from pymoo_nas import Objective\n"
        "modules = Objective('modules', 'modules', lambda n: 9.0, lambda candidate: 1.0)\n",
        "utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    problem = MadeScores(objectives=["ntk", "depths:modules"])
    folder = made_run(tmp_path / "run", problem)
    result = minimize(problem, RandomSearch(3, 6), ("n_gen", 2), seed=1)
    kept = json.loads((folder / "config.json").read_text("utf-8"))
    kept["problem"]["objectives"] = ["ntk", "depths:modules"]
    (folder / "config.json").write_text(json.dumps(kept), "utf-8")
    assert compare({"folder": [folder], "result": result}).table["n"].tolist() == [1, 1]
    with pytest.raises(SearchError, match="other objectives"):
        compare({"folder": [folder], "other": searched(RandomSearch(3, 6), 1)})


def test_seeds_of_any_size() -> None:
    """Pymoo takes seeds of any size; those of more than 63 bits are paired too."""
    seeds = [2**63, 2**64 + 1, *range(4)]
    groups = {
        label: [searched(make, seed) for seed in seeds]
        for label, make in (("random", RandomSearch(3, 6)), ("nsga2", NSGA2Search(6)))
    }
    found = compare(groups)
    assert found.runs["seed"].tolist() == 2 * seeds
    assert found.tests["test"].tolist() == ["Wilcoxon signed-rank"]


def test_labels_that_are_equal_as_texts_are_refused() -> None:
    """No group takes the place of another one."""
    with pytest.raises(SearchError, match="1, '1'"):
        compare({1: [history([[1, 2]])], "1": [history([[2, 1]])]})


def test_one_run_alone(folders: dict[str, Path], tmp_path: Path) -> None:
    """One run has a table without deviations, and no test."""
    found = compare([folders["e0"]])
    assert found.table["n"].tolist() == [1]
    assert math.isnan(found.table["hypervolume_sd"][0])
    assert found.tests.empty
    found.save(tmp_path)


def test_a_folder_twice_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    """One folder by two names, or the same search in a copy, would count one run twice."""
    link = tmp_path / "link"
    link.symlink_to(folders["e0"])
    for label in (["e0"], ["a", "b"]):
        with pytest.raises(RunError, match="given twice"):
            compare([folders["e0"], link] if len(label) == 1 else {"a": link, "b": folders["e0"]})
    shutil.copytree(folders["e0"], tmp_path / "copy")
    with pytest.raises(RunError, match=r"copy: the settings and the seed 0 of .*e0, so the same"):
        compare([folders["e0"], tmp_path / "copy"])


def test_folders_that_score_otherwise_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    """Other images or settings of scoring are named with the folder; no folder is refused too."""
    path = shutil.copytree(folders["n0"], tmp_path / "other") / "config.json"
    config = json.loads(path.read_text("utf-8"))
    for part, key, value in (("problem", "n_inits", 3), ("data", "test_images", 7)):
        path.write_text(json.dumps({**config, part: {**config[part], key: value}}), "utf-8")
        what = "images" if part == "data" else key
        with pytest.raises(SearchError, match=rf"other: other {what} than .*e0: "):
            compare([folders["e0"], path.parent])
    with pytest.raises(RunError, match="holds no run"):
        compare([tmp_path / "nowhere"])


def test_seeds_of_scoring_may_differ(folders: dict[str, Path], tmp_path: Path) -> None:
    """The command line sets both seeds together, so that runs of two seeds score with two."""
    path = shutil.copytree(folders["e1"], tmp_path / "other") / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["problem"]["seed"] = 1
    path.write_text(json.dumps(config), "utf-8")
    assert compare([folders["e0"], path.parent]).table["n"].tolist() == [2]


def test_spaces_are_told(folders: dict[str, Path], tmp_path: Path) -> None:
    """Where search spaces differ, each label tells what its own has."""
    problem = MadeScores(search_space=CellSpace(max_channels=16, max_nodes=2, widening=1))
    wide = made_run(tmp_path / "wide", problem, seed=0)
    labels = compare([folders["e0"], wide]).table["label"].tolist()
    assert labels == ["evolutive, max channels 8", "evolutive, max channels 16"]


def test_fronts_of_a_run_are_those_of_all_it_scored(folders: dict[str, Path]) -> None:
    """Size and best values are of the non-dominated among all candidates, not of survivors."""
    table = RunFolder(folders["e0"]).history()
    sound = table[(table["degenerate"] == "") & table["feasible"]]
    points = sound[["ntk", "activation", "correlation"]].to_numpy()
    row = compare([folders["e0"]]).runs.iloc[0]
    assert row["front"] == len(front_of(points))
    assert [row[name] for name in ("ntk", "activation", "correlation")] == points.min(0).tolist()


@pytest.mark.parametrize(
    "name", ["hypervolume", "label", "seed", "n", "known", "ntk_sd", "ntk_n", "scored_sd"]
)
def test_objectives_called_as_a_column_are_refused(name: str) -> None:
    """They would take the place of what is compared."""
    table = history([[1, 2], [2, 1]]).rename(columns={"activation": name})
    with pytest.raises(SearchError, match=name):
        compare({"a": [table]})


def test_means_tell_of_how_many_runs_they_are() -> None:
    """A run without a sound candidate has no best values; the table tells."""
    good, bad = history([[1, 2], [2, 1]]), history([[1, 2]], degenerate="no ReLU")
    row = compare({"a": [good, bad, good.copy()]}).table.iloc[0]
    assert (row["n"], row["ntk_n"], row["ntk"]) == (3, 2, 1)
    assert "hypervolume_n" not in row


def test_another_limit_of_latency_is_told(tmp_path: Path) -> None:
    """Runs that score alike but for a limit are refused."""
    for seed, limit in enumerate((1.0, 50.0)):
        made_run(tmp_path / f"{seed}", MadeScores(max_latency=limit), seed=seed)
    with pytest.raises(SearchError, match="max_latency"):
        compare([tmp_path / "0", tmp_path / "1"])
