"""The search strategies that rivals.py compares; every one scores through the same problem.

A strategy is a function (problem, candidates, seed) → `Outcome`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, cast

import numpy as np
import pandas as pd
import torch
from pymoo.core.population import Population
from pymoo.optimize import minimize
from scipy.stats import rankdata
from torch import Tensor, nn

from common.remembered import RememberedProblem
from pymoo_nas._machine import seeded
from pymoo_nas.choice import order_scored, steady_first
from pymoo_nas.networks import Counts
from pymoo_nas.scores import STEADINESS, score_builds
from pymoo_nas.search import (
    DartsTournament,
    EvolutiveNAS,
    NASProblem,
    NSGA2Search,
    RandomSearch,
    RegularisedEvolution,
    as_column,
    log_rank_sum,
)
from pymoo_nas.search._survival import order_population
from pymoo_nas.spaces.nasbench201._genotype import (
    EDGES,
    N_NODES,
    NONE,
    OPERATION_NAMES,
    NASBench201Genotype,
    connected_representatives,
)
from pymoo_nas.spaces.nasbench201._networks import FACTORIES, NASBench201Cell

Alive: TypeAlias = dict[tuple[int, int], list[str]]
"""The operations left on each edge (source, target) of a super cell."""


@dataclass(frozen=True)
class Outcome:
    """What a search came to.

    Attributes:
        order: individuals that it would hand over, the first one first.
        front: the individuals of its front.
        n_scored: candidates.
        archive: the non-dominated of all that it scored, where it tells.
    """

    order: list[Any]
    front: list[Any]
    n_scored: int
    archive: list[Any] = field(default_factory=list)


def by_log_ranks(individuals: Any) -> list[Any]:
    """Feasible individuals, the smallest sum of log ranks first."""
    feasible = [individual for individual in individuals if individual.FEAS[0]]
    order = np.argsort(log_rank_sum(np.array([i.F for i in feasible]).T), kind="stable")
    return [feasible[index] for index in order]


def by_choice(problem: NASProblem, individuals: Any) -> list[Any]:
    """In the order of `pymoo-nas choose`: by the worst rank in the objectives and size."""
    form = problem.search_space.format
    by_text = {form(individual.X[0]): individual for individual in individuals}
    steady = any(individual.get("growth") is not None for individual in individuals)
    rows = [
        {
            "genotype": text,
            **dict(zip(problem.objective_names, i.F, strict=True)),
            "params": i.get("params"),
            "flops": i.get("flops"),
            "feasible": bool(i.FEAS[0]),
            "degenerate": i.get("degenerate"),
            # Where the search has measured them.
            **{name: i.get(name) for name in STEADINESS if steady},
        }
        for text, i in by_text.items()
    ]
    return [by_text[text] for text in order_scored(pd.DataFrame(rows))["genotype"]]


def by_gradients(problem: NASProblem, order: list[Any]) -> list[Any]:
    """In the order of `pymoo-nas choose --by gradients`, from that of `by_choice`."""
    by_text = {problem.search_space.format(i.X[0]): i for i in order}
    rows = pd.DataFrame(
        {"genotype": text, "activation": i.F[1], "flops": i.get("flops")}
        for text, i in by_text.items()
    )
    return [by_text[text] for text in steady_first(rows, problem)["genotype"]]


def non_dominated(individuals: Any) -> list[Any]:
    """The first front, the best sum of ranks first."""
    ordered = order_population(Population(list(individuals)))
    return [i for i in ordered if i.FEAS[0] and i.get("rank") == 0]


def sampled(problem: NASProblem, n: int, seed: int) -> list[Any]:
    """So many different random candidates, scored."""
    result = minimize(problem, RandomSearch(1, n, steady=False), ("n_gen", 1), seed=seed)
    return list(result.algorithm.scored)


def random_search(problem: NASProblem, n: int, seed: int) -> Outcome:
    """The best of n random candidates by the sum of log ranks."""
    scored = sampled(problem, n, seed)
    return Outcome(by_log_ranks(scored), non_dominated(scored), n)


def random_with_choice(problem: NASProblem, n: int, seed: int) -> Outcome:
    """Random search that hands over as this library does."""
    scored = sampled(problem, n, seed)
    return Outcome(by_choice(problem, scored), non_dominated(scored), n)


def steady_first_search(
    problem: NASProblem, n: int, seed: int, *, algorithm: EvolutiveNAS, tournament: bool = False
) -> Outcome:
    """A search in which steady candidates survive first; 20 candidates in each generation."""
    callback = DartsTournament(every=3, size=4) if tournament else None
    strategy = copy.deepcopy(algorithm)
    result = minimize(problem, strategy, ("n_gen", n // 20), callback=callback, seed=seed)
    scored, archive = result.algorithm.scored, list(result.archive)
    return Outcome(by_choice(problem, scored), list(result.opt), len(scored), archive=archive)


def largest(problem: NASProblem, n: int, seed: int) -> Outcome:
    """The largest of n random candidates: parameters, then multiply-accumulates, as the score."""
    scored = [individual for individual in sampled(problem, n, seed) if individual.FEAS[0]]
    order = sorted(scored, key=lambda i: (-i.get("params"), -i.get("flops")))
    return Outcome(order, order[:1], n)


def nsga2(problem: NASProblem, n: int, seed: int) -> Outcome:
    """NSGA-II (Deb 2002) with this library's operators; the best rank sum of its front."""
    result = minimize(problem, NSGA2Search(20, steady=False), ("n_eval", n), seed=seed)
    front = non_dominated(result.pop)
    return Outcome(front, front, result.algorithm.evaluator.n_eval)


