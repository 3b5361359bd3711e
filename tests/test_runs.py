"""Run folders: what is written, refused, replaced, and read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from pymoo.optimize import minimize

from pymoo_nas._machine import versions
from pymoo_nas.errors import DeviceError, GenotypeError, OperationError, RunError, SearchError
from pymoo_nas.runs import Choice, RunFolder
from pymoo_nas.runs._checkpoint import CHECKPOINT
from pymoo_nas.runs._folder import BESIDE
from pymoo_nas.search import (
    DartsTournament,
    EvolutiveNAS,
    NASProblem,
    front_to_frame,
    history_to_frame,
    write_frame,
)
from pymoo_nas.spaces import CellSpace, NASBench201Space, SearchSpace, space_from_settings
from pymoo_nas.training import DESCRIPTION, STATE_FILE, WEIGHTS_FILE

TABLES = ("config.json", "front.csv", "archive.csv", "history.csv", "tournaments.json")


def searched(space: SearchSpace[Any], **arguments: Any) -> tuple[Any, dict[str, Any]]:
    """A finished search of two generations with one tournament, and its configuration."""
    arguments = {"dataset": "digits", "n_images": 16, **arguments}
    problem = NASProblem(**arguments, search_space=space)
    tournament = DartsTournament(2, 2, n_steps=2, batch_size=16, n_images=64)
    algorithm = EvolutiveNAS(2, 5, callback=tournament)
    result = minimize(problem, algorithm, ("n_gen", 2), seed=1)
    return result.algorithm, {"problem": arguments, "search_space": space.settings()}


@pytest.fixture(scope="module")
def search() -> tuple[Any, dict[str, Any]]:
    """A search of the paper's space with settings that are not the defaults."""
    return searched(CellSpace(["conv3x3", "gate"], max_nodes=2), seed=7, n_inits=2)


@pytest.fixture
def folder(tmp_path: Path, search: tuple[Any, dict[str, Any]]) -> RunFolder:
    """That search, saved."""
    folder = RunFolder(tmp_path / "run")
    folder.create()
    folder.save(*search)
    return folder


def test_what_is_saved_is_read_back(folder: RunFolder, search: tuple[Any, dict[str, Any]]) -> None:
    """Tables, settings, counters, versions and tournaments come back as they were."""
    algorithm, config = search
    assert folder.history().equals(history_to_frame(algorithm))
    assert folder.front().equals(front_to_frame(algorithm))
    assert folder.tournaments() == [2]
    read = folder.config()
    assert {name: read[name] for name in config} == config
    assert read["generations_done"] == 2
    assert read["candidates"] == 10
    assert read["versions"] == versions()
    assert {path.name for path in folder.path.iterdir()} == {*TABLES, CHECKPOINT}


def test_before_the_first_generation(folder: RunFolder) -> None:
    """A search that was stopped so early has no tables, and can go on; without its settings not."""
    (folder.path / "history.csv").unlink()
    for read in (folder.history, folder.front, folder.archive):
        with pytest.raises(RunError, match=r"first generation; .*search --resume"):
            read()
    (folder.path / "config.json").unlink()
    with pytest.raises(RunError, match=r"history.csv: no such file"):
        folder.history()


def test_rebuilt_problem(folder: RunFolder, search: tuple[Any, dict[str, Any]]) -> None:
    """The problem has the settings of the search and gives its scores to the bit."""
    algorithm, _ = search
    problem = folder.problem()
    assert problem.search_space.settings() == algorithm.problem.search_space.settings()
    assert (problem.seed, problem.n_inits) == (7, 2)
    assert (problem.evaluate(algorithm.pop.get("X")) == algorithm.pop.get("F")).all()


def test_changes_of_the_rebuilt_problem(folder: RunFolder) -> None:
    """Arguments can be replaced; a mistake among them is reported as what it is."""
    assert folder.problem(n_images=8).probe.images.shape[0] == 8
    with pytest.raises(DeviceError, match="tpu"):
        folder.problem(device="tpu")


