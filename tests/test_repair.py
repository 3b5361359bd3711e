"""Searches under limits: what is too large is made smaller before it is scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import TINY, Run
from hypothesis import given, settings
from hypothesis import strategies as st
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.repair import NoRepair
from pymoo.optimize import minimize

from pymoo_nas import (
    CellSpace,
    DARTSSpace,
    EvolutiveNAS,
    GenotypeRepair,
    NASBench201Space,
    NASProblem,
    RandomSearch,
    SearchSpace,
    history_to_frame,
    operators,
    read_frame,
)
from pymoo_nas.errors import SearchError
from pymoo_nas.networks import Counts
from pymoo_nas.runs import RunFolder, SearchSettings

SPACES: dict[str, SearchSpace[Any]] = {
    "cell": CellSpace(),
    "nasbench201": NASBench201Space(),
    "darts": DARTSSpace(layers=3, channels=4),
}

TIGHT = {"max_params": 30_000, "max_flops": 600_000}


def problem(**arguments: Any) -> NASProblem:
    """Digits, few images."""
    return NASProblem("digits", n_images=4, **arguments)


@pytest.mark.parametrize(
    "algorithm", [EvolutiveNAS, pytest.param(RandomSearch, marks=pytest.mark.slow), NSGA2]
)
def test_few_candidates_are_over_the_limits(algorithm: type) -> None:
    """At most a tenth, where most of them were; and every generation is as large as asked for."""
    shares = {}
    for repair in (False, True):
        made = algorithm(
            5, **(operators(repair=repair) if algorithm is NSGA2 else {"repair": repair})
        )
        result = minimize(problem(**TIGHT), made, ("n_gen", 2), seed=1, save_history=True)
        history = history_to_frame(result)
        shares[repair] = 1 - history["feasible"].mean()
        assert not history["genotype"].duplicated().any()
        if algorithm is not NSGA2:
            assert (history["generation"].value_counts() == 15).all()
    assert shares[False] >= 0.5
    assert shares[True] <= 0.1


def test_without_limits_nothing_changes() -> None:
    """The course of a search without limits of sizes does not depend on the repair."""
    frames = [
        history_to_frame(
            minimize(
                problem(max_latency=1e9), EvolutiveNAS(3, 4, repair=repair), ("n_gen", 3), seed=1
            )
        )
        for repair in (False, True)
    ]
    assert frames[0]["genotype"].equals(frames[1]["genotype"])


@pytest.mark.slow
@settings(max_examples=5)
@given(st.sampled_from(sorted(SPACES)), st.integers(0, 2**32 - 1), st.floats(0.2, 0.9))
def test_what_fits_stays_and_what_does_not_gets_smaller(name: str, seed: int, share: float) -> None:
    """In every space the repaired genotype is valid, and its excess is not larger."""
    space, rng = SPACES[name], np.random.default_rng(seed)
    genotype = space.sample(rng)
    made = NASProblem("digits", n_images=2, search_space=space, max_flops=10**12)
    size = made.score_genotype(genotype).flops
    if not size:
        return
    assert GenotypeRepair().fitting(made, genotype, rng) == genotype
    tight = NASProblem(
        "digits", n_images=2, search_space=space, max_flops=max(1, int(share * size))
    )
    fitting = GenotypeRepair().fitting(tight, genotype, rng)
    assert space.parse(space.format(fitting)) == fitting
    assert tight.excess(fitting) <= tight.excess(genotype)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_the_excess_is_that_of_the_scores(name: str) -> None:
    """Counted without memory, sizes are those that scoring counts."""
    space = SPACES[name]
    limits = {f"max_{size}": 1000 for size in Counts._fields}
    limited = NASProblem("digits", n_images=2, search_space=space, **limits)
    free = NASProblem("digits", n_images=2, search_space=space)
    rng = np.random.default_rng(0)
    for _ in range(3):
        genotype = space.sample(rng)
        scores = free.score_genotype(genotype)
        assert limited.excess(genotype) == max(limited.limits.excess(vars(scores)).values())
        assert limited.excess(genotype, ["params"]) == (scores.params - 1000) / 1000


def test_sizes_are_those_of_the_genotype_as_it_is_written() -> None:
    """Cells of NAS-Bench-201 with one canonical form may have different sizes."""
    space = NASBench201Space()
    written = space.parse("|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|none~2|")
    limits = {"max_params": 10**9, "max_flops": 10**12}
    fresh, counted = (problem(search_space=space, **limits) for _ in range(2))
    counted.excess(space.canonical(written))
    counted.excess(written)
    assert counted.score_genotype(written).params == fresh.score_genotype(written).params
    assert (
        fresh.score_genotype(space.canonical(written)).params
        != fresh.score_genotype(written).params
    )


def test_given_genotypes_are_left_as_they_are() -> None:
    """All genotypes to start from are taken, over a limit too."""
    texts = ["16,0,0,0|0,16,0,0|8,0,0,8", "24,0,0,0", "0,24,0,0"]
    for made in (EvolutiveNAS(2, 2, sampling=texts), NSGA2(2, **operators(texts))):
        made.setup(problem(max_params=3000), termination=("n_gen", 2), seed=1)
        assert [str(individual.X[0]) for individual in made.ask()] == texts


def test_random_candidates_do_not_depend_on_their_division() -> None:
    """One generation of six is three of two, under a limit too."""
    found = [
        [
            str(individual.X[0])
            for individual in minimize(
                problem(max_params=9000), RandomSearch(2, n), ("n_gen", 6 // n), seed=1
            ).algorithm.scored
        ]
        for n in (6, 2)
    ]
    assert found[0] == found[1]


def test_a_network_that_needs_memory_is_left_to_scoring() -> None:
    """A user's network that cannot be counted without memory is scored as before."""

    class Concrete(CellSpace):
        def build_final(self, genotypes: Any, in_channels: int, n_classes: int) -> Any:
            network = super().build_final(genotypes, in_channels, n_classes)
            for parameter in network.parameters():
                parameter.detach().numpy()
            return network

    limited = problem(search_space=Concrete(), max_flops=200_000)
    assert limited.excess(limited.search_space.parse("8,0,0,0")) == -np.inf
    minimize(limited, EvolutiveNAS(2, 3), ("n_gen", 2), seed=1)
    assert limited.n_scored


