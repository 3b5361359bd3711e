"""Which variants of the three scores rank NAS-Bench-201 better? Tried on the tuning half only.

Kendall's τ against the table's CIFAR-10 accuracy of connected architectures, for 1 to R
initialisations: of the tangent kernel, normalised or without some kind of layer; of the ReLU
kernel, of single stages or divided by powers of the number of units; of the gradient correlation,
with other weights and ridges. See score_quality.py for what came of it.

Command:
    python studies/score_variants.py --table PATH/nasbench201_5000.csv --cifar PATH/cifar10.npz

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7; 300 architectures, N = 64, probe seed 0,
        τ for R = 1 to 3
    FLOPs 0.545
    ntk: plain                               0.463  0.510  0.540
    ntk: unit diagonal                       0.499  0.530  0.550
    ntk: centred                             0.447  0.468  0.521
    ntk: balanced                            0.519  0.573  0.598
    ntk: balanced, unit diagonal             0.526  0.574  0.592
    ntk: without stem                        0.469  0.506  0.546
    ntk: without 3×3                         0.476  0.510  0.545
    ntk: without 1×1                         0.463  0.509  0.542
    ntk: without reduction                   0.584  0.627  0.641
    ntk: without scales                      0.463  0.509  0.540
    ntk: without shifts                      0.463  0.509  0.541
    ntk: without classifier                  0.461  0.506  0.542
    ntk: of the cells' convolutions          0.573  0.601  0.625
    ntk: −log det, unit diagonal             0.481  0.523  0.535
    activation: all                          0.590  0.598  0.600
    activation: stage 1                      0.583  0.588  0.597
    activation: stage 2                      0.591  0.598  0.596
    activation: stage 3                      0.590  0.593  0.592
    activation: / units^0.1                  0.590  0.601  0.602
    activation: / units^0.25                 0.580  0.589  0.591
    activation: / units^0.5                  0.562  0.568  0.570
    activation: / units^0.75                 0.559  0.567  0.571
    activation: / units^1.0                  0.481  0.504  0.526
    correlation: half weight, ridge 1e-06    0.615  0.618  0.631
    correlation: half weight, ridge 0.0001   0.615  0.618  0.631
    correlation: half weight, ridge 0.01     0.615  0.618  0.631
    correlation: no weight, ridge 1e-06      0.619  0.619  0.634
    correlation: full weight, ridge 1e-06    0.613  0.615  0.628
    log ranks of three, and with FLOPs, all repeats:
    ntk: plain                               0.634  0.637
    ntk: unit diagonal                       0.639  0.634
    ntk: centred                             0.639  0.646
    ntk: balanced                            0.651  0.648
    ntk: balanced, unit diagonal             0.649  0.645
    ntk: without stem                        0.638  0.639
    ntk: without 3×3                         0.640  0.641
    ntk: without 1×1                         0.635  0.637
    ntk: without reduction                   0.667  0.657
    ntk: without scales                      0.635  0.637
    ntk: without shifts                      0.635  0.637
    ntk: without classifier                  0.635  0.638
    ntk: of the cells' convolutions          0.666  0.656
    ntk: −log det, unit diagonal             0.629  0.630

The gradients of the skeleton's reduction blocks hide those of the cells: the kernel in which every
parameter tensor weighs alike ("balanced") gains 0.06, and is offered as ``balanced_ntk``. The
gradients of the cells alone gain as much, and 0.015 in the sum of three, but are no property of a
network as such.
Nothing else gains more than the standard error of about 0.02.
"""

from __future__ import annotations

import argparse
import platform
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.stats import kendalltau, rankdata
from torch import Tensor, nn

import pymoo_nas
from common.nasbench201 import UNCONNECTED, half_of, load_table
from pymoo_nas.calibration import calibrate, preserved
from pymoo_nas.datasets import load_dataset
from pymoo_nas.devices import seeded
from pymoo_nas.layer_plan import plan_layers
from pymoo_nas.nasbench201 import NASBench201Space
from pymoo_nas.products import Products, Signs
from pymoo_nas.recording import Recording, record_pass
from pymoo_nas.scores import EPS, ntk_score, similarity
from pymoo_nas.scoring import Probe, draw_probe

