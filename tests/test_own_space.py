"""A search space of a user's own, that of the pages, from the search to the images of a folder."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Run
from documentation import blocks
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.optimize import minimize
from torch import nn

from pymoo_nas.choice import build_final
from pymoo_nas.errors import GenotypeError, OperationError, RunError, SearchError
from pymoo_nas.networks import OPERATIONS
from pymoo_nas.runs import RunFolder, Search, SearchSettings, load_trained, resume
from pymoo_nas.search import (
    DartsTournament,
    EvolutiveNAS,
    GenotypeCrossover,
    GenotypeMutation,
    GenotypeSampling,
    NASProblem,
    front_to_frame,
)
from pymoo_nas.spaces import (
    Architecture,
    CellSpace,
    cell_operations,
    chosen_by_gradients,
    description_of,
    space_from_settings,
    space_settings,
)
from pymoo_nas.spaces._by_name import import_name, imported, space_class, space_description
from pymoo_nas.training import train

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
WIDTHS = next(block.text for block in blocks(PAGE) if block.title == "widths.py")
MORE = '''

class Wider(Widths):
    """As Widths, with an argument."""

    def __init__(self, factor=1):
        self.factor = factor

    def build(self, genotype, in_channels, n_classes):
        return super().build([self.factor * width for width in genotype], in_channels, n_classes)


class Forgetful(Wider):
    """Its settings do not make it again."""

    def settings(self):
        return {"colour": "red"}


class Unwritable(Wider):
    """Its settings are no JSON."""

    def settings(self):
        return {"factor": {1}}


def dilated(c_in, c_out):
    return nn.Conv2d(c_in, c_out, 3, padding=2, dilation=2)


number = 3
'''
ARGUMENTS = {"dataset": "digits", "n_images": 16}
TINY = SearchSettings(generations=2, population=2, offspring=3, tournament_every=0, seed=1)


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's class and others, in a module that can be imported."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "widths.py").write_text(WIDTHS + MORE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.delitem(sys.modules, "widths", raising=False)
    return imported("widths:number") and sys.modules["widths"]


def searched(space: Any, path: Path, settings: SearchSettings = TINY) -> Path:
    """The run folder of a small search."""
    folder = RunFolder(path)
    folder.create()
    problem = NASProblem(**ARGUMENTS, search_space=space)
    Search(folder, problem, settings, {"problem": ARGUMENTS}).run()
    return path


def table(path: Path) -> Any:
    """What was scored, but for the seconds."""
    return RunFolder(path).history().drop(columns="seconds")


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the module be gone, as on another machine."""
    monkeypatch.delitem(sys.modules, "widths")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not p.endswith("modules")])


@pytest.mark.slow
def test_continued_without_the_problem(tmp_path: Path, module: Any) -> None:
    """A run of a user's space is continued by its folder alone, to the same table."""
    longer = SearchSettings(3, 2, 3, tournament_every=0, seed=1)
    whole = searched(module.Wider(2), tmp_path / "whole", longer)
    cut = searched(module.Wider(2), tmp_path / "cut")
    settings = RunFolder(cut).config()["search_space"]
    assert settings == {"space": "widths:Wider", "factor": 2}
    resume(cut, generations=3)
    assert table(cut).equals(table(whole))
    assert RunFolder(cut).config()["search_space"] == settings
    assert RunFolder(cut).problem().search_space.factor == 2


def test_from_search_to_prediction(tmp_path: Path, run: Run) -> None:
    """The commands search, choose, train and plot take a user's space; load_trained does too."""
    few = ("--generations", "1", "--offspring", "3", "--population", "2", "--images", "16")
    space = ("--space", "widths:Widths", "--tournament-every", "0")
    assert run("search", *few, *space, "--out", "kept")[0] == 0
    assert run("choose", "kept")[0] == 0
    code, out, _ = run("train", "kept", "--epochs", "1", "--batch-size", "128")
    assert code == 0
    assert "chosen by ranks" in out
    trained = load_trained(tmp_path / "kept")
    problem = RunFolder("kept").problem()
    assert trained.probabilities(problem.dataset.test_images[:3]).shape == (3, 10)
    described = json.loads((tmp_path / "kept/final/training.json").read_text("utf-8"))["network"]
    assert described["search_space"] == {"space": "widths:Widths"}
    assert len(described["genotypes"]) == 1
    assert run("plot", "kept")[0] == 0
    code, _, err = run("search", "--resume", "kept", "--generations", "2", *space)
    assert (code, err) == (0, "")
    assert run("search", "--resume", "kept", "--space", "nasbench201")[0] == 2


