"""pymoo operators over any search space: sampling, crossover and mutation.

Genotypes are immutable, so no operator can change a parent. All randomness comes from the generator
that pymoo hands over.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.core.crossover import Crossover
from pymoo.core.individual import Individual
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.sampling import Sampling

from pymoo_nas._machine import not_negative, share, whole
from pymoo_nas.errors import SearchError
from pymoo_nas.scores import STEADINESS
from pymoo_nas.search._adoption import adopt
from pymoo_nas.search._duplicates import GenotypeDuplicates
from pymoo_nas.search._given import as_column, items_in, items_of, parsed, read_genotype, space_of
from pymoo_nas.search._repair import SETTLED, fitting_of, repair_of
from pymoo_nas.search._steps import MutationStep, MutationSteps

Objects = npt.NDArray[Any]


class GenotypeSampling(Sampling):
    """Samples different genotypes at random from the problem's search space.

    A small search space may give fewer than are asked for. In an algorithm with a `GenotypeRepair`,
    genotypes over a limit of a size are made smaller.

    Args:
        genotypes: genotypes to start from instead, in any form that `read_genotypes` takes; all of
            them are taken. Individuals that the same problem has scored are not scored again.

    Raises:
        SearchError: no genotypes are given.
    """

    def __init__(self, genotypes: Any = None) -> None:
        super().__init__()
        # Only the search space tells whether a tuple is one genotype or several.
        kept = genotypes is None or isinstance(genotypes, tuple)
        self.items = genotypes if kept else items_of(genotypes)
        if self.items in ([], ()):
            raise SearchError("sampling: no genotypes given; expected at least one")

    def do(
        self,
        problem: Any,
        n_samples: int,
        *args: Any,
        random_state: Any = None,
        algorithm: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Make a population of random genotypes, or of the genotypes that were given.

        Raises:
            GenotypeError: something given is no genotype of the search space.
            SearchError: the algorithm has operators that do not know genotypes.
        """
        space = space_of(problem)
        if algorithm is not None:
            adopt(algorithm, space)
        if self.items is None:
            fit = fitting_of(algorithm, problem)
            pop = super().do(
                problem, n_samples, *args, random_state=random_state, fit=fit, **kwargs
            )
            # Pymoo repairs what was drawn a second time, and would make equal what is different.
            pop.set(SETTLED, True)
            return pop
        return Population([_started(problem, item) for item in items_in(space, self.items)])

    def _do(
        self,
        problem: Any,
        n_samples: int,
        *args: Any,
        random_state: Any = None,
        fit: Callable[[Any, Any], Any] | None = None,
        **kwargs: Any,
    ) -> Objects:
        del args, kwargs
        space = problem.search_space
        different: dict[Any, Any] = {}
        known_in_row = over_in_row = 0
        # A small space may hold fewer genotypes: give up after twenty draws for each.
        for _ in range(20 * n_samples):
            if len(different) == n_samples:
                break
            genotype = space.sample(random_state)
            # Where few genotypes keep the limits, or none, the others are left to the constraints.
            if fit is not None and known_in_row < 5 * n_samples and over_in_row < n_samples:
                genotype = fit(genotype, random_state)
                known_in_row = known_in_row + 1 if space.canonical(genotype) in different else 0
                over_in_row = over_in_row + 1 if problem.excess(genotype) > 0 else 0
            different.setdefault(space.canonical(genotype), genotype)
        return as_column(different.values())


def _started(problem: Any, item: Any) -> Individual:
    """Make an individual of a given item; it keeps what the same problem found."""
    judged = isinstance(item, Individual) and _is_of(problem, item)
    individual = item.copy() if judged else Individual()
    # Notes of an earlier run are no part of this run.
    for name in ("mutation", "parents", "number", "survived", "alpha", *STEADINESS):
        individual.data.pop(name, None)
    individual.X = as_column([read_genotype(problem.search_space, item)])[0]
    individual.set(SETTLED, True)
    return individual


def _is_of(problem: Any, individual: Individual) -> bool:
    """Whether F and G of an individual are those that the problem would find.

    Other images, limits or objectives of the same names give others. Pymoo's wrappers change F, and
    do not tell how.
    """
    if (len(individual.F), len(individual.G)) != (problem.n_obj, problem.n_ieq_constr):
        return False
    mark = getattr(problem, "scored_by", None)
    if mark is None:  # a problem of the user's, which notes nothing
        return True
    scores = individual.get("scores") or {}
    known = bool(individual.get("scored_by") == mark)
    return known and [*scores.values()] == individual.F.tolist()


