import json
from typing import Any, ClassVar

import numpy as np
from cheap_problems import Channels, individuals
from hypothesis import given
from hypothesis import strategies as st
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.population import Population
from pymoo.optimize import minimize

from pymoo_nas.search import (
    GenotypeCrossover,
    GenotypeDuplicates,
    GenotypeMutation,
    GenotypeSampling,
    RankSumSurvival,
    as_column,
)
from pymoo_nas.search._operators import MutationShares, MutationStep, MutationSteps
from pymoo_nas.spaces import CellSpace


def test_samples_are_different() -> None:
    """A first population holds no genotype twice, whatever the space."""
    pop = GenotypeSampling().do(Channels(), 40, random_state=np.random.default_rng(0))
    assert len({ind.X[0] for ind in pop}) == 40


def test_sampling_a_small_space_ends() -> None:
    """A space with fewer genotypes than asked for gives what it has."""
    problem = Channels()
    problem.search_space = CellSpace(["skip"], max_nodes=1, sample_nodes=1, max_channels=1,
                                     channel_step=1)  # fmt: skip
    assert len(GenotypeSampling().do(problem, 9, random_state=np.random.default_rng(0))) == 1


def test_nsga2_runs_with_the_operators() -> None:
    """Pymoo's own NSGA2 takes them as they are; parents stay as they were scored."""
    problem = Channels()
    algorithm = NSGA2(
        pop_size=8,
        sampling=GenotypeSampling(),
        crossover=GenotypeCrossover(),
        mutation=GenotypeMutation(),
        eliminate_duplicates=GenotypeDuplicates(),
    )
    result = minimize(problem, algorithm, ("n_gen", 8), seed=1)
    assert len(problem.seen) == len(set(problem.seen)) == 64
    for (genotype,), scores in zip(result.X, result.F, strict=True):
        assert scores[0] == genotype.n_channels


def test_nsga2_runs_with_the_survival_too() -> None:
    """The rank-sum survival serves NSGA2's selection and optimum."""
    algorithm = NSGA2(
        pop_size=6,
        sampling=GenotypeSampling(),
        crossover=GenotypeCrossover(),
        mutation=GenotypeMutation(),
        survival=RankSumSurvival(),
        eliminate_duplicates=GenotypeDuplicates(),
    )
    result = minimize(Channels(), algorithm, ("n_gen", 5), seed=1)
    assert result.F.shape[1] == 3


def test_mutation_is_noted_on_the_child() -> None:
    """Every step that changed something is written down, with the operation where it placed one."""
    problem, pop = Channels(), individuals(*["5000|0001|0800"] * 30)
    GenotypeMutation().do(problem, pop, random_state=np.random.default_rng(0))
    space = problem.search_space
    for individual in pop:
        for kind, operation in individual.get("mutation"):
            assert kind in space.mutation_kinds
            assert bool(operation) == (kind in space.placing_kinds)
            assert operation in ("", *space.operation_names)
    assert len({ind.X[0] for ind in pop}) > 5


def test_mutation_probability_zero_changes_nothing() -> None:
    """Zero is taken as zero, not as the default."""
    pop = individuals(*["5000|0001|0800"] * 10)
    GenotypeMutation(prob=0.0).do(Channels(), pop, random_state=np.random.default_rng(0))
    assert {str(ind.X[0]) for ind in pop} == {"5000|0001|0800"}
    assert {ind.get("mutation") for ind in pop} == {()}


def test_mutation_mainly_adds_channels_at_first() -> None:
    """Before anything is learned, growing is the commonest kind by far."""
    shares = MutationShares(CellSpace()).shares("kinds")
    assert max(shares, key=lambda kind: shares[kind]) == "grow"
    assert shares["grow"] > 0.5


GROWN = MutationSteps([MutationStep("grow", "conv3x3")])
SWAPPED = MutationSteps([MutationStep("swap"), MutationStep("shrink")])
NOTES = [GROWN, SWAPPED, MutationSteps(), "mine", None]


