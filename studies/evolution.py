"""Do the scores fall over the generations, as in Figs. 5 and 6 of the paper?

A search of 30 generations on CIFAR-10, by the command line; its pictures are kept: the best of each
score per generation (Fig. 5), and the best offspring moving to the origin (Fig. 6). Printed: the
best of each score in the first, tenth, twentieth and last generation, over all offspring.

Command:
    python studies/evolution.py --cifar PATH/cifar10.npz --out studies/figures

AMD EPYC virtual machine, seed 0, beside other work; the pictures are studies/figures/evolution.png
and offspring.png:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; {'generations': 30,
        'offspring': 20, 'seed': 0, 'max-params': 560000, 'max-flops': 45000000}, 164 s
    600 candidates, 319 within the limits and not degenerate
    generation  1: best offspring ntk 1.722, activation -671.175, correlation 0.576
    generation 10: best offspring ntk 2.398, activation -690.765, correlation 0.604
    generation 20: best offspring ntk 2.218, activation -696.795, correlation 0.585
    generation 30: best offspring ntk 2.087, activation -706.341, correlation 0.555

Activation and correlation fall, and the best offspring move to the origin, as in the paper; the
best condition number is that of the first generation. While features were halved by averages
between cells all three fell (ntk 2.199 to 1.957, activation -703.7 to -732.6, correlation 0.710 to
0.532); what two of the scores preferred then is in archive/reductions.md.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from common.command import machine, parser
from common.command_line import command
from pymoo_nas.scores import PAPER_OBJECTIVES
from pymoo_nas.search import read_frame

PICTURES = ("evolution.png", "offspring.png")


def main(argv: Sequence[str] | None = None) -> None:
    """Search, copy pictures, print."""
    effort = {"generations": 30, "offspring": 20, "seed": 0}
    limits = {"max_params": 560_000, "max_flops": 45_000_000}
    arguments = parser(__doc__, "cifar", "out", **effort, **limits).parse_args(argv)
    options = {name: getattr(arguments, name) for name in (*effort, *limits)}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command("search", arguments.cifar, out=run, reduction="inside", **options)
        for name in PICTURES:
            shutil.copy(run / name, arguments.out / name)
        history = read_frame(run / "history.csv")
    print(f"{machine()}; {options}, {time.perf_counter() - start:.0f} s")
    sound = history[history["feasible"] & (history["degenerate"] == "")]
    print(f"{len(history)} candidates, {len(sound)} within the limits and not degenerate")
    best = sound.groupby("generation")[list(PAPER_OBJECTIVES)].min()
    last = arguments.generations
    for generation in sorted({1, 10, 20, last}):
        if generation in best.index:
            row = best.loc[generation]
            values = ", ".join(f"{name} {row[name]:.3f}" for name in PAPER_OBJECTIVES)
            print(f"generation {generation:2d}: best offspring {values}")


if __name__ == "__main__":
    main()
