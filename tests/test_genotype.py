"""The genotype: its text, its canonical form and its repair."""

import itertools
import pickle
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import genotypes
from torch import nn

from pymoo_nas.errors import GenotypeError, PymooNasError
from pymoo_nas.networks import CellNetwork, count_parameters, operation_table
from pymoo_nas.networks._operations import ResidualBlock, average_pooling
from pymoo_nas.spaces import CellSpace, Genotype, edges, repair
from pymoo_nas.spaces.cell._genotype import MAX_CHANNELS, MAX_NODES, block_index, n_nodes_of

# Text


@given(genotypes(max_nodes=MAX_NODES))
def test_round_trip(genotype: Genotype) -> None:
    """Every genotype is read back from its text as it was."""
    assert Genotype.parse(str(genotype)) == genotype
    assert Genotype.parse(str(genotype), n_operations=genotype.n_operations) == genotype


@given(st.text(alphabet="0123456789,| -x²٣", max_size=30))
def test_parse_text_or_genotype_error(text: str) -> None:
    """Any text is either a genotype or a `GenotypeError`, never another exception."""
    try:
        genotype = Genotype.parse(text)
    except GenotypeError:
        return
    assert Genotype.parse(str(genotype)) == genotype


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("0804", ((0, 8, 0, 4),)),
        ("5000|0001|0800", ((5, 0, 0, 0), (0, 0, 0, 1), (0, 8, 0, 0))),
        ("16,0,0,0|0001|0,8,0,0", ((16, 0, 0, 0), (0, 0, 0, 1), (0, 8, 0, 0))),
        ("16,", ((16,),)),
        ("16,|0|7,", ((16,), (0,), (7,))),
        ("16", ((1, 6),)),
        (f"{MAX_CHANNELS},0", ((MAX_CHANNELS, 0),)),
    ],
)
def test_parse_reads(text: str, blocks: Any) -> None:
    """Compact and comma-separated blocks are read, also mixed."""
    assert Genotype.parse(text) == Genotype(blocks)


@pytest.mark.parametrize(
    ("blocks", "text"),
    [
        (((0, 8, 0, 4),), "0804"),
        (((9,), (0,), (1,)), "9|0|1"),
        (((10,), (0,), (1,)), "10,|0,|1,"),
        (((10, 0), (0, 0), (1, 2)), "10,0|0,0|1,2"),
    ],
)
def test_str_writes(blocks: Any, text: str) -> None:
    """Digits are written compactly, counts over 9 with commas in every block."""
    assert str(Genotype(blocks)) == text


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("", 1, "a block of channel counts"),
        ("50||08", 4, "a block of channel counts"),
        ("50|01|", 7, "a block of channel counts"),
        ("50|-1|08", 4, "a channel count"),
        ("16,-1", 4, "a channel count"),
        ("50|0x|08", 5, "a channel count"),
        ("50| 1|08", 4, "a channel count"),
        ("16, 1", 4, "a channel count"),
        ("5 000", 2, "a channel count"),
        ("50|0²|08", 5, "a channel count"),
        ("50|٣0|08", 4, "a channel count"),
        ("1.5,0", 1, "a channel count"),
        ("16,,0", 4, "a channel count"),
        (",", 1, "a channel count"),
        ("16,0,", 6, "a channel count"),
        ("16,08|0,0|0,0", 4, "a channel count without leading zeros"),
        ("00016,", 1, "a channel count without leading zeros"),
        (f"1,{MAX_CHANNELS + 1}", 3, f"at most {MAX_CHANNELS} channels"),
        ("1," + "9" * 5000, 3, f"at most {MAX_CHANNELS} channels"),
        ("50|010|08", 4, "2 channel counts"),
        ("5000|0001|080", 11, "4 channel counts"),
        ("16,0|0,0|8", 10, "2 channel counts"),
    ],
)
def test_parse_refuses(text: str, position: int, expected: str) -> None:
    """A malformed text is refused with the text, the position and what was expected there."""
    with pytest.raises(GenotypeError) as caught:
        Genotype.parse(text)
    message = str(caught.value)
    assert repr(text) in message
    assert f"at position {position} expected {expected}" in message


