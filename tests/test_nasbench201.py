"""NAS-Bench-201: text, classes of isomorphic cells, variation, networks, the published table."""

from __future__ import annotations

import copy
import itertools
import json
import math
import pickle
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pymoo_nas.errors import (
    DatasetError,
    GenotypeError,
    NetworkError,
    OperationError,
    SearchError,
)
from pymoo_nas.nasbench201 import (
    EDGES,
    OPERATION_NAMES,
    NASBench201Genotype,
    NASBench201Space,
    ReductionBlock,
    load_table,
)
from pymoo_nas.networks import count_parameters
from pymoo_nas.search_space import SearchSpace

TABLE = Path(__file__).parents[2] / "shared" / "datasets" / "nasbench201_5000.csv"
needs_table = pytest.mark.skipif(not TABLE.exists(), reason=f"{TABLE} is absent")

SPACE = NASBench201Space()
BEST = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
)
UNCONNECTED = "|skip_connect~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|"


def spell(letters: str) -> NASBench201Genotype:
    """A genotype from six of: ``.`` none, ``s`` skip, ``1`` and ``3`` convolutions, ``p`` pool."""
    return NASBench201Genotype(tuple(OPERATION_NAMES[".s13p".index(char)] for char in letters))


genotypes = st.tuples(*[st.sampled_from(OPERATION_NAMES)] * 6).map(NASBench201Genotype)
connected_genotypes = genotypes.filter(lambda genotype: genotype.is_connected)
# The first example makes the table of all classes, which takes longer than the usual deadline.
patient = settings(deadline=None)
generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)


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


@patient
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


@patient
@given(st.text(alphabet="|~+0123nosekipcav_x", max_size=120))
def test_any_text_is_read_exactly_or_refused(text: str) -> None:
    """A text is either the text of what was read, or refused with a GenotypeError."""
    try:
        genotype = SPACE.parse(text)
    except GenotypeError:
        return
    assert SPACE.format(genotype) == text


@patient
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


@patient
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


# --- variation


@patient
@given(generators)
def test_samples_are_valid_and_canonical(rng: np.random.Generator) -> None:
    """Every sample is connected and its own canonical form."""
    assert_valid(SPACE.sample(rng))


def test_samples_are_uniform() -> None:
    """5,000 draws hold as many distinct of the 6,461 cells as uniform draws do, within 5 sigma."""
    rng = np.random.default_rng(0)
    drawn = {SPACE.sample(rng) for _ in range(5000)}
    missed = (1 - 1 / 6461) ** 5000
    sigma = math.sqrt(6461 * missed * (1 - missed))
    assert abs(len(drawn) - 6461 * (1 - missed)) < 5 * sigma


@patient
@given(connected_genotypes, connected_genotypes, generators)
def test_children_take_every_edge_from_a_parent(
    a: NASBench201Genotype, b: NASBench201Genotype, rng: np.random.Generator
) -> None:
    """A child is the canonical form of one of the 64 mixtures of its parents, and valid."""
    child = SPACE.crossover(a, b, rng)
    assert_valid(child)
    mixtures = itertools.product(*zip(a.operations, b.operations, strict=True))
    assert child in {NASBench201Genotype(names).canonical() for names in mixtures}


@patient
@given(genotypes, genotypes, generators, st.sampled_from(OPERATION_NAMES))
def test_variation_of_any_cells_is_valid(
    a: NASBench201Genotype, b: NASBench201Genotype, rng: np.random.Generator, operation: str
) -> None:
    """Unconnected parents, too, have connected canonical children and mutants."""
    assert_valid(SPACE.crossover(a, b, rng))
    for kind in SPACE.mutation_kinds:
        assert_valid(SPACE.mutate(a, kind, operation, rng))


