"""DARTS: text, connection, canonical form."""

from __future__ import annotations

import copy
import itertools
import pickle
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts_cells import SPACE, TABLE, V2, both, cells, genotypes, needs_table, spell
from hypothesis import given, settings
from hypothesis import strategies as st

from pymoo_nas.errors import GenotypeError
from pymoo_nas.spaces import CellSpace, DARTSSpace, NASBench201Space
from pymoo_nas.spaces._by_name import SPACES, space_of_text
from pymoo_nas.spaces.darts._genotype import NODES, NONE, CellEdges, DARTSGenotype, Edge

TOKEN = re.compile(r"'\w+'|\w+|\S")

# --- text


@given(genotypes)
def test_text_is_read_back(genotype: DARTSGenotype) -> None:
    """parse(format(g)) is g for every genotype."""
    assert SPACE.parse(SPACE.format(genotype)) == genotype


@needs_table
def test_text_of_the_table_is_reproduced() -> None:
    """The text of all 500 rows is written exactly as it was read."""
    texts = pd.read_csv(TABLE)["genotype"]
    assert len(texts) == 500
    assert [SPACE.format(SPACE.parse(text)) for text in texts] == list(texts)


def test_published_text() -> None:
    """The text of the paper's cells is read as it says, and written as it was."""
    genotype = SPACE.parse(V2)
    assert genotype == DARTSGenotype(
        spell("30 31  30 31  31 s0  s0 d2"), spell("m0 m1  s2 m1  m0 s2  s2 m1")
    )
    assert SPACE.format(genotype) == V2


@given(genotypes, st.data())
def test_spaces_do_not_matter(genotype: DARTSGenotype, data: Any) -> None:
    """Spaces and line breaks between any signs change nothing."""
    tokens = TOKEN.findall(str(genotype))
    gaps = data.draw(st.lists(st.sampled_from(["", " ", "\n  ", "\t"]), min_size=9, max_size=9))
    text = "".join(gap + token for token, gap in zip(tokens, itertools.cycle(gaps), strict=False))
    assert SPACE.parse(text + gaps[0]) == genotype


@pytest.mark.parametrize(
    ("published", "other"),
    [
        ("[2, 3, 4, 5]", "range(2, 6)"),
        ("[2, 3, 4, 5]", "[2, 3, 4, 5,]"),
        ("'", '"'),
        ("0)]", "0),]"),
        ("1)]", "1), ]"),
        ("reduce_concat=[2, 3, 4, 5])", "reduce_concat=[2, 3, 4, 5],\n)"),
    ],
)
def test_other_ways_of_writing_are_read(published: str, other: str) -> None:
    """Ranges, double quotes and commas before closing brackets are Python's for the same."""
    assert SPACE.parse(V2.replace(published, other)) == SPACE.parse(V2)


