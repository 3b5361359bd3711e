"""Steadiness at single initialisations, kept in a file, so that many searches of it cost little."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from common.meter import Meter
from common.rows import append
from pymoo_nas.search import NASProblem, Steadiness
from pymoo_nas.search._steadiness import settled, steadiness_at


class Measurements:
    """Steadiness at single initialisations, kept in a file; counts those that are asked for.

    Args:
        problem: gives search space and probe.
        path: CSV file; made when absent.

    Attributes:
        images: number of images → number of measurements asked for; the user empties it.
        meter: the time of measurements.
    """

    def __init__(self, problem: NASProblem, path: Path) -> None:
        self.problem = problem
        self.path = path
        self.images: dict[int, int] = {}
        self.meter = Meter()
        rows = pd.read_csv(path).to_dict("records") if path.exists() else []
        self.known = {
            (row["arch"], row["images"], row["seed"]): Steadiness(row["growth"], row["smoothness"])
            for row in rows
        }
        self.seconds = {(row["arch"], row["images"], row["seed"]): row["seconds"] for row in rows}

    def at(self, arch: str, images: int, seed: int) -> Steadiness:
        """One measurement, from the file where it is there."""
        self.images[images] = self.images.get(images, 0) + 1
        key = (arch, images, seed)
        if key not in self.known:
            with self.meter.new_work():
                self._measure(*key)
        self.meter.charged += self.seconds[key]
        return self.known[key]

    def _measure(self, arch: str, images: int, seed: int) -> None:
        genotype = self.problem.search_space.parse(arch)
        started = time.process_time()
        found = steadiness_at(genotype, self.problem.scorer, seed, images)
        self.known[arch, images, seed] = found
        self.seconds[arch, images, seed] = time.process_time() - started
        row = {"arch": arch, "images": images, "seed": seed, **vars(found)}
        row["seconds"] = self.seconds[arch, images, seed]
        append(self.path, pd.DataFrame([row]))

    def quick(self, arch: str) -> Steadiness:
        """As the library judges."""
        return settled(lambda seed, images: self.at(arch, images, seed))