@patient
@given(connected_genotypes, generators, st.sampled_from(OPERATION_NAMES))
def test_change_puts_the_operation_on_one_edge(
    parent: NASBench201Genotype, rng: np.random.Generator, operation: str
) -> None:
    """A mutant has the operation on one more edge; the parent returns if no such cell is valid."""
    changed = []
    for edge in range(6):
        names = list(parent.operations)
        names[edge] = operation
        changed.append(tuple(names))
    assert_one_of(SPACE.mutate(parent, "change", operation, rng), changed, parent)


@patient
@given(connected_genotypes, generators)
def test_swap_exchanges_two_operations(
    parent: NASBench201Genotype, rng: np.random.Generator
) -> None:
    """A mutant has two operations exchanged; the parent returns if no such cell is valid."""
    swapped = []
    for first, second in itertools.combinations(range(6), 2):
        names = list(parent.operations)
        names[first], names[second] = names[second], names[first]
        swapped.append(tuple(names))
    assert_one_of(SPACE.mutate(parent, "swap", "none", rng), swapped, parent)


def assert_one_of(
    mutant: NASBench201Genotype, changed: list[tuple[str, ...]], parent: NASBench201Genotype
) -> None:
    possible = {NASBench201Genotype(names).canonical() for names in changed}
    possible = {cell for cell in possible if cell.is_connected} - {parent.canonical()}
    assert mutant in (possible or {parent.canonical()})


def assert_valid(genotype: NASBench201Genotype) -> None:
    assert genotype.is_connected
    assert genotype.canonical() == genotype


def test_impossible_mutations_return_the_parent() -> None:
    """Where all operations are the same, neither kind has anything to change."""
    parent = spell("333333")
    rng = np.random.default_rng(0)
    assert SPACE.mutate(parent, "change", "nor_conv_3x3", rng) == parent
    assert SPACE.mutate(parent, "swap", "nor_conv_3x3", rng) == parent
    assert SPACE.mutate(spell("...s.."), "change", "none", rng) == spell("...s..")


@patient
@given(genotypes, genotypes, st.integers(0, 2**32 - 1))
def test_variation_is_repeatable(a: NASBench201Genotype, b: NASBench201Genotype, seed: int) -> None:
    """The generator given is the only source of randomness."""

    def vary() -> list[NASBench201Genotype]:
        rng = np.random.default_rng(seed)
        mutants = [SPACE.mutate(a, kind, "nor_conv_1x1", rng) for kind in SPACE.mutation_kinds]
        return [SPACE.sample(rng), SPACE.crossover(a, b, rng), *mutants]

    assert vary() == vary()


def test_every_mixture_and_edge_is_reached() -> None:
    """Both parents and all edges take part: no variation is left out by the random choices."""
    rng = np.random.default_rng(0)
    a, b = spell("111111"), spell("333333")
    mixtures = map(
        NASBench201Genotype, itertools.product(*zip(a.operations, b.operations, strict=True))
    )
    assert {SPACE.crossover(a, b, rng) for _ in range(1000)} == {m.canonical() for m in mixtures}
    mutants = {SPACE.mutate(a, "change", "nor_conv_3x3", rng) for _ in range(200)}
    assert len(mutants) == 6


def test_unknown_mutations_are_refused() -> None:
    """The error for an unknown kind or operation lists the known ones."""
    rng = np.random.default_rng(0)
    with pytest.raises(SearchError, match=r"'grow' is unknown; expected one of change, swap"):
        SPACE.mutate(spell("333333"), "grow", "none", rng)
    with pytest.raises(OperationError, match=r"'conv'.*none, skip_connect, nor_conv_1x1"):
        SPACE.mutate(spell("333333"), "change", "conv", rng)


# --- networks

CONVOLUTIONS = ("nor_conv_1x1", "nor_conv_3x3")


