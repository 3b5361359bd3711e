from typing import Any

import pytest
import torch
from pymoo.optimize import minimize

from pymoo_nas.choice import build_final, choose_cells
from pymoo_nas.errors import GenotypeError, SearchError
from pymoo_nas.networks import count_flops, count_parameters
from pymoo_nas.networks._size import count_acts
from pymoo_nas.search import EvolutiveNAS, NASProblem, front_to_frame
from pymoo_nas.spaces import CellSpace
from pymoo_nas.training import train


@pytest.fixture(scope="module")
def problem() -> NASProblem:
    """Digits, few images."""
    return NASProblem("digits", n_images=16)


def test_cells_in_the_order_given(problem: NASProblem) -> None:
    """Texts and genotypes are built in sequence, repeated in turn up to n_cells."""
    space = problem.search_space
    network: Any = build_final(["8000", space.parse("0800")], 3, problem=problem)
    kinds = [[type(op).__name__ for op in cell.operations.values()] for cell in network.cells]
    assert kinds == [["Convolution"], ["ResidualBlock"], ["Convolution"]]
    assert network(problem.probe.images).shape == (16, 10)


def test_one_genotype(problem: NASProblem) -> None:
    """A single genotype or its text need not be put into a list."""
    for one in ("8000|0000|0800", problem.search_space.parse("8000|0000|0800")):
        network: Any = build_final(one, 2, problem=problem)
        assert len(network.cells) == 2


def test_as_many_cells_as_were_scored() -> None:
    """Unless told otherwise the final network has the cells of the one that was scored."""
    problem = NASProblem("digits", n_images=16, search_space=CellSpace(n_cells=4))
    network: Any = build_final("8000", problem=problem)
    assert len(network.cells) == 4
    scored = problem.score_genotype(problem.search_space.parse("8000"))
    assert count_parameters(network) == scored.params


@pytest.mark.parametrize("n_cells", [7, 40, 100])
def test_many_cells(problem: NASProblem, n_cells: int) -> None:
    """Of very many cells not all choices are listed; the best still comes first and most often."""
    cells = [problem.search_space.parse(f"{count}000") for count in range(1, 9)]
    chosen = choose_cells(cells, n_cells, problem)
    assert len(chosen) == n_cells
    assert chosen == sorted(chosen, key=cells.index)
    assert 2 <= len(set(chosen)) <= 6
    assert chosen.count(cells[0]) == n_cells - len(set(chosen)) + 1


def test_same_seed_same_weights(problem: NASProblem) -> None:
    """The seed decides the initial weights, and torch's global state does not move."""
    before = torch.get_rng_state()
    first, second = (build_final(["8000"], problem=problem, seed=3) for _ in range(2))
    other = build_final(["8000"], problem=problem, seed=4)
    pairs = list(zip(first.parameters(), second.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_from_a_result_within_its_limits() -> None:
    """The cells come from the front and their network keeps the limits of the search."""
    problem = NASProblem(
        "digits", n_images=16, max_params=15_000, max_flops=400_000, max_acts=9_000
    )
    result = minimize(problem, EvolutiveNAS(4, 10), ("n_gen", 3), seed=1)
    network = build_final(result)
    assert count_parameters(network) <= 15_000
    assert count_flops(network, problem.probe.images) <= 400_000
    assert count_acts(network, problem.probe.images) <= 9_000
    assert len(front_to_frame(result)) >= 1


def test_best_cells_first_and_different_ones_before_repeated(problem: NASProblem) -> None:
    """Without limits the n best are taken; a short front repeats its best."""
    cells = [problem.search_space.parse(text) for text in ("8000", "0800", "4000", "0400")]
    assert choose_cells(cells, 3, problem) == cells[:3]
    assert choose_cells(cells[:2], 3, problem) == [cells[0], cells[0], cells[1]]
    assert choose_cells(cells[:1], 3, problem) == [cells[0]] * 3


def test_limits_exclude_mixtures_that_are_too_large() -> None:
    """Where the best three are over the limit together, the next choice that fits is taken."""
    free = NASProblem("digits", n_images=16)
    cells = [free.search_space.parse(text) for text in ("40,0,0,0", "0,4,0,0", "4000")]
    sizes = {
        n: count_parameters(build_final([cells[i] for i in n], problem=free))
        for n in ((0, 1, 2), (1, 1, 2))
    }
    assert sizes[1, 1, 2] < sizes[0, 1, 2]
    limited = NASProblem("digits", n_images=16, max_params=sizes[1, 1, 2])
    chosen = choose_cells(cells, 3, limited)
    assert count_parameters(build_final(chosen, problem=limited)) <= sizes[1, 1, 2]
    with pytest.raises(SearchError, match="fewer cells"):
        choose_cells(cells[:1], 3, NASProblem("digits", n_images=16, max_params=50))


def test_mistakes(problem: NASProblem) -> None:
    """No genotypes, no problem, no cells, a malformed text."""
    with pytest.raises(SearchError, match="problem="):
        build_final(["8000"])
    with pytest.raises(SearchError, match="at least one"):
        build_final([], problem=problem)
    with pytest.raises(SearchError, match="n_cells"):
        build_final(["8000"], 0, problem=problem)
    with pytest.raises(SearchError, match="front is empty"):
        choose_cells([], 3, problem)
    with pytest.raises(GenotypeError, match="position"):
        build_final(["80x0"], problem=problem)


@pytest.mark.slow
def test_a_final_network_learns(problem: NASProblem) -> None:
    """The whole chain ends in a network that tells digits apart."""
    network = build_final(["8,0,0,0|0,8,0,0|0,12,0,4"], problem=problem)
    assert train(network, problem.dataset, epochs=4).test_accuracy > 0.9
