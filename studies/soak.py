"""Does a long search keep its memory, its files and its processes?

A search of so many candidates on digits; after every hundred of them: resident memory, open files,
threads and child processes of the process that searches.

Command:
    python studies/soak.py --candidates 2000

AMD EPYC virtual machine, beside other work, at a commit whose cells halved the map behind them:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads, seed 0, digits, at most
        200000 parameters
      100 candidates     11 s    924 MiB   6 files   1 threads  0 children
      500 candidates     62 s    981 MiB   6 files   1 threads  0 children
     1000 candidates    115 s    904 MiB   6 files   1 threads  0 children
     1500 candidates    193 s    910 MiB   6 files   1 threads  0 children
     2000 candidates    250 s    913 MiB   6 files   1 threads  0 children
    largest of the first half 981 MiB, of the second half 1024 MiB

Memory neither grows nor shrinks, and no file, thread or process is left.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from pymoo.core.callback import Callback

from common.command import machine, parser
from pymoo_nas.runs import RunFolder, Search, SearchSettings
from pymoo_nas.search import NASProblem


class Watch(Callback):
    """Prints what the process holds after every so many candidates."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every
        self.start = time.perf_counter()
        self.memory: list[float] = []

    def notify(self, algorithm: Any) -> None:
        """After a generation."""
        if algorithm.evaluator.n_eval % self.every:
            return
        process = psutil.Process()
        self.memory.append(process.memory_info().rss / 2**20)
        print(
            f"{algorithm.evaluator.n_eval:5d} candidates {time.perf_counter() - self.start:6.0f} s "
            f"{self.memory[-1]:6.0f} MiB {process.num_fds():3d} files {process.num_threads():3d} "
            f"threads {len(process.children()):2d} children",
            flush=True,
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Search and print."""
    numbers = {"candidates": 2000, "offspring": 20, "seed": 0, "max_params": 200_000, "every": 100}
    arguments = parser(__doc__, **numbers).parse_args(argv)
    print(f"{machine()}, seed {arguments.seed}, digits, at most {arguments.max_params} parameters")
    problem = NASProblem("digits", max_params=arguments.max_params)
    settings = SearchSettings(
        generations=arguments.candidates // arguments.offspring,
        offspring=arguments.offspring,
        seed=arguments.seed,
    )
    watch = Watch(arguments.every)
    with tempfile.TemporaryDirectory() as path:
        folder = RunFolder(Path(path) / "run")
        folder.create()
        Search(folder, problem, settings, {"problem": {}}).run(watch)
    half = len(watch.memory) // 2
    print(
        f"largest of the first half {max(watch.memory[:half]):.0f} MiB, of the second half "
        f"{max(watch.memory[half:]):.0f} MiB"
    )


if __name__ == "__main__":
    main()