def random_tensors(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def obvious_cell(
    genotype: NASBench201Genotype,
    x: Tensor,
    kernels: dict[tuple[tuple[int, int], str], Tensor],
) -> Tensor:
    """The cell edge by edge, with kernels per (edge, operation) and no batch norm."""
    nodes = [x, torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x)]
    for (source, target), name in zip(EDGES, genotype.operations, strict=True):
        if name == "skip_connect":
            nodes[target] = nodes[target] + nodes[source]
        elif name == "avg_pool_3x3":
            # Zeros around the map count neither in the sum nor in the number of pixels.
            ones = torch.ones_like(x)
            total, pixels = (9 * F.avg_pool2d(t, 3, 1, 1) for t in (nodes[source], ones))
            nodes[target] = nodes[target] + total / pixels
        elif name in CONVOLUTIONS:
            kernel = kernels[(source, target), name]
            padding = kernel.shape[-1] // 2
            nodes[target] = nodes[target] + F.conv2d(nodes[source].relu(), kernel, padding=padding)
    return nodes[3]


@patient
@given(genotypes, st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**31))
def test_cell_equals_the_obvious_loop(
    genotype: NASBench201Genotype, height: int, width: int, seed: int
) -> None:
    """A cell is, edge by edge, ReLU–convolution–batch norm, pooling or identity, summed."""
    space = NASBench201Space(width=3)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        cell = space.build_cell(genotype, 3).double().eval()
    kernels = {}
    for key, operation in cell.operations.items():
        edge, name = key.split()
        source, target = map(int, edge.split("->"))
        if name in CONVOLUTIONS:
            # A fresh batch norm in eval mode divides by sqrt(1 + eps).
            kernels[(source, target), name] = operation[1].weight.detach() / math.sqrt(1 + 1e-5)
    (x,) = random_tensors(seed, (2, 3, height, width))
    torch.testing.assert_close(cell(x).detach(), obvious_cell(genotype, x, kernels))


def test_operations_begin_with_the_relu() -> None:
    """Convolutions are ReLU, convolution without bias, batch norm, as published."""
    cell = SPACE.build_cell(spell("3..1.."), 8)
    for operation, kernel in zip(cell.operations.values(), (3, 1), strict=True):
        relu, convolution, norm = operation
        assert isinstance(relu, nn.ReLU)
        assert isinstance(norm, nn.BatchNorm2d)
        assert convolution.kernel_size == (kernel, kernel)
        assert convolution.bias is None


def test_none_builds_nothing() -> None:
    """An edge without an operation has no module; nothing at all gives zeros."""
    cell = SPACE.build_cell(spell("......"), 8)
    assert not list(cell.modules())[2:]
    assert cell(torch.ones(2, 8, 3, 3)).equal(torch.zeros(2, 8, 3, 3))


@pytest.mark.parametrize("size", [(4, 4), (4, 9), (7, 5), (8, 8), (33, 17)])
@pytest.mark.parametrize(("in_channels", "n_classes"), [(1, 2), (3, 10), (5, 1)])
def test_network_takes_any_images(size: tuple[int, int], in_channels: int, n_classes: int) -> None:
    """Odd and oblong images of any number of channels become (N, n_classes) finite logits."""
    network = SPACE.build(SPACE.parse(BEST), in_channels, n_classes)
    logits = network(torch.rand(3, in_channels, *size))
    assert logits.shape == (3, n_classes)
    assert logits.isfinite().all()


@pytest.mark.parametrize("shape", [(2, 3, 3, 8), (2, 3, 8, 3), (3, 8, 8)])
def test_too_small_images_are_refused(shape: tuple[int, ...]) -> None:
    """Less than 4×4 pixels, or no batch, is a NetworkError that shows the shape."""
    network = SPACE.build(SPACE.parse(BEST), 3, 10)
    with pytest.raises(NetworkError, match=str(shape).replace("(", r"\(").replace(")", r"\)")):
        network(torch.zeros(shape))


@pytest.mark.parametrize(("in_channels", "n_classes"), [(0, 10), (3, 0), (-1, 10), (3, 2.0)])
def test_networks_without_channels_or_classes_are_refused(in_channels: int, n_classes: int) -> None:
    """Numbers of channels and classes are at least 1."""
    with pytest.raises(NetworkError, match="expected an integer of at least 1"):
        SPACE.build(SPACE.parse(BEST), in_channels, n_classes)


