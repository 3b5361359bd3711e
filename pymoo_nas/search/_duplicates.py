"""Duplicate elimination: no network is scored twice in a run, however its genotype is written."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.individual import Individual
from pymoo.core.population import Population

from pymoo_nas.search._given import parsed


class GenotypeDuplicates(DuplicateElimination):
    """Drops a child whose network is in the population already, or was scored before.

    The search space decides by `SearchSpace.canonical` which genotypes are equal. The memory
    belongs to one run of one algorithm. `EvolutiveNAS` gives each run a copy (see `of_run`), and so
    do the operators of this package in any other algorithm; one object can then serve many runs.
    Without them the memory starts anew with every first population. Evaluated individuals cost
    nothing more. They are compared with the given populations, but not with the memory, so that an
    archive keeps its front.

    Attributes:
        search_space: decides which genotypes are equal; None takes their own ``canonical``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.search_space: Any = None
        self._memory = Memory()
        self._first = 0  # number of entries of the memory from before any run
        self._passed: list[Individual] = []
        self._run: Any = None
        self._has_mated = False

    def of_run(self, run: Any, search_space: Any) -> GenotypeDuplicates:
        """Make a copy for one run, which knows only the individuals given to `remember`.

        Args:
            run: an object that belongs to the run alone and is copied with its algorithm.
            search_space: the search space of the run.
        """
        own = copy.copy(self)
        own.search_space = search_space
        own._memory = self._memory.head(self._first)
        own._passed = []
        own._run = run
        return own

    def belongs_to(self, run: Any) -> bool:
        """Whether this is the copy for a run, see `of_run`."""
        return self._run is run

    def __deepcopy__(self, memo: dict[int, Any]) -> GenotypeDuplicates:
        """Copy without the memory, which all copies in pymoo's history share."""
        memo[id(self)] = other = copy.copy(self)
        other._memory = self._memory.head(len(self._memory))
        other._passed = copy.deepcopy(self._passed, memo)
        other._run = copy.deepcopy(self._run, memo)
        return other

    def do(self, pop: Any, *args: Any, return_indices: bool = False, to_itself: bool = True) -> Any:
        """Return the new individuals of `pop`, in their order."""
        self._begin_anew(pop, *args)
        self._remember()
        taken = {self.key(individual) for other in args for individual in other}
        new, kept = [], []
        for index, individual in enumerate(pop):
            key = self.key(individual)
            if key in taken or (key in self._memory and not individual.evaluated):
                continue
            if to_itself:
                taken.add(key)
            new.append(individual)
            kept.append(index)
        self._passed += [individual for individual in new if not individual.evaluated]
        result = Population(new)
        if return_indices:
            return result, kept, sorted(set(range(len(pop))) - set(kept))
        return result

    def remember(self, individuals: Iterable[Individual]) -> None:
        """Count scored individuals as known in this run, or, outside a run, in all later runs."""
        for individual in individuals:
            self._memory.add(self.key(individual))
        if self._run is None:
            self._first = len(self._memory)

    def key(self, individual: Individual) -> Any:
        """The key of an individual; individuals that spell the same network have equal keys.

        Without a search space, a genotype without a canonical form (a text, a tuple) is its own
        key.
        """
        genotype = individual.X[0]
        if self.search_space is not None:
            return self.search_space.canonical(parsed(self.search_space, genotype))
        canonical = getattr(genotype, "canonical", None)
        return genotype if canonical is None else canonical()

    def _begin_anew(self, pop: Any, *others: Any) -> None:
        """Start the memory anew where no run is known and a first population follows children."""
        evaluated = all(individual.evaluated for individual in pop)
        if self._run is None and self._has_mated and not others and not evaluated:
            self._memory, self._passed = self._memory.head(self._first), []
            self._has_mated = False
        self._has_mated |= bool(others)

    def _remember(self) -> None:
        """Count passed individuals as known once they are evaluated; until then they may return.

        The others are kept: pymoo's mating asks several times before its children are evaluated.
        """
        waiting = []
        for individual in self._passed:
            if individual.evaluated:
                self._memory.add(self.key(individual))
            else:
                waiting.append(individual)
        self._passed = waiting


class Memory:
    """An ordered set that only grows; its heads share its keys until a key is added to them."""

    def __init__(self) -> None:
        self._places: dict[Any, int] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __contains__(self, key: Any) -> bool:
        return self._places.get(key, self._length) < self._length

    def add(self, key: Any) -> None:
        """Add a key, if it is not there."""
        if key in self:
            return
        if len(self._places) > self._length:
            # Another copy has added keys.
            self._places = {k: place for k, place in self._places.items() if place < self._length}
        self._places[key] = self._length
        self._length += 1

    def head(self, length: int) -> Memory:
        """The first `length` keys, in the order in which they were added."""
        other = Memory()
        other._places, other._length = self._places, length
        return other
