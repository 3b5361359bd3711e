import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, genotypes_of, spaces

from pymoo_nas.errors import GenotypeError, OperationError, SearchError
from pymoo_nas.networks import CellNetwork, count_flops
from pymoo_nas.spaces import REDUCTIONS, Cell, CellSpace, Genotype, edges, space_from_settings


def check_valid(space: CellSpace, genotype: Genotype) -> None:
    """Connected, canonical, within limits, and its text reads back."""
    assert genotype.is_connected
    assert genotype.canonical() == genotype
    assert genotype.n_nodes <= space.max_nodes
    assert max(map(max, genotype.blocks)) <= space.max_channels
    assert space.parse(space.format(genotype)) == genotype


@settings(max_examples=60)
@given(spaces(), SEEDS)
def test_samples_are_valid_and_follow_the_generator(space: CellSpace, seed: int) -> None:
    """A sample lies in the space, and the same generator gives the same one."""
    genotype = space.sample(np.random.default_rng(seed))
    check_valid(space, genotype)
    assert genotype.n_nodes <= space.sample_nodes
    assert space.sample(np.random.default_rng(seed)) == genotype


@settings(max_examples=60)
@given(st.data(), spaces(), SEEDS)
def test_children_are_valid_and_parents_unchanged(data: Any, space: CellSpace, seed: int) -> None:
    """Crossover and every kind of mutation stay within the space and leave the parents alone."""
    a, b = (data.draw(genotypes_of(space)) for _ in range(2))
    before = str(a), str(b)
    rng = np.random.default_rng(seed)
    check_valid(space, space.crossover(a, b, rng))
    for kind in space.mutation_kinds:
        operation = data.draw(st.sampled_from(space.operation_names))
        check_valid(space, space.mutate(a, kind, operation, rng))
    assert (str(a), str(b)) == before


@given(SEEDS)
def test_crossover_takes_each_count_from_either_parent(seed: int) -> None:
    """Every count of a child is one of the parents' counts at its place, the length either's."""
    a = Genotype.parse("9876|1234|5678")
    b = Genotype.parse("1357|2468|1212|3434|5656|7878")
    child = CellSpace().crossover(a, b, np.random.default_rng(seed))
    assert len(child.blocks) in (3, 6)
    # Node 1 before node 2 is the only order of the shorter child; the longer has dense blocks too.
    for index, block in enumerate(child.blocks):
        parents = [p.blocks[index] for p in (a, b) if index < len(p.blocks)]
        for operation, count in enumerate(block):
            assert count in {parent[operation] for parent in parents}


def test_grow_adds_channels_of_the_operation() -> None:
    """One block gets one or two steps more of the operation, nothing else changes."""
    space, parent = CellSpace(channel_step=2), Genotype.parse("5000|0001|0800")
    for seed in range(20):
        child = space.mutate(parent, "grow", "max_pool3x3", np.random.default_rng(seed))
        more = np.array(child.blocks) - np.array(parent.blocks)
        assert more[:, [0, 1, 3]].sum() == 0
        assert more[:, 2].sum() in (2, 4)


def test_shrink_removes_channels() -> None:
    """No count grows, and the sum of channels falls."""
    space, parent = CellSpace(channel_step=1), Genotype.parse("9000|0009|0900")
    for seed in range(20):
        child = space.mutate(parent, "shrink", "conv3x3", np.random.default_rng(seed))
        assert child.n_channels < parent.n_channels


def test_swap_exchanges_blocks() -> None:
    """The blocks of the child are the parent's in another order."""
    space, parent = CellSpace(), Genotype.parse("5000|0001|0800")
    children = {
        space.mutate(parent, "swap", "conv3x3", np.random.default_rng(seed)) for seed in range(30)
    }
    assert all(sorted(child.blocks) == sorted(parent.blocks) for child in children)
    assert len(children) > 1


def test_nodes_are_added_and_removed() -> None:
    """add_node makes a node more, up to the limit; remove_node one less, down to one."""
    space, parent = CellSpace(max_nodes=3), Genotype.parse("5000|0001|0800")
    rng = np.random.default_rng(0)
    larger = space.mutate(parent, "add_node", "conv3x3", rng)
    assert larger.n_nodes == 3
    assert space.mutate(larger, "add_node", "conv3x3", rng) == larger
    assert space.mutate(parent, "remove_node", "conv3x3", rng).n_nodes == 1
    single = Genotype.parse("0804")
    assert space.mutate(single, "remove_node", "conv3x3", rng) == single