@patient
@given(st.integers(1, 20), st.integers(1, 20))
def test_reduction_halves_rounding_up(height: int, width: int) -> None:
    """Branch and shortcut agree on every size; on even sizes the shortcut is the published one."""
    block = ReductionBlock(2).eval()
    x = torch.ones(1, 2, height, width)
    assert block(x).shape == (1, 4, math.ceil(height / 2), math.ceil(width / 2))
    pooled = block.shortcut[0](x)
    torch.testing.assert_close(pooled, torch.ones_like(pooled))
    if height % 2 == width % 2 == 0:
        assert pooled.equal(F.avg_pool2d(x, 2))


def test_reduction_block_by_hand() -> None:
    """The block is conv(pool(x)) + BN(conv(ReLU(BN(conv(ReLU(x)))))), without a last ReLU."""
    block = ReductionBlock(3).double().eval()
    first, second = (block.branch[index][1].weight for index in (0, 1))
    (x,) = random_tensors(1, (2, 3, 6, 8))
    scale = 1 / math.sqrt(1 + 1e-5)
    hidden = scale * F.conv2d(x.relu(), first, stride=2, padding=1)
    branch = scale * F.conv2d(hidden.relu(), second, padding=1)
    shortcut = F.conv2d(F.avg_pool2d(x, 2), block.shortcut[1].weight)
    torch.testing.assert_close(block(x), branch + shortcut)


def test_unconnected_network_ignores_the_image() -> None:
    """Nothing reaches the output of the cell: logits are finite and the same for all images."""
    network = SPACE.build(SPACE.parse(UNCONNECTED), 3, 10)
    (images,) = random_tensors(0, (4, 3, 8, 8))
    logits = network.double()(images)
    assert logits.isfinite().all()
    torch.testing.assert_close(logits, logits[:1].expand(4, -1))
    logits.sum().backward()
    assert network.classifier.bias.grad.equal(torch.full((10,), 4.0, dtype=torch.float64))