def regularised_evolution(problem: NASProblem, n: int, seed: int) -> Outcome:
    """Aging evolution (Real 2019) on the sum of log ranks: 50 parents, tournaments of ten."""
    algorithm = RegularisedEvolution(min(50, n // 2), 1, sample_size=10)
    result = minimize(problem, algorithm, ("n_eval", n), seed=seed)
    scored = result.algorithm.scored
    return Outcome(by_log_ranks(scored), non_dominated(scored), len(scored))


class WithoutLearning(EvolutiveNAS):
    """Mutation with the shares of the beginning throughout."""

    def _learn(self) -> None:
        pass


def ours(
    problem: NASProblem,
    n: int,
    seed: int,
    *,
    algorithm: type[EvolutiveNAS] = EvolutiveNAS,
    tournament: bool = True,
    choice: bool = True,
) -> Outcome:
    """This library's search: 5 parents, 20 offspring, a tournament every third generation.

    It hands over by ranks in scores and size, of all that it scored; without `choice` the best rank
    sum of its front.
    """
    callback = DartsTournament(every=3, size=4) if tournament else None
    result = minimize(
        problem,
        algorithm(5, 20, steady=False),
        ("n_gen", n // 20),
        callback=callback,
        seed=seed,
    )
    scored = result.algorithm.scored
    front = non_dominated(result.pop)
    order = by_choice(problem, scored) if choice else front
    return Outcome(order, front, len(scored))


def trained_choice(
    problem: RememberedProblem,
    n: int,
    seed: int,
    *,
    search: Callable[[Any, int, int], Outcome],
    top: int = 10,
) -> Outcome:
    """A search of which a short training orders the first ones that it would hand over."""
    found = search(problem, n, seed)
    tried = sorted(found.order[:top], key=lambda i: -problem.short_accuracy(i.X[0]))
    return Outcome([*tried, *found.order[top:]], found.front, found.n_scored)


def steady_choice(
    problem: RememberedProblem, n: int, seed: int, *, search: Callable[[Any, int, int], Outcome]
) -> Outcome:
    """A search that hands over those of its candidates first whose gradients stay as they are."""
    found = search(problem, n, seed)
    return Outcome(by_gradients(problem, found.order), found.front, found.n_scored)


def ours_without(problem: RememberedProblem, n: int, seed: int, *, objective: int) -> Outcome:
    """This library's search with one objective left out."""
    problem.blind = objective
    try:
        return ours(problem, n, seed)
    finally:
        problem.blind = None


class SuperCell(nn.Module):
    """A cell of NAS-Bench-201 in which several operations stand on every edge, added.

    Args:
        alive: (source, target) → names of its operations.
        channels: of input and output.
    """

    def __init__(self, alive: Alive, channels: int) -> None:
        super().__init__()
        self.edges = list(alive)
        self.parts = nn.ModuleList(
            nn.ModuleList(FACTORIES[name](channels) for name in names if name != NONE)
            for names in alive.values()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        nodes = [x] + [torch.zeros_like(x)] * N_NODES
        for (source, target), parts in zip(self.edges, self.parts, strict=True):
            for part in cast("nn.ModuleList", parts):
                nodes[target] = nodes[target] + part(nodes[source])
        return nodes[-1]


def supernet_scores(problem: Any, alive: Alive, seed: int) -> tuple[float, float]:
    """Condition number and activation score of the network of super cells."""
    dataset = problem.dataset
    plain = next(iter(connected_representatives()))

    def build(index: int) -> nn.Module:
        with seeded(torch.device("cpu"), 1000 * seed + index):
            network: Any = problem.search_space.build(plain, dataset.in_channels, dataset.n_classes)
            for place, module in enumerate(network.body):
                if isinstance(module, NASBench201Cell):
                    network.body[place] = SuperCell(alive, module.out_channels)
        return network  # type: ignore[no-any-return]

    builds = [partial(build, index) for index in range(problem.n_inits)]
    scores = score_builds(builds, problem.probe, counts=Counts(1, 1))
    return scores.ntk, scores.activation


def te_nas(problem: NASProblem, n: int, seed: int) -> Outcome:
    """TE-NAS (Chen 2021): prune a network of all operations by what its scores lose without each.

    It takes as many scorings as it takes, 88 at most, whatever n is; the activation score stands
    for the number of linear regions.
    """
    del n
    alive: Alive = {edge: list(OPERATION_NAMES) for edge in EDGES}
    n_scored = 0
    while any(len(names) > 1 for names in alive.values()):
        now = supernet_scores(problem, alive, seed)
        changes = []
        for edge, names in alive.items():
            for name in names if len(names) > 1 else []:
                without = {**alive, edge: [other for other in names if other != name]}
                then = supernet_scores(problem, without, seed)
                changes.append((edge, name, then[0] - now[0], then[1] - now[1]))
        n_scored += 1 + len(changes)
        # Removed first: whose removal makes the condition number and the activation score smaller.
        ranks = rankdata([c[2] for c in changes]) + rankdata([c[3] for c in changes])
        for edge in alive:
            mine = [(r, c[1]) for r, c in zip(ranks, changes, strict=True) if c[0] == edge]
            if mine:
                alive[edge].remove(min(mine)[1])
    text = NASBench201Genotype(tuple(names[0] for names in alive.values()))
    population = Population.new("X", as_column([text]))
    found = list(EvolutiveNAS().evaluator.eval(problem, population))
    return Outcome(found, found, n_scored)


SEARCHES: dict[str, Callable[[Any, int, int], Outcome]] = {
    "random": random_search,
    "random, our choice": random_with_choice,
    "largest": largest,
    "nsga2": nsga2,
    "regularised evolution": regularised_evolution,
    "te-nas": te_nas,
    "ours": ours,
    "ours, steady gradients": partial(steady_choice, search=ours),
    "random, steady gradients": partial(steady_choice, search=random_with_choice),
    "ours, short training": partial(trained_choice, search=ours),
    "random, short training": partial(trained_choice, search=random_with_choice),
    "random, steady first": partial(
        steady_first_search, algorithm=RandomSearch(5, 20, steady=True)
    ),
    "nsga2, steady first": partial(steady_first_search, algorithm=NSGA2Search(20, steady=True)),
    "ours, steady first, no tournament": partial(
        steady_first_search, algorithm=EvolutiveNAS(5, 20, steady=True)
    ),
    "ours, steady first": partial(
        steady_first_search, algorithm=EvolutiveNAS(5, 20, steady=True), tournament=True
    ),
    "ours, front's best": partial(ours, choice=False),
    "ours, no tournament": partial(ours, tournament=False),
    "ours, no learned mutation": partial(ours, algorithm=WithoutLearning),
    "ours, no ntk": partial(ours_without, objective=0),
    "ours, no activation": partial(ours_without, objective=1),
    "ours, no correlation": partial(ours_without, objective=2),
}
"""Name → strategy."""
