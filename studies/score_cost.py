"""What do the three scores cost, beside one training step on the same images?

(a) the three scores against one plain forward and backward pass; (b) against a loop of one backward
pass per image (TE-NAS's way, the tangent kernel alone); (c) how the time grows with images,
parameters and map size; (d) peak memory. Ratios are of medians taken in turn in one process.

Command:
    python studies/score_cost.py

RESULT
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import pymoo_nas
from pymoo_nas.kernels import measure_kernels
from pymoo_nas.nasbench201 import NASBench201Space
from pymoo_nas.networks import count_flops, count_parameters
from pymoo_nas.scoring import Probe, score_builds
from pymoo_nas.search_space import CellSpace

ARCHITECTURES = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|none~1|avg_pool_3x3~2|",
    "|nor_conv_1x1~0|+|nor_conv_3x3~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_3x3~1|none~2|",
    "|skip_connect~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|none~0|nor_conv_1x1~1|nor_conv_3x3~2|",
    "|avg_pool_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_1x1~0|skip_connect~1|nor_conv_1x1~2|",
)


def step(network: nn.Module, images: Tensor) -> None:
    """One plain forward and backward pass in train mode, weights and images."""
    network.train()
    output = network(images.requires_grad_(True))
    torch.autograd.grad(output.sum(), [*network.parameters()], allow_unused=True)
    images.requires_grad_(False)


def per_image(network: nn.Module, images: Tensor) -> Tensor:
    """The tangent kernel by one backward pass per image."""
    network.eval()
    parameters = list(network.parameters())
    rows = []
    for index in range(len(images)):
        output = network(images[index : index + 1]).sum()
        gradients = torch.autograd.grad(output, parameters, allow_unused=True)
        rows.append(torch.cat([g.flatten() for g in gradients if g is not None]))
    stacked = torch.stack(rows)
    return stacked @ stacked.T


def medians(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each function, called in turn."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def networks(device: torch.device) -> dict[str, nn.Module]:
    """Ten random cells of the paper's space, grown a little, and five of NAS-Bench-201."""
    rng = np.random.default_rng(0)
    cells = CellSpace()
    built: dict[str, nn.Module] = {}
    while len(built) < 10:
        genotype = cells.sample(rng)
        for _ in range(4):
            operation = cells.operation_names[int(rng.integers(2))]
            genotype = cells.mutate(genotype, "grow", operation, rng)
        built[str(genotype)] = cells.build(genotype, 3, 10).to(device)
    bench = NASBench201Space()
    for text in ARCHITECTURES:
        built[text] = bench.build(bench.parse(text), 3, 10).to(device)
    return built


def cost_table(device: torch.device, repeats: int) -> None:
    """(a) and (b): ratios at N = 64, 32×32."""
    images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(device)
    probe = Probe(images)
    to_step, to_loop = [], []
    print("  params     MMACs   step s  scores s  ratio  loop/scores")
    for network in networks(device).values():
        counts = count_parameters(network), count_flops(network, images)
        builds = [lambda network=network: network]
        times = medians(
            {
                "step": partial(step, network, images),
                "scores": partial(score_builds, builds, probe, counts=counts),
            },
            repeats,
        )
        loop = medians({"loop": partial(per_image, network, images)}, 1)["loop"]
        to_step.append(times["scores"] / times["step"])
        to_loop.append(loop / times["scores"])
        print(
            f"{counts[0]:8d} {counts[1] / 1e6:9.2f} {times['step']:8.4f} {times['scores']:9.4f} "
            f"{to_step[-1]:6.2f} {to_loop[-1]:12.1f}"
        )
    print(
        f"median ratio to one step: ten cells {statistics.median(to_step[:10]):.2f}, five "
        f"NAS-Bench-201 cells {statistics.median(to_step[10:]):.2f}, all "
        f"{statistics.median(to_step):.2f}"
    )
    print(f"median speed-up over the per-image loop: {statistics.median(to_loop):.1f}")


def growth(device: torch.device, repeats: int) -> None:
    """(c) and (d): time against N, map size and width, with fitted exponents."""
    bench = ARCHITECTURES[0]
    settings = {
        "images N": [(n, 8, 32) for n in (16, 32, 64, 128)],
        "width (parameters grow with its square)": [(64, w, 32) for w in (4, 8, 16, 32)],
        "map size (pixels per side)": [(64, 8, s) for s in (8, 16, 32, 64)],
    }
    for name, rows in settings.items():
        seconds = []
        for n, width, size in rows:
            space = NASBench201Space(width=width)
            network = space.build(space.parse(bench), 3, 10).to(device)
            images = torch.randn(n, 3, size, size, device=device)
            run = partial(measure_kernels, network, images)
            seconds.append(medians({"run": run}, repeats)["run"])
        values = [next(v for v, others in zip(row, zip(*rows, strict=True), strict=True)
                       if len(set(others)) > 1) for row in rows]  # fmt: skip
        exponent = np.polyfit(np.log(values), np.log(seconds), 1)[0]
        pairs = ", ".join(f"{v}: {s:.3f} s" for v, s in zip(values, seconds, strict=True))
        print(f"{name}: {pairs}; time grows with exponent {exponent:.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    print(
        f"pymoo_nas {pymoo_nas.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {device}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads, medians of {arguments.repeats}"
    )
    cost_table(device, arguments.repeats)
    growth(device, arguments.repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak resident memory {peak:.2f} GiB")
    if device.type == "cuda":
        print(f"peak CUDA memory {torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
