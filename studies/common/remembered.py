"""Scores that are kept in a CSV file, so that many searches of one space cost little."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from common.images import part_of
from common.measurements import Measurements
from common.meter import Meter
from common.rows import append, read_rows
from pymoo_nas.scores import Scores
from pymoo_nas.search import NASProblem, Steadiness, read_genotype
from pymoo_nas.training import train

SHORT_IMAGES = 10_000

LEFT_OUT = ("objectives", "spread", "latency", "scored")
COLUMNS = [field.name for field in fields(Scores) if field.name not in LEFT_OUT]
"""What is kept of a genotype's scores beside its canonical text and the objectives."""


class RememberedProblem(NASProblem):
    """A problem that scores no genotype twice, however often it is asked, in any process.

    Args:
        dataset: see `NASProblem`.
        memory: CSV file; made when absent. It belongs to one set of settings.
        gradients: CSV file of `Measurements`; made when absent; None keeps none.
        **settings: of `NASProblem`.

    Raises:
        ValueError: the file has the columns of other objectives.

    Attributes:
        meter: the time of scores and of short trainings.
        blind: an objective, by its column, that the search does not see; None for none.
        measurements: of the steadiness of gradients, or None.
    """

    def __init__(
        self, dataset: Any, memory: Path, *, gradients: Path | None = None, **settings: Any
    ) -> None:
        super().__init__(dataset, **settings)
        self.measurements = None if gradients is None else Measurements(self, gradients)
        self.memory = memory
        self.meter = Meter()
        self.blind: int | None = None
        columns = ["genotype", *self.objective_names, *COLUMNS]
        rows = (
            pd.read_csv(memory, keep_default_na=False)
            if memory.exists()
            else pd.DataFrame(columns=columns)
        )
        if set(rows) != set(columns):
            raise ValueError(
                f"{memory} has the columns {list(rows)}; expected {columns}: take another file for "
                "other objectives"
            )
        self.known: dict[str, Scores] = {
            row["genotype"]: Scores(
                {name: row[name] for name in self.objective_names},
                **{name: row[name] for name in COLUMNS},
            )
            for row in rows.to_dict("records")
        }

    def score_genotype(self, genotype: Any) -> Scores:
        """As `NASProblem.score_genotype`, of the canonical genotype, from the file where it is."""
        canonical = self.search_space.canonical(genotype)
        text = self.search_space.format(canonical)
        if text in self.known:
            self.n_scored += 1
        else:
            with self.meter.new_work():
                scores = super().score_genotype(canonical)
                row = {"genotype": text, **scores.objectives}
                row |= {name: getattr(scores, name) for name in COLUMNS}
                append(self.memory, pd.DataFrame([row]))
            self.known[text] = scores
        self.meter.charged += self.known[text].seconds
        return self.known[text]

    def steadiness(self, genotype: Any, *, seed: int = 0) -> Steadiness:
        """As `NASProblem.steadiness`, of the canonical genotype, from the file where it is."""
        if self.measurements is None or seed:
            return super().steadiness(genotype, seed=seed)
        canonical = self.search_space.canonical(read_genotype(self.search_space, genotype))
        return self.measurements.quick(self.search_space.format(canonical))

    def short_accuracy(self, genotype: Any) -> float:
        """Accuracy of the scored network after a short training, on held-out training images.

        `SHORT_IMAGES` of the training images, a tenth of them held out, three epochs; remembered in
        a file beside the scores.
        """
        text = self.search_space.format(self.search_space.canonical(genotype))
        path = self.memory.with_suffix(".trained.csv")
        rows = read_rows(path) if path.exists() else pd.DataFrame({"genotype": []})
        known: dict[Any, Any] = rows.set_index("genotype").to_dict("index")
        if text not in known:
            with self.meter.new_work():
                known[text] = self._short_training(text)
                append(path, pd.DataFrame([{"genotype": text, **known[text]}]))
        self.meter.charged += known[text]["seconds"]
        return float(known[text]["accuracy"])

    def _short_training(self, text: str) -> dict[str, float]:
        started = time.process_time()
        training = train(
            self.build(self.search_space.parse(text)),
            part_of(self.dataset, SHORT_IMAGES),
            epochs=3,
            batch_size=64,
            learning_rate=0.1,
            optimizer="sgd",
            precision="bfloat16",
        )
        accuracy = float(training.epochs["validation_accuracy"].iloc[-1])
        return {"accuracy": accuracy, "seconds": time.process_time() - started}

    def _evaluate(self, x: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super()._evaluate(x, out, *args, **kwargs)
        if self.blind is not None:
            out["F"][:, self.blind] = 0.0