@pytest.mark.parametrize("name", TABLES)
def test_a_folder_with_any_table_is_refused(tmp_path: Path, name: str) -> None:
    """One table suffices, and it stays as it is."""
    (tmp_path / name).write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match=f"{name}.*--overwrite"):
        RunFolder(tmp_path).create()
    assert (tmp_path / name).read_text("utf-8") == "mine"


@pytest.mark.parametrize(
    "name", [*BESIDE, "checkpoint.previous.json", "tensorboard/events.out.tfevents.1.mine"]
)
def test_a_folder_with_files_of_the_names_of_a_run_is_refused(tmp_path: Path, name: str) -> None:
    """What a search would remove or replace stays, and the file or folder is named."""
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match=f"holds {name.split('/', maxsplit=1)[0]}.*--overwrite"):
        RunFolder(tmp_path).create()
    assert mine.read_text("utf-8") == "mine"


def test_overwriting_leaves_what_is_not_the_runs(folder: RunFolder) -> None:
    """Tables and pictures of the old run go, a stranger's file stays."""
    folder.draw()
    (folder.path / "notes.txt").write_text("mine", encoding="utf-8")
    folder.create(overwrite=True)
    assert {path.name for path in folder.path.iterdir()} == {"notes.txt"}


def test_trained_run_is_not_overwritten(folder: RunFolder) -> None:
    """What was trained from a run would be taken for the new one's: it has to be moved first."""
    before = {path: path.read_bytes() for path in folder.path.iterdir()}
    for name in (WEIGHTS_FILE, STATE_FILE, DESCRIPTION):
        place = folder.path / "final-2"
        for kept in (folder.path / "final", place):  # stopped before its first epoch had ended
            kept.mkdir(exist_ok=True)
            (kept / ".lock").touch()
        (place / name).touch()
        with pytest.raises(RunError, match=r"final-2 holds what was trained.*move or remove it"):
            folder.create(overwrite=True)
        (place / name).unlink()
    assert {path: path.read_bytes() for path in before} == before
    folder.create(overwrite=True)
    assert not (folder.path / "history.csv").exists()


def test_read_only_folder(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be written to is refused in words, by the lock and by a choice."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    message = r"cannot be written to .*Permission denied"
    with pytest.raises(RunError, match=message), folder.locked():
        pass
    (folder.path / "choice.json").mkdir()
    with pytest.raises(RunError, match=r"cannot be written to .*directory"):
        folder.choose(Choice(["8000"]))


def test_folders_of_other_content_are_taken(tmp_path: Path) -> None:
    """Other files are no run; parents of the folder are made."""
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    RunFolder(tmp_path).create()
    RunFolder(tmp_path / "a" / "b").create()
    assert (tmp_path / "a" / "b").is_dir()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """A file in the folder's place is reported, and kept."""
    (tmp_path / "run").write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match="cannot be made"):
        RunFolder(tmp_path / "run").create(overwrite=True)
    assert (tmp_path / "run").read_text("utf-8") == "mine"


def test_pictures(folder: RunFolder) -> None:
    """All four are drawn, and drawn again."""
    names = ["front.png", "evolution.png", "offspring.png", "cell.png"]
    for _ in range(2):
        assert [path.name for path in folder.draw()] == names
    assert all((folder.path / name).stat().st_size > 1000 for name in names)


@pytest.mark.slow
def test_pictures_without_a_front(tmp_path: Path) -> None:
    """A run in which nothing kept the limits is drawn too, without a cell."""
    with pytest.warns(UserWarning, match="keeps the limits"):
        search = searched(CellSpace(), max_params=10)
    folder = RunFolder(tmp_path)
    folder.create()
    folder.save(*search)
    assert folder.front().empty
    assert "cell.png" not in {path.name for path in folder.draw()}
    assert folder.tournaments() == []


