"""Genotypes in every form that a user has them in, and what is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cheap_problems import Channels
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.evaluator import Evaluator
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from pymoo.optimize import minimize
from torch import nn

from pymoo_nas.choice import build_final
from pymoo_nas.errors import GenotypeError, NetworkError, PymooNasError, SearchError
from pymoo_nas.networks import count_parameters
from pymoo_nas.scores._score import NO_MEMORY
from pymoo_nas.search import (
    EvolutiveNAS,
    GenotypeSampling,
    NASProblem,
    as_column,
    front_to_frame,
    history_to_frame,
    operators,
    read_genotype,
    read_genotypes,
)
from pymoo_nas.spaces import CellSpace, Genotype, NASBench201Space, SearchSpace

SPACE = CellSpace()
TEXT = "8000|0800|0080"
GENOTYPE = SPACE.parse(TEXT)


ONE = {
    "genotype": GENOTYPE,
    "text": TEXT,
    "numpy text": np.array([TEXT])[0],
    "array without dimensions": np.array(TEXT),
    "row of X": as_column([GENOTYPE])[0],
    "row of texts": np.array([TEXT]),
    "X of one": as_column([GENOTYPE]),
    "list of one": [TEXT],
    "individual": Individual(X=as_column([GENOTYPE])[0]),
    "population of one": Population.new("X", as_column([TEXT])),
    "row of a table": pd.DataFrame({"genotype": [TEXT], "ntk": [1.0]}).iloc[0],
    "record": {"genotype": TEXT},
}

SEVERAL = {
    "list": [TEXT, GENOTYPE],
    "tuple": (TEXT, GENOTYPE),
    "array": np.array([TEXT, TEXT]),
    "X": as_column([TEXT, GENOTYPE]),
    "population": Population.new("X", as_column([TEXT, GENOTYPE])),
    "list of individuals": list(Population.new("X", as_column([TEXT, GENOTYPE]))),
    "table": pd.DataFrame({"genotype": [TEXT, TEXT]}),
    "column": pd.Series([TEXT, TEXT]),
    "generator": (text for text in [TEXT, TEXT]),
}

NONE: dict[str, Any] = {
    "number": 5,
    "numpy number": np.float64(0.5),
    "row of numbers": np.array([0.5]),
    "bool": True,
    "nothing": None,
    "bytes": TEXT.encode(),
    "malformed": "80x0",
    "blocks": GENOTYPE.blocks,
    "genotype of another space": NASBench201Space().sample(np.random.default_rng(0)),
    "too many channels": Genotype(((900, 0, 0, 0),)),
    "other operations": Genotype(((8, 0),)),
    "dictionary": {"text": TEXT},
    "network": nn.Linear(1, 1),
}


@pytest.mark.parametrize("given", ONE.values(), ids=ONE)
def test_one_genotype(given: Any, problem: NASProblem) -> None:
    """One genotype in any form is read alike by all that takes one."""
    assert read_genotype(SPACE, given) == GENOTYPE
    assert read_genotypes(SPACE, given) == [GENOTYPE]
    expected = count_parameters(problem.build(GENOTYPE))
    assert count_parameters(problem.build(given)) == expected
    assert problem.score_genotype(given).values == problem.score_genotype(GENOTYPE).values
    final = build_final(given, problem=problem)
    assert count_parameters(final) == problem.score_genotype(GENOTYPE).params


@pytest.mark.parametrize("given", SEVERAL.values(), ids=SEVERAL)
def test_several_genotypes(given: Any) -> None:
    """Several come in their order, whatever holds them."""
    assert read_genotypes(SPACE, given) == [GENOTYPE, GENOTYPE]


@pytest.mark.parametrize("given", NONE.values(), ids=NONE)
def test_what_is_no_genotype(given: Any, problem: NASProblem) -> None:
    """Anything else is refused in our words, by all that takes a genotype."""
    with pytest.raises(GenotypeError):
        read_genotype(SPACE, given)
    for taking in (problem.build, problem.score_genotype, problem.evaluate):
        with pytest.raises(PymooNasError):
            taking(given)
    with pytest.raises(PymooNasError):
        build_final(given, problem=problem)
    with pytest.raises(PymooNasError):
        problem.steadiness(given)


def test_several_are_not_one() -> None:
    """Where one is wanted, several are refused with their number."""
    with pytest.raises(GenotypeError, match="got 2 items"):
        read_genotype(SPACE, [TEXT, TEXT])
    with pytest.raises(GenotypeError, match="got 0 items"):
        read_genotype(SPACE, as_column([]))


def test_shapes_of_evaluate(problem: NASProblem) -> None:
    """One genotype gives F without its first dimension, a collection of one keeps it."""
    expected = problem.evaluate(as_column([GENOTYPE]))
    assert expected.shape == (1, 3)
    for one in (GENOTYPE, TEXT, as_column([GENOTYPE])[0], Individual(X=np.array([TEXT]))):
        assert np.array_equal(problem.evaluate(one), expected[0])
    for several in ([TEXT], np.array([[TEXT]]), Population.new("X", as_column([TEXT]))):
        assert np.array_equal(problem.evaluate(several), expected)
    out = problem.evaluate(TEXT, return_as_dictionary=True)
    assert out["F"].shape == (3,)
    assert out["params"] > 0
    limited = NASProblem(problem.dataset, n_images=16, max_params=10)
    scores, excess = limited.evaluate(TEXT)
    assert scores.shape == (3,)
    assert excess.shape == (1,)


def test_what_a_result_holds(problem: NASProblem, result: Any) -> None:
    """The parts of a result can be built and evaluated; None, for nothing feasible, is refused."""
    for part in (result.X, result.opt, result.pop, front_to_frame(result)):
        assert isinstance(build_final(part, problem=problem), nn.Module)
    for part in (result.X[0], result.opt[0]):
        assert problem.evaluate(part).shape == (3,)
    assert isinstance(build_final(result), nn.Module)
    assert isinstance(build_final(result.algorithm), nn.Module)
    with pytest.raises(SearchError, match="result itself"):
        build_final(result.X)
    for taking in (problem.evaluate, lambda none: build_final(none, problem=problem)):
        with pytest.raises(SearchError, match="feasible"):
            taking(None)
    with pytest.raises(PymooNasError):
        build_final(result.F, problem=problem)


def test_evaluator_takes_texts(problem: NASProblem) -> None:
    """Pymoo's Evaluator sets the scores of a population of texts."""
    scored = Evaluator().eval(problem, Population.new("X", as_column([TEXT])))
    assert np.array_equal(scored[0].F, problem.evaluate(TEXT))


