"""Does the choice by gradients hand over what a more careful choice hands over, at less cost?

Searches on NAS-Bench-201 score 500 candidates each. The careful choice measures them in the order
of ranks, by 20 images and four initialisations, until it has found ten steady ones. It spares
further initialisations where the growth of the first one is 0.3 beyond the limit, and the 20 images
where five of them give a growth of 1.6. The choice of the library takes five images and as many
initialisations as a verdict needs, leaves out candidates that could not be chosen any more, and
ends when these are many. Other choices change one number of the library's. A measurement is a
gradient of one scored and one final network. Each is kept in a file, so that the study can be
interrupted, and searches that meet the same cells share it.

Command, with the scores of every class that `rivals.py --every-class` keeps:
    python studies/gradient_choice.py --cifar PATH/cifar10.npz --table PATH/nasbench201_5000.csv \
        --memory nasbench201_scores.csv --partial gradients.csv

The careful choice alone takes minutes of each search; `--careful` limits it to the first seeds. Two
cores of a shared AMD EPYC virtual machine, beside other work, one thread; accuracy is that of the
architectures handed over that the table knows, ± the standard deviation over searches:

    ... --seeds 10 --careful 5 --rivals "random, our choice"

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; R = 2, N = 64
    same choice of searches, accuracy of the known ones, judged, of 20 images, of 5
    random, our choice, 10 searches
      library              5 of  5  94.16 ± 0.20 ( 6 of 10)     41      8     53
      ends at 20 beaten    5 of  5  94.16 ± 0.20 ( 6 of 10)     35      8     44
      ends at 100 beaten   5 of  5  94.16 ± 0.20 ( 6 of 10)     48      9     61
      careful              5 of  5  94.05 ± 0.00 ( 2 of  5)    225    693    225
      judges all           5 of  5  94.05 ± 0.00 ( 2 of  5)    225     38    299
    5 images: deviation over initialisations, median of 204 cells: growth 0.129, smoothness 0.041
    20 images: deviation over initialisations, median of 204 cells: growth 0.139, smoothness 0.038
    verdicts of 4 initialisations differ in 21 of 204 cells, with a smoothness of at most 0.009 by
        20 images
    seconds of a measurement: 0.716 before, 0.248 now, 0.476 near the limit of smoothness
    random, our choice: 497 s before, 19 s now for the choice, ratio 0.04

    ... --seeds 5 --rivals "ours, no tournament"

    ours, no tournament, 5 searches
      library              5 of  5  93.31 ± nan ( 1 of  5)    150     18    169
      ends at 20 beaten    5 of  5  93.31 ± nan ( 1 of  5)    128     14    143
      ends at 100 beaten   5 of  5  93.31 ± nan ( 1 of  5)    171     22    196
      careful              5 of  5  93.31 ± nan ( 1 of  5)    346    547    346
      judges all           5 of  5  93.31 ± nan ( 1 of  5)    346     50    429
    verdicts of 4 initialisations differ in 12 of 154 cells, with a smoothness of at most 0.008 by
        20 images
    seconds of a measurement: 0.673 before, 0.291 now, 0.549 near the limit of smoothness
    ours, no tournament: 369 s before, 59 s now for the choice, ratio 0.16

The seconds are processor time: a measurement, times the number of measurements of the searches of
which both choices are known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import pandas as pd
import torch

from common.command import machine, parser
from common.measurements import Measurements
from common.nasbench201 import load_table
from common.remembered import RememberedProblem
from common.searches import SEARCHES
from pymoo_nas.choice._orders import BEATEN, most_expressive_first, steadiness_of
from pymoo_nas.kernels import calibrate
from pymoo_nas.search._steadiness import (
    CAREFUL_IMAGES,
    MARGINS,
    MOST_GROWTH,
    N_IMAGES,
    N_INITS,
    Steadiness,
    mean_of,
    steadiness_at,
)
from pymoo_nas.spaces import NASBench201Space, join_truth

CLEAR_GROWTH = 1.6
TOP = 10
CAREFUL = "careful"
TIMED = 5
REPEATS = 3
ACCURACY = "cifar10_test"


def careful(measurements: Measurements, arch: str) -> Steadiness:
    """By 20 images and four initialisations; what is spared by five images counts as one."""
    first = measurements.at(arch, N_IMAGES, 0)
    if not first.growth < CLEAR_GROWTH:
        measurements.images[CAREFUL_IMAGES] = measurements.images.get(CAREFUL_IMAGES, 0) + 1
        return first
    found = [measurements.at(arch, CAREFUL_IMAGES, 0)]
    if found[0].growth < MOST_GROWTH + MARGINS[0]:
        found += [measurements.at(arch, CAREFUL_IMAGES, seed) for seed in range(1, N_INITS)]
    return mean_of(found)


class Choice(NamedTuple):
    """A way of choosing.

    Attributes:
        judge: text of a genotype → its steadiness.
        top: number of steady candidates that are looked for.
        beaten: candidates that could not be chosen, for each that is looked for, after which it
            ends; None measures those too.
    """

    judge: Callable[[str], Steadiness]
    top: int = TOP
    beaten: int | None = BEATEN


def handed_over(ordered: pd.DataFrame, choice: Choice) -> tuple[str, int]:
    """The genotype that a choice puts first, and the number of candidates that it judged."""
    found = steadiness_of(ordered, choice.judge, choice.top, beaten=choice.beaten)
    return most_expressive_first(ordered, found)["genotype"].iloc[0], len(found)


def searched(problem: RememberedProblem, rival: str, n: int, seed: int) -> pd.DataFrame:
    """The candidates of a search in the order of ranks."""
    form = problem.search_space.format
    order = SEARCHES[rival](problem, n, seed).order
    return pd.DataFrame(
        {"genotype": form(one.X[0]), "activation": one.F[1], "flops": one.get("flops")}
        for one in order
    )


def rows_of(
    measurements: Measurements, rival: str, seed: int, n: int, choices: dict[str, Choice]
) -> list[dict[str, Any]]:
    """What each choice hands over of one search, and what it measured."""
    ordered = searched(measurements.problem, rival, n, seed)
    rows = []
    for name, choice in choices.items():
        measurements.images = {}
        genotype, judged = handed_over(ordered, choice)
        by_images = {f"of {images}": n for images, n in measurements.images.items()}
        rows.append(
            {"rival": rival, "seed": seed, "choice": name, "genotype": genotype, "judged": judged}
            | by_images
        )
    return rows


def report(rows: pd.DataFrame) -> None:
    """Print a line for each choice: agreement, accuracy, and the number of measurements."""
    print("same choice of searches, accuracy of the known ones, judged, of 20 images, of 5")
    for rival, group in rows.groupby("rival", sort=False):
        print(f"{rival}, {group['seed'].nunique()} searches")
        careful = group[group["choice"] == CAREFUL].set_index("seed")["genotype"]
        for name, mine in group.groupby("choice", sort=False):
            both = mine.set_index("seed")["genotype"].loc[careful.index]
            known = mine[ACCURACY].dropna()
            numbers = (mine[column].mean() for column in ("judged", "of 20", "of 5"))
            print(
                f"  {name:18s} {(both == careful).sum():3d} of {len(careful):2d}  "
                f"{known.mean():.2f} ± {known.std():.2f} ({len(known):2d} of {len(mine):2d})  "
                + "  ".join(f"{number:5.0f}" for number in numbers)
            )


def before(problem: RememberedProblem, genotype: Any, n_images: int) -> None:
    """What one measurement computed before: a pass that calibrates, then one for the gradient."""
    images = problem.probe.images[:n_images]
    space, dataset = problem.search_space, problem.dataset
    cells = [genotype] * space.n_cells
    deep = space.build_body(cells, dataset.in_channels, dataset.n_classes)
    for network in (problem.build(genotype), deep):
        calibrate(network, images)
        network.requires_grad_(False)
        leaf = images.clone().requires_grad_(True)
        torch.autograd.grad(network(leaf).sum(), leaf)


def report_cost(problem: RememberedProblem, rows: pd.DataFrame) -> None:
    """Print the processor time of a measurement and of a choice, before and now.

    Only searches of which the careful choice is known are compared.
    """
    genotypes = [problem.search_space.parse(text) for text in rows["genotype"].unique()[:TIMED]]
    ways: tuple[Callable[[Any], Any], ...] = (
        lambda genotype: before(problem, genotype, CAREFUL_IMAGES),
        lambda genotype: steadiness_at(genotype, problem.scorer, 0, N_IMAGES),
        lambda genotype: steadiness_at(genotype, problem.scorer, 0, CAREFUL_IMAGES),
    )
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(REPEATS):
        for genotype in genotypes:
            for way, taken in zip(ways, seconds, strict=True):
                started = time.process_time()
                way(genotype)
                taken.append(time.process_time() - started)
    was, now, near = map(median, seconds)
    print(
        f"seconds of a measurement: {was:.3f} before, {now:.3f} now, {near:.3f} near the limit of "
        "smoothness"
    )
    for rival, group in rows.groupby("rival", sort=False):
        known = group[group["choice"] == CAREFUL]
        both = group[(group["choice"] == "library") & group["seed"].isin(known["seed"])]
        careful = was * known["of 20"].mean()
        quick = now * both["of 5"].mean() + near * both["of 20"].mean()
        print(
            f"{rival}: {careful:.0f} s before, {quick:.0f} s now for the choice, "
            f"ratio {quick / careful:.2f}"
        )


def report_verdicts(measurements: Measurements) -> None:
    """Print deviations over initialisations, and where few and many images disagree."""
    rows = pd.DataFrame(
        {"arch": arch, "images": images, "seed": seed, **vars(one)}
        for (arch, images, seed), one in measurements.known.items()
    )
    rows = rows[rows["images"].isin((N_IMAGES, CAREFUL_IMAGES))]
    whole = rows.groupby("arch").filter(lambda group: len(group) == 2 * N_INITS)
    by_arch = whole.groupby(["images", "arch"])[["growth", "smoothness"]]
    for images, spread in by_arch.std().groupby("images"):
        growth, smoothness = (spread[name].median() for name in ("growth", "smoothness"))
        print(
            f"{images} images: deviation over initialisations, median of {len(spread)} cells: "
            f"growth {growth:.3f}, smoothness {smoothness:.3f}"
        )
    means = by_arch.mean()
    few, many = means.loc[N_IMAGES], means.loc[CAREFUL_IMAGES]
    differ = [
        Steadiness(*a).steady != Steadiness(*b).steady
        for a, b in zip(few.to_numpy(), many.to_numpy(), strict=True)
    ]
    apart = many["smoothness"][differ].abs()
    print(
        f"verdicts of {N_INITS} initialisations differ in {sum(differ)} of {len(few)} cells, "
        f"with a smoothness of at most {apart.max():.3f} by {CAREFUL_IMAGES} images"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Search, choose in each way, report."""
    of = parser(__doc__, "table", "cifar", "memory", "partial", n=500, seeds=20, images=64, inits=2)
    rivals = ["random, our choice", "ours, no tournament"]
    of.add_argument("--rivals", nargs="+", choices=SEARCHES, default=rivals)
    of.add_argument("--careful", type=int, help="seeds of the slow choices; default all")
    arguments = of.parse_args(argv)
    n_careful = arguments.seeds if arguments.careful is None else arguments.careful
    space = NASBench201Space()
    problem = RememberedProblem(
        arguments.cifar,
        arguments.memory,
        search_space=space,
        n_images=arguments.images,
        n_inits=arguments.inits,
    )
    measurements = Measurements(problem, arguments.partial)
    quick = measurements.quick
    choices = {
        "library": Choice(quick),
        "ends at 20 beaten": Choice(quick, beaten=2),
        "ends at 100 beaten": Choice(quick, beaten=10),
    }
    slow = {
        CAREFUL: Choice(partial(careful, measurements), beaten=None),
        "judges all": Choice(quick, beaten=None),
    }
    rows = pd.DataFrame(
        row
        for seed in range(arguments.seeds)
        for rival in arguments.rivals
        for row in rows_of(
            measurements, rival, seed, arguments.n, choices | slow if seed < n_careful else choices
        )
    )
    accuracies = load_table(arguments.table).rename(columns={"arch": "genotype"})
    rows = join_truth(rows, accuracies[["genotype", ACCURACY]], space)
    rows = rows.fillna({f"of {images}": 0 for images in (N_IMAGES, CAREFUL_IMAGES)})
    print(f"{machine()}; R = {arguments.inits}, N = {arguments.images}")
    report(rows)
    report_verdicts(measurements)
    report_cost(problem, rows)


if __name__ == "__main__":
    main()
