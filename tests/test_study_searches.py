"""Searches of studies: what they remember, hide, limit, and train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import budgets
import numpy as np
import pytest
import rivals

from common.budget_searches import BETWEEN, BUDGETS, SETTINGS, architecture_of, problem_of
from common.remembered import RememberedProblem
from common.searches import SEARCHES, Outcome
from pymoo_nas.datasets import load_dataset
from pymoo_nas.networks import count_all
from pymoo_nas.spaces import NASBench201Space


def test_time_of_what_is_remembered_is_that_of_the_first_time(tmp_path: Path) -> None:
    """A search tells the same time to score and to measure, new or remembered, and it only once."""
    settings: dict[str, Any] = {
        "memory": tmp_path / "memory.csv",
        "gradients": tmp_path / "gradients.csv",
        "search_space": NASBench201Space(),
        "n_images": 8,
        "n_inits": 1,
    }

    def search(problem: RememberedProblem) -> Outcome:
        rng = np.random.default_rng(0)
        genotypes = [problem.search_space.sample(rng) for _ in range(10)]
        for genotype in genotypes:
            problem.score_genotype(genotype)
        problem.steadiness(genotypes[0])
        return Outcome([], [], len(genotypes))

    told = []
    for problem in [RememberedProblem("digits", **settings)] * 2:
        told.append(rivals.timed(problem, lambda problem=problem: search(problem))[1])
    problem = RememberedProblem("digits", **settings)
    told.append(rivals.timed(problem, lambda: search(problem))[1])
    for name in ("scoring", "measuring"):
        assert told[0][name] > 0.0
        assert told[1][name] == pytest.approx(told[0][name])
        assert told[2][name] == pytest.approx(told[0][name])
    for seconds in told:
        assert 0.0 <= seconds["seconds"] < told[0]["scoring"] / 2


def test_a_search_without_an_objective_leaves_the_problem_as_it_was(tmp_path: Path) -> None:
    """The objective is hidden from that search alone."""
    problem = RememberedProblem(
        "digits", tmp_path / "memory.csv", search_space=NASBench201Space(), n_images=8, n_inits=1
    )
    outcome = SEARCHES["ours, no ntk"](problem, 20, 0)
    assert [one.F[0] for one in outcome.front] == [0.0] * len(outcome.front)
    assert problem.blind is None


@pytest.mark.parametrize("name", ["lean", "limited", "separable"])
def test_some_kinds_have_few_acts(name: str) -> None:
    """The budgets of some kinds limit the acts too, those of others do not."""
    digits = load_dataset("digits")
    assert SETTINGS[name].max_acts.keys() == BUDGETS.keys()
    for budget, acts in SETTINGS[name].max_acts.items():
        assert problem_of(digits, budget, name, 0, "cpu").limits["acts"] == acts
        assert "acts" not in problem_of(digits, budget, "tried", 0, "cpu").limits


def test_networks_of_one_kind_and_seed_are_trained_each(tmp_path: Path) -> None:
    """Another network of the same budget, kind and seed is not taken for the one before."""
    digits = load_dataset("digits")
    of = budgets.parsed(["--cifar", str(tmp_path), "--work", str(tmp_path)])
    first, second = "A later 0 8000", "A later 0 0800|0000|0080"
    for rivals_so_far in ([first], [first, second]):
        budgets.trained(of, digits, tmp_path, rivals_so_far, 1)
    kept = [json.loads(path.read_text("utf-8")) for path in tmp_path.rglob("training.json")]
    assert sorted(one["network"]["model"] for one in kept) == ["0800|0000|0080", "8000"]


def test_networks_of_other_cells_at_other_stages() -> None:
    """Cells in sequence make the network of a genotype of them all; one repeated cell another."""
    digits = load_dataset("digits")
    cells = ["8000", "0800|0080|0008", "0080"]
    front, staged, one = (
        architecture_of(kind, model).build("trained", digits)
        for kind, model in (
            ("front", BETWEEN.join(cells)),
            ("staged", "/".join(cells)),
            ("front", cells[0]),
        )
    )
    assert {name: value.shape for name, value in front.state_dict().items()} == {
        name: value.shape for name, value in staged.state_dict().items()
    }
    assert count_all(front, digits.normalized(digits.train_images[:1])) != count_all(
        one, digits.normalized(digits.train_images[:1])
    )
