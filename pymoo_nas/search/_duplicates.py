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
    """Drops children that spell a network which is in the population or was ever scored.

    The search space decides by `SearchSpace.canonical` what is equal. The memory belongs to one run
    of one algorithm: `EvolutiveNAS`, and the operators of this package in any other algorithm, let
    each run work on a copy (see `of_run`), so that one object serves many. Without them the memory
    starts anew with every first population. Individuals that have been evaluated cost nothing more:
    of them only equal ones are dropped, so that an archive keeps its front.

    Attributes:
        search_space: decides what is equal; None leaves it to the genotypes' own ``canonical``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.search_space: Any = None
        self._memory = Memory()
        self._first = 0  # so many of the memory were there before any run
        self._passed: list[Individual] = []
        self._run: Any = None
        self._has_mated = False

    def of_run(self, run: Any, search_space: Any) -> GenotypeDuplicates:
        """A copy for one run, which knows only what this was told by `remember`.

        Args:
            run: an object that belongs to the run alone and is copied with its algorithm.
            search_space: of its genotypes.
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
        """Pymoo copies the algorithm for every entry of its history: the memory is shared."""
        memo[id(self)] = other = copy.copy(self)
        other._memory = self._memory.head(len(self._memory))
        other._passed = copy.deepcopy(self._passed, memo)
        other._run = copy.deepcopy(self._run, memo)
        return other

    def do(self, pop: Any, *args: Any, return_indices: bool = False, to_itself: bool = True) -> Any:
        """Those of `pop` that are new, in their order."""
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
        """Count these, scored earlier, as known: in this run, or before any in all that follow."""
        for individual in individuals:
            self._memory.add(self.key(individual))
        if self._run is None:
            self._first = len(self._memory)

    def key(self, individual: Individual) -> Any:
        """What two individuals have in common when they spell the same network.

        Without a search space, genotypes that know no canonical form (texts, tuples) stand for
        themselves.
        """
        genotype = individual.X[0]
        if self.search_space is not None:
            return self.search_space.canonical(parsed(self.search_space, genotype))
        canonical = getattr(genotype, "canonical", None)
        return genotype if canonical is None else canonical()

    def _begin_anew(self, pop: Any, *others: Any) -> None:
        """Without a run: what is asked for no other population, after children, is a new run's."""
        evaluated = all(individual.evaluated for individual in pop)
        if self._run is None and self._has_mated and not others and not evaluated:
            self._memory, self._passed = self._memory.head(self._first), []
            self._has_mated = False
        self._has_mated |= bool(others)

    def _remember(self) -> None:
        """Of those that passed, the evaluated ones are known now; the others may come again.

        They are kept: pymoo's mating asks several times before its children are evaluated.
        """
        waiting = []
        for individual in self._passed:
            if individual.evaluated:
                self._memory.add(self.key(individual))
            else:
                waiting.append(individual)
        self._passed = waiting


class Memory:
    """A set that only grows, in an order; its heads share it until something is added to them."""

    def __init__(self) -> None:
        self._places: dict[Any, int] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __contains__(self, key: Any) -> bool:
        return self._places.get(key, self._length) < self._length

    def add(self, key: Any) -> None:
        """Put a key in, if it is not there."""
        if key in self:
            return
        if len(self._places) > self._length:
            # Another copy has gone on.
            self._places = {k: place for k, place in self._places.items() if place < self._length}
        self._places[key] = self._length
        self._length += 1

    def head(self, length: int) -> Memory:
        """The first so many keys, in the order in which they came."""
        other = Memory()
        other._places, other._length = self._places, length
        return other
