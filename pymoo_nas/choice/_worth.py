"""Tell what a choice is worth beside candidates drawn at random within the same limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from pymoo_nas.choice._given_tables import objectives_of


class Worth(NamedTuple):
    """The chosen candidate beside random ones: those of the first generation within the limits.

    A search draws its first generation at random, unless it is given one.

    Attributes:
        n: number of random candidates, without the chosen one.
        beaten: objective → number of random candidates that are worse in it than the chosen one.
        params: parameters of the chosen candidate.
        random_params: median of the random candidates' parameters.
        accuracy: of the chosen one after a short training; None where none was trained.
        random_accuracies: accuracies of those random candidates that were trained for as long; the
            chosen one may be among them.
    """

    n: int
    beaten: Mapping[str, int]
    params: int
    random_params: float
    accuracy: float | None = None
    random_accuracies: tuple[float, ...] = ()

    def __str__(self) -> str:
        """One sentence, for people."""
        if not self.n:
            return "no random candidate within the limits to compare with"
        scores = ", ".join(f"{count} in {name}" for name, count in self.beaten.items())
        text = (
            f"of {self.n} random candidates within the limits it beats {scores}; it has "
            f"{self.params:,} parameters, their median is {self.random_params:,.0f}"
        )
        if self.accuracy is None:
            return f"{text}; --by training compares accuracies"
        if not self.random_accuracies:
            return text
        mean, n = 100 * np.mean(self.random_accuracies), len(self.random_accuracies)
        spread = f" ± {100 * np.std(self.random_accuracies, ddof=1):.1f}" if n > 1 else ""
        return (
            f"{text}; after the short training {100 * self.accuracy:.1f} % of the held-out images, "
            f"{n} random ones {mean:.1f}{spread} %"
        )


def worth_of(ordered: pd.DataFrame, scored: pd.DataFrame) -> Worth:
    """Compare the first of some candidates with the random ones of its search.

    Args:
        ordered: what a method of choosing returns; its first row is chosen.
        scored: all candidates of the search that can be chosen, see `order_scored`.
    """
    chosen = ordered.iloc[0]
    others = scored[(scored["generation"] == 1) & (scored["genotype"] != chosen["genotype"])]
    tried = "accuracy" in ordered
    drawn = ordered[ordered["drawn"]]["accuracy"] if "drawn" in ordered else ()
    return Worth(
        n=len(others),
        beaten={name: int((others[name] > chosen[name]).sum()) for name in objectives_of(scored)},
        params=int(chosen["params"]),
        random_params=float(others["params"].median()) if len(others) else 0.0,
        accuracy=float(chosen["accuracy"]) if tried else None,
        random_accuracies=tuple(map(float, drawn)),
    )