@pytest.mark.parametrize("n_blocks", [2, 4, 5, 7, 9])
def test_parse_wrong_number_of_blocks(n_blocks: int) -> None:
    """Blocks that fill no whole number of nodes are refused with their number and what fits."""
    text = "|".join(["10"] * n_blocks)
    with pytest.raises(GenotypeError) as caught:
        Genotype.parse(text)
    assert text in str(caught.value)
    assert f"{n_blocks} blocks; expected n(n+1)/2" in str(caught.value)


def test_parse_too_many_nodes() -> None:
    """More than `MAX_NODES` nodes are refused."""
    n_blocks = (MAX_NODES + 1) * (MAX_NODES + 2) // 2
    with pytest.raises(GenotypeError, match=f"expected at most {MAX_NODES}"):
        Genotype.parse("|".join(["1"] * n_blocks))


def test_parse_counts_of_a_space() -> None:
    """With a number of operations given, the first block is checked too."""
    with pytest.raises(GenotypeError, match="position 1 expected 3 channel counts"):
        Genotype.parse("50|01|08", n_operations=3)


@pytest.mark.parametrize("value", [None, 5000, b"50", ((5, 0),)])
def test_parse_refuses_no_text(value: Any) -> None:
    """Something that is no text is refused with what was given."""
    with pytest.raises(GenotypeError, match="expected text"):
        Genotype.parse(value)


@pytest.mark.parametrize(
    ("blocks", "match"),
    [
        ([[1]], "tuple of tuples"),
        ("5000", "tuple of tuples"),
        (([1],), "tuple of tuples"),
        ((), "0 blocks"),
        (((),), "same number"),
        (((1,), (1, 2), (1,)), "same number"),
        (((1,), (1,)), "2 blocks"),
        (((-1,),), "holds -1"),
        (((MAX_CHANNELS + 1,),), f"from 0 to {MAX_CHANNELS}"),
        (((1.0,),), r"holds 1\.0"),
        (((True,),), "holds True"),
    ],
)
def test_constructor_refuses(blocks: Any, match: str) -> None:
    """Anything but n(n+1)/2 equally long tuples of small integers is refused."""
    with pytest.raises(GenotypeError, match=match) as caught:
        Genotype(blocks)
    assert isinstance(caught.value, PymooNasError)


# Structure


def test_immutable_and_hashable() -> None:
    """A genotype cannot be changed; equal ones have equal hashes and travel by pickle."""
    genotype = Genotype.parse("5000|0001|0800")
    with pytest.raises(AttributeError):
        genotype.blocks = ()  # type: ignore[misc]
    assert len({genotype, Genotype.parse("5000|0001|0800")}) == 1
    assert pickle.loads(pickle.dumps(genotype)) == genotype


@pytest.mark.parametrize("n_nodes", range(1, MAX_NODES + 1))
def test_edges_and_their_index(n_nodes: int) -> None:
    """Blocks stand in the order 0→1 | 0→2, 1→2 | 0→3, …, and `block_index` finds them."""
    pairs = edges(n_nodes)
    assert pairs == sorted(pairs, key=lambda pair: (pair[1], pair[0]))
    assert len(pairs) == n_nodes * (n_nodes + 1) // 2
    assert [block_index(*pair) for pair in pairs] == list(range(len(pairs)))
    assert n_nodes_of(len(pairs)) == n_nodes


