"""NAS-Bench-201: text, classes of isomorphic cells."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections import defaultdict
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nasbench201_cells import (
    BEST,
    CONVOLUTIONS,
    SPACE,
    TABLE,
    genotypes,
    needs_table,
    obvious_cell,
    random_tensors,
    spell,
)

from common.nasbench201 import load_table
from pymoo_nas.errors import GenotypeError
from pymoo_nas.networks import count_parameters
from pymoo_nas.spaces.nasbench201._genotype import EDGES, OPERATION_NAMES, NASBench201Genotype


@cache
def every_genotype() -> list[NASBench201Genotype]:
    return [NASBench201Genotype(names) for names in itertools.product(OPERATION_NAMES, repeat=6)]


@cache
def classes() -> dict[str, list[NASBench201Genotype]]:
    """Isomorphism key → all cells that have it."""
    members = defaultdict(list)
    for genotype in every_genotype():
        members[genotype.isomorphism_key()].append(genotype)
    return members


# --- text


@given(genotypes)
def test_text_is_read_back(genotype: NASBench201Genotype) -> None:
    """parse(format(g)) is g for every genotype."""
    assert SPACE.parse(SPACE.format(genotype)) == genotype


@needs_table
def test_text_of_the_table_is_reproduced() -> None:
    """The text of all 5,000 published rows is written exactly as it was read."""
    texts = load_table(TABLE)["arch"]
    assert len(texts) == 5000
    assert [SPACE.format(SPACE.parse(text)) for text in texts] == list(texts)


def test_edges_are_in_the_order_of_the_text() -> None:
    """The operation of edge i→j stands in the group of node j, before ~i."""
    genotype = SPACE.parse(
        "|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|"
    )
    assert genotype == spell(".s13p.")
    assert dict(zip(EDGES, genotype.operations, strict=True))[1, 2] == "nor_conv_1x1"
    assert list(genotype.flows(3)) == [(0, "nor_conv_3x3"), (1, "avg_pool_3x3"), (2, "none")]


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("", 1, "'|'"),
        ("none~0", 1, "'|'"),
        (" " + BEST, 1, "'|'"),
        ("|conv~0|", 2, "nor_conv_1x1, nor_conv_3x3, avg_pool_3x3"),
        ("||", 2, "an operation"),
        ("|NONE~0|", 2, "an operation"),
        ("|none~1|", 7, "'0'"),
        ("|none0|", 2, "an operation"),
        ("|none|", 6, "'~'"),
        ("|none~0|none~0|", 9, "'+'"),
        ("|none~0|+none~0|", 10, "'|'"),
        ("|none~0|+|none~0|+", 18, "an operation"),
        (BEST[:-1], len(BEST), "'|'"),
        (BEST + "\n", len(BEST) + 1, "the end of the text"),
        (BEST + "+|none~0|", len(BEST) + 1, "the end of the text"),
    ],
)
def test_malformed_text_is_located(text: str, position: int, expected: str) -> None:
    """The error shows the text, the position from 1 and what was expected there."""
    with pytest.raises(GenotypeError) as caught:
        SPACE.parse(text)
    assert repr(text) in str(caught.value)
    assert f"at position {position} expected" in str(caught.value)
    assert expected in str(caught.value)


@given(st.text(alphabet="|~+0123nosekipcav_x", max_size=120))
def test_any_text_is_read_exactly_or_refused(text: str) -> None:
    """A text is either the text of what was read, or refused with a GenotypeError."""
    try:
        genotype = SPACE.parse(text)
    except GenotypeError:
        return
    assert SPACE.format(genotype) == text


@given(genotypes, st.integers(0, 200), st.sampled_from("|~+012 n3"))
def test_a_changed_character_never_passes_unseen(
    genotype: NASBench201Genotype, index: int, char: str
) -> None:
    """One replaced character of a valid text gives an error or another genotype."""
    text = str(genotype)
    index %= len(text)
    changed = text[:index] + char + text[index + 1 :]
    try:
        read = SPACE.parse(changed)
    except GenotypeError:
        return
    assert str(read) == changed


@pytest.mark.parametrize("given_text", [None, 5, b"|none~0|", ("none",) * 6])
def test_what_is_no_text_is_refused(given_text: object) -> None:
    """Anything but text is a GenotypeError that shows an example."""
    with pytest.raises(GenotypeError, match=r"expected text such as \|op~0\|"):
        SPACE.parse(given_text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "operations",
    [(), ("none",) * 5, ("none",) * 7, ["none"] * 6, ("none",) * 5 + ("conv",), "none"],
)
def test_other_tuples_are_no_genotype(operations: object) -> None:
    """Only six known names make a genotype."""
    with pytest.raises(GenotypeError, match="expected"):
        NASBench201Genotype(operations)  # type: ignore[arg-type]


def test_genotypes_are_values() -> None:
    """Equal operations are equal genotypes, with one hash; nothing can be set; copies are equal."""
    genotype, same = SPACE.parse(BEST), SPACE.parse(BEST)
    assert len({genotype, same}) == 1
    assert pickle.loads(pickle.dumps(genotype)) == copy.deepcopy(genotype) == genotype
    with pytest.raises(AttributeError):
        genotype.operations = ("none",) * 6  # type: ignore[misc]


# --- isomorphic cells


def test_there_are_6466_classes() -> None:
    """The 15,625 cells have 6,466 canonical forms (Dong 2020)."""
    assert len(every_genotype()) == 15_625
    assert len(set(map(SPACE.canonical, every_genotype()))) == 6466


def test_canonical_is_idempotent_and_stays_in_its_class() -> None:
    """A canonical form is its own, and has the key of all cells that it stands for."""
    for genotype in every_genotype():
        canonical = genotype.canonical()
        assert canonical.canonical() == canonical
        assert canonical.isomorphism_key() == genotype.isomorphism_key()


def test_canonical_is_the_first_of_its_class() -> None:
    """No cell of a class has fewer dead operations, then more live weights, then is smaller."""

    def order(genotype: NASBench201Genotype) -> tuple[int, int, list[int]]:
        live = live_edges_by_paths(genotype)
        names = genotype.operations
        dead = sum(
            name != "none" and edge not in live for edge, name in zip(EDGES, names, strict=True)
        )
        sizes = [names[EDGES.index(edge)] for edge in live]
        weights = sizes.count("nor_conv_1x1") + 9 * sizes.count("nor_conv_3x3")
        return dead, -weights, [OPERATION_NAMES.index(name) for name in names]

    for members in classes().values():
        assert members[0].canonical() == min(members, key=order)


def live_edges_by_paths(genotype: NASBench201Genotype) -> set[tuple[int, int]]:
    """Edges of all paths from 0 to 3 along operations, by writing the four paths down."""
    names = dict(zip(EDGES, genotype.operations, strict=True))
    paths = [[(0, 3)], [(0, 1), (1, 3)], [(0, 2), (2, 3)], [(0, 1), (1, 2), (2, 3)]]
    open_paths = [path for path in paths if all(names[edge] != "none" for edge in path)]
    return {edge for path in open_paths for edge in path}


def test_connectedness_is_a_matter_of_paths_and_of_the_class() -> None:
    """341 cells of 5 classes are unconnected, and no class holds both kinds."""
    for genotype in every_genotype():
        live = live_edges_by_paths(genotype)
        assert {EDGES[index] for index in genotype.live_edges()} == live
        assert genotype.is_connected == bool(live) == genotype.canonical().is_connected
    unconnected = [genotype for genotype in every_genotype() if not genotype.is_connected]
    assert len(unconnected) == 341
    assert len({genotype.canonical() for genotype in unconnected}) == 5


@needs_table
def test_chance_accuracy_is_unconnectedness() -> None:
    """Exactly the unconnected cells of the table have an accuracy of 10.0."""
    table = load_table(TABLE)
    connected = table["arch"].map(lambda text: SPACE.parse(text).is_connected)
    assert (connected == (table["cifar10_test"] != 10.0)).all()
    assert (~connected).sum() > 50


@given(genotypes, st.integers(0, 2**31))
def test_class_mates_agree_when_weights_are_shared(
    genotype: NASBench201Genotype, seed: int
) -> None:
    """With one set of weights per kind of convolution, a cell and its canonical form are equal."""
    x, *kernels = random_tensors(seed, (2, 2, 5, 4), (2, 2, 1, 1), (2, 2, 3, 3))
    shared = {
        (edge, name): kernel
        for edge in EDGES
        for name, kernel in zip(CONVOLUTIONS, kernels, strict=True)
    }
    first, second = (obvious_cell(cell, x, shared) for cell in (genotype, genotype.canonical()))
    torch.testing.assert_close(first, second)


def test_classes_join_a_node_used_twice_and_two_equal_nodes() -> None:
    """Known limit: one convolution used twice is a duplicate of two; the two are kept."""
    once, twice = spell("3.s.ss"), spell(".3.3.s")
    assert SPACE.canonical(once) == SPACE.canonical(twice) == twice
    assert SPACE.canonical(spell("33..ss")) == twice
    parameters = [count_parameters(SPACE.build_cell(cell, 8)) for cell in (once, twice)]
    assert parameters == [9 * 64 + 16, 2 * (9 * 64 + 16)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("...s..", "...s.s", id="a node that nothing reaches is passed on"),
        pytest.param(".s.s.s", "s..ss.", id="the middle node is 2 or 1"),
        pytest.param("s.ssps", "s.psss", id="the same terms summed in another order"),
        pytest.param("s.sspp", "sss.sp", id="pooling of a sum, sum of poolings"),
    ],
)
def test_classes_keep_some_equal_cells_apart(first: str, second: str) -> None:
    """Known limit: cells of one function that are no duplicates of each other."""
    (x,) = random_tensors(0, (1, 2, 6, 6))
    assert spell(first).canonical() != spell(second).canonical()
    torch.testing.assert_close(
        obvious_cell(spell(first), x, {}), obvious_cell(spell(second), x, {})
    )


@pytest.mark.slow
def test_numbers_of_distinct_functions() -> None:
    """Told apart by their convolutions, 430 classes hold several functions; there are 5,260."""
    functions = {genotype: expanded(genotype) for genotype in every_genotype()}
    assert len(set(functions.values())) == 5260
    several = [len({functions[cell] for cell in members}) > 1 for members in classes().values()]
    assert sum(several) == 430
    linear = {expanded(genotype, linear_pooling=True) for genotype in every_genotype()}
    assert len(linear) == 5044


def expanded(genotype: NASBench201Genotype, *, linear_pooling: bool = False) -> str:
    """The output as a flat sum without zeros, convolutions numbered so that it is smallest."""
    convolutions = [
        edge for edge, name in zip(EDGES, genotype.operations, strict=True) if name in CONVOLUTIONS
    ]
    return min(
        expanded_with(genotype, dict(zip(convolutions, numbers, strict=True)), linear_pooling)
        for numbers in itertools.permutations(range(len(convolutions)))
    )


def expanded_with(
    genotype: NASBench201Genotype, numbers: dict[tuple[int, int], int], linear_pooling: bool
) -> str:
    terms = [["x"]]
    for target in (1, 2, 3):
        into = []
        for source, name in genotype.flows(target):
            if name == "skip_connect":
                into += terms[source]
            elif name == "avg_pool_3x3" and linear_pooling:
                into += [f"pool({term})" for term in terms[source]]
            elif name != "none" and terms[source]:
                label = numbers.get((source, target), "")
                into.append(f"{name}{label}({'+'.join(terms[source])})")
        terms.append(sorted(into))
    return "+".join(terms[3])
