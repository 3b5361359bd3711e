"""Fig. 4: are popular networks close to the origin of the three scores, random genotypes far?

Random genotypes of the paper's space, small hand-made CNNs and torchvision's popular networks are
scored on the same 64 CIFAR-10 images. Distances are to the point of the best scores of all, each
axis scaled to [0, 1] between the 2nd and 98th percentile of all.

Command:
    python studies/sanity_check.py --cifar PATH/cifar10.npz --out studies/figures/sanity_check.png

AMD EPYC virtual machine:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, seed 0, N = 64, R = 1
    random genotypes: n = 60, degenerate 14, distance to the origin 0.79 ± 0.23
        ntk               2.86 ± 0.40
        activation     -612.25 ± 47.27
        correlation       1.27 ± 1.61
    hand-made CNNs: n = 8, degenerate 0, distance to the origin 1.17 ± 0.21
        ntk               4.20 ± 0.50
        activation     -570.26 ± 43.67
        correlation       1.04 ± 0.48
    popular networks: n = 7, degenerate 0, distance to the origin 0.30 ± 0.16
        ntk               1.65 ± 0.54
        activation     -702.53 ± 47.37
        correlation       0.87 ± 0.30
            name  ntk  activation  correlation    params  distance
            8-16 4.82     -517.92         0.97      1562      1.39
         8-16 bn 4.57     -535.50         1.17      1610      1.35
           16-32 4.52     -572.24         2.12      5418      1.28
        16-32 bn 4.13     -583.21         0.81      5514      1.11
         8-16-32 4.52     -534.06         0.76      6362      1.34
      8-16-32 bn 3.60     -555.72         1.10      6474      1.08
       32-64-128 4.06     -622.77         0.77     94538      0.99
    32-64-128 bn 3.38     -640.63         0.61     94986      0.78
        resnet20 2.71     -723.21         0.77    269722      0.45
        resnet18 1.22     -627.69         0.85  11181642      0.50
        resnet34 1.11     -654.91         0.86  21289802      0.38
        vgg11_bn 1.97     -704.65         0.63 128812810      0.27
        vgg16_bn 1.51     -747.95         0.61 134309962      0.07
     densenet121 1.58     -758.18         0.84   6964106      0.11
    mobilenet_v2 1.45     -701.15         1.50   2236682      0.29

The paper's claim holds: popular networks lie nearest to the origin (0.30 ± 0.16), random genotypes
are far and spread (0.79 ± 0.23). Hand-made CNNs without depth are as far. Mean ± standard
deviation are over the sound ones; degenerate are cells of poolings alone, which have no ReLU.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from common.command import machine, parser
from common.halving import INSIDE
from pymoo_nas._machine import seeded
from pymoo_nas.datasets import load_dataset
from pymoo_nas.plots import plot_scores_3d, save_figure
from pymoo_nas.scores import PAPER_OBJECTIVES, Scores, draw_probe, score
from pymoo_nas.spaces import Architecture

POPULAR = (
    "resnet20",
    "resnet18",
    "resnet34",
    "vgg11_bn",
    "vgg16_bn",
    "densenet121",
    "mobilenet_v2",
)
"""AlexNet cannot take 32×32 images; the others can."""


def hand_made(widths: tuple[int, ...], batch_norm: bool) -> nn.Module:
    """A plain CNN: one 3×3 convolution per width, halved between, one linear layer."""
    layers: list[nn.Module] = []
    channels = 3
    for width in widths:
        layers += [nn.Conv2d(channels, width, 3, padding=1)]
        layers += [nn.BatchNorm2d(width)] if batch_norm else []
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def scored(n_random: int, popular: Sequence[str], cifar: Path, seed: int) -> pd.DataFrame:
    """One row per network: group, name, the three scores, parameters."""
    dataset = load_dataset(cifar)
    images = draw_probe(dataset, 64, seed).images
    space, rng = INSIDE, np.random.default_rng(seed)
    networks: list[tuple[str, str, nn.Module]] = []
    with seeded(images.device, seed):
        for _ in range(n_random):
            genotype = space.sample(rng)
            networks.append(("random genotypes", str(genotype), space.build(genotype, 3, 10)))
        for widths in ((8, 16), (16, 32), (8, 16, 32), (32, 64, 128)):
            for batch_norm in (False, True):
                name = "-".join(map(str, widths)) + (" bn" if batch_norm else "")
                networks.append(("hand-made CNNs", name, hand_made(widths, batch_norm)))
        for name in popular:
            network = Architecture.read(name).build("trained", dataset, seed=seed)
            networks.append(("popular networks", name, network))
    rows = []
    for group, name, network in networks:
        result: Scores = score(network, images, check=group == "hand-made CNNs")
        values = dict(zip(PAPER_OBJECTIVES, result.values, strict=True))
        rows.append(
            {"group": group, "name": name, **values, "params": result.params}
            | {"degenerate": result.degenerate}
        )
    return pd.DataFrame(rows)


def distances(frame: pd.DataFrame) -> pd.Series:
    """Euclidean distance to the best point, every axis scaled by the sound networks."""
    points = frame[list(PAPER_OBJECTIVES)].to_numpy()
    sound = points[(frame["degenerate"] == "").to_numpy()]
    low, high = np.percentile(sound, [2, 98], axis=0)
    scaled = np.clip((points - low) / (high - low), 0, 1)
    return pd.Series(np.linalg.norm(scaled, axis=1), index=frame.index)


def main(argv: Sequence[str] | None = None) -> None:
    """Score, print the table, draw."""
    of = parser(__doc__, "cifar", random=60, seed=0)
    of.add_argument("--popular", nargs="+", default=POPULAR)
    of.add_argument("--out", type=Path, help="PNG to write")
    arguments = of.parse_args(argv)
    print(f"{machine()}, seed {arguments.seed}, N = 64, R = 1")
    frame = scored(arguments.random, arguments.popular, arguments.cifar, arguments.seed)
    frame["distance"] = distances(frame)
    for group, part in frame.groupby("group", sort=False):
        sound = part[part["degenerate"] == ""]
        print(
            f"{group}: n = {len(part)}, degenerate {len(part) - len(sound)}, distance to the "
            f"origin {sound['distance'].mean():.2f} ± {sound['distance'].std():.2f}"
        )
        for name in PAPER_OBJECTIVES:
            print(f"    {name:12s} {sound[name].mean():9.2f} ± {sound[name].std():.2f}")
    named = frame[frame["group"] != "random genotypes"]
    print(named[["name", *PAPER_OBJECTIVES, "params", "distance"]].round(2).to_string(index=False))
    if arguments.out is not None:
        save_figure(plot_scores_3d(frame, "group"), arguments.out)


if __name__ == "__main__":
    main()