def test_fig1_blocks() -> None:
    """Fig. 1: 5 convolution channels 0→1, 1 of average pooling 0→2, 8 residual 1→2."""
    genotype = Genotype.parse("5000|0001|0800")
    assert (genotype.n_nodes, genotype.n_operations, genotype.n_channels) == (2, 4, 14)
    assert genotype.block(0, 1) == (5, 0, 0, 0)
    assert genotype.block(0, 2) == (0, 0, 0, 1)
    assert genotype.block(1, 2) == (0, 8, 0, 0)


def test_fig1_one_block_is_built() -> None:
    """Fig. 1: 0804 is a residual block of 8 channels beside an average pooling of 4."""
    cell = CellSpace().build_cell(Genotype.parse("0804"), in_channels=3)
    residual, pooling = cell.operations.values()
    assert isinstance(residual, ResidualBlock)
    assert str(pooling) == str(average_pooling(3, 4))
    assert isinstance(pooling.get_submodule("0"), nn.AvgPool2d)
    assert cell.out_channels == 12


def test_fig1_two_nodes_are_built() -> None:
    """Fig. 1: in 5000|0001|0800 the residual block reads the convolution's 5 channels."""
    cell = CellSpace().build_cell(Genotype.parse("5000|0001|0800"), in_channels=3)
    assert cell.inputs == {
        1: [(0, "0->1 conv3x3")],
        2: [(0, "0->2 avg_pool3x3"), (1, "1->2 residual3x3")],
    }
    convolution, pooling, residual = cell.operations.values()
    table = operation_table()
    assert str(convolution) == str(table["conv3x3"](3, 5))
    assert str(pooling) == str(table["avg_pool3x3"](3, 1))
    assert str(residual) == str(table["residual3x3"](5, 8))
    assert cell.out_channels == 9


# Canonical form


def paths(genotype: Genotype) -> list[tuple[int, ...]]:
    """All paths from the input to the output, the obvious way: by trying every chain of nodes."""
    found = []
    inner = range(1, genotype.n_nodes)
    for length in range(genotype.n_nodes):
        for middle in itertools.combinations(inner, length):
            path = (0, *middle, genotype.n_nodes)
            if all(any(genotype.block(*step)) for step in itertools.pairwise(path)):
                found.append(path)
    return found


def relabelled(genotype: Genotype, order: tuple[int, ...]) -> Genotype | None:
    """The cell with its node `order[i]` called i; None where a block would point backwards."""
    name = {old: new for new, old in enumerate(order)}
    blocks: dict[tuple[int, int], Any] = {}
    for source, target, block in genotype.items():
        if source not in name or target not in name:
            continue
        if name[source] > name[target]:
            if any(block):
                return None
            continue
        blocks[name[source], name[target]] = block
    nothing = (0,) * genotype.n_operations
    return Genotype(tuple(blocks.get(pair, nothing) for pair in edges(len(order) - 1)))


def obvious_canonical(genotype: Genotype) -> Genotype:
    """The smallest of all genotypes that the living nodes can be renamed to."""
    living = {node for path in paths(genotype) for node in path}
    if not living:
        return Genotype(((0,) * genotype.n_operations,))
    inner = sorted(living - {0, genotype.n_nodes})
    renamed = [
        relabelled(genotype, (0, *order, genotype.n_nodes))
        for order in itertools.permutations(inner)
    ]
    return min(cell for cell in renamed if cell is not None)


@given(genotypes(max_channels=2))
def test_live_nodes(genotype: Genotype) -> None:
    """Living nodes are those on some path from the input to the output."""
    assert genotype.live_nodes() == sorted({node for path in paths(genotype) for node in path})
    assert genotype.is_connected == bool(paths(genotype))


@given(genotypes(max_channels=3))
def test_canonical_against_obvious(genotype: Genotype) -> None:
    """The canonical form is the smallest renaming of the living part of the cell."""
    assert genotype.canonical() == obvious_canonical(genotype)


@given(genotypes())
def test_canonical_is_idempotent(genotype: Genotype) -> None:
    """The canonical form of a canonical form is itself."""
    canonical = genotype.canonical()
    assert canonical.canonical() == canonical
    assert canonical.is_connected == genotype.is_connected