def test_cells_are_refused_before_anything_is_scored(run: Run, module: Any) -> None:
    """A network that is no sequence of cells is not made three of: what to do is said."""
    space = module.Widths()
    assert (space.n_cells, space.any_n_cells) == (1, False)
    problem = NASProblem(**ARGUMENTS, search_space=space)
    for given in ("8-16-32", ["8-16-32", "4-4-4"]):
        with pytest.raises(SearchError, match=r"3 cells: .*Widths is one piece.*build_final"):
            build_final(given, 3, problem=problem)
    with pytest.raises(SearchError, match="leave --cells"):
        space.build_final([(8, 8, 8)] * 2, 1, 10)
    code, _, err = run("search", "--space", "widths:Widths", "--cells", "3")
    assert code == 2
    assert "leave --cells out" in err


def test_a_final_network_gives_a_space_its_cells_back(module: Any) -> None:
    """A space of one piece has one cell; a class below it that builds more has what it says."""

    class Built(module.Widths):  # type: ignore[misc]
        def build_final(self, *args: Any, **kwargs: Any) -> Any:
            return super().build_final(*args, **kwargs)

    class Five(Built):
        n_cells = 5

    class Below(Five):
        def build_final(self, *args: Any, **kwargs: Any) -> Any:
            return super().build_final(*args, **kwargs)

    class Fixed(module.Widths):  # type: ignore[misc]
        n_cells, any_n_cells, build_final = 2, False, Built.build_final

    told = [(space.n_cells, space.any_n_cells) for space in (Built, Five, Below, Fixed)]
    assert told == [(3, True), (5, True), (5, True), (2, False)]
    assert (module.Widths.n_cells, module.Widths.any_n_cells) == (1, False)


@pytest.mark.parametrize("algorithm", ["ours", "pymoo's"])
def test_tournaments_are_refused_before_anything_is_scored(algorithm: str, module: Any) -> None:
    """A tournament among networks that are no cells is refused by any algorithm."""
    problem = NASProblem(**ARGUMENTS, search_space=module.Widths())
    operators = {
        "sampling": GenotypeSampling(),
        "crossover": GenotypeCrossover(),
        "mutation": GenotypeMutation(),
    }
    searcher = EvolutiveNAS(2, 3) if algorithm == "ours" else NSGA2(4, **operators)
    with pytest.raises(SearchError, match=r"Widths has no cells.*--tournament-every 0"):
        minimize(problem, searcher, ("n_gen", 1), callback=DartsTournament())
    assert problem.n_scored == 0


def test_tournament_of_the_command_line(run: Run, tmp_path: Path) -> None:
    """A search that would hold one is refused before its folder is made."""
    code, _, err = run("search", "--space", "widths:Widths", "--out", "kept")
    assert code == 2
    assert "--tournament-every 0" in err
    assert not (tmp_path / "kept").exists()