Matrix = npt.NDArray[np.float64]

OTHER_CORRELATION = "correlation: half weight, ridge 1e-06"

KINDS = ("stem", "3×3", "1×1", "reduction", "scales", "shifts", "classifier")


def kind_of(name: str, module: nn.Module) -> str:
    """Which kind of layer a parameter of the published skeleton belongs to."""
    if name.startswith("classifier"):
        return "classifier"
    if isinstance(module, nn.BatchNorm2d):
        return "scales" if name.endswith("weight") else "shifts"
    if "branch" in name or "shortcut" in name:
        return "reduction"
    if name == "body.0.weight":
        return "stem"
    return "3×3" if isinstance(module, nn.Conv2d) and module.kernel_size[0] == 3 else "1×1"


def unit_diagonal(kernel: Matrix) -> Matrix:
    """Cosines in place of products."""
    norms = np.sqrt(np.maximum(np.diag(kernel), 1e-30))
    return kernel / norms[:, None] / norms[None, :]


def minus_log_det(kernel: Matrix, ridge: float = 0.0) -> float:
    """−Σ log λ, floored as the scores are."""
    eigenvalues = np.linalg.eigvalsh(kernel)
    floor = len(kernel) * EPS * eigenvalues[-1]
    return float(-np.log(np.maximum(eigenvalues, floor) + ridge).sum())


def ntk_variants(network: nn.Module, recording: Recording) -> dict[str, float]:
    """Variants of the first score."""
    rows = dict(recording.rows) | {key: use.rows() for key, use in recording.uses.items()}
    modules = dict(network.named_modules())
    n = len(recording.logits)
    parts: dict[str, Matrix] = {kind: np.zeros((n, n)) for kind in KINDS}
    balanced = np.zeros((n, n))
    for name, parameter in network.named_parameters():
        if id(parameter) not in rows:
            continue
        gram = (rows[id(parameter)] @ rows[id(parameter)].T).double().numpy()
        parts[kind_of(name, modules[name.rpartition(".")[0]])] += gram
        balanced += gram / max(np.trace(gram), 1e-30)
    whole = np.sum(list(parts.values()), axis=0)
    centring = np.eye(n) - 1 / n
    centred = centring @ whole @ centring + np.trace(whole) / n**2
    kernels = {
        "plain": whole,
        "unit diagonal": unit_diagonal(whole),
        "centred": centred,
        "balanced": balanced,
        "balanced, unit diagonal": unit_diagonal(balanced),
    }
    kernels |= {f"without {kind}": whole - part for kind, part in parts.items()}
    kernels["of the cells' convolutions"] = parts["3×3"] + parts["1×1"]
    found = {f"ntk: {name}": ntk_score(kernel).value for name, kernel in kernels.items()}
    found["ntk: −log det, unit diagonal"] = minus_log_det(unit_diagonal(whole))
    return found