class Pairs(SearchSpace[tuple[int, int]]):
    """A user's space whose genotypes are tuples, and which has no operations."""

    operation_names = ()
    mutation_kinds = {"up": 1.0, "never": 0.0}  # noqa: RUF012
    placing_kinds = frozenset()

    def parse(self, text: str) -> tuple[int, int]:
        """Read "a-b"."""
        first, _, second = text.partition("-")
        if not (first.isdigit() and second.isdigit()):
            raise GenotypeError(f"genotype {text!r}: expected two numbers such as 3-4")
        return int(first), int(second)

    def format(self, genotype: tuple[int, int]) -> str:
        """Write "a-b"."""
        first, second = genotype
        return f"{first}-{second}"

    def canonical(self, genotype: tuple[int, int]) -> tuple[int, int]:
        """The order of the two does not count."""
        first, second = sorted(genotype)
        return first, second

    def sample(self, rng: np.random.Generator) -> tuple[int, int]:
        """Two small numbers."""
        first, second = rng.integers(1, 9, 2).tolist()
        return first, second

    def crossover(
        self, a: tuple[int, int], b: tuple[int, int], rng: np.random.Generator
    ) -> tuple[int, int]:
        """The first of one and the second of the other."""
        del rng
        return a[0], b[1]

    def mutate(
        self, genotype: tuple[int, int], kind: str, operation: str, rng: np.random.Generator
    ) -> tuple[int, int]:
        """One more at one place."""
        self.check_mutation(kind, operation)
        place = int(rng.integers(2))
        return genotype[0] + place, genotype[1] + 1 - place

    def build(self, genotype: tuple[int, int], in_channels: int, n_classes: int) -> nn.Module:
        """Two layers of these widths."""
        first, second = genotype
        return nn.Sequential(
            nn.Conv2d(in_channels, first, 3),
            nn.ReLU(),
            nn.Conv2d(first, second, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(second, n_classes),
        )

    def build_final(
        self, genotypes: Sequence[tuple[int, int]], in_channels: int, n_classes: int
    ) -> nn.Module:
        """The first alone."""
        return self.build(genotypes[0], in_channels, n_classes)

    def settings(self) -> dict[str, Any]:
        """Nothing is kept."""
        return {}


def test_tuples_of_a_users_space() -> None:
    """A tuple is a genotype where the space says so, and holds several where it does not."""
    space = Pairs()
    assert read_genotypes(space, (3, 4)) == [(3, 4)]
    assert read_genotypes(space, ("3-4", (5, 6))) == [(3, 4), (5, 6)]
    assert read_genotypes(space, [(3, 4)]) == [(3, 4)]
    with pytest.raises(GenotypeError):
        read_genotype(space, (1, 2, 3))


def test_one_tuple_wherever_genotypes_are_taken() -> None:
    """A problem, a sampling, an algorithm and pymoo's own take it as `read_genotypes` does."""
    problem = NASProblem("digits", search_space=Pairs(), n_images=4, objectives=["params"])
    one = (3, 4)
    (params,) = problem.evaluate(one, return_values_of=["F"])
    assert params == problem.evaluate([one], return_values_of=["F"])[0]
    assert len(problem.evaluate((one, (5, 6)), return_values_of=["F"])) == 2
    for algorithm in (EvolutiveNAS(1, 2, sampling=one), NSGA2(pop_size=1, **operators(one))):
        found = minimize(problem, algorithm, ("n_gen", 1), seed=1)
        assert found.pop[0].X[0] == one
    both = GenotypeSampling((one, "5-6")).do(problem, 2)
    assert [row[0] for row in both.get("X")] == [one, (5, 6)]


@pytest.mark.parametrize("error", [ValueError, RuntimeError, TypeError, NetworkError])
def test_what_a_space_cannot_build_is_degenerate(error: type[Exception]) -> None:
    """The error is the reason, and the search goes on."""

    class Odd(Pairs):
        def build(self, genotype: tuple[int, int], in_channels: int, n_classes: int) -> nn.Module:
            if sum(genotype) % 2:
                raise error(f"{genotype} is odd")
            return super().build(genotype, in_channels, n_classes)

    problem = NASProblem("digits", search_space=Odd(), n_images=4, objectives=["ntk", "params"])
    history = history_to_frame(minimize(problem, EvolutiveNAS(2, 6), ("n_gen", 2), seed=1))
    odd = history["genotype"].map(lambda text: sum(map(int, text.split("-"))) % 2 == 1)
    assert 0 < odd.sum() < len(history)
    assert history["degenerate"].str.contains("is odd").equals(odd)


def test_a_space_that_runs_out_of_memory_is_told_so() -> None:
    """Memory is no fault of the genotype."""

    class Huge(Pairs):
        def build(self, *_: Any) -> nn.Module:
            raise MemoryError

    problem = NASProblem("digits", search_space=Huge(), n_images=4)
    assert problem.score_genotype((3, 4)).degenerate == NO_MEMORY


def test_a_space_without_operations() -> None:
    """Where no operation is placed, mutation draws a kind alone; equal is what the space says."""

    class Sums(Channels):
        """The two numbers against each other."""

        def _evaluate(self, x: Any, out: Any, *args: Any, **kwargs: Any) -> None:
            del args, kwargs
            self.seen += [pair for (pair,) in x]
            out["F"] = np.array([[a + b, -a, -b] for ((a, b),) in x], dtype=float)

    problem = Sums()
    problem.search_space = Pairs()
    result = minimize(problem, EvolutiveNAS(3, 6), ("n_gen", 4), seed=1)
    assert len({tuple(sorted(pair)) for pair in problem.seen}) == len(problem.seen) == 24
    mutations = set(history_to_frame(result)["mutation"].str.split(";").explode())
    assert mutations == {"", "up"}


def test_genotypes_are_no_numbers() -> None:
    """Whatever asks a genotype of ours for a number hears what to do."""
    for genotype in (GENOTYPE, NASBench201Space().sample(np.random.default_rng(0))):
        with pytest.raises(GenotypeError, match="GenotypeDuplicates"):
            as_column([genotype]).astype(float)