@pytest.mark.slow
def test_nas_bench_201(tmp_path: Path) -> None:
    """The second space is kept, rebuilt and drawn; it has no cell of Fig. 1."""
    algorithm, config = searched(NASBench201Space(width=4))
    folder = RunFolder(tmp_path)
    folder.create()
    folder.save(algorithm, config)
    problem = folder.problem()
    assert problem.search_space.settings() == config["search_space"]
    assert (problem.evaluate(algorithm.pop.get("X")) == algorithm.pop.get("F")).all()
    assert "cell.png" not in {path.name for path in folder.draw()}


def edit(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """A change of one JSON file of a run."""

    def apply(path: Path) -> None:
        values = json.loads((path / name).read_text("utf-8"))
        change(values)
        (path / name).write_text(json.dumps(values), encoding="utf-8")

    return apply


def genotype_to(text: str) -> Callable[[Path], None]:
    """Another text in place of every genotype of the front."""

    def apply(path: Path) -> None:
        front = RunFolder(path).front().assign(genotype=text)
        front.to_csv(path / "front.csv", index=False)

    return apply


def test_settings_that_the_problem_does_not_take(folder: RunFolder) -> None:
    """An argument of another version is refused by name."""
    edit("config.json", lambda config: config["problem"].update(colour="red"))(folder.path)
    with pytest.raises(RunError, match="colour"):
        folder.problem()


def test_operations_of_a_users_own(folder: RunFolder) -> None:
    """A run with such operations cannot be rebuilt from its folder; the error says what can."""
    edit("config.json", lambda c: c["search_space"].update(operations=["mine"]))(folder.path)
    with pytest.raises(RunError, match=r"mine.*build_final"):
        folder.problem()


@pytest.mark.parametrize("content", ["{", "[]", '{"tournaments": [{}]}', '{"tournaments": 3}'])
def test_damaged_tournaments(folder: RunFolder, content: str) -> None:
    """What lists no tournaments is refused with the file's name."""
    (folder.path / "tournaments.json").write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=r"tournaments\.json"):
        folder.draw()


@pytest.mark.parametrize("size", ["", "7.5", "inf", "1e300", "many"])
@pytest.mark.parametrize("name", ["params", "flops"])
def test_damaged_sizes(folder: RunFolder, name: str, size: str) -> None:
    """Sizes that are missing, or count nothing, are refused; a search tells all of them."""
    table = folder.history().astype({name: object})
    table.loc[1, name] = size
    write_frame(table, folder.path / "history.csv")
    with pytest.raises(RunError, match=r"history\.csv: damaged"):
        folder.history()


def test_damaged_genotype(folder: RunFolder) -> None:
    """A genotype that was edited by hand is refused with its position."""
    genotype_to("80x0")(folder.path)
    with pytest.raises(GenotypeError, match="position"):
        folder.draw()


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    """Reading one says what is missing."""
    for read in (RunFolder(tmp_path).config, RunFolder(tmp_path).problem, RunFolder(tmp_path).draw):
        with pytest.raises(RunError, match="holds no run"):
            read()
    with pytest.raises(RunError, match="no such file"):
        RunFolder(tmp_path).front()


def test_runs_from_before_reduction_and_stem() -> None:
    """Settings that do not say where cells reduce are of a run whose cells kept the map."""
    settings = CellSpace().settings()
    assert space_from_settings(settings).settings() == settings
    before = {"reduction": "between", "stem": False}
    older = {name: value for name, value in settings.items() if name not in before}
    assert space_from_settings(older).settings() == {**settings, **before}


def test_unknown_search_spaces() -> None:
    """A space or an operation that the package does not bring is refused."""
    with pytest.raises(SearchError, match="nasbench201"):
        space_from_settings({"space": "nosuch"})
    with pytest.raises(SearchError, match="unknown"):
        space_from_settings({})
    with pytest.raises(OperationError, match="nosuch"):
        space_from_settings({"space": "cell", "operations": ["nosuch"]})
    with pytest.raises(SearchError, match="settings that it does not take"):
        space_from_settings({"space": "cell", "colour": "red"})