def activation_variants(codes: list[Signs], width: int, pixels: int) -> dict[str, float]:
    """Variants of the second score."""
    n = len(codes[0].packed)
    stages = {width * pixels // 2**stage: f"stage {stage + 1}" for stage in range(3)}
    products: dict[str, Products] = defaultdict(lambda: Products(n, torch.device("cpu")))
    for on in (signs.unpack() for signs in codes):
        products["all"].add_codes(on)
        # A ReLU of a reduction block counts to the stage whose size its input has.
        if on.shape[1] in stages:
            products[stages[on.shape[1]]].add_codes(on)
    whole, units = products["all"].agreement.numpy(), products["all"].n_units
    found = {f"activation: {k}": minus_log_det(p.agreement.numpy()) for k, p in products.items()}
    for power in (0.1, 0.25, 0.5, 0.75, 1.0):
        found[f"activation: / units^{power}"] = minus_log_det(whole / units**power)
    return found


def correlation_variants(gradients: Tensor, probe: Probe) -> dict[str, float]:
    """Variants of the third score."""
    rows = gradients.double().numpy()
    rows = rows - rows.mean(1, keepdims=True)
    correlation = unit_diagonal(rows @ rows.T)
    alike = similarity(probe.distances)
    found = {}
    for name, weight in (("half", 1 - alike / 2), ("no", np.ones_like(alike)), ("full", 1 - alike)):
        weighted = correlation * weight
        np.fill_diagonal(weighted, 1.0)
        for ridge in (1e-6, 1e-4, 1e-2) if name == "half" else (1e-6,):
            eigenvalues = np.maximum(np.linalg.eigvalsh(weighted), 0) + ridge
            found[f"correlation: {name} weight, ridge {ridge:g}"] = -np.log(eigenvalues).sum()
    return found


def measure(space: NASBench201Space, arch: str, seed: int, probe: Probe) -> dict[str, float]:
    """All variants of one architecture at one initialisation."""
    with seeded(torch.device("cpu"), seed):
        network = space.build(space.parse(arch), 3, 10)
    with preserved(network):
        images = probe.images
        plan = plan_layers(network, lambda: calibrate(network, images), len(images), len(images))
        recording = record_pass(network, plan, images)
        return {
            **ntk_variants(network, recording),
            **activation_variants(recording.codes, space.width, images[0, 0].numel()),
            **correlation_variants(recording.input_gradients, probe),
        }


def log_ranks(*columns: Matrix) -> Matrix:
    """Sum of the logarithms of the ranks of several scores."""
    summed: Matrix = np.sum([np.log(rankdata(column)) for column in columns], axis=0)
    return summed


def print_tables(measured: dict[str, list[list[float]]], rows: pd.DataFrame) -> None:
    """τ of every variant, then of the sums in which a variant of the first score takes part."""
    accuracy = rows["cifar10_test"].to_numpy(float)
    flops = rows["flops_m"].to_numpy(float)
    print(f"FLOPs {kendalltau(flops, accuracy)[0]:.3f}")
    # Not every architecture has such units.
    scores = {name: np.array(v) for name, v in measured.items() if len(v) == len(rows)}
    for name, values in scores.items():
        by_repeats = [-kendalltau(values[:, :r].mean(1), accuracy)[0]
                      for r in range(1, values.shape[1] + 1)]  # fmt: skip
        print(f"{name:40s} " + "  ".join(f"{tau:.3f}" for tau in by_repeats))
    others = [scores[name].mean(1) for name in ("activation: all", OTHER_CORRELATION)]
    print("log ranks of three, and with FLOPs, all repeats:")
    for name, values in scores.items():
        if name.startswith("ntk"):
            three = log_ranks(values.mean(1), *others)
            four = log_ranks(values.mean(1), *others, -flops)
            taus = (-kendalltau(total, accuracy)[0] for total in (three, four))
            print(f"{name:40s} " + "  ".join(f"{tau:.3f}" for tau in taus))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--cifar", type=Path, required=True)
    for name, default in (("n", 300), ("images", 64), ("inits", 3), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    table = half_of(load_table(arguments.table), "tune")
    rows = table[table["cifar10_test"] > UNCONNECTED][: arguments.n]
    probe = draw_probe(load_dataset(arguments.cifar), arguments.images, arguments.seed)
    space = NASBench201Space()
    measured: dict[str, list[list[float]]] = defaultdict(list)
    for arch in rows["arch"]:
        inits = [measure(space, arch, seed, probe) for seed in range(arguments.inits)]
        for name in inits[0]:
            measured[name].append([found.get(name, np.nan) for found in inits])
    print(
        f"pymoo_nas {pymoo_nas.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}; {len(rows)} architectures, N = {arguments.images}, probe "
        f"seed {arguments.seed}, τ for R = 1 to {arguments.inits}"
    )
    print_tables(measured, rows)


if __name__ == "__main__":
    main()