@given(genotypes(max_channels=2), st.data())
def test_canonical_ignores_names(genotype: Genotype, data: st.DataObject) -> None:
    """Renaming the intermediate nodes in any possible order changes nothing."""
    inner = data.draw(st.permutations(range(1, genotype.n_nodes)))
    other = relabelled(genotype, (0, *inner, genotype.n_nodes))
    assume(other is not None)
    assert other is not None
    assert other.canonical() == genotype.canonical()


@given(genotypes(max_nodes=4, n_operations=2, max_channels=3), st.data())
def test_canonical_ignores_dead_nodes(genotype: Genotype, data: st.DataObject) -> None:
    """A node that feeds nothing, put anywhere before the output, changes nothing."""
    assume(genotype.is_connected)
    position = data.draw(st.integers(1, genotype.n_nodes))
    count = st.tuples(st.integers(0, 3), st.integers(0, 3))
    blocks: list[tuple[int, ...]] = []
    for source, target in edges(genotype.n_nodes + 1):
        if target == position:
            blocks.append(data.draw(count))
        elif source == position:
            blocks.append((0, 0))
        else:
            blocks.append(
                genotype.block(source - (source > position), target - (target > position))
            )
    assert Genotype(tuple(blocks)).canonical() == genotype.canonical()


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0000|0003|0800", "0003"),  # node 1 is not fed
        ("5000|0001|0000", "0001"),  # node 1 feeds nothing
        ("5000|0000|0800", "5000|0000|0800"),
        ("5|4|0|0|3|2", "4|5|0|0|2|3"),  # two parallel nodes, the smaller block first
        ("000|000|000", "000"),
        ("5|0|0|0|0|3", "0"),  # only a dead node reaches the output
    ],
)
def test_canonical_examples(text: str, canonical: str) -> None:
    """What cannot reach the output is dropped, and parallel nodes are ordered."""
    assert str(Genotype.parse(text).canonical()) == canonical


@given(genotypes(max_nodes=4, n_operations=3, max_channels=4))
def test_canonical_spells_the_same_network(genotype: Genotype) -> None:
    """A network has as many parameters as that of the canonical form."""
    assume(genotype.is_connected)
    space = CellSpace(["conv3x3", "skip", "gate"], max_nodes=4, n_cells=2)
    networks = [space.build(form, 2, 3) for form in (genotype, genotype.canonical())]
    assert all(isinstance(network, CellNetwork) for network in networks)
    assert count_parameters(networks[0]) == count_parameters(networks[1])


# Repair


@given(genotypes(), st.data())
def test_repair_is_valid(genotype: Genotype, data: st.DataObject) -> None:
    """A repaired genotype is connected, canonical and stays so; a connected one is only renamed."""
    operation = data.draw(st.integers(0, genotype.n_operations - 1))
    repaired = repair(genotype, operation, channels=7)
    assert repaired.is_connected
    assert repaired.canonical() == repaired
    assert repair(repaired, operation) == repaired
    assert repaired.n_nodes <= genotype.n_nodes
    if genotype.is_connected:
        assert repaired == genotype.canonical()
    else:
        joint = repaired.blocks[block_index(repaired.n_nodes - 1, repaired.n_nodes)]
        assert joint == tuple(7 * (index == operation) for index in range(len(joint)))


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("0000", "0010"),
        ("0500|0000|0000", "0500|0000|0010"),  # the last node reached is joined to the output
        ("0000|0000|0500", "0010"),  # node 1 is not reached: the input is joined
        ("1000|0000|0200|0000|0000|0000", "1000|0000|0200|0000|0000|0010"),
    ],
)
def test_repair_examples(text: str, repaired: str) -> None:
    """What the input reaches last is joined to the output by the fallback operation."""
    assert str(repair(Genotype.parse(text), fallback_operation=2)) == repaired
