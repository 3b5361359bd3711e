"""Choosing from a front: knee, weights, limits, short training."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pymoo.optimize import minimize

from pymoo_nas import EvolutiveNAS, NASProblem
from pymoo_nas._machine import Report
from pymoo_nas.choice import (
    build_final,
    order_front,
    order_scored,
    order_te_nas,
    smaller_first,
    steady_first,
    try_out,
    worth_of,
)
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.errors import DatasetError, SearchError
from pymoo_nas.networks import count_all
from pymoo_nas.search import front_to_frame, history_to_frame


def front_of(*scores: tuple[float, float, float]) -> pd.DataFrame:
    """A front of genotypes a, b, … with parameters 10, 20, …."""
    n = len(scores)
    frame = pd.DataFrame(list(scores), columns=["ntk", "activation", "correlation"])
    sizes = {"params": 10 * np.arange(1, n + 1), "flops": 100 * np.arange(n, 0, -1)}
    sizes["acts"] = 7 * np.arange(1, n + 1)
    return frame.assign(genotype=list("abcdefgh"[:n]), **sizes)


CORNERS = front_of((0, 9, 9), (9, 0, 9), (9, 9, 0), (2, 3, 4), (4, 4, 8))


def first(front: pd.DataFrame, **how: Any) -> str:
    """The genotype that is chosen."""
    return str(order_front(front, **how)["genotype"].iloc[0])


def test_knee() -> None:
    """The knee is the architecture whose worst scaled score is the best."""
    ordered = order_front(CORNERS)
    assert ordered["genotype"].tolist() == ["d", "e", "a", "b", "c"]
    np.testing.assert_allclose(ordered["distance"], [4 / 9, 8 / 9, 1, 1, 1])


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"ntk": 1.0}, "a"),
        ({"activation": 2.0}, "b"),
        ({"correlation": 0.1}, "c"),
        ({"ntk": 7.0, "activation": 6.0, "correlation": 5.0}, "d"),
    ],
)
def test_weights(weights: dict[str, float], expected: str) -> None:
    """All weight on one objective takes its best; weights equal to pseudo-weights take theirs."""
    assert first(CORNERS, weights=weights) == expected


def test_pseudo_weights_by_hand() -> None:
    """Distance is the sum of differences between wanted and pseudo-weights."""
    ordered = order_front(CORNERS, weights={"ntk": 1, "activation": 1}).set_index("genotype")
    # d: (9 - (2, 3, 4)) / 9 scaled to sum 1: (7, 6, 5) / 18.
    assert ordered.loc["d", "distance"] == pytest.approx(2 / 18 + 3 / 18 + 5 / 18)
    assert ordered.loc["a", "distance"] == pytest.approx(1)


def test_limits() -> None:
    """What breaks a limit is not chosen, and the scale is that of the rest."""
    assert first(CORNERS, max_params=30, weights={"activation": 1}) == "b"
    assert set(order_front(CORNERS, max_params=30)["genotype"]) == {"a", "b", "c"}
    assert set(order_front(CORNERS, max_flops=200)["genotype"]) == {"d", "e"}
    assert set(order_front(CORNERS, max_acts=14)["genotype"]) == {"a", "b"}


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("weights", [None, {"ntk": 1.0}])
def test_tiny_fronts(n: int, weights: dict[str, float] | None) -> None:
    """One or two architectures, also equal ones, are ordered too."""
    for front in (front_of((1, 2, 3), (2, 1, 4))[:n], front_of((1, 2, 3), (1, 2, 3))[:n]):
        ordered = order_front(front, weights=weights)
        assert len(ordered) == n
        assert np.isfinite(ordered["distance"]).all()
        assert ordered["genotype"].iloc[0] == "a"


SCORE = st.integers(-5, 5).map(float)


@given(st.lists(st.tuples(SCORE, SCORE, SCORE), min_size=1, max_size=8))
def test_every_row_is_kept(scores: list[tuple[float, float, float]]) -> None:
    """Any scores give the same rows in ascending distance, the only one wanted best first."""
    front = front_of(*scores)
    for weights in (None, {"ntk": 1.0}, {"ntk": 1.0, "correlation": 3.0}):
        ordered = order_front(front, weights=weights)
        assert sorted(ordered["genotype"]) == sorted(front["genotype"])
        assert (ordered["distance"].diff().dropna() >= 0).all() or np.isinf(
            ordered["distance"].iloc[-1]
        )


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"max_params": 5}, r"max_params=5.* 10 params"),
        ({"max_flops": 50}, r"max_flops=50.* 100 flops"),
        ({"max_acts": 6}, r"max_acts=6.* 7 acts"),
        ({"weights": {"speed": 1.0}}, "speed.*expected some of ntk"),
        ({"weights": {"ntk": -1.0}}, "at least 0"),
        ({"weights": {"ntk": 0.0}}, "not all of them 0"),
        ({"weights": {"ntk": float("nan")}}, "expected numbers"),
    ],
)
def test_mistakes(how: dict[str, Any], match: str) -> None:
    """Limits and weights that make no sense are refused."""
    with pytest.raises(SearchError, match=match):
        order_front(CORNERS, **how)
    with pytest.raises(SearchError, match="nothing to choose from"):
        order_front(CORNERS[:0])


HISTORY = pd.DataFrame(
    {
        "genotype": list("abcdab"),
        "ntk": [1.0, 2.0, 3.0, 4.0, 1.0, 0.5],
        "activation": [4.0, 2.0, 1.0, 3.0, 4.0, 0.5],
        "correlation": [4.0, 2.0, 1.0, 3.0, 4.0, 0.5],
        "params": [10, 20, 30, 40, 10, 50],
        "flops": [400, 300, 200, 100, 400, 500],
        "acts": [7, 7, 8, 9, 7, 7],
        "feasible": [True, True, True, True, True, False],
        "degenerate": [""] * 6,
    }
)


def test_ranks_by_hand() -> None:
    """The sum of eighth powers of the ranks' shares among what is feasible, each once."""
    ordered = order_scored(HISTORY)
    assert ordered["genotype"].tolist() == ["b", "c", "a", "d"]
    expected = (4 * 2**8) / 4**8, (2 * 1 + 2 * 3**8) / 4**8, (2 * 1 + 2 * 4**8) / 4**8
    assert ordered["rank_sum"][:3].tolist() == pytest.approx(expected)


