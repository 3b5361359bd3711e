"""Duplicate elimination: what is equal, what is remembered, and for how long."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from cheap_problems import Channels, individuals, nsga2, operators
from pymoo.algorithms.moo.sms import SMSEMOA
from pymoo.core.duplicate import DuplicateElimination, NoDuplicateElimination
from pymoo.core.evaluator import Evaluator
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.sampling import Sampling
from pymoo.optimize import minimize
from pymoo.util.archive import MultiObjectiveArchive
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from pymoo_nas.search import (
    EvolutiveNAS,
    GenotypeDuplicates,
    GenotypeMutation,
    GenotypeSampling,
    history_to_frame,
)
from pymoo_nas.search._duplicates import Memory
from pymoo_nas.spaces import CellSpace, Genotype


def searched(algorithm: Any, seed: int = 1, **settings: Any) -> list[str]:
    """All that a short search scores, in order."""
    problem = Channels()
    minimize(problem, algorithm, ("n_gen", 4), seed=seed, **settings)
    return [str(genotype) for genotype in problem.seen]


ALGORITHMS = {
    "EvolutiveNAS": lambda **given: EvolutiveNAS(3, 8, **given),
    "NSGA2": nsga2,
    "SMSEMOA": lambda **given: SMSEMOA(pop_size=6, **given),
}


@pytest.fixture(params=ALGORITHMS)
def make(request: pytest.FixtureRequest) -> Any:
    """Makes an algorithm of given operators."""
    return ALGORITHMS[request.param]


def test_duplicates_within_and_against_the_population() -> None:
    """The first of equals passes, and none that the population holds."""
    new, kept, dropped = GenotypeDuplicates().do(
        individuals("5000", "5000", "0500", "0050"), individuals("0500"), return_indices=True
    )
    assert [str(ind.X[0]) for ind in new] == ["5000", "0050"]
    assert (kept, dropped) == ([0, 3], [1, 2])


def test_duplicates_are_compared_in_canonical_form() -> None:
    """Two spellings of one network are duplicates."""
    new = GenotypeDuplicates().do(individuals("0003", "0000|0003|0800"))
    assert len(new) == 1


def test_what_was_scored_is_remembered_what_was_not_may_come_again() -> None:
    """Only evaluated children are known for ever."""
    duplicates = GenotypeDuplicates()
    first = duplicates.do(individuals("5000", "0500"))
    first[0].evaluated = {"F"}
    again = duplicates.do(individuals("5000", "0500"))
    assert [str(ind.X[0]) for ind in again] == ["0500"]


def test_children_of_several_askings_are_remembered() -> None:
    """Mating asks again before anything is evaluated; all that is scored is remembered."""
    duplicates = GenotypeDuplicates()
    first = duplicates.do(individuals("5000"), Population())
    second = duplicates.do(individuals("5000", "0500"), Population(), first)
    assert [str(ind.X[0]) for ind in second] == ["0500"]
    for individual in (*first, *second):
        individual.evaluated = {"F"}
    assert len(duplicates.do(individuals("5000", "0500"), Population())) == 0


@pytest.mark.parametrize("copy_algorithm", [True, False])
def test_operators_serve_several_runs(make: Any, copy_algorithm: bool) -> None:
    """The same operator objects give every seed the search that new ones give it."""
    shared = operators()
    for seed in (1, 2, 1):
        found = searched(make(**shared), seed, copy_algorithm=copy_algorithm)
        assert found == searched(make(**operators()), seed)


def test_interleaved_runs(make: Any) -> None:
    """Two algorithms that share their operators and take turns do not see each other."""
    shared, problems = operators(), [Channels(), Channels()]
    algorithms = [make(**shared), make(**shared)]
    for seed, (algorithm, problem) in enumerate(zip(algorithms, problems, strict=True), 1):
        algorithm.setup(problem, termination=("n_gen", 4), seed=seed)
    while algorithms[0].has_next():
        for algorithm, problem in zip(algorithms, problems, strict=True):
            asked = algorithm.ask()
            Evaluator().eval(problem, asked)
            algorithm.tell(infills=asked)
    for seed, problem in enumerate(problems, 1):
        assert [str(g) for g in problem.seen] == searched(make(**operators()), seed)


class OwnSampling(Sampling):
    """A user's sampling, which knows nothing of this package."""

    def _do(self, problem: Any, n_samples: int, *args: Any, **kwargs: Any) -> Any:
        del args
        return GenotypeSampling()._do(problem, n_samples, random_state=kwargs["random_state"])


class OwnMutation(Mutation):
    """A user's mutation, which knows nothing of this package."""

    def do(self, problem: Any, pop: Any, *args: Any, **kwargs: Any) -> Any:
        del args
        return GenotypeMutation().do(problem, pop, random_state=kwargs["random_state"])


def test_own_operators_and_one_elimination() -> None:
    """Where nothing of this package sees the run, the memory starts with its first population."""
    own = {"sampling": OwnSampling(), "mutation": OwnMutation()}
    shared = GenotypeDuplicates()
    for seed in (1, 2, 1):
        found = searched(nsga2(**own, eliminate_duplicates=shared), seed, copy_algorithm=False)
        assert found == searched(nsga2(**own), seed)
        assert len(found) == len(set(found))