def test_final_network_of_a_result(module: Any) -> None:
    """The best of a front is built with its own weights, which the seed decides."""
    problem = NASProblem(**ARGUMENTS, search_space=module.Widths(), max_params=50_000)
    result = minimize(problem, EvolutiveNAS(2, 3), ("n_gen", 2), seed=1)
    best = front_to_frame(result)["genotype"].iloc[0]
    network = build_final(result)
    expected = Architecture.read(best, problem.search_space).build("trained", problem.dataset)
    pairs = zip(network.parameters(), expected.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert description_of(network) == {
        "genotypes": [best],
        "search_space": {"space": "widths:Widths"},
    }


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_of_a_network_are_trained(
    tmp_path: Path, module: Any, copied: Callable[[nn.Module], nn.Module]
) -> None:
    """A copy of a network, in memory or by pickle, is described in its training as it is."""
    problem = NASProblem(**ARGUMENTS, search_space=module.Widths())
    network = copied(build_final("4-4-4", problem=problem))
    train(network, problem.dataset, epochs=1, batch_size=128, out=tmp_path / "trained")
    assert load_trained(tmp_path / "trained").title == "4-4-4 × 1"


@pytest.mark.slow
def test_absent_module(tmp_path: Path, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the module is not there, its name and what to do are said; problem= helps."""
    path = searched(module.Widths(), tmp_path / "run")
    problem = NASProblem(**ARGUMENTS, search_space=module.Widths())
    train(build_final("4-4-4", problem=problem), problem.dataset, epochs=1, out=path / "final")
    forget(monkeypatch)
    for read in (RunFolder(path).problem, lambda: resume(path), lambda: load_trained(path)):
        with pytest.raises(RunError, match=r"widths:Widths.*PYTHONPATH"):
            read()
    assert "cell.png" not in {drawn.name for drawn in RunFolder(path).draw()}
    resume(path, generations=3, problem=problem)
    assert RunFolder(path).config()["generations_done"] == 3


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"space": "nosuch_module:Widths"}, "cannot be imported.*nosuch_module.*PYTHONPATH"),
        ({"space": "widths:Nosuch"}, "cannot be imported"),
        ({"space": ".widths:Widths"}, "cannot be imported"),
        ({"space": "widths:"}, "cannot be imported"),
        ({"space": "widths:number"}, "no subclass of SearchSpace"),
        ({"space": "torch.nn:ReLU"}, "no subclass of SearchSpace"),
        ({"space": "widths:Wider", "colour": "red"}, "settings that it does not take"),
        ({"space": "widths:Unwritable", "factor": 2}, "other settings than it was given"),
        ({"space": None}, "cannot be imported"),
        ({"space": ["cell"]}, "unknown"),
    ],
)
def test_unusable_names(settings: dict[str, Any], match: str) -> None:
    """A name that leads to no search space, or to another one, is refused by name."""
    with pytest.raises(SearchError, match=match):
        space_from_settings(settings)


def test_what_has_no_name(tmp_path: Path, module: Any) -> None:
    """A class of a function, or one that its settings do not make, is told to be unnameable."""

    class Local(module.Widths):
        """Of a function."""

    for space in (Local(), module.Forgetful(), module.Unwritable()):
        assert space_settings(space)["space"] is None
        assert space_description(space) is None
    path = searched(Local(), tmp_path / "run")
    with pytest.raises(RunError, match=r"cannot be imported.*module"):
        resume(path)
    problem = NASProblem(**ARGUMENTS, search_space=Local())
    assert description_of(build_final("4-4-4", problem=problem)) is None
    resume(path, generations=3, problem=problem)


@pytest.mark.parametrize("settings", [None, [], {}, {"space": None}, {"space": {}}])
def test_settings_that_tell_nothing(settings: Any) -> None:
    """Of a space that is not told, no cell is drawn, and ranks choose."""
    assert cell_operations(settings) is None
    assert not chosen_by_gradients(settings)


def test_names_are_those_of_the_objects(module: Any) -> None:
    """A name is given only where it leads back to the object itself."""
    assert import_name(module.Widths) == "widths:Widths"
    assert space_class("widths:Widths") is module.Widths
    replaced, module.Widths = module.Widths, module.Wider
    assert import_name(replaced) is None
    assert import_name(3) is None
    assert import_name(lambda: None) is None


@pytest.mark.slow
def test_operations_with_a_name_are_imported(tmp_path: Path, module: Any) -> None:
    """A run with an operation of a module goes on; one of a function needs its problem."""
    named = CellSpace({"conv3x3": OPERATIONS["conv3x3"], "mine": module.dilated}, max_nodes=2)
    settings = space_settings(named)
    assert settings["operations"] == {"conv3x3": "conv3x3", "mine": "widths:dilated"}
    assert space_from_settings(settings).operations == named.operations
    path = searched(named, tmp_path / "run")
    resume(path, generations=3)
    assert "cell.png" in {drawn.name for drawn in RunFolder(path).draw()}
    local = CellSpace({"conv3x3": lambda c_in, c_out: nn.Conv2d(c_in, c_out, 1)})
    assert space_settings(local)["operations"] == {"conv3x3": None}
    assert space_description(local) is None
    with pytest.raises(OperationError, match="'conv3x3': of a user's own"):
        space_from_settings(space_settings(local))


def test_texts_are_read_by_the_users_space(module: Any) -> None:
    """A user's space reads every text, in its own words where it cannot."""
    space = module.Widths()
    read = Architecture.read("8-16-32", space)
    assert (read.genotypes, read.title) == (((8, 16, 32),), "8-16-32")
    assert Architecture.from_description(read.describe() or {}).describe() == read.describe()
    for text in ("8-16", "8-16-x", "08-16-32", "resnet20"):
        with pytest.raises(GenotypeError, match="three widths"):
            Architecture.read(text, space)


def test_variation_of_the_page(module: Any) -> None:
    """The page's operators give genotypes whose texts read back."""
    space, rng = module.Widths(), np.random.default_rng(0)
    for _ in range(20):
        a, b = space.sample(rng), space.sample(rng)
        for child in (a, space.crossover(a, b, rng), space.mutate(a, "change", "", rng)):
            assert space.parse(space.format(space.canonical(child))) == child


@pytest.mark.slow
def test_the_packages_own_class_is_its_space(run: Run) -> None:
    """``--space module:Class`` of a class that the package brings is that space."""
    arguments = (
        "--generations",
        "1",
        "--offspring",
        "3",
        "--images",
        "8",
        "--tournament-every",
        "0",
    )
    for name, out in (("cell", "one"), ("pymoo_nas:CellSpace", "two")):
        run("search", "--space", name, *arguments, "--out", out)
    assert RunFolder("one").config()["search_space"] == RunFolder("two").config()["search_space"]