def test_ranks_within_limits() -> None:
    """Limits apply before the ranks are taken; nothing left is a mistake."""
    assert order_scored(HISTORY, max_params=10)["rank_sum"].tolist() == [4.0]
    assert set(order_scored(HISTORY, max_acts=7)["genotype"]) == {"a", "b"}
    with pytest.raises(SearchError, match=r"max_flops=99.* 10 params"):
        order_scored(HISTORY, max_flops=99)
    with pytest.raises(SearchError, match="nothing to choose from"):
        order_scored(HISTORY.assign(degenerate="no ReLU"))


def test_te_nas_by_hand() -> None:
    """The sum of the logarithms of both ranks among what is feasible, each once."""
    table = HISTORY.assign(ntk=[1.0, 4.0, 2.0, 3.0, 1.0, 0.5])
    ordered = order_te_nas(table)
    assert ordered["genotype"].tolist() == ["c", "a", "b", "d"]
    expected = [math.log(2 * 1), math.log(1 * 4), math.log(4 * 2), math.log(3 * 3)]
    assert ordered["rank_sum"].tolist() == pytest.approx(expected)
    assert order_te_nas(table, max_flops=300)["genotype"].tolist() == ["c", "b", "d"]
    assert order_te_nas(table, max_params=10)["rank_sum"].tolist() == [0.0]


def test_te_nas_takes_no_other_columns() -> None:
    """Neither sizes nor further objectives change the order."""
    other = HISTORY.assign(correlation=-HISTORY["correlation"], flops=HISTORY["flops"][::-1].values)
    pd.testing.assert_series_equal(
        order_te_nas(other)["genotype"], order_te_nas(HISTORY)["genotype"]
    )
    assert order_scored(other)["genotype"].tolist() != order_scored(HISTORY)["genotype"].tolist()


@pytest.mark.parametrize("missing", ["ntk", "activation"])
def test_te_nas_needs_both_scores(missing: str) -> None:
    """A search without one of the two is refused, and told which it lacks."""
    with pytest.raises(SearchError, match=rf"has no {missing};"):
        order_te_nas(HISTORY.drop(columns=missing))


def test_short_training() -> None:
    """The first are trained and come back by held-out accuracy, the others are left out."""
    problem = NASProblem("digits", n_images=10)
    front = pd.DataFrame({"genotype": ["8,0,0,0", "0,0,0,8", "0,8,0,0"]})
    told: list[Report] = []
    tried = try_out(front, problem, top=2, epochs=2, progress=told.append)
    assert tried["accuracy"].is_monotonic_decreasing
    assert [(report.done, report.total) for report in told] == [(0, 2), (1, 2), (2, 2)]
    accuracies = zip(tried["genotype"], tried["accuracy"], strict=True)
    lines = {
        f"{genotype}: {accuracy:.1%} of the held-out images" for genotype, accuracy in accuracies
    }
    assert {report.found for report in told[1:]} == lines
    # A convolution learns digits in two epochs, average pooling behind 1×1 convolutions does not.
    assert tried["genotype"].tolist() == ["8,0,0,0", "0,0,0,8"]
    assert "1293 images, batch size 64: 21 steps per epoch, 2 epochs" in told[0].found
    with pytest.raises(SearchError, match="at least one"):
        try_out(front[:0], problem)


