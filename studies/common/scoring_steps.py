"""What a scoring costs on a device, beside one pass: milliseconds, launches and waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from common.halving import INSIDE
from common.timing import medians
from pymoo_nas.datasets import Dataset
from pymoo_nas.kernels import measure_kernels
from pymoo_nas.networks import count_all
from pymoo_nas.scores import score
from pymoo_nas.scores._from_kernels import ntk_score
from pymoo_nas.search import NASProblem
from pymoo_nas.spaces import Architecture

N_IMAGES = 64
"""Images of a probe."""

VIEWS = frozenset({"view", "_unsafe_view", "expand", "transpose", "t", "alias", "detach", "unbind"})
"""Operations that start nothing on a card, beside those that torch itself calls views, and those
that only take memory (`empty`)."""

READS = frozenset({"_local_scalar_dense", "item", "is_nonzero"})
"""Operations that wait for the device, so that a number can be read."""


class Launches(TorchDispatchMode):
    """Counts the operations of all that runs inside, and those that wait for the device.

    Every operation that makes numbers starts at least one kernel on a card. Inside a backward pass
    the operations are counted too.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_launches = self.n_waits = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Carry out an operation, and count it."""
        del types
        name = str(getattr(func, "overloadpacket", func)).rpartition(".")[2]
        self.n_waits += name in READS
        is_view = name in VIEWS or "empty" in name or getattr(func, "is_view", False)
        self.n_launches += name not in READS and not is_view
        return func(*args, **(kwargs or {}))


def launches_of(run: Callable[[], object]) -> tuple[int, int]:
    """Operations that a function starts, and those of them that wait for the device."""
    with Launches() as counted:
        run()
    return counted.n_launches, counted.n_waits


def one_pass(network: nn.Module, images: Tensor) -> None:
    """A forward and a backward pass of a training, without its optimiser."""
    network.train()
    output = network(images)
    torch.autograd.grad(output.sum(), [*network.parameters()], allow_unused=True)


def scoring_rows(
    texts: Sequence[str],
    device: torch.device,
    dataset: Dataset,
    n: int,
    synchronise: Callable[[torch.device], None],
) -> Iterator[str]:
    """One line for each network: its size, a pass, the kernels, and the scores with their check."""
    images = dataset.normalized(dataset.train_images[:N_IMAGES]).to(device)
    for text in texts:
        network = Architecture.read(text, INSIDE).build("scored", dataset, seed=0).to(device)
        counts = count_all(network, images)
        ways: dict[str, Callable[[], object]] = {
            "pass": partial(one_pass, network, images),
            "kernels": partial(measure_kernels, network, images),
            "scores": partial(score, network, images),
        }
        found = medians(ways, n, partial(synchronise, device))
        started = {way: launches_of(run) for way, run in ways.items()}
        yield (
            f"{text}: {counts.params:,} parameters, {counts.flops / 1e6:.1f} MMACs, "
            f"pass {1000 * found['pass']:.1f} ms ({started['pass'][0]} launches), "
            f"kernels {found['kernels'] / found['pass']:.2f} times that "
            f"({started['kernels'][0]} launches, {started['kernels'][1]} waits), scores with check "
            f"{found['scores'] / found['pass']:.2f} times"
        )


def search_rows(device: torch.device, dataset: Dataset, n_candidates: int) -> Iterator[str]:
    """Random candidates a second by one process, and what rounding does to their κ."""
    problem = NASProblem(dataset, search_space=INSIDE, n_images=N_IMAGES, device=str(device))
    rng = np.random.default_rng(0)
    genotypes = [problem.search_space.sample(rng) for _ in range(n_candidates)]
    problem.score_genotypes(genotypes[:1])
    started = time.perf_counter()
    rows = problem.score_genotypes(genotypes)
    seconds = time.perf_counter() - started
    yield f"{n_candidates} random cells: {n_candidates / seconds:.1f} candidates a second"
    found = {genotype: row.ntk for genotype, row in zip(genotypes, rows, strict=True)
             if not row.degenerate}  # fmt: skip
    images = problem.probe.images.double()
    exact = {
        genotype: ntk_score(
            measure_kernels(problem.build(genotype).double(), images).ntk.cpu().numpy()
        )
        for genotype in found
    }
    yield _differences(found, {key: value.value for key, value in exact.items()}, "float64's")
    if device.type != "cpu":
        others = NASProblem(dataset, search_space=INSIDE, n_images=N_IMAGES)
        rows = others.score_genotypes([*found])
        on_cpu = {key: row.ntk for key, row in zip(found, rows, strict=True)}
        yield _differences(found, on_cpu, "the CPU's")


def _differences(found: Mapping[Any, float], others: Mapping[Any, float], whose: str) -> str:
    """How far log10 κ of cells is from another one."""
    if not found:
        return f"no cell has a log10 κ to compare with {whose}"
    apart = {key: abs(value - others[key]) for key, value in found.items()}
    worst = max(apart, key=lambda key: apart[key])
    return (
        f"log10 κ of {len(apart)} cells differs from {whose} by "
        f"{float(np.median([*apart.values()])):.0e} in the median, by {apart[worst]:.0e} at most, "
        f"where it is {found[worst]:.1f}"
    )
