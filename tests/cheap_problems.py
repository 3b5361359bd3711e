"""Problems that cost nothing to evaluate, under any number of objectives and constraints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.population import Population
from pymoo.core.problem import Problem

from pymoo_nas.runs import RunFolder, Search, SearchSettings
from pymoo_nas.scores import Scores
from pymoo_nas.search import (
    GenotypeCrossover,
    GenotypeDuplicates,
    GenotypeMutation,
    GenotypeSampling,
    NASProblem,
    Steadiness,
    as_column,
    read_genotype,
)
from pymoo_nas.spaces import CellSpace, Genotype


class Channels(Problem):
    """Counts of channels and nodes against each other, and constraints of the user's own.

    Args:
        n_obj: objectives, up to four.
        n_ieq_constr: inequality constraints, all alike.
        n_eq_constr: equality constraints, all alike.
        limit: the most channels that keep them; 0 lets none.
    """

    def __init__(
        self, n_obj: int = 3, n_ieq_constr: int = 0, n_eq_constr: int = 0, limit: int = 0
    ) -> None:
        super().__init__(n_var=1, n_obj=n_obj, n_ieq_constr=n_ieq_constr, n_eq_constr=n_eq_constr)
        self.search_space = CellSpace(channel_step=1, max_channels=9)
        self.limit = limit
        self.seen: list[Any] = []

    def _evaluate(self, x: Any, out: Any, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        genotypes = [genotype for (genotype,) in x]
        self.seen += genotypes
        scores = [
            [g.n_channels, -max(map(max, g.blocks)), -g.n_nodes, len(g.blocks)] for g in genotypes
        ]
        out["F"] = np.array(scores, dtype=float)[:, : self.n_obj]
        excess = np.array([[g.n_channels - self.limit] for g in genotypes], dtype=float)
        out["G"] = np.repeat(excess, self.n_ieq_constr, axis=1)
        out["H"] = np.repeat(np.maximum(excess, 0), self.n_eq_constr, axis=1)


def individuals(*texts: str) -> Population:
    """Unevaluated individuals of these genotypes."""
    return Population.new("X", as_column(map(Genotype.parse, texts)))


def operators(**changes: Any) -> dict[str, Any]:
    """The arguments that let any algorithm of pymoo's work on genotypes."""
    return {
        "sampling": GenotypeSampling(),
        "crossover": GenotypeCrossover(),
        "mutation": GenotypeMutation(),
        "eliminate_duplicates": GenotypeDuplicates(),
        **changes,
    }


def nsga2(pop_size: int = 6, **changes: Any) -> NSGA2:
    """Pymoo's NSGA-II on genotypes."""
    return NSGA2(pop_size=pop_size, **operators(**changes))


class MadeScores(NASProblem):
    """Digits in a small space of cells, with scores that are made of the text of the genotype.

    Args:
        **settings: of `NASProblem`.
    """

    def __init__(self, **settings: Any) -> None:
        space = CellSpace(max_channels=8, max_nodes=2, widening=1)
        super().__init__("digits", **{"search_space": space, "n_images": 8, **settings})

    def score_genotype(self, genotype: Any) -> Scores:
        """Random objectives in which larger networks tend to be better; every ninth has none."""
        text = self.search_space.format(genotype)
        rng = np.random.default_rng(list(text.encode()))
        size = sum(int(digit) for digit in text if digit.isdecimal())
        values = np.array([4 - 0.05 * size, -2.0 * size, 9 - 0.1 * size]) + rng.normal(0, 1, 3)
        objectives = dict(zip(self.objective_names, values.tolist(), strict=False))
        reason = "no ReLU" if rng.integers(9) == 0 else ""
        params = 1000 * (size + 1)
        self.count_one(computed=True)
        return Scores(objectives, params=params, flops=9 * params, acts=params, degenerate=reason)


class MadeSteadiness(MadeScores):
    """Made scores, and a steadiness that is made of the text of the genotype; half are steady."""

    def steadiness(self, genotype: Any, *, seed: int = 0) -> Steadiness:
        """Random growth and smoothness."""
        text = self.search_space.format(read_genotype(self.search_space, genotype))
        rng = np.random.default_rng([seed, *text.encode()])
        return Steadiness(rng.uniform(0, 1.2), rng.uniform(-0.2, 0.05))


def made_run(path: Path, problem: NASProblem | None = None, **settings: Any) -> Path:
    """The folder of a finished search of `MadeScores`: two generations of three candidates."""
    sizes = {"generations": 2, "population": 2, "offspring": 3, "tournament_every": 0, **settings}
    folder = RunFolder(path)
    folder.create()
    described = {"problem": {"dataset": "digits"}}
    problem = MadeScores() if problem is None else problem
    Search(folder, problem, SearchSettings(**sizes), described).run()
    return path
