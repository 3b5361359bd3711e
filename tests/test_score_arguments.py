"""Classes, seeds and numbers that `score` and a problem take, and those that they refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scored_networks import around, built, images_of
from torch import nn

from pymoo_nas import NASProblem, score
from pymoo_nas.errors import ScoreError, SearchError

IMAGES = images_of(6, 3, 6)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def network() -> nn.Module:
    """Two convolutions, whose gradients differ between the halves of the images."""
    return built(lambda: around(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()))


@pytest.mark.parametrize(
    "labels", [LABELS.tolist(), LABELS.numpy(), LABELS.int(), LABELS.to(torch.uint8)]
)
def test_classes_in_any_form(labels: Any) -> None:
    """Lists, arrays and other integers are read."""
    found = score(network(), IMAGES, objectives=["zico"], labels=labels)
    assert found.zico == score(network(), IMAGES, objectives=["zico"], labels=LABELS).zico


@pytest.mark.parametrize(
    "labels",
    [LABELS[:5], LABELS.float(), LABELS.bool(), LABELS[:, None], -LABELS, "cats", ["a"] * 6],
)
def test_classes_that_are_none_are_refused(labels: Any) -> None:
    """A slip of the caller is no fault of the network."""
    with pytest.raises(ScoreError, match="labels"):
        score(network(), IMAGES, objectives=["zico"], labels=labels)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_inits", 2.5),
        ("n_inits", "2"),
        ("n_inits", 0),
        ("seed", 1.5),
        ("seed", 2**64),
        ("seed", -1),
        ("max_memory", "1GB"),
        ("max_memory", math.nan),
        ("max_memory", 0),
    ],
)
def test_numbers_of_scoring_are_checked(name: str, value: Any) -> None:
    """The message names the argument; torch would say something else, or nothing."""
    with pytest.raises(ScoreError, match=name):
        score(network(), IMAGES, **{"n_inits": 2, name: value})


@pytest.mark.parametrize("seed", [2**63, 2**64, 2**63 - 1])
def test_a_seed_is_one_that_torch_takes(seed: int) -> None:
    """Every initialisation has a seed of its own, counted up from the first."""
    with pytest.raises(SearchError, match="seed"):
        NASProblem("digits", n_images=4, n_inits=2, seed=seed)
    problem = NASProblem("digits", n_images=4, n_inits=2, seed=2**63 - 2)
    assert not problem.score_genotype("8,0,0,0").degenerate