def test_what_was_given_stays_as_it_was(make: Any) -> None:
    """A run works on a copy; what the user told the elimination before holds in every run."""
    duplicates = GenotypeDuplicates()
    known = searched(make(**operators()))
    duplicates.remember(individuals(*known[:5]))
    for seed in (1, 1):
        found = searched(
            make(**operators(eliminate_duplicates=duplicates)), seed, copy_algorithm=False
        )
        assert not set(found) & set(known[:5])
    assert len(duplicates.do(individuals(*known[:6]), Population())) == 1


@pytest.mark.parametrize("given", ["its own", "the algorithm's", "pymoo's"])
def test_an_archive_keeps_its_front(given: str) -> None:
    """Of the evaluated only equal ones are dropped, generation after generation."""
    duplicates = GenotypeDuplicates()
    archive = (
        MultiObjectiveArchive()
        if given == "pymoo's"
        else MultiObjectiveArchive(duplicate_elimination=duplicates)
    )
    changes = {"eliminate_duplicates": duplicates} if given == "the algorithm's" else {}
    algorithm = EvolutiveNAS(3, 8, archive=archive, **changes)
    result = minimize(Channels(), algorithm, ("n_gen", 5), seed=1)
    scored = result.algorithm.scored
    scores = np.array([individual.F for individual in scored])
    front = NonDominatedSorting().do(scores, only_non_dominated_front=True)
    assert {str(scored[i].X[0]) for i in front} == {str(ind.X[0]) for ind in result.archive}
    assert len(scored) == len({str(individual.X[0]) for individual in scored})


class Widths(CellSpace):
    """A space in which only the widest operation counts."""

    def canonical(self, genotype: Genotype) -> Genotype:
        """A single block with the largest count."""
        return Genotype(((max(map(max, genotype.blocks)), 0, 0, 0),))


def test_the_space_decides_what_is_equal(make: Any) -> None:
    """Two genotypes that the user's space calls equal are never both scored."""
    problem = Channels()
    problem.search_space = Widths(channel_step=1, max_channels=9)
    minimize(problem, make(**operators()), ("n_gen", 4), seed=1)
    widths = [max(map(max, genotype.blocks)) for genotype in problem.seen]
    assert len(widths) == len(set(widths)) > 3


def test_texts_and_genotypes_are_the_same_network() -> None:
    """A text and a genotype of one network are equal where the search space is known."""
    own = GenotypeDuplicates().of_run(object(), CellSpace())
    mixed = individuals("0003", "0000|0003|0800")
    mixed[0].X = np.array(["0003"], dtype=object)
    assert len(own.do(mixed)) == 1


def pickled(algorithm: Any) -> Any:
    """A copy by way of a file."""
    return pickle.loads(pickle.dumps(algorithm))


@pytest.mark.parametrize(
    ("name", "copied"),
    [
        *((name, copy.deepcopy) for name in ALGORITHMS),
        # SMSEMOA cannot be pickled, whatever it searches.
        *((name, pickled) for name in ("EvolutiveNAS", "NSGA2")),
    ],
)
def test_a_copy_goes_on_as_the_original(name: str, copied: Any) -> None:
    """A search copied in the middle ends as without the copy, and so does the one it is of."""
    make = ALGORITHMS[name]
    whole = searched(make(**operators()), seed=3)
    problem = Channels()
    algorithm = make(**operators())
    algorithm.setup(problem, termination=("n_gen", 4), seed=3)
    for _ in range(2):
        algorithm.next()
    other = copied(algorithm)
    for running in (other, algorithm):
        running.run()
        assert [str(genotype) for genotype in running.problem.seen] == whole


def test_default_elimination_gives_way(make: Any) -> None:
    """Pymoo's default, which compares numbers, is replaced; any other elimination stays."""
    assert searched(make(**operators(eliminate_duplicates=True))) == searched(make(**operators()))

    class Own(DuplicateElimination):
        """Finds none."""

    for given in (Own(), NoDuplicateElimination()):
        problem = Channels()
        algorithm = make(**operators(eliminate_duplicates=given))
        minimize(problem, algorithm, ("n_gen", 2), seed=1, copy_algorithm=False)
        assert algorithm.mating.eliminate_duplicates is given


def test_history_of_a_warm_start() -> None:
    """Starting from a population of an earlier run scores none of it again, nor any twice."""
    first = minimize(Channels(), EvolutiveNAS(5, 8), ("n_gen", 3), seed=1)
    problem = Channels()
    again = minimize(problem, EvolutiveNAS(5, 8, sampling=first.pop), ("n_gen", 3), seed=2)
    started = {str(individual.X[0]) for individual in first.pop}
    assert not started & {str(genotype) for genotype in problem.seen}
    history = history_to_frame(again)
    assert set(history["genotype"][: len(started)]) == started
    assert (history["mutation"][: len(started)] == "").all()
    assert history["genotype"].is_unique


def test_heads_of_a_memory() -> None:
    """A head knows what there was; two that go on from one place do not see each other."""
    memory = Memory()
    for key in "abc":
        memory.add(key)
    head, other = memory.head(2), memory.head(3)
    head.add("x")
    memory.add("d")
    other.add("y")
    known: Mapping[str, Memory] = {"abx": head, "abcd": memory, "abcy": other}
    for keys, one in known.items():
        assert [key for key in "abcdxy" if key in one] == sorted(keys)
        assert len(one) == len(keys)