@given(st.lists(st.tuples(st.sampled_from(NOTES), st.booleans())))
def test_shares_stay_probabilities(children: Any) -> None:
    """Whatever is learned, each group sums to 1, none is 0, and JSON keeps it."""
    shares = MutationShares(CellSpace())
    for _ in range(3):
        shares.learn(children)
    for group in ("kinds", "operations"):
        values = shares.shares(group)
        assert abs(sum(values.values()) - 1) < 1e-12
        assert min(values.values()) > 0
    stored = json.loads(json.dumps(shares.as_data()))
    assert MutationShares(CellSpace(), stored).as_data() == shares.as_data()


def test_survivors_are_tried_more_often() -> None:
    """A kind and an operation whose children survive gain, those whose children die lose."""
    shares = MutationShares(CellSpace())
    before = {group: shares.shares(group) for group in ("kinds", "operations")}
    for _ in range(10):
        survived = MutationSteps([MutationStep("add_node", "conv3x3")])
        died = MutationSteps([MutationStep("grow", "max_pool3x3")])
        shares.learn([(survived, True)] * 5 + [(died, False)] * 5)
    assert shares.shares("kinds")["add_node"] > before["kinds"]["add_node"]
    assert shares.shares("kinds")["grow"] < before["kinds"]["grow"]
    assert shares.shares("operations")["conv3x3"] > before["operations"]["conv3x3"]
    assert shares.shares("operations")["max_pool3x3"] < before["operations"]["max_pool3x3"]


def test_exploration_shrinks_to_its_floor() -> None:
    """The share of exploration falls every generation and stays above its floor."""
    shares = MutationShares(CellSpace())
    values = []
    for _ in range(60):
        shares.learn([])
        values.append(shares.exploration)
    assert values == sorted(values, reverse=True)
    assert values[-1] == MutationShares.EXPLORATION[1]


def test_tuples_stay_whole_in_a_column() -> None:
    """Numpy would make a matrix of equally long tuples."""
    column = as_column([(1, 2), (3, 4)])
    assert column.shape == (2, 1)
    assert column[1, 0] == (3, 4)


def test_crossover_makes_one_child_of_two_parents() -> None:
    """A child that is not crossed is a copy of one parent; a crossed one mixes the two."""
    problem, parents = Channels(), individuals("9000", "0090")
    pairs = np.array([[0, 1]] * 40)
    rng = np.random.default_rng(0)
    copies = GenotypeCrossover(prob=0.0).do(problem, parents, pairs, random_state=rng)
    assert {str(ind.X[0]) for ind in copies} == {"9000", "0090"}
    mixed = GenotypeCrossover(prob=1.0).do(problem, parents, pairs, random_state=rng)
    assert len(mixed) == 40
    assert "9090" in {str(ind.X[0]) for ind in mixed}
    assert [str(ind.X[0]) for ind in parents] == ["9000", "0090"]


def test_mutation_draws_from_what_was_learned() -> None:
    """Kinds and operations come with the probabilities in the algorithm's data."""

    class Learned:
        data: ClassVar[dict[str, Any]] = {
            "mutation": {
                "exploration": 0.0,
                "kinds": {"add_node": [0.0, 1e12]},
                "operations": {"conv3x3": [0.0, 1e12]},
            }
        }

    pop = individuals(*["5000|0001|0800"] * 20)
    rng = np.random.default_rng(0)
    GenotypeMutation().do(Channels(), pop, random_state=rng, algorithm=Learned())
    steps = {step for individual in pop for step in individual.get("mutation")}
    assert steps == {MutationStep("add_node", "conv3x3")}


def test_mutation_of_a_copy() -> None:
    """With inplace=False the population that was given stays as it was."""
    pop = individuals(*["5000"] * 10)
    rng = np.random.default_rng(0)
    mutated = GenotypeMutation().do(Channels(), pop, inplace=False, random_state=rng)
    assert {str(ind.X[0]) for ind in pop} == {"5000"}
    assert {str(ind.X[0]) for ind in mutated} != {"5000"}


def test_tuples_stay_whole_in_a_population() -> None:
    """Tuples go into a population and come out of it as tuples."""
    pop = Population.new("X", as_column([(1, 2), (3, 4)]))
    assert [individual.X[0] for individual in pop] == [(1, 2), (3, 4)]
    assert pop.get("X").shape == (2, 1)
    assert [str(ind.X[0]) for ind in GenotypeDuplicates().do(pop)] == ["(1, 2)", "(3, 4)"]