def refuse_foreign(problem: Any, individuals: Iterable[Individual]) -> None:
    """Refuse parents that another problem has scored.

    Raises:
        SearchError: pymoo took evaluated individuals as they are, without `GenotypeSampling`.
    """
    mark = getattr(problem, "scored_by", None)
    marks = {individual.get("scored_by") for individual in individuals} - {None, mark}
    if mark is not None and marks:
        raise SearchError(
            "sampling: a population that another problem has scored, whose scores and limits would "
            "be mixed with those of this one; give operators(population) or "
            "GenotypeSampling(population), which score it again"
        )


class GenotypeCrossover(Crossover):
    """Takes each character of a child at random from one of two parents, and the length too.

    Args:
        prob: share of children that are crossed; the others are copies of one parent.

    Raises:
        SearchError: prob is no number from 0 to 1.
    """

    def __init__(self, prob: float = 0.5, **kwargs: Any) -> None:
        super().__init__(n_parents=2, n_offsprings=1, prob=share("crossover: prob", prob), **kwargs)

    def do(self, problem: Any, pop: Any, parents: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Make a child of each pair, and note its parents on it.

        Raises:
            SearchError: parents that another problem has scored.
        """
        matings = pop if parents is None else [pop[mating] for mating in parents]
        refuse_foreign(problem, chain.from_iterable(matings))
        children = super().do(problem, pop, parents, *args, **kwargs)
        for child, mating in zip(children, matings, strict=True):
            note_parents(child, mating)
        return children

    def _do(
        self, problem: Any, x: Objects, *args: Any, random_state: Any = None, **kwargs: Any
    ) -> Objects:
        """X (2, n, 1) → children (1, n, 1)."""
        del args, kwargs
        space = space_of(problem)
        children = [
            space.crossover(parsed(space, a), parsed(space, b), random_state)
            for a, b in zip(*x[:, :, 0], strict=True)
        ]
        return as_column(children)[None]


def note_parents(child: Individual, mating: Iterable[Individual]) -> None:
    """Note on a child the places of its parents among the scored; a copy has one parent.

    Nothing is noted where an algorithm does not number what it has scored, see `EvolutiveNAS`.
    """
    parents = list(mating)
    copied = [parent for parent in parents if parent.X[0] is child.X[0]]
    numbers = [parent.get("number") for parent in copied[:1] or parents]
    if None not in numbers:
        child.set("parents", ";".join(map(str, dict.fromkeys(numbers))))


class GenotypeMutation(Mutation):
    """Mutates in steps; the kind and the operation of a step are drawn by learned probabilities.

    The individual keeps its `MutationSteps` as ``mutation``. The probabilities are read from
    ``algorithm.data["mutation"]``, see `MutationShares`. An algorithm without this entry takes the
    first probabilities of the search space.

    Args:
        prob: probability that a child is mutated.
        max_steps: largest number of steps; the number is 1 + a geometric number (p = 1/2).

    Raises:
        SearchError: prob is no number from 0 to 1, max_steps no integer of at least 1.
    """

    def __init__(self, prob: float = 1.0, max_steps: int = 3, **kwargs: Any) -> None:
        super().__init__(prob=share("mutation: prob", prob), **kwargs)
        self.max_steps = whole("mutation: max_steps", max_steps)

    def do(
        self,
        problem: Any,
        pop: Any,
        inplace: bool = True,
        *args: Any,
        random_state: Any = None,
        algorithm: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Mutate children, and note on each child its steps."""
        del args, kwargs
        if not inplace:
            pop = copy.deepcopy(pop)
        space = space_of(problem)
        if algorithm is not None:
            adopt(algorithm, space)
        shares = MutationShares.of(algorithm, space)
        probability = float(self.prob.get())
        for individual in pop:
            mutated = parsed(space, individual.X[0])
            steps: list[MutationStep] = []
            if random_state.random() < probability:
                mutated, steps = self._steps(space, mutated, shares, random_state)
            individual.X = as_column([mutated])[0]
            individual.set("mutation", MutationSteps(steps))
        return pop

    def _steps(
        self, space: Any, genotype: Any, shares: MutationShares, rng: np.random.Generator
    ) -> tuple[Any, list[MutationStep]]:
        steps: list[MutationStep] = []
        for _ in range(min(int(rng.geometric(0.5)), self.max_steps)):
            kind, operation = shares.draw(rng)
            mutated = space.mutate(genotype, kind, operation, rng)
            if mutated != genotype:
                steps.append(MutationStep(kind, operation if kind in space.placing_kinds else ""))
            genotype = mutated
        return genotype, steps


class MutationShares:
    """Learned probabilities of mutations: a global evolution strategy.

    Kinds and operations whose children survive are tried more often. A share of all trials stays
    exploration, with the first probabilities. This share shrinks over the generations.

    Args:
        space: gives the kinds with their first shares, and the operations, if it has any.
        data: plain JSON values as `as_data` returns them; None to start.

    Raises:
        SearchError: a share is no number of at least 0, or no kind has a share over 0.
    """

    DECAY = 0.9
    """Factor on the earlier counts of trials and survivors, per generation."""

    EXPLORATION = (0.5, 0.1, 0.93)
    """First and last exploration share, and its factor per generation."""

    def __init__(self, space: Any, data: Mapping[str, Any] | None = None) -> None:
        kinds: Mapping[str, float] = space.mutation_kinds
        operations = space.operation_names
        for kind, first in kinds.items():
            not_negative(f"search space: mutation_kinds[{kind!r}]", first)
        if not sum(kinds.values()):
            raise SearchError(
                f"search space: mutation_kinds={dict(kinds)!r}; expected at least one kind of "
                "mutation with a share over 0"
            )
        self.first = {
            "kinds": dict(kinds),
            "operations": {name: 1 / len(operations) for name in operations},
        }
        data = data or {}
        self.exploration = float(data.get("exploration", self.EXPLORATION[0]))
        self.counts: dict[str, dict[str, list[float]]] = {
            group: {
                name: list(data.get(group, {}).get(name, (0.0, 0.0))) for name in self.first[group]
            }
            for group in self.first
        }

    @classmethod
    def of(cls, algorithm: Any, space: Any) -> MutationShares:
        """The shares that an algorithm has learned so far."""
        return cls(space, getattr(algorithm, "data", {}).get("mutation"))

    def as_data(self) -> dict[str, Any]:
        """Plain values for ``algorithm.data``: group → name → [trials, survivors]."""
        return {"exploration": self.exploration, **self.counts}

    def shares(self, group: str) -> dict[str, float]:
        """Probability of each name of "kinds" or "operations"; they sum to 1."""
        first = self.first[group]
        # Laplace's rule: an untried name counts as if half of its children had survived.
        merit = {
            name: first[name] * (survived + 1) / (tried + 2)
            for name, (tried, survived) in self.counts[group].items()
        }
        total, first_total = sum(merit.values()), sum(first.values())
        return {
            name: (1 - self.exploration) * merit[name] / total
            + self.exploration * first[name] / first_total
            for name in first
        }

    def draw(self, rng: np.random.Generator) -> tuple[str, str]:
        """Draw a kind and an operation; "" where the space has no operations."""
        kinds, operations = self.shares("kinds"), self.shares("operations")
        kind = rng.choice(list(kinds), p=list(kinds.values()))
        if not operations:
            return str(kind), ""
        operation = rng.choice(list(operations), p=list(operations.values()))
        return str(kind), str(operation)

    def learn(self, children: Iterable[tuple[Any, bool]]) -> None:
        """Learn from the children of one generation.

        Kinds and operations that the space does not know are ignored. Other notes, which a user's
        own mutation may leave on a child, are ignored too.

        Args:
            children: pairs of ``mutation`` of an individual and whether it survived.
        """
        for group in self.counts.values():
            for count in group.values():
                count[:] = [self.DECAY * value for value in count]
        for mutation, survived in children:
            for step in mutation if isinstance(mutation, MutationSteps) else ():
                for group_name, name in (("kinds", step.kind), ("operations", step.operation)):
                    if name in self.counts[group_name]:
                        count = self.counts[group_name][name]
                        count[0] += 1
                        count[1] += survived
        _, last, factor = self.EXPLORATION
        self.exploration = max(last, self.exploration * factor)


def operators(genotypes: Any = None, *, repair: Any = True) -> dict[str, Any]:
    """The keyword arguments that let any genetic algorithm of pymoo search genotypes.

    The operators take the search space from the problem.

    Args:
        genotypes: genotypes to start from, see `GenotypeSampling`; None samples at random.
        repair: whether children over a limit are made smaller, see `GenotypeRepair`; or a repair.

    Raises:
        SearchError: a search space is given in place of genotypes, or no repair.

    >>> from pymoo.algorithms.moo.nsga2 import NSGA2
    >>> algorithm = NSGA2(pop_size=20, **operators())
    """
    if hasattr(genotypes, "crossover"):
        raise SearchError(
            f"operators({type(genotypes).__name__}): the operators take the search space from the "
            "problem; call operators(), or give genotypes to start from"
        )
    return {
        "sampling": GenotypeSampling(genotypes),
        "crossover": GenotypeCrossover(),
        "mutation": GenotypeMutation(),
        "repair": repair_of(repair),
        "eliminate_duplicates": GenotypeDuplicates(),
    }