def test_the_smallest_of_equals_comes_first() -> None:
    """Of accuracies within a standard error of the best the smallest network is first."""
    accuracies, flops = [0.80, 0.90, 0.88, 0.89, 0.5], [1, 40, 20, 30, 2]
    tried = pd.DataFrame({"genotype": list("abcde"), "accuracy": accuracies, "flops": flops})
    # The error of 0.9 is 0.030 of 100 images, and 0.003 of 10,000.
    assert smaller_first(tried, 100)["genotype"].tolist() == ["c", "d", "b", "a", "e"]
    assert smaller_first(tried, 10_000)["genotype"].tolist() == ["b", "d", "c", "a", "e"]
    assert smaller_first(tried, 5)["genotype"].tolist() == ["a", "c", "d", "b", "e"]
    unknown = tried.drop(columns="flops")
    assert smaller_first(unknown, 100)["genotype"].tolist() == ["b", "d", "c", "a", "e"]
    one = tried[:1]
    assert smaller_first(one, 100).equals(one)


def test_a_random_candidate_is_handed_over_where_it_is_clearly_better() -> None:
    """Of equals those that the search found come before those that were drawn at random."""
    tried = pd.DataFrame(
        {
            "genotype": list("abcd"),
            "accuracy": [0.86, 0.90, 0.88, 0.89],
            "flops": [10, 40, 20, 30],
            "drawn": [False, True, True, False],
        }
    )
    assert smaller_first(tried, 100)["genotype"].tolist() == ["d", "c", "b", "a"]
    assert smaller_first(tried, 30)["genotype"].tolist() == ["a", "d", "c", "b"]
    assert smaller_first(tried, 10_000)["genotype"].tolist() == ["b", "d", "c", "a"]
    without = tried.drop(columns="flops")
    assert smaller_first(without, 100)["genotype"].tolist() == ["d", "b", "c", "a"]


