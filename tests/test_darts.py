"""DARTS: variation, settings, roles, and the way from a search to a training."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from command_line import Run
from darts_cells import SMALL, SPACE, V2, both, genotypes, operations
from hypothesis import given
from hypothesis import strategies as st
from pymoo.optimize import minimize
from small_training import small_dataset

from pymoo_nas.cli._train import _folder_name
from pymoo_nas.errors import OperationError, SearchError
from pymoo_nas.networks import count_parameters
from pymoo_nas.runs import RunFolder, Search, SearchSettings, load_trained, resume
from pymoo_nas.search import DartsTournament, EvolutiveNAS, NASProblem
from pymoo_nas.spaces import Architecture, DARTSSpace, SearchSpace, description_of
from pymoo_nas.spaces.darts._genotype import NODES, OPERATION_NAMES, DARTSGenotype, flows

generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)
connected = genotypes.filter(lambda genotype: genotype.is_connected)
CONVOLUTIONS = both("3031 3031 3031 3031")


def assert_valid(genotype: DARTSGenotype) -> None:
    assert genotype.is_connected
    assert genotype.canonical() == genotype
    assert SPACE.parse(SPACE.format(genotype)) == genotype


# --- variation


@given(generators)
def test_samples_are_valid_and_canonical(rng: np.random.Generator) -> None:
    """Every sample is connected and its own canonical form."""
    assert_valid(SPACE.sample(rng))


def test_samples_take_all_operations_and_different_sources() -> None:
    """All operations and sources are drawn; the two inputs of a node differ."""
    rng = np.random.default_rng(0)
    samples = [SPACE.sample(rng) for _ in range(300)]
    pairs = [pair for sample in samples for _, pair in flows(sample.normal)]
    assert {edge.operation for pair in pairs for edge in pair} == set(OPERATION_NAMES)
    assert {edge.source for pair in pairs for edge in pair} == {0, 1, *NODES[:-1]}
    used = [pair for pair in pairs if "none" not in {edge.operation for edge in pair}]
    assert all(one.source != other.source for one, other in used)


@given(connected, connected, generators)
def test_children_take_every_edge_from_a_parent(
    a: DARTSGenotype, b: DARTSGenotype, rng: np.random.Generator
) -> None:
    """A child is valid, and has no operation that neither of its parents has."""
    child = SPACE.crossover(a, b, rng)
    assert_valid(child)
    for part in ("normal", "reduce"):
        of_parents = {edge.operation for parent in (a, b) for edge in getattr(parent, part)}
        assert {edge.operation for edge in getattr(child, part)} <= of_parents


@given(connected, generators)
def test_a_child_of_twins_is_their_twin(parent: DARTSGenotype, rng: np.random.Generator) -> None:
    """Crossing a genotype with itself gives its canonical form."""
    assert SPACE.crossover(parent, parent, rng) == parent.canonical()


@given(genotypes, genotypes, generators, operations)
def test_variation_of_any_cells_is_valid(
    a: DARTSGenotype, b: DARTSGenotype, rng: np.random.Generator, operation: str
) -> None:
    """Unconnected parents, too, have connected canonical children and mutants."""
    assert_valid(SPACE.crossover(a, b, rng))
    for kind in SPACE.mutation_kinds:
        assert_valid(SPACE.mutate(a, kind, operation, rng))


def names_of(genotype: DARTSGenotype) -> list[str]:
    return sorted(edge.operation for edge in (*genotype.normal, *genotype.reduce))


@given(connected, generators, operations)
def test_change_puts_the_operation_on_one_edge(
    parent: DARTSGenotype, rng: np.random.Generator, operation: str
) -> None:
    """A mutant has the operation once more, in place of one other."""
    child = SPACE.mutate(parent, "change", operation, rng)
    before, after = names_of(parent), names_of(child)
    if child == parent.canonical():
        assert before == after
        return
    assert after.count(operation) == before.count(operation) + 1
    before.append(operation)
    for name in after:
        before.remove(name)
    assert len(before) == 1


@given(connected, generators)
def test_rewire_keeps_the_operations(parent: DARTSGenotype, rng: np.random.Generator) -> None:
    """A mutant has other sources, the same operations, and one of its cells is the parent's."""
    child = SPACE.mutate(parent, "rewire", "none", rng)
    assert names_of(child) == names_of(parent)
    parent = parent.canonical()
    assert parent.normal == child.normal or parent.reduce == child.reduce