def test_limits_of_the_space_are_part_of_parsing() -> None:
    """Channels, nodes and operations beyond the space are refused."""
    space = CellSpace(max_channels=8, max_nodes=2)
    for text, match in {
        "9000": "at most 8",
        "1000|0000|0000|1000|1000|1000": "at most 2",
        "100": "4 channel counts",
    }.items():
        with pytest.raises(GenotypeError, match=match):
            space.parse(text)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_nodes": 0}, SearchError),
        ({"max_channels": 0}, SearchError),
        ({"channel_step": 0}, SearchError),
        ({"sample_nodes": 0}, SearchError),
        ({"n_cells": 0}, SearchError),
        ({"operations": ["nosuch"]}, OperationError),
        ({"operations": []}, OperationError),
        ({"reduction": "nosuch"}, SearchError),
        ({"stem": 1}, SearchError),
        ({"shortcut": 1}, SearchError),
        ({"shortcut": "yes"}, SearchError),
        ({"widths": ()}, SearchError),
        ({"widths": "12"}, SearchError),
        ({"widths": 2}, SearchError),
        ({"widths": (1, 0)}, SearchError),
        ({"widths": (1, float("nan"))}, SearchError),
        ({"widths": (1, 65)}, SearchError),
    ],
)
def test_settings_out_of_range_are_refused(arguments: Any, error: Any) -> None:
    """A space that could not hold a cell is refused."""
    with pytest.raises(error, match="expected"):
        CellSpace(**arguments)


def test_unknown_kind_and_operation_are_refused() -> None:
    """The error lists what there is."""
    space, genotype, rng = CellSpace(), Genotype.parse("5000"), np.random.default_rng(0)
    with pytest.raises(SearchError, match="grow"):
        space.mutate(genotype, "nosuch", "conv3x3", rng)
    with pytest.raises(OperationError, match="conv3x3"):
        space.mutate(genotype, "grow", "nosuch", rng)


def test_settings_rebuild_the_space() -> None:
    """The plain values of a space make an equal one."""
    space = CellSpace(["skip", "conv3x3"], max_channels=12, n_cells=2, reduction="between")
    arguments = space.settings()
    assert arguments.pop("space") == "cell"
    assert CellSpace(**arguments).settings() == space.settings()


def test_widths_of_the_stages() -> None:
    """A stage has its factor of the channels, rounded, at least 1; later stages have the last."""

    def channels(widths: Sequence[float] | None, text: str) -> list[int]:
        space = CellSpace(["conv3x3"], n_cells=4, widths=widths)
        network = space.build(space.parse(text), 3, 2)
        assert isinstance(network, CellNetwork)
        return [cell.out_channels for cell in network.cells]

    assert channels((1, 1.5, 2), "5,") == [5, 8, 10, 10]
    assert channels((1, 0.1), "4,") == [4, 1, 1, 1]
    assert channels(None, "5,") == channels((1, 2, 4), "5,") == [5, 10, 20, 20]


def test_widths_are_kept_where_they_are_given() -> None:
    """Settings hold the widths that were given, and none for networks of before."""
    kept = CellSpace(widths=(1, 1.5, 2)).settings()
    assert kept["widths"] == [1.0, 1.5, 2.0]
    assert space_from_settings(json.loads(json.dumps(kept))).settings() == kept
    assert "widths" not in CellSpace().settings()


def test_shortcut_is_of_every_cell_where_it_was_given() -> None:
    """Every network and cell of such a space has it; none of another, nor of runs of before."""
    space = CellSpace(shortcut=True)
    kept = json.loads(json.dumps(space.settings()))
    assert space_from_settings(kept).settings() == space.settings()
    genotype = space.parse("5000")
    built = (space.build(genotype, 3, 2), space.build_final([genotype] * 2, 3, 2))
    with_shortcut = [
        cell.shortcut is not None
        for network in (*built, space.build_cell(genotype, 3))
        for cell in network.modules()
        if isinstance(cell, Cell)
    ]
    assert with_shortcut == [True] * 6
    before = CellSpace().settings()
    assert "shortcut" not in before
    plain = space_from_settings(before).build(genotype, 3, 2)
    assert all(cell.shortcut is None for cell in plain.modules() if isinstance(cell, Cell))


