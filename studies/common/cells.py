"""Random cells of the paper's space that use up the limits of a problem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from pymoo_nas.search import NASProblem
from pymoo_nas.spaces import Genotype


def grown_cells(problem: NASProblem, seed: int) -> Iterator[Genotype]:
    """Random cells, each grown until its network would break a limit."""
    rng = np.random.default_rng(seed)
    space: Any = problem.search_space
    kinds = list(space.mutation_kinds)
    shares = np.array(list(space.mutation_kinds.values()))
    while True:
        genotype = space.sample(rng)
        if problem.score_genotype(genotype).degenerate:
            continue
        tries = 0
        while tries < 8:
            kind = str(rng.choice(kinds, p=shares / shares.sum()))
            operation = str(rng.choice(space.operation_names))
            larger = space.mutate(genotype, kind, operation, rng)
            kept = not problem.score_genotype(larger).degenerate
            genotype, tries = (larger, tries) if kept else (genotype, tries + 1)
        yield genotype


def distinct(cells: Iterable[Genotype]) -> Iterator[Genotype]:
    """Those that spell another network than all before: small limits leave few ways to grow.

    After a hundred repeats in a row there are taken to be no more.
    """
    known: set[Genotype] = set()
    repeats = 0
    for genotype in cells:
        repeats = repeats + 1 if genotype.canonical() in known else 0
        if repeats == 100:
            return
        if repeats == 0:
            known.add(genotype.canonical())
            yield genotype