def test_impossible_mutations_return_the_parent() -> None:
    """Where all operations are the same already there is nothing to change."""
    parent = CONVOLUTIONS.canonical()
    rng = np.random.default_rng(0)
    assert SPACE.mutate(CONVOLUTIONS, "change", "sep_conv_3x3", rng) == parent
    lonely = both("s0.0 .0.0 .0.0 .0.0").canonical()
    assert SPACE.mutate(lonely, "change", "none", rng) == lonely


@given(genotypes, genotypes, st.integers(0, 2**32 - 1))
def test_variation_is_repeatable(a: DARTSGenotype, b: DARTSGenotype, seed: int) -> None:
    """The generator given is the only source of randomness."""

    def vary() -> list[DARTSGenotype]:
        rng = np.random.default_rng(seed)
        mutants = [SPACE.mutate(a, kind, "sep_conv_5x5", rng) for kind in SPACE.mutation_kinds]
        return [SPACE.sample(rng), SPACE.crossover(a, b, rng), *mutants]

    assert vary() == vary()


def test_every_edge_is_reached() -> None:
    """All 16 edges take part in crossover and in mutation."""
    rng = np.random.default_rng(0)
    other = both("5051 5051 5051 5051")
    children = [SPACE.crossover(CONVOLUTIONS, other, rng) for _ in range(500)]
    assert {names_of(child).count("sep_conv_5x5") for child in children} >= set(range(4, 13))
    # In these cells all inner nodes are alike: five places are left in each cell, two of a node.
    mutants = {SPACE.mutate(CONVOLUTIONS, "change", "none", rng) for _ in range(100)}
    assert len(mutants) == 4


def test_unknown_mutations_are_refused() -> None:
    """The error for an unknown kind or operation lists the known ones."""
    rng = np.random.default_rng(0)
    with pytest.raises(SearchError, match=r"'swap' is unknown; expected one of change, rewire"):
        SPACE.mutate(CONVOLUTIONS, "swap", "none", rng)
    with pytest.raises(OperationError, match=r"'conv'.*none, max_pool_3x3"):
        SPACE.mutate(CONVOLUTIONS, "change", "conv", rng)


# --- the space


@pytest.mark.parametrize(
    ("setting", "least"),
    [("layers", 3), ("channels", 1), ("final_layers", 3), ("final_channels", 1)],
)
def test_settings_out_of_range_are_refused(setting: str, least: int) -> None:
    """Every setting is an integer; there are layers for both kinds of cells."""
    for value in (least - 1, -1, 3.5, True, None):
        with pytest.raises(SearchError, match=f"{setting}={value}; expected .* at least {least}"):
            DARTSSpace(**{setting: value})  # type: ignore[arg-type]


def test_settings_are_plain_and_make_the_same_space() -> None:
    """The settings survive JSON and are the arguments of an equal space, as does a pickle."""
    kept = json.loads(json.dumps(SMALL.settings()))
    assert kept.pop("space") == "darts"
    assert vars(DARTSSpace(**kept)) == vars(SMALL) == vars(pickle.loads(pickle.dumps(SMALL)))
    assert isinstance(SMALL, SearchSpace)
    assert sum(SMALL.mutation_kinds.values()) == pytest.approx(1)


def test_roles() -> None:
    """The scored network is small and is the one that is counted; the published one is trained."""
    data = NASProblem("digits", n_images=16).dataset
    architecture = Architecture.read(V2)
    assert isinstance(architecture.space, DARTSSpace)
    sizes = {
        role: count_parameters(architecture.build(role, data))
        for role in ("scored", "counted", "trained", "body")
    }
    assert 30 * sizes["scored"] == 30 * sizes["counted"] < sizes["trained"] == sizes["body"]
    with pytest.raises(SearchError, match=r"DARTSSpace has no cells .*--tournament-every 0"):
        architecture.build("slot", data)


def test_a_network_is_described_and_made_again() -> None:
    """A network to train carries its genotype and the settings of its space."""
    data = NASProblem("digits", n_images=16).dataset
    architecture = Architecture.of(SMALL, SMALL.parse(V2))
    description = description_of(architecture.build("trained", data))
    assert description == {"genotypes": [V2], "search_space": SMALL.settings()}
    again = Architecture.from_description(description)
    assert again.genotypes == architecture.genotypes


