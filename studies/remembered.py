"""Scores that are kept in a CSV file, so that many searches of one space cost little.

As a command, it scores every connected class of NAS-Bench-201 (6,461 of 6,466 isomorphism classes)
once; it can be interrupted, and continues where it was. The rivals of rivals.py then take seconds.

Command:
    python studies/remembered.py --cifar PATH/cifar10.npz --memory nasbench201_scores.csv
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from pymoo_nas.nasbench201 import NASBench201Space
from pymoo_nas.nasbench201_genotype import connected_representatives
from pymoo_nas.problem import NASProblem
from pymoo_nas.scoring import Scores

COLUMNS = [field.name for field in fields(Scores) if field.name != "spread"]
"""What is kept of a genotype's scores beside its canonical text."""


class RememberedProblem(NASProblem):
    """A problem that scores no genotype twice, however often it is asked, in any process.

    Args:
        dataset: see `NASProblem`.
        memory: CSV file; made when absent. It belongs to one set of settings.
        **settings: of `NASProblem`.

    Attributes:
        blind: an objective, by its column, that the search does not see; None for none.
    """

    def __init__(self, dataset: Any, memory: Path, **settings: Any) -> None:
        super().__init__(dataset, **settings)
        self.memory = memory
        self.blind: int | None = None
        rows = pd.read_csv(memory, keep_default_na=False) if memory.exists() else pd.DataFrame()
        self.known: dict[str, Scores] = {
            text: Scores(**dict(zip(COLUMNS, values, strict=True)))
            for text, *values in rows.itertuples(index=False)
        }

    def score_genotype(self, genotype: Any) -> Scores:
        """As `NASProblem.score_genotype`, of the canonical genotype, from the file where it is."""
        canonical = self.search_space.canonical(genotype)
        text = self.search_space.format(canonical)
        if text in self.known:
            self.n_scored += 1
            return self.known[text]
        scores = super().score_genotype(canonical)
        row = {"genotype": text, **{name: getattr(scores, name) for name in COLUMNS}}
        header = not self.memory.exists()
        pd.DataFrame([row]).to_csv(self.memory, mode="a", header=header, index=False)
        self.known[text] = scores
        return scores

    def _evaluate(self, x: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super()._evaluate(x, out, *args, **kwargs)
        if self.blind is not None:
            out["F"][:, self.blind] = 0.0


def main() -> None:
    """Score every class."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--memory", type=Path, required=True)
    parser.add_argument("--inits", type=int, default=2)
    arguments = parser.parse_args()
    problem = RememberedProblem(
        arguments.cifar,
        arguments.memory,
        search_space=NASBench201Space(),
        n_inits=arguments.inits,
    )
    genotypes = connected_representatives()
    for index, genotype in enumerate(genotypes, start=1):
        problem.score_genotype(genotype)
        if index % 500 == 0:
            print(f"{index} of {len(genotypes)}", flush=True)


if __name__ == "__main__":
    main()
