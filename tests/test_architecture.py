"""An architecture is built in every role, and made again of its description."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from pymoo.optimize import minimize
from small_training import small_network
from test_given import Pairs
from torch import nn

from pymoo_nas.choice import build_final
from pymoo_nas.errors import GenotypeError, NetworkError, OperationError, SearchError
from pymoo_nas.networks import CellNetwork, count_parameters
from pymoo_nas.search import DartsTournament, EvolutiveNAS, NASProblem
from pymoo_nas.spaces import Architecture, Cell, CellSpace, NASBench201Space, description_of
from pymoo_nas.spaces._architecture import ROLES
from pymoo_nas.spaces._models import build_model
from pymoo_nas.spaces.nasbench201._networks import NASBench201Network, ProjectedCell

NB201 = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|"
CELL_SETTINGS = {
    "space": "cell",
    "operations": ["conv3x3", "residual3x3", "max_pool3x3", "avg_pool3x3"],
    "max_nodes": 4,
    "max_channels": 64,
    "channel_step": 8,
    "n_cells": 3,
    "widening": 2,
    "sample_nodes": 3,
    "sample_operations": 2,
    "reduction": "between",
    "stem": True,
}
NB201_SETTINGS = {
    "space": "nasbench201",
    "width": 8,
    "cells_per_stage": 1,
    "final_width": 4,
    "final_cells_per_stage": 1,
}
DESCRIPTIONS = {
    "cells": {"genotypes": ["5000|0001|0800", "4000"], "search_space": CELL_SETTINGS},
    "cell by name": {"model": "5000|0001|0800", "search_space": CELL_SETTINGS},
    "NAS-Bench-201": {"genotypes": [NB201] * 3, "search_space": NB201_SETTINGS},
    "NAS-Bench-201 by name": {"model": NB201, "search_space": NB201_SETTINGS},
    "resnet20": {"model": "resnet20", "search_space": None},
}
"""As ``training.json`` has held them since there is one."""


class Images(NamedTuple):
    in_channels: int = 3
    n_classes: int = 10


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_descriptions_stay_as_they_are(name: str) -> None:
    """What trainings of before say of their network makes it again, and is said to the byte."""
    description = DESCRIPTIONS[name]
    network = Architecture.from_description(description).build("trained", Images())
    assert json.dumps(description_of(network)) == json.dumps(description)


def test_description_of_before_reduction_and_stem() -> None:
    """A training that does not say where its cells halve the map had them halve it between."""
    settings = {k: v for k, v in CELL_SETTINGS.items() if k not in ("reduction", "stem")}
    made: Any = Architecture.from_description({"model": "8000", "search_space": settings})
    assert (made.space.reduction, made.space.stem) == ("between", False)


@pytest.mark.parametrize(
    ("description", "error"),
    [
        ({}, KeyError),
        ({"model": "8000"}, KeyError),
        ({"search_space": CELL_SETTINGS}, KeyError),
        ({"genotypes": ["8000"], "search_space": None}, SearchError),
        ({"genotypes": ["8x00"], "search_space": CELL_SETTINGS}, GenotypeError),
        ({"genotypes": ["8000"], "search_space": {"space": "nosuch"}}, SearchError),
        (
            {"model": "8000", "search_space": {"space": "cell", "operations": {"mine": None}}},
            OperationError,
        ),
    ],
)
def test_damaged_descriptions(description: dict[str, Any], error: type[Exception]) -> None:
    """What lacks something, or spells nothing, is refused."""
    with pytest.raises(error):
        Architecture.from_description(description)


def test_roles_of_a_cell() -> None:
    """The network to train has a stem and is counted; the scored one and the body have none."""
    architecture = Architecture.read("8000|0000|0800")
    built: dict[str, Any] = {role: architecture.build(role, Images()) for role in ROLES}
    assert isinstance(built["slot"], Cell)
    networks = {role: net for role, net in built.items() if role != "slot"}
    assert all(isinstance(network, CellNetwork) for network in networks.values())
    stems = {role: network.stem is not None for role, network in networks.items()}
    assert stems == {"scored": False, "counted": True, "trained": True, "body": False}


def test_roles_of_nasbench201() -> None:
    """The scored network is small, and is the one that is counted."""
    architecture = Architecture.read(NB201)
    built = {role: architecture.build(role, Images()) for role in ROLES}
    assert isinstance(built["slot"], ProjectedCell)
    assert isinstance(built["body"], NASBench201Network)
    size = {role: count_parameters(network) for role, network in built.items()}
    assert 4 * size["scored"] == 4 * size["counted"] < size["trained"] == size["body"]


def test_a_model_is_the_same_in_every_role() -> None:
    """A network by name has one form; for a slot of a tournament it has none."""
    architecture = Architecture.read("resnet20")
    weights = [
        torch.cat([p.flatten() for p in architecture.build(role, Images(), seed=2).parameters()])
        for role in ROLES[:-1]
    ]
    assert all(torch.equal(weights[0], other) for other in weights)
    with pytest.raises(SearchError, match="no cell"):
        architecture.build("slot", Images())


def test_seed_or_the_generator() -> None:
    """With a seed torch's generator does not move; with None the weights come from it."""

    def weights(seed: int | None) -> Any:
        return next(Architecture.read("8000").build("scored", Images(), seed=seed).parameters())

    before = torch.get_rng_state()
    first = weights(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(3)
    assert torch.equal(weights(None), first)
    assert not torch.equal(torch.get_rng_state(), before)


def test_only_networks_to_train_are_described() -> None:
    """By a description another network is trained than the scored one, which carries none."""
    architecture = Architecture.read("8000")
    for role in ROLES:
        assert (description_of(architecture.build(role, Images())) is None) == (role != "trained")
    assert description_of(small_network()) is None


def test_titles() -> None:
    """Cells are named in their order, a model by its name."""
    space = CellSpace()
    genotype = space.parse("8000")
    assert Architecture.of(space, genotype).title == "8000 × 3"
    assert Architecture.of_cells(space, [genotype, space.parse("0400")]).title == "8000 → 0400"
    assert Architecture.read("8000").title == "8000"
    assert Architecture.read("resnet20").title == "resnet20"


def test_the_given_space_reads_its_own_texts() -> None:
    """A text is read by the given space where it is one of its kind, else by a default one."""
    narrow, deep = NASBench201Space(width=4), CellSpace(n_cells=5)
    assert Architecture.read(NB201, narrow).space is narrow
    assert Architecture.read("8000", deep).space is deep
    assert isinstance(Architecture.read(NB201, deep).space, NASBench201Space)
    assert isinstance(Architecture.read("8000", narrow).space, CellSpace)
    assert Architecture.read("resnet20", deep).space is None


def test_mistakes() -> None:
    """No genotype, cells that a space cannot have, an unknown role, cells that cannot be scored."""
    space, nb201 = CellSpace(), NASBench201Space()
    mixed = Architecture.of_cells(space, [space.parse("8000"), space.parse("0400")])
    with pytest.raises(SearchError, match="at least one"):
        Architecture.of_cells(space, [])
    with pytest.raises(SearchError, match="3 stages"):
        Architecture.of_cells(nb201, [nb201.parse(NB201)] * 2)
    with pytest.raises(SearchError, match=r"'tested'; expected one of scored, "):
        mixed.build("tested", Images())
    for role in ("scored", "slot"):
        with pytest.raises(SearchError, match="8000 → 0400"):
            mixed.build(role, Images())
    with pytest.raises(NetworkError, match="unknown"):
        build_model("8000", 3, 10)


class AllMethods(Pairs):
    """A user's space that overrides every method, as all had to once."""

    def build(self, genotype: tuple[int, int], in_channels: int, n_classes: int) -> nn.Module:
        """One cell and a classifier."""
        return self.build_final([genotype], in_channels, n_classes)

    def build_final(
        self, genotypes: Sequence[tuple[int, int]], in_channels: int, n_classes: int
    ) -> nn.Module:
        """Cells of their own in sequence."""
        cells = [partial(self.build_cell, genotype) for genotype in genotypes]
        return CellNetwork(cells, in_channels, n_classes)

    def build_cell(self, genotype: tuple[int, int], in_channels: int) -> nn.Module:
        """One convolution and a ReLU."""
        cell = nn.Sequential(nn.Conv2d(in_channels, sum(genotype), 3, padding=1), nn.ReLU())
        cell.out_channels = sum(genotype)
        return cell


def test_a_space_that_has_all_methods_of_before() -> None:
    """Such a space is searched, with tournaments, and built of as many cells as are asked for."""
    space = AllMethods()
    assert (space.n_cells, space.any_n_cells) == (3, True)
    problem = NASProblem("digits", n_images=16, search_space=space)
    tournament = DartsTournament(2, 2, n_steps=2, batch_size=16, n_images=64)
    result = minimize(problem, EvolutiveNAS(2, 4), ("n_gen", 2), callback=tournament, seed=1)
    assert len(tournament.data["tournaments"]) == 1
    assert len(build_final(result, problem=problem).cells) == 3
    assert len(build_final("3-4", 2, problem=problem).cells) == 2
    scored = problem.score_genotype("3-4")
    assert scored.params == count_parameters(build_final("3-4", problem=problem))