def test_other_numbers_of_genotypes_are_refused() -> None:
    """A network repeats one genotype; what to leave out is said."""
    genotype = SPACE.parse(V2)
    with pytest.raises(SearchError, match=r"3 cells: .* final_layers=20 layers; leave --cells"):
        SPACE.check_n_cells(3)
    for given_genotypes in ([], [genotype] * 2):
        with pytest.raises(SearchError, match="one genotype"):
            SPACE.build_final(given_genotypes, 1, 10)


# --- from a search to a training

FEW = SearchSettings(generations=1, population=2, offspring=2, tournament_every=0, seed=1)


def searched(path: Path, settings: SearchSettings = FEW) -> RunFolder:
    """The run folder of a small search."""
    arguments = {"dataset": "digits", "n_images": 16}
    folder = RunFolder(path)
    folder.create()
    problem = NASProblem(**arguments, search_space=SMALL)  # type: ignore[arg-type]
    Search(folder, problem, settings, {"problem": arguments}).run()
    return folder


def test_from_search_to_prediction(tmp_path: Path, run: Run) -> None:
    """A small search is chosen from, by ranks unless told otherwise, trained and loaded."""
    folder = searched(tmp_path / "kept")
    assert not folder.history()["degenerate"].astype(bool).all()
    assert "best by ranks first" in run("choose", "kept")[1]
    assert not (tmp_path / "kept/cell.png").exists()
    code, out, _ = run("train", "kept", "--epochs", "1", "--batch-size", "700")
    assert code == 0
    assert "test accuracy" in out
    trained = load_trained(tmp_path / "kept")
    images = folder.problem().dataset.test_images
    assert trained.probabilities(images[:3]).shape == (3, 10)


@pytest.mark.slow
def test_a_search_goes_on(tmp_path: Path) -> None:
    """A search that is continued scores what one without the interruption does."""
    whole = searched(tmp_path / "whole", SearchSettings(2, 2, 2, tournament_every=0, seed=1))
    cut = searched(tmp_path / "cut")
    resume(cut.path, generations=2)
    tables = [folder.history().drop(columns="seconds") for folder in (cut, whole)]
    assert tables[0].equals(tables[1])


@pytest.mark.slow
def test_command_line(run: Run) -> None:
    """Search and score take the space and the text; tournaments are refused."""
    few = ("--generations", "1", "--offspring", "2", "--population", "1", "--images", "16")
    code, _, err = run("search", "--space", "darts", *few, "--out", "kept")
    assert (code, "--tournament-every 0" in err) == (2, True)
    assert (
        run("search", "--space", "darts", *few, "--tournament-every", "0", "--out", "kept")[0] == 0
    )
    text = RunFolder("kept").history()["genotype"][0]
    assert SPACE.format(SPACE.parse(text)) == text
    code, out, _ = run("score", text, "--images", "16", "--inits", "1")
    assert code == 0
    assert "Genotype(" in out


def test_tournaments_are_refused_before_anything_is_scored() -> None:
    """A genotype of two cells with two inputs is no cell for a slot."""
    problem = NASProblem("digits", n_images=16, search_space=SMALL)
    with pytest.raises(SearchError, match=r"DARTSSpace has no cells.*--tournament-every 0"):
        minimize(problem, EvolutiveNAS(2, 3), ("n_gen", 1), callback=DartsTournament())
    assert problem.n_scored == 0


@pytest.mark.slow
def test_published_network_is_trained(run: Run, tmp_path: Path) -> None:
    """The command train takes the text of a genotype, and trains all twenty layers."""
    data = small_dataset(40, n_test=20, n_classes=4)
    names = ("train_images", "train_labels", "test_images", "test_labels")
    np.savez(tmp_path / "few.npz", **{name: getattr(data, name) for name in names})
    train = ("train", "--model", V2, "--dataset", "few.npz", "--epochs", "1")
    code, out, _ = run(*train, "--batch-size", "20", "--out", "published")
    assert code == 0
    # One channel and four classes: 2 · 9 · 108 weights of the stem, 6 · 577 of the classifier less.
    assert f"{3_349_342 - 2 * 9 * 108 - 6 * 577:,} parameters" in out


def test_a_long_name_becomes_a_folder() -> None:
    """Texts that differ at their end only have different folders, of a length that systems take."""
    texts = [
        SPACE.format(both(letters)) for letters in ("3031 3031 3031 3031", "3031 3031 3031 30s1")
    ]
    names = [_folder_name(text) for text in texts]
    assert len(set(names)) == 2
    assert max(map(len, names)) <= 100
    assert not set("|~'\"/") & set("".join(names))
