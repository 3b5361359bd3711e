"""Made-up histories to draw, and what a figure draws and says."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

SCORES = ["ntk", "activation", "correlation"]
WORST = {"ntk": 16.0, "activation": 2300.0, "correlation": 880.0}


def draw(figure: Figure) -> None:
    FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def make_history(n_generations: int = 30, n_offspring: int = 30, seed: int = 0) -> pd.DataFrame:
    """Falling scores with 7 % degenerate candidates, some infeasible, a tournament every third."""
    rng = np.random.default_rng(seed)
    n = n_generations * n_offspring
    generation = np.repeat(np.arange(1, n_generations + 1), n_offspring)
    progress = np.exp(-generation / 10)
    params = np.exp(rng.normal(11.5, 1, n)).astype(int)
    frame = pd.DataFrame(
        {
            "generation": generation,
            "genotype": "0804",
            "ntk": 3.2 + 3 * progress + rng.gamma(2, 0.6, n),
            "activation": -420 + 150 * progress + rng.gamma(2, 30, n),
            "correlation": 20 + 60 * progress + rng.gamma(2, 15, n),
            "params": params,
            "flops": 50 * params,
            "acts": params // 2,
            "seconds": 0.1,
            "degenerate": np.where(rng.random(n) < 0.07, "no ReLU", ""),
            "feasible": params < 560_000,
            "mutation": "grow:conv3x3",
            "survived": rng.random(n) < 0.2,
            "alpha": np.where((generation % 3 == 0) & (rng.random(n) < 0.7), rng.random(n), np.nan),
        }
    )
    for score, worst in WORST.items():
        frame.loc[frame["degenerate"] != "", score] = worst
    return frame


def make_groups() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    random = pd.DataFrame(rng.normal([6, -300, 90], [1, 40, 20], (200, 3)), columns=SCORES)
    popular = pd.DataFrame(rng.normal([3, -450, 20], [0.2, 9, 3], (4, 3)), columns=SCORES)
    popular["name"] = ["resnet18", "vgg11_bn", "alexnet", "densenet121"]
    random["name"] = ""
    frames = {"random": random, "popular": popular}
    return pd.concat([frame.assign(kind=kind) for kind, frame in frames.items()], ignore_index=True)