def test_a_limit_that_nothing_keeps_ends() -> None:
    """A repair takes so many steps, and then leaves the genotype to the constraints."""
    impossible = problem(max_params=10)
    genotype = CellSpace().parse("16,0,0,0|0,16,0,0|8,0,0,8")
    rng = np.random.default_rng(0)
    fitting = GenotypeRepair(max_steps=5).fitting(impossible, genotype, rng)
    assert 0 < impossible.excess(fitting) <= impossible.excess(genotype)


def test_what_cannot_be_built_is_left_to_scoring() -> None:
    """It exceeds nothing, and a repair does not take it for a network that fits."""

    class Unbuildable(CellSpace):
        def build_final(self, genotypes: Any, in_channels: int, n_classes: int) -> Any:
            if genotypes[0].n_nodes == 1:
                raise RuntimeError("no such network")
            return super().build_final(genotypes, in_channels, n_classes)

    limited = NASProblem("digits", n_images=2, search_space=Unbuildable(), max_params=2000)
    assert limited.excess(limited.search_space.parse("8,0,0,0")) == -np.inf
    genotype = limited.search_space.parse("16,0,0,0|0,16,0,0|8,0,0,8")
    fitting = GenotypeRepair().fitting(limited, genotype, np.random.default_rng(0))
    assert fitting.n_nodes == 2


def test_refusals() -> None:
    """A repair is one of pymoo's, true or false."""
    for wrong in ("yes", 1.5, GenotypeRepair):
        with pytest.raises(SearchError, match="repair"):
            EvolutiveNAS(repair=wrong)
        with pytest.raises(SearchError, match="repair"):
            operators(repair=wrong)
    with pytest.raises(SearchError, match="max_steps"):
        GenotypeRepair(max_steps=0)
    with pytest.raises(SearchError, match="repair"):
        SearchSettings(repair="no")  # type: ignore[arg-type]
    assert isinstance(EvolutiveNAS(repair=False).repair, NoRepair)


def test_the_command_line_repairs_unless_told_not_to(run: Run) -> None:
    """The setting is kept, and a search of an earlier version goes on as it began."""
    tight = ("--max-params", "8000", "--images", "4", "--generations", "2")
    assert run("search", *TINY, *tight, "--out", "with")[0] == 0
    assert run("search", *TINY, *tight, "--no-repair", "--out", "without")[0] == 0
    assert read_frame("with/history.csv")["feasible"].mean() >= 0.9
    assert read_frame("without/history.csv")["feasible"].mean() < 0.9
    assert RunFolder("with").config().settings().repair
    assert not RunFolder("without").config().settings().repair
    path = Path("without/config.json")
    path.write_text(path.read_text("utf-8").replace('"repair": false', '"unknown": 0'), "utf-8")
    assert not RunFolder("without").config().settings().repair
    code, _, error = run("search", "--resume", "with", "--no-repair")
    assert code == 2
    assert "repair" in error


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_first_generation_is_whole_and_fits(seed: int) -> None:
    """Different genotypes as many as asked for, though a limit makes many of them equal."""
    algorithm = EvolutiveNAS(3, 8)
    limited = problem(max_params=20_000)
    algorithm.setup(limited, termination=("n_gen", 1), seed=seed)
    genotypes = [X[0] for X in algorithm.ask().get("X")]
    assert len({limited.search_space.canonical(genotype) for genotype in genotypes}) == 8
    assert all(limited.excess(genotype) <= 0 for genotype in genotypes)