def place_of(part: str) -> int:
    return V2.index(part) + 1


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("", 1, "'Genotype'"),
        ("Genotype", 9, "'('"),
        (V2[1:], 1, "'Genotype'"),
        (V2 + "x", len(V2) + 1, "the end of the text"),
        (V2[:-1], len(V2), "')'"),
        (V2.replace("normal=", "narmal="), 10, "'normal'"),
        (V2.replace("sep_conv_3x3", "conv_3x3", 1), 19, "an operation (none, max_pool_3x3"),
        (V2.replace("'sep_conv_3x3'", "sep_conv_3x3", 1), 19, "an operation"),
        (V2.replace("3', 1)", "3', 2)", 1), place_of("1)"), "from 0 to 1, a node before node 2"),
        (V2.replace("3', 2)", "3', 5)", 1), place_of("2)]"), "from 0 to 4, a node before node 5"),
        (V2.replace("3', 0)", "3', 00)", 1), place_of("0)"), "a source"),
        (V2.replace("3', 0)", "3', -1)", 1), place_of("0)"), "a source"),
        (V2.replace(", ('dil_conv_3x3', 2)", ""), place_of(", ('dil"), "','"),
        (V2.replace("2)],", "2), ('none', 0)],"), place_of("2)],") + 2, "']'"),
        (V2.replace("[2, 3, 4, 5]", "[4, 5, 6]", 1), place_of("2, 3"), "'2'"),
        (V2.replace("[2, 3, 4, 5]", "range(2, 7)", 1), place_of("2, 3") + 8, "'6'"),
        (V2.replace("[2, 3, 4, 5]", "__import__('os')", 1), place_of("[2"), "'['"),
    ],
)
def test_malformed_text_is_located(text: str, position: int, expected: str) -> None:
    """The error shows the text, the position from 1 and what was expected there."""
    with pytest.raises(GenotypeError) as caught:
        SPACE.parse(text)
    assert repr(text) in str(caught.value)
    assert f"at position {position} expected" in str(caught.value)
    assert expected in str(caught.value)


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([*TOKEN.findall(V2), *"([{}])-\\#'\" \n", "é"]), max_size=60)
    | st.just(TOKEN.findall(V2)),
    st.integers(0, 200),
    st.text(max_size=2),
)
def test_any_text_is_read_or_refused(tokens: list[str], index: int, sign: str) -> None:
    """A text gives a genotype, whose text gives it again, or a GenotypeError, and nothing else."""
    text = "".join(tokens)
    text = text[:index] + sign + text[index:]
    try:
        genotype = SPACE.parse(text)
    except GenotypeError:
        return
    assert SPACE.parse(SPACE.format(genotype)) == genotype


@pytest.mark.parametrize("given_text", [None, 5, V2.encode(), ("none",) * 6])
def test_what_is_no_text_is_refused(given_text: object) -> None:
    """Anything but text is a GenotypeError that shows an example."""
    with pytest.raises(GenotypeError, match=r"expected text such as Genotype\("):
        SPACE.parse(given_text)  # type: ignore[arg-type]


SKIPS = spell("s0s1 s0s1 s0s1 s0s1")


@pytest.mark.parametrize(
    ("normal", "said"),
    [
        ((), r"normal=\(\); expected a tuple of 8 pairs"),
        (list(SKIPS), "expected a tuple of 8 pairs"),
        (SKIPS[1:], "expected a tuple of 8 pairs"),
        ((("conv", 0), *SKIPS[1:]), r"normal\[0\] is \('conv', 0\); expected .* none, max_pool"),
        (("none", *SKIPS[1:]), r"normal\[0\] is 'none'; expected \(operation, source\)"),
        ((("none", 2), *SKIPS[1:]), r"normal\[0\] .* from 0 to 1, a node before node 2"),
        ((("none", True), *SKIPS[1:]), "a source from 0 to 1"),
        ((*SKIPS[:-1], ("none", -1)), r"normal\[7\] .* from 0 to 4"),
    ],
)
def test_other_tuples_are_no_genotype(normal: Any, said: str) -> None:
    """Eight known operations on earlier nodes make a cell; the error names the edge."""
    with pytest.raises(GenotypeError, match=said):
        DARTSGenotype(normal, SKIPS)


def test_genotypes_are_values() -> None:
    """Equal edges are equal genotypes, with one hash; nothing can be set; copies are equal."""
    genotype, same = SPACE.parse(V2), SPACE.parse(V2)
    assert len({genotype, same}) == 1
    assert pickle.loads(pickle.dumps(genotype)) == copy.deepcopy(genotype) == genotype
    with pytest.raises(AttributeError):
        genotype.normal = SKIPS  # type: ignore[misc]
    with pytest.raises(GenotypeError, match="operators that know genotypes"):
        float(genotype)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (V2, DARTSSpace),
        ("  " + V2, DARTSSpace),
        ("Genotype(normal=", DARTSSpace),
        ("Genotype~|", DARTSSpace),
        ("5000|0001|0800", CellSpace),
        ("|nor_conv_3x3~0|+|", NASBench201Space),
        ("resnet18", None),
        ("googlenet", None),
    ],
)
def test_a_text_is_of_one_space(text: str, kind: type | None) -> None:
    """At most one space claims a text, whatever their order."""
    assert space_of_text(text) is kind
    assert sum(space.looks_like(text) for space in SPACES.values()) == (kind is not None)