def test_random_candidates_are_tried_too() -> None:
    """Beside the first of a table, others of the first generation are trained, and are marked."""
    problem = NASProblem(digits(60), n_images=20)
    texts = ["8,0,0,0", "0,8,0,0", "0,0,0,8", "0,0,8,0", "8,0,0,0|0,0,0,0|0,8,0,0"]
    table = pd.DataFrame({"genotype": texts, "generation": [2, 1, 1, 1, 2]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they may tie
        for n_random, expected in ((0, 0), (1, 1), (7, 2)):
            tried = try_out(table, problem, top=2, n_random=n_random, epochs=1)
            assert set(tried[~tried["drawn"]]["genotype"]) == set(texts[:2])
            drawn = set(tried[tried["drawn"]]["genotype"])
            assert len(drawn) == expected
            assert drawn <= set(texts[2:4])


def test_limits_of_a_choice_hold_for_the_network_that_is_trained() -> None:
    """A network of more cells than were scored keeps the limits of the choice too."""
    problem = NASProblem(digits(60), n_images=20, max_params=10**6)
    texts = ["0,32,0,0", "8,0,0,0"]
    counts = [
        count_all(build_final(text, 5, problem=problem), torch.zeros(1, 1, 8, 8)) for text in texts
    ]
    table = pd.DataFrame({"genotype": texts, "params": [1, 1]})
    options: dict[str, Any] = {"top": 2, "n_random": 0, "epochs": 1, "n_cells": 5}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they may tie
        tried = try_out(table, problem, limits={"max_params": counts[1].params}, **options)
    assert tried["genotype"].tolist() == ["8,0,0,0"]
    few = {"max_flops": counts[1].flops - 1, "max_latency": 1e-9}
    with pytest.raises(SearchError, match=r"max_params=1000000, max_flops=\d+ with 5 cells"):
        try_out(table, problem, limits=few, **options)


def test_worth_by_hand() -> None:
    """Random candidates are those of the first generation, without the chosen one."""
    scored = order_scored(HISTORY.assign(generation=[1, 1, 2, 1, 1, 1])).sort_values("genotype")
    chosen, others = scored[scored["genotype"] == "a"], scored[scored["genotype"].isin(["b", "d"])]
    found = worth_of(chosen, scored)
    assert found.n == len(others)
    assert found.beaten == {"ntk": 2, "activation": 0, "correlation": 0}
    assert (found.params, found.random_params) == (10, 30)
    assert "by training" in str(found)
    tried = scored.assign(accuracy=0.75, drawn=[False] + [True] * (len(scored) - 1))
    after = worth_of(tried.assign(accuracy=np.linspace(0.9, 0.5, len(tried))), scored)
    assert after.accuracy == 0.9
    assert after.random_accuracies == tuple(np.linspace(0.9, 0.5, len(tried))[1:])
    assert "90.0 %" in str(after)
    assert "no random candidate" in str(worth_of(chosen, scored[scored["generation"] > 1]))


def test_the_result_of_a_search_is_ordered() -> None:
    """A result is taken for its history, or for its front."""
    problem = NASProblem("digits", n_images=4)
    result = minimize(problem, EvolutiveNAS(2, 4), ("n_gen", 1), seed=1)
    assert order_scored(result).equals(order_scored(history_to_frame(result)))
    assert order_front(result).equals(order_front(front_to_frame(result)))


@pytest.mark.parametrize("order", [order_scored, order_front])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_not_chosen(
    order: Callable[[pd.DataFrame], pd.DataFrame], bad: float
) -> None:
    """A row with NaN or infinity is left out, and the others are ordered as without it."""
    rows = HISTORY[:4]
    expected = order(rows[1:])
    assert order(rows.assign(ntk=[bad, *rows["ntk"][1:]])).equals(expected)


DIGITS = NASProblem("digits", n_images=2)

MISTAKES: dict[str, Callable[[], Any]] = {
    "no flops": lambda: order_scored(HISTORY.drop(columns="flops")),
    "a front": lambda: order_scored(CORNERS),
    "no scores": lambda: order_front(HISTORY[["genotype", "params"]]),
    "a path": lambda: order_front("front.csv"),  # type: ignore[arg-type]
    "a text as weight": lambda: order_front(CORNERS, weights={"ntk": "2"}),  # type: ignore[dict-item]
    "no genotypes": lambda: try_out(HISTORY[["ntk"]], DIGITS),
    "one and a half": lambda: try_out(HISTORY, DIGITS, top=1.5),  # type: ignore[arg-type]
    "two and a half": lambda: steady_first(HISTORY, DIGITS, top=2.5),  # type: ignore[arg-type]
    "no activation": lambda: steady_first(HISTORY[["ntk"]], DIGITS),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_no_table_of_candidates_is_refused(name: str) -> None:
    """Missing columns, other things than tables and broken numbers are mistakes of the caller."""
    with pytest.raises(SearchError):
        MISTAKES[name]()


def digits(n_train: int) -> Dataset:
    """The first digits, of as many classes as there are."""
    whole = load_dataset("digits")
    kept = whole.train_images[:n_train], whole.train_labels[:n_train]
    return replace(whole, train_images=kept[0], train_labels=kept[1])


def test_short_trainings_of_few_images_have_many_steps() -> None:
    """Few images are trained on for as many epochs as tell good from bad; equal ones are told."""
    problem = NASProblem(digits(60), n_images=20)
    front = pd.DataFrame({"genotype": ["8,0,0,0"] * 2})
    told: list[Report] = []
    with pytest.warns(UserWarning, match=r"2 architectures reach .* each of 10 held-out images"):
        tried = try_out(front, problem, progress=told.append)
    assert tried["accuracy"].min() > 0.5
    assert "50 images, batch size 8: 7 steps per epoch" in told[0].found


def test_short_trainings_by_validation_images() -> None:
    """The validation images of a data set judge, where it has some; what is asked for is done."""
    whole = digits(200)
    images, labels = whole.train_images, whole.train_labels
    data = replace(whole, val_images=images[:30], val_labels=labels[:30])
    told: list[Report] = []
    front = pd.DataFrame({"genotype": ["8,0,0,0"]})
    problem = NASProblem(data, n_images=20)
    try_out(front, problem, epochs=3, batch_size=50, progress=told.append)
    assert "200 images, batch size 50: 4 steps per epoch, 3 epochs" in told[0].found
    assert "30 images choose the epoch" in told[0].found


def test_nothing_to_hold_out() -> None:
    """Classes of one image each cannot judge; the advice is one that `choose` can follow."""
    labels = np.arange(10)
    data = load_dataset((np.random.default_rng(0).random((10, 8, 8)), labels) * 2)
    front = pd.DataFrame({"genotype": ["8,0,0,0"]})
    with pytest.raises(DatasetError, match=r"no class has two training images.*--by ranks"):
        try_out(front, NASProblem(data, n_images=10))
