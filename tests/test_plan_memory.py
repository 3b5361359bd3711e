"""A remembered plan measures the next initialisation as a plan of its own would."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from scored_networks import (
    LAYER_NETWORKS,
    NASBENCH201_NETWORKS,
    OPERATION_NETWORKS,
    around,
    built,
    images_of,
)
from torch import nn

from pymoo_nas.kernels import Kernels, PlanMemory, measure_kernels
from pymoo_nas.scores import Probe, read_objectives, score_builds

NETWORKS = {**OPERATION_NETWORKS, **NASBENCH201_NETWORKS, **LAYER_NETWORKS}


def initialized(name: str, seed: int) -> nn.Module:
    network = built(NETWORKS[name])
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


def equal(one: Kernels, other: Kernels) -> bool:
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(Kernels)]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def counted(network: nn.Module, passes: list[int]) -> nn.Module:
    """The network; the number of images of each of its passes is appended."""
    network.register_forward_pre_hook(lambda _module, args: passes.append(len(args[0])))
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_second_initialisation_is_measured_to_the_bit(name: str) -> None:
    """Kernels with the plan of another initialisation equal those with a plan of their own."""
    images = images_of(4, 3, (8, 8) if name == "small vit" else (8, 6))
    plans = PlanMemory()
    for seed in range(2):
        network = initialized(name, seed)
        assert equal(measure_kernels(network, images, plans=plans),
                     measure_kernels(network, images))  # fmt: skip


def test_second_initialisation_is_not_watched() -> None:
    """Only the first initialisation of an architecture has a pass that is watched."""
    plans, images, passes = PlanMemory(), images_of(8, 3, 6), []
    for seed in range(3):
        network = initialized("operation conv3x3", seed)
        measure_kernels(counted(network, passes), images, plans=plans)
    assert passes == [5, 8, 8, 8]


def convolutions(*layers: nn.Module) -> nn.Module:
    return built(lambda: around(*layers, nn.ReLU()))


def test_another_structure_gets_a_plan_of_its_own() -> None:
    """Layers, hooks, frozen or shared weights and images that differ are seen, and planned anew."""
    tied = nn.Conv2d(4, 4, 3, padding=1)
    frozen = nn.Conv2d(4, 4, 3, padding=1)
    frozen.weight.requires_grad_(False)
    hooked = nn.Conv2d(4, 4, 3, padding=1)
    hooked.register_forward_hook(lambda _module, _args, output: 2 * output)
    plain = [nn.Conv2d(4, 4, 3, padding=1) for _ in range(2)]
    networks = [
        convolutions(*plain),
        convolutions(tied, tied),
        convolutions(plain[0], frozen),
        convolutions(plain[0], hooked),
        convolutions(plain[0], nn.Conv2d(4, 4, 3, padding=1, bias=False)),
        convolutions(plain[0], nn.Conv2d(4, 4, 3, padding=1).double().float(), nn.Tanh()),
    ]
    plans = PlanMemory()
    for images in (images_of(4, 3, 6), images_of(5, 3, 6), images_of(5, 3, 8)):
        for network in networks:
            found = measure_kernels(network, images, plans=plans)
            assert equal(found, measure_kernels(network, images))


def test_scores_of_several_initialisations_share_a_plan() -> None:
    """Scoring R initialisations watches one pass in all, and gives the scores of each alone."""
    probe, objectives = Probe(images_of(8, 3, 6)), read_objectives(("ntk", "activation"))
    passes: list[int] = []
    builds = [
        lambda seed=seed: counted(initialized("operation conv3x3", seed), passes)
        for seed in range(2)
    ]
    together = score_builds(builds, probe, objectives=objectives).objectives
    assert passes.count(5) == 1
    alone = [score_builds([build], probe, objectives=objectives).objectives for build in builds]
    assert passes.count(5) == 3
    for name in ("ntk", "activation"):
        assert together[name] == sum(one[name] for one in alone) / 2