@pytest.mark.parametrize("letters", ["s..s.s", "333333", "pppppp", "1s.3p3"])
def test_every_parameter_of_a_canonical_network_has_a_gradient(letters: str) -> None:
    """All parameters of a network of live operations get a finite gradient."""
    network = SPACE.build(spell(letters), 3, 10)
    network(torch.rand(4, 3, 8, 8)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("in_channels", [1, 3, 8, 20])
def test_cells_for_tournaments(in_channels: int) -> None:
    """A cell keeps (H, W) and says its channels; it is projected where the input has others."""
    cell = SPACE.build_cell(SPACE.parse(BEST), in_channels)
    assert cell.out_channels == 8
    assert cell(torch.rand(2, in_channels, 5, 3)).shape == (2, 8, 5, 3)
    projection = 0 if in_channels == 8 else in_channels * 8 + 2 * 8
    assert count_parameters(cell) == projection + 5 * (9 * 64 + 16)


def test_a_cell_of_no_channels_is_refused() -> None:
    """The input of a cell has at least one channel."""
    with pytest.raises(NetworkError, match="in_channels=0; expected an integer of at least 1"):
        SPACE.build_cell(SPACE.parse(BEST), 0)


def test_final_network_takes_genotypes_in_turn() -> None:
    """Stage i has genotypes[i modulo their number] in all its cells, of doubled width."""
    space = NASBench201Space(final_width=4, final_cells_per_stage=2)
    chosen = [spell("...1.."), spell("...3..")]
    network = space.build_final(chosen, 3, 10)
    cells = [m for m in network.body if hasattr(m, "operations")]
    names = [[key.split()[1] for key in cell.operations] for cell in cells]
    assert names == [["nor_conv_1x1"]] * 2 + [["nor_conv_3x3"]] * 2 + [["nor_conv_1x1"]] * 2
    assert [cell.out_channels for cell in cells] == [4, 4, 8, 8, 16, 16]
    alone = space.build_final(chosen[:1], 3, 10)
    assert count_parameters(alone) == count_parameters(space.build_final(chosen[:1] * 3, 3, 10))


def test_final_network_needs_a_genotype() -> None:
    """No genotype is a NetworkError."""
    with pytest.raises(NetworkError, match="no genotype given"):
        SPACE.build_final([], 3, 10)


@pytest.mark.parametrize("setting", ["width", "cells_per_stage", "final_width"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, None])
def test_settings_out_of_range_are_refused(setting: str, value: object) -> None:
    """Every setting is an integer of at least 1; the error names it and shows the value."""
    with pytest.raises(SearchError, match=f"{setting}={value}; expected an integer"):
        NASBench201Space(**{setting: value})  # type: ignore[arg-type]


def test_settings_are_plain_and_make_the_same_space() -> None:
    """The settings survive JSON and are the arguments of an equal space."""
    space = NASBench201Space(width=4, cells_per_stage=2)
    kept = json.loads(json.dumps(space.settings()))
    assert kept.pop("space") == "nasbench201"
    assert vars(NASBench201Space(**kept)) == vars(space)
    assert isinstance(space, SearchSpace)
    assert sum(space.mutation_kinds.values()) == pytest.approx(1)


def test_everything_is_picklable() -> None:
    """Space and networks can be sent to another process, and give the same there."""
    space = pickle.loads(pickle.dumps(SPACE))
    assert space.settings() == SPACE.settings()
    genotype = spell("s13p.3")
    images = torch.rand(2, 3, 8, 8)
    for module in (
        space.build(genotype, 3, 10),
        space.build_cell(genotype, 3),
        space.build_final([genotype], 3, 10),
    ):
        module.eval()
        assert pickle.loads(pickle.dumps(module))(images).equal(module(images))


# --- the published table


@needs_table
def test_parameters_and_flops_are_the_published_ones() -> None:
    """Networks of width 16 with 5 cells have the table's parameters and FLOPs, digit by digit.

    The table counts the multiply-accumulates of convolutions and of the linear layer, operations
    that cannot reach the output included, and adds one for each of the 10 biases; pooling and
    batch norm are free.
    """
    table = load_table(TABLE)
    unconnected = table[table["cifar10_test"] == 10.0]
    rows = pd.concat([table.sample(25, random_state=0), unconnected.head(5)])
    for row in rows.itertuples():
        network = SPACE.build_final([SPACE.parse(row.arch)], 3, 10).eval()
        assert f"{count_parameters(network) / 1e6:.6f}" == f"{row.params_m:.6f}", row.arch
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, 3, 32, 32))
        flops = counter.get_total_flops() / 2 + 10
        assert f"{flops / 1e6:.6g}" == f"{row.flops_m:.6g}", row.arch


def test_table_is_read(tmp_path: Path) -> None:
    """The four columns come back in order, other columns are left out, numbers are exact."""
    path = tmp_path / "table.csv"
    path.write_text(f"x,params_m,flops_m,arch,cifar10_test\n1,0.1,7.78305,{BEST},93.7567\n")
    table = load_table(path)
    assert list(table.columns) == ["arch", "cifar10_test", "params_m", "flops_m"]
    assert table.iloc[0].tolist() == [BEST, 93.7567, 0.1, 7.78305]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"arch,params_m,flops_m\n", "no column cifar10_test; it has arch, params_m, flops_m"),
        (b"", "expected a CSV file with arch, cifar10_test"),
        (b"\xff\xfe\x00", "expected a CSV file with arch, cifar10_test"),
        (b"arch,cifar10_test,params_m,flops_m\na,b,1,2\n", "column cifar10_test holds something"),
        (b"arch,cifar10_test,params_m,flops_m\na,1,2\n", "column flops_m holds something"),
    ],
)
def test_malformed_tables_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """A file that is no such table gives an error with its path and what was expected."""
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        load_table(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_absent_table_is_a_dataset_error(tmp_path: Path) -> None:
    """The error for a table that is not there names the path."""
    with pytest.raises(DatasetError, match=r"nowhere\.csv"):
        load_table(tmp_path / "nowhere.csv")