def test_reduction_inside_and_between() -> None:
    """Reduced inside, the second of two convolutions sees a quarter of the pixels."""
    genotype = Genotype.parse("4,0,0,0|0,0,0,0|4,0,0,0")
    images, flops = torch.zeros(1, 3, 16, 16), {}
    for reduction in REDUCTIONS:
        space = CellSpace(n_cells=1, reduction=reduction)
        network = space.build(genotype, 3, 2)
        flops[reduction] = count_flops(network, images)
        cell = space.build_cell(genotype, 3)
        assert cell(images).shape[2] == (8 if reduction == "inside" else 16)
    first, second, classifier = 3 * 4 * 9, 4 * 4 * 9, 4 * 2
    assert flops["between"] == (first + second) * 256 + classifier
    assert flops["inside"] == first * 256 + second * 64 + classifier


@given(spaces(), SEEDS)
def test_counts_are_multiples_of_the_step(space: CellSpace, seed: int) -> None:
    """Whatever is sampled or added keeps to multiples of channel_step, also near the limit."""
    rng = np.random.default_rng(seed)
    genotype = space.sample(rng)
    for _ in range(12):
        kind = str(rng.choice(list(space.mutation_kinds)))
        genotype = space.mutate(genotype, kind, space.operation_names[-1], rng)
        assert {count % space.channel_step for block in genotype.blocks for count in block} == {0}


def test_grow_stops_at_the_limit() -> None:
    """A count at max_channels, or within less than a step of it, is not grown."""
    space = CellSpace(["skip"], max_channels=10, channel_step=4)
    for text in ("10,", "8"):
        parent = space.parse(text)
        assert space.mutate(parent, "grow", "skip", np.random.default_rng(0)) == parent


@given(SEEDS)
def test_shrink_changes_one_count(seed: int) -> None:
    """One count loses one or two steps, or goes to zero; the others stay."""
    parent = Genotype.parse("90|09|90")
    space = CellSpace(["conv3x3", "skip"], channel_step=2)
    child = space.mutate(parent, "shrink", "skip", np.random.default_rng(seed))
    less = np.array(parent.blocks) - np.array(child.blocks)
    assert np.count_nonzero(less) == 1
    assert less.sum() in (2, 4)


@given(SEEDS)
def test_add_node_keeps_what_was_there(seed: int) -> None:
    """The new node has one operation in, the one asked for, and one out, to the output."""
    # Distinct counts give every old block away, whatever the canonical order of the nodes.
    space, parent = CellSpace(channel_step=1), Genotype.parse("9000|0090|0700")
    child = space.mutate(parent, "add_node", "avg_pool3x3", np.random.default_rng(seed))
    old = sorted(block for block in parent.blocks if any(block))
    used = [
        (source, target, block)
        for (source, target), block in zip(edges(child.n_nodes), child.blocks, strict=True)
        if any(block)
    ]
    for block in old:
        used.remove(next(entry for entry in used if entry[2] == block))
    (into,) = [entry for entry in used if entry[1] != 3]
    (out,) = [entry for entry in used if entry[1] == 3]
    assert into[1] == out[0]
    assert 1 <= into[2][3] == sum(into[2]) <= 4
    assert 1 <= sum(out[2]) == max(out[2]) <= 4


def test_remove_node_takes_its_blocks() -> None:
    """The child is the parent without one of its intermediate nodes and all that touches it."""
    space, parent = CellSpace(), Genotype.parse("1000|2000|0300|4000|0500|0060")
    without = {
        Genotype(
            tuple(
                block
                for (source, target), block in zip(edges(3), parent.blocks, strict=True)
                if gone not in (source, target)
            )
        )
        for gone in (1, 2)
    }
    children = {
        space.mutate(parent, "remove_node", "conv3x3", rng)
        for rng in map(np.random.default_rng, range(20))
    }
    assert children == without


@given(st.data(), spaces(), SEEDS)
def test_a_child_of_twins_is_their_twin(data: Any, space: CellSpace, seed: int) -> None:
    """Crossing a genotype with itself gives it again, and the generator decides alone."""
    a, b = (data.draw(genotypes_of(space)) for _ in range(2))
    assert space.crossover(a, a, np.random.default_rng(seed)) == a
    first, second = (space.crossover(a, b, np.random.default_rng(seed)) for _ in range(2))
    assert first == second
