"""Steadiness at single initialisations, kept in a file, so that many searches of it cost little."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from common.rows import append
from pymoo_nas.search import NASProblem, Steadiness
from pymoo_nas.search._steadiness import CAREFUL_IMAGES, N_IMAGES, settled, steadiness_at


class Measurements:
    """Steadiness at single initialisations, kept in a file; counts those that are asked for.

    Args:
        problem: gives search space and probe.
        path: CSV file; made when absent.

    Attributes:
        images: number of images → number of measurements asked for; the user empties it.
        spent: seconds that new measurements took; the user sets it to 0.
    """

    def __init__(self, problem: NASProblem, path: Path) -> None:
        self.problem = problem
        self.path = path
        self.images: dict[int, int] = {}
        self.spent = 0.0
        rows = pd.read_csv(path).to_dict("records") if path.exists() else []
        self.known = {
            (row["arch"], row["images"], row["seed"]): Steadiness(row["growth"], row["smoothness"])
            for row in rows
        }

    def at(self, arch: str, images: int, seed: int) -> Steadiness:
        """One measurement, from the file where it is there."""
        self.images[images] = self.images.get(images, 0) + 1
        key = (arch, images, seed)
        if key not in self.known:
            started = time.perf_counter()
            genotype = self.problem.search_space.parse(arch)
            found = steadiness_at(genotype, self.problem.scorer, seed, images)
            self.known[key] = found
            row = dict(zip(("arch", "images", "seed"), key, strict=True)) | vars(found)
            append(self.path, pd.DataFrame([row]))
            self.spent += time.perf_counter() - started
        return self.known[key]

    def quick(self, arch: str) -> Steadiness:
        """As the library judges."""
        return settled(lambda seed, images: self.at(arch, images, seed))

    def seconds(self, n: int = 20) -> dict[int, float]:
        """Number of images → median wall time of one measurement, of n architectures.

        Of those that are known, as they are larger than random ones; without any, of random ones.
        """
        space, rng = self.problem.search_space, np.random.default_rng(0)
        known = list(dict.fromkeys(arch for arch, *_ in self.known))[:n]
        genotypes = known or [space.format(space.sample(rng)) for _ in range(n)]

        def taken(arch: str, images: int) -> float:
            genotype: Any = self.problem.search_space.parse(arch)
            started = time.perf_counter()
            steadiness_at(genotype, self.problem.scorer, 0, images)
            return time.perf_counter() - started

        return {
            images: median([taken(arch, images) for arch in genotypes])
            for images in (N_IMAGES, CAREFUL_IMAGES)
        }
