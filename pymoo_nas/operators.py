"""pymoo operators over any search space: sampling, crossover, mutation, duplicate elimination.

Genotypes are immutable, so no operator can change a parent. All randomness comes from the generator
that pymoo hands over.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.individual import Individual
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.sampling import Sampling

Objects = npt.NDArray[Any]


class GenotypeSampling(Sampling):
    """Random genotypes of the problem's search space, different as far as the space has them."""

    def _do(
        self,
        problem: Any,
        n_samples: int,
        *args: Any,
        random_state: Any = None,
        **kwargs: Any,
    ) -> Objects:
        del args, kwargs
        space = problem.search_space
        different: dict[Any, None] = {}
        # A small space may hold fewer; twenty draws for each then give up.
        for _ in range(20 * n_samples):
            if len(different) == n_samples:
                break
            different[space.sample(random_state)] = None
        return as_column(different)


class GenotypeCrossover(Crossover):
    """Every character of the child at random from either parent; the length is inherited too.

    Args:
        prob: share of children that are crossed; the others are copies of one parent.
    """

    def __init__(self, prob: float = 0.5, **kwargs: Any) -> None:
        super().__init__(n_parents=2, n_offsprings=1, prob=prob, **kwargs)

    def _do(
        self, problem: Any, x: Objects, *args: Any, random_state: Any = None, **kwargs: Any
    ) -> Objects:
        """X (2, n, 1) → children (1, n, 1)."""
        del args, kwargs
        space = problem.search_space
        children = [space.crossover(a, b, random_state) for a, b in zip(*x[:, :, 0], strict=True)]
        return as_column(children)[None]


class GenotypeMutation(Mutation):
    """One step of a kind, with an operation, both drawn by probabilities that are learned.

    What changed the child is kept on the individual as ``mutation`` ("grow:conv3x3;swap"): the kind
    and, where it puts an operation somewhere, the operation. The shares
    are read from ``algorithm.data["mutation"]``, see `MutationShares`; without them those that the
    search space starts with are taken.

    Args:
        prob: probability that a child is mutated.
        max_steps: 1 + a geometric number (p = 1/2) of steps are taken, at most so many.
    """

    def __init__(self, prob: float = 1.0, max_steps: int = 3, **kwargs: Any) -> None:
        super().__init__(prob=prob, **kwargs)
        self.max_steps = max_steps

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
        """Mutate children and note on each how."""
        del args, kwargs
        if not inplace:
            pop = copy.deepcopy(pop)
        shares = MutationShares.of(algorithm, problem.search_space)
        probability = float(self.prob.get())
        for individual in pop:
            mutated = individual.X[0]
            steps: list[str] = []
            if random_state.random() < probability:
                mutated, steps = self._steps(problem.search_space, mutated, shares, random_state)
            individual.X = as_column([mutated])[0]
            individual.set("mutation", ";".join(steps))
        return pop

    def _steps(
        self, space: Any, genotype: Any, shares: MutationShares, rng: np.random.Generator
    ) -> tuple[Any, list[str]]:
        steps: list[str] = []
        for _ in range(min(int(rng.geometric(0.5)), self.max_steps)):
            kind, operation = shares.draw(rng)
            mutated = space.mutate(genotype, kind, operation, rng)
            if mutated != genotype:
                placed = f":{operation}" if kind in space.placing_kinds else ""
                steps.append(kind + placed)
            genotype = mutated
        return genotype, steps


class MutationShares:
    """What has been learned of mutation: a global evolution strategy.

    Kinds and operations whose children survive are tried more often. A share of all trials stays
    exploration, spread as in the beginning; it shrinks over the generations.

    Args:
        space: gives the kinds with their first shares, and the operations.
        data: plain JSON values as `as_data` returns them; None to start.
    """

    DECAY = 0.9
    """Weight of the past in every generation's count of trials and survivors."""

    EXPLORATION = (0.5, 0.1, 0.93)
    """First and last exploration share, and its factor per generation."""

    def __init__(self, space: Any, data: Mapping[str, Any] | None = None) -> None:
        kinds: Mapping[str, float] = space.mutation_kinds
        operations = space.operation_names
        self.first = {
            "kinds": dict(kinds),
            "operations": dict.fromkeys(operations, 1 / len(operations)),
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
        # Laplace's rule: the untried counts as if half of its children survived.
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
        """A kind and an operation."""
        kinds, operations = self.shares("kinds"), self.shares("operations")
        kind = rng.choice(list(kinds), p=list(kinds.values()))
        operation = rng.choice(list(operations), p=list(operations.values()))
        return str(kind), str(operation)

    def learn(self, children: Iterable[tuple[str, bool]]) -> None:
        """Count one generation.

        Args:
            children: (mutation as kept on the individual, whether it survived).
        """
        for group in self.counts.values():
            for count in group.values():
                count[:] = [self.DECAY * value for value in count]
        for mutation, survived in children:
            for step in filter(None, mutation.split(";")):
                kind, _, operation = step.partition(":")
                for group_name, name in (("kinds", kind), ("operations", operation)):
                    if name:
                        count = self.counts[group_name][name]
                        count[0] += 1
                        count[1] += survived
        _, last, factor = self.EXPLORATION
        self.exploration = max(last, self.exploration * factor)


class GenotypeDuplicates(DuplicateElimination):
    """Drops children that spell a network which is in the population or was ever scored.

    Genotypes are compared in canonical form. The memory belongs to one run: pymoo copies the
    algorithm, and this with it, in ``minimize``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scored: dict[Any, None] = {}
        self._passed: list[Individual] = []

    def do(self, pop: Any, *args: Any, return_indices: bool = False, to_itself: bool = True) -> Any:
        """Those of `pop` that are new, in their order."""
        self._remember()
        taken = {canonical_key(individual) for other in args for individual in other}
        new, kept = [], []
        for index, individual in enumerate(pop):
            key = canonical_key(individual)
            if key in taken or key in self.scored:
                continue
            if to_itself:
                taken.add(key)
            new.append(individual)
            kept.append(index)
        self._passed += new
        result = Population(new)
        if return_indices:
            return result, kept, sorted(set(range(len(pop))) - set(kept))
        return result

    def remember(self, individuals: Iterable[Individual]) -> None:
        """Count these, scored in an earlier part of the run, as known."""
        self.scored |= {canonical_key(individual): None for individual in individuals}

    def _remember(self) -> None:
        """Of those that passed, the evaluated ones are known now; the others may come again.

        They are kept: pymoo's mating asks several times before its children are evaluated.
        """
        waiting = []
        for individual in self._passed:
            if individual.evaluated:
                self.scored[canonical_key(individual)] = None
            else:
                waiting.append(individual)
        self._passed = waiting


def canonical_key(individual: Individual) -> Any:
    """What two individuals have in common when they spell the same network.

    Genotypes that know no canonical form (texts, tuples) stand for themselves.
    """
    genotype = individual.X[0]
    canonical = getattr(genotype, "canonical", None)
    return genotype if canonical is None else canonical()


def as_column(genotypes: Iterable[Any]) -> Objects:
    """Genotypes as an object array (n, 1); numpy would take tuples apart."""
    listed = list(genotypes)
    column = np.empty((len(listed), 1), dtype=object)
    for index, genotype in enumerate(listed):
        column[index, 0] = genotype
    return column
