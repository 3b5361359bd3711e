"""Variants of the three scores, of one architecture of NAS-Bench-201 at one initialisation."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pymoo_nas._machine import seeded
from pymoo_nas.kernels import calibrate, preserved
from pymoo_nas.kernels._layer_plan import plan_layers
from pymoo_nas.kernels._products import Products, Signs
from pymoo_nas.kernels._recording import Recording, record_pass
from pymoo_nas.scores import Probe
from pymoo_nas.scores._from_kernels import EPS, ntk_score, similarity
from pymoo_nas.spaces import NASBench201Space

Matrix = npt.NDArray[np.float64]

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


def variants_of(space: NASBench201Space, arch: str, seed: int, probe: Probe) -> dict[str, float]:
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
