"""NAS-Bench-201: variation, settings, the published table."""

from __future__ import annotations

import itertools
import json
import math
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nasbench201_cells import (
    SPACE,
    TABLE,
    genotypes,
    needs_table,
    spell,
)
from torch.utils.flop_counter import FlopCounterMode

from common.nasbench201 import load_table
from pymoo_nas.errors import OperationError, SearchError
from pymoo_nas.networks import count_parameters
from pymoo_nas.spaces import NASBench201Space, SearchSpace
from pymoo_nas.spaces.nasbench201._genotype import OPERATION_NAMES, NASBench201Genotype

connected_genotypes = genotypes.filter(lambda genotype: genotype.is_connected)
generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)


# --- variation


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


@given(connected_genotypes, connected_genotypes, generators)
def test_children_take_every_edge_from_a_parent(
    a: NASBench201Genotype, b: NASBench201Genotype, rng: np.random.Generator
) -> None:
    """A child is the canonical form of one of the 64 mixtures of its parents, and valid."""
    child = SPACE.crossover(a, b, rng)
    assert_valid(child)
    mixtures = itertools.product(*zip(a.operations, b.operations, strict=True))
    assert child in {NASBench201Genotype(names).canonical() for names in mixtures}


@given(genotypes, genotypes, generators, st.sampled_from(OPERATION_NAMES))
def test_variation_of_any_cells_is_valid(
    a: NASBench201Genotype, b: NASBench201Genotype, rng: np.random.Generator, operation: str
) -> None:
    """Unconnected parents, too, have connected canonical children and mutants."""
    assert_valid(SPACE.crossover(a, b, rng))
    for kind in SPACE.mutation_kinds:
        assert_valid(SPACE.mutate(a, kind, operation, rng))


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


# --- the space


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