# --- connection


@pytest.mark.parametrize(
    ("letters", "connected"),
    [
        ("s0.0 .0.0 .0.0 .0.0", True),
        (".0.0 .0.0 .0.0 .031", True),
        (".0.0 .0.0 .0.0 .0.0", False),
        (".0.0 32.0 3333 s2s4", False),
        (".0.0 32.0 3333 s2s0", True),
    ],
)
def test_connection(letters: str, connected: bool) -> None:
    """A cell is connected where operations lead from an input to any inner node."""
    assert both(letters).is_connected == connected
    mixed = DARTSGenotype(SKIPS, spell(letters)), DARTSGenotype(spell(letters), SKIPS)
    assert all(genotype.is_connected == connected for genotype in mixed)


# --- canonical form


def respelled(cell: CellEdges, rng: np.random.Generator) -> CellEdges:
    """The cell with pairs, inner nodes and sources of ``none`` in another order."""
    while True:
        order = [2 + int(node) for node in rng.permutation(4)]
        new = {0: 0, 1: 1, **dict(zip(order, NODES, strict=True))}
        pairs = []
        for node in order:
            pair = [cell[2 * node - 4 + int(which)] for which in rng.permutation(2)]
            pairs.append([(name, new[source]) for name, source in pair])
        if all(
            name == NONE or source < node
            for node, pair in zip(NODES, pairs, strict=True)
            for name, source in pair
        ):
            break
    return tuple(
        Edge(name, int(rng.integers(node)) if name == NONE else source)
        for node, pair in zip(NODES, pairs, strict=True)
        for name, source in pair
    )


@given(genotypes, st.integers(0, 2**32 - 1))
def test_spellings_of_a_network_have_one_canonical_form(genotype: DARTSGenotype, seed: int) -> None:
    """The order of inputs and of inner nodes, and the source of ``none``, do not matter."""
    rng = np.random.default_rng(seed)
    other = DARTSGenotype(respelled(genotype.normal, rng), respelled(genotype.reduce, rng))
    assert other.canonical() == genotype.canonical()


@given(genotypes)
def test_canonical_is_its_own_canonical_form(genotype: DARTSGenotype) -> None:
    """Canonical forms stay, and are as connected as what they stand for."""
    canonical = genotype.canonical()
    assert canonical.canonical() == canonical
    assert canonical.is_connected == genotype.is_connected


@given(cells, cells)
def test_canonical_keeps_both_cells_apart(normal: CellEdges, reduce: CellEdges) -> None:
    """Each cell has a canonical form of its own."""
    canonical = DARTSGenotype(normal, reduce).canonical()
    assert canonical.normal == DARTSGenotype(normal, normal).canonical().normal
    assert canonical.reduce == DARTSGenotype(reduce, reduce).canonical().reduce


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s0s0 .0.0 .0.0 .0.0", "s0.0 .0.0 .0.0 .0.0"),
        ("3031 .0.0 .0.0 .0.0", "30.0 .0.0 .0.0 31.0"),
        ("30.0 .0.0 .0.0 .0.0", "31.0 .0.0 .0.0 .0.0"),
        ("30.0 32.0 .0.0 .0.0", "30.0 30.0 .0.0 .0.0"),
        ("30s1 32.0 .0.0 .0.0", "30s1 52.0 .0.0 .0.0"),
    ],
)
def test_networks_that_differ_stay_apart(one: str, other: str) -> None:
    """Cells that compute something else have another canonical form."""
    assert both(one).canonical() != both(other).canonical()


def test_canonical_by_hand() -> None:
    """``none`` goes first, then smaller sources; a node goes where its edges are smallest."""
    cell = both("5130 .1.0 33.1 s0s0").canonical().normal
    assert cell == spell(".0.0 .032 s0s0 3051")
