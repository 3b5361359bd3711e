"""The steps of a training are those of a plain loop, and nothing in them waits for the device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_training import small_dataset, small_network
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pymoo_nas._machine import Report, seeded
from pymoo_nas.datasets import Dataset
from pymoo_nas.spaces import Architecture, CellSpace
from pymoo_nas.training import Settings, Trainer, train

CPU = torch.device("cpu")
EPOCHS = 2


def trainer_of(
    dataset: Dataset,
    network: nn.Module | None = None,
    device: torch.device = CPU,
    **options: Any,
) -> Trainer:
    """A trainer of a small network, with five steps an epoch on 37 images."""
    chosen: dict[str, Any] = {"epochs": EPOCHS, "batch_size": 8, "validation": 0.0, **options}
    return Trainer(network or small_network(3), dataset, Settings(**chosen), device)


def shown(dataset: Dataset, chosen: np.ndarray, augment: str, generator: torch.Generator) -> Tensor:
    """Images of a step, one by one: padded, cut out, mirrored, and then normalised."""
    images = dataset.train_images[chosen].transpose(0, 3, 1, 2) / 255
    if augment != "none":
        mirrored = torch.rand(len(chosen), generator=generator) < 0.5
        down, right = (torch.randint(-1, 2, (len(chosen),), generator=generator) for _ in range(2))
        for place, image in enumerate(images.copy()):
            padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="reflect")
            top, left = 1 + int(down[place]), 1 + int(right[place])
            cut = padded[:, top : top + 8, left : left + 8]
            images[place] = cut[:, :, ::-1] if augment == "flip" and mirrored[place] else cut
    scaled = (images - dataset.mean[:, None, None]) / dataset.std[:, None, None]
    return torch.from_numpy(scaled.astype(np.float32))


def muon_step(kernel: nn.Parameter, momentum: Tensor, rate: float, decay: float) -> None:
    """Move one kernel: decay, momentum with a look ahead, five products of one matrix."""
    assert kernel.grad is not None
    momentum.mul_(0.9).add_(kernel.grad)
    matrix = (kernel.grad + 0.9 * momentum).flatten(1)
    x = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    x = x / x.norm()
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x @ x.T @ x + 2.0315 * x @ x.T @ x @ x.T @ x
    step = x if len(matrix) <= matrix.shape[1] else x.T * (len(matrix) / matrix.shape[1]) ** 0.5
    with torch.no_grad():
        kernel.mul_(1 - rate * decay).sub_(rate * step.reshape(kernel.shape))


def with_holes(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """The images with a square of each one at zero, pixel by pixel."""
    images = images.clone()
    _, _, height, width = images.shape
    rows = torch.randint(height, (len(images),), generator=generator).tolist()
    columns = torch.randint(width, (len(images),), generator=generator).tolist()
    for index, (row, column) in enumerate(zip(rows, columns, strict=True)):
        for y in range(row - side // 2, row - side // 2 + side):
            for x in range(column - side // 2, column - side // 2 + side):
                if 0 <= y < height and 0 <= x < width:
                    images[index, :, y, x] = 0.0
    return images


def plain_loop(
    dataset: Dataset, network: nn.Module, augment: str, ema: float, cutout: int = 0
) -> tuple[list[Tensor], list[float]]:
    """Train without any batching; return averages of the weights, and the loss of each epoch."""
    weights = list(network.parameters())
    kernels = [weight for weight in weights if weight.ndim == 4]
    others = [weight for weight in weights if weight.ndim != 4]
    groups = [
        {"params": [w for w in others if w.ndim > 1], "weight_decay": 5e-4},
        {"params": [w for w in others if w.ndim == 1], "weight_decay": 0.0},
    ]
    sgd = torch.optim.SGD(groups, lr=0.2, momentum=0.9, nesterov=True, foreach=False)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        sgd, 0.2, total_steps=EPOCHS * 5, cycle_momentum=False
    )
    momenta = [torch.zeros_like(kernel) for kernel in kernels]
    averages = [weight.detach().clone() for weight in weights]
    generator = torch.Generator().manual_seed(0)
    losses, n_steps = [], 0
    network.train()
    for _ in range(EPOCHS):
        total = 0.0
        order = torch.randperm(len(dataset.train_labels), generator=generator).numpy()
        for chosen in np.array_split(order, 5):
            images = shown(dataset, chosen, augment, generator)
            if cutout:
                images = with_holes(images, cutout, generator)
            labels = torch.from_numpy(dataset.train_labels[chosen])
            network.zero_grad()
            loss = F.cross_entropy(network(images), labels, label_smoothing=0.1)
            loss.backward()
            rate = sgd.param_groups[0]["lr"]
            for kernel, momentum in zip(kernels, momenta, strict=True):
                muon_step(kernel, momentum, 0.1 * rate, 0.05)
            sgd.step()
            schedule.step()
            n_steps += 1
            share = min(ema, (1 + n_steps) / (10 + n_steps))
            for average, weight in zip(averages, weights, strict=True):
                average.copy_(share * average + (1 - share) * weight.detach())
            total += loss.item() * len(chosen)
        losses.append(total / len(order))
    return averages, losses


@pytest.mark.parametrize("augment", ["none", "shift", "flip"])
@pytest.mark.parametrize(("ema", "cutout"), [(0.0, 0), (0.9, 0), (0.9, 3)])
def test_ten_steps_are_those_of_a_plain_loop(augment: str, ema: float, cutout: int) -> None:
    """Batched optimizers and images of an epoch drawn at once change nothing but rounding."""
    dataset, network = small_dataset(37, channels=3), small_network(3)
    averages, losses = plain_loop(dataset, network, augment, ema, cutout)
    trainer = trainer_of(dataset, augment=augment, ema=ema, cutout=cutout)
    trainer.run(lambda _: None)
    assert trainer.sizes == [8, 8, 7, 7, 7]
    found = list(trainer.network.parameters())
    for weight, expected, start in zip(
        found, network.parameters(), small_network(3).parameters(), strict=True
    ):
        moved = (expected - start).norm()
        # The bias in front of a batch norm has no gradient but rounding.
        assert (weight - expected).norm() < 2e-4 * moved + 1e-6
    if trainer.average is not None:
        for average, expected in zip(trainer.average.values, averages, strict=True):
            assert torch.allclose(average, expected, rtol=1e-3, atol=1e-5)
    assert [row["loss"] for row in trainer.history] == pytest.approx(losses, rel=1e-4)


class Reads(TorchDispatchMode):
    """Counts the values that Python reads out of tensors; on CUDA each read waits."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        self.n += func.overloadpacket._qualified_op_name in {
            "aten::_local_scalar_dense", "aten::item", "aten::equal", "aten::nonzero",
        }  # fmt: skip
        return func(*args, **(kwargs or {}))


def test_no_step_reads_a_value() -> None:
    """An epoch of many steps reads as few values as an epoch of few, unless it has to look."""
    counts = []
    for batch_size, look_every in ((24, 1000), (2, 1000), (2, 1)):
        trainer = trainer_of(small_dataset(48, channels=3), batch_size=batch_size, augment="flip")
        trainer.look_every = look_every
        with Reads() as reads:
            trainer.run(lambda _: None)
        counts.append(reads.n)
    assert counts[0] == counts[1] < counts[2]


def test_looks_change_reports_only() -> None:
    """Reports between two looks repeat the last one; the training is the same."""
    histories, told = [], []
    for look_every in (1, 3):
        trainer = trainer_of(small_dataset(37, channels=3), ema=0.5)
        trainer.look_every = look_every
        reports: list[Report] = []
        trainer.run(lambda _: None, reports.append)
        told.append([report.now for report in reports if report.now])
        histories.append([{**row, "seconds": 0} for row in trainer.history])
    assert str(histories[0]) == str(histories[1])
    # Of five steps the third and the last are looked at.
    assert len(set(told[0])) == 5 * EPOCHS
    assert len(set(told[1])) == 2 * EPOCHS


def test_precision_is_that_of_the_device(tmp_path: Path) -> None:
    """Without a wish the CPU computes in float32; the file says which format it was."""
    trainer = trainer_of(small_dataset(37, channels=3))
    assert trainer.settings.precision == "float32"
    train(small_network(), small_dataset(), epochs=1, out=tmp_path)
    text = (tmp_path / "training.json").read_text("utf-8")
    assert '"precision": "float32"' in text
    assert '"compiled": false' in text


class Branching(nn.Module):
    """A network whose way depends on a value, which no compiler can know before."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = small_network(3, dropout=0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) → (N, 3)."""
        logits: Tensor = self.layers(x)
        return logits if logits.sum() > 1e9 else 2 * logits


def branching() -> Branching:
    with seeded(CPU, 0):
        return Branching()


def test_a_network_that_cannot_be_compiled_is_trained_as_it_is() -> None:
    """A warning names the reason; weights and losses are those without the option, to the bit."""
    dataset = small_dataset(20, channels=3)
    plain = trainer_of(dataset, branching(), epochs=1)
    other = trainer_of(dataset, branching(), epochs=1, compile=True)
    with seeded(CPU, 0):
        plain.run(lambda _: None)
    with seeded(CPU, 0), pytest.warns(UserWarning, match=r"--compile .* Unsupported: .*ranch"):
        other.run(lambda _: None)
    assert not other.passes.compiled
    assert plain.history[0]["loss"] == other.history[0]["loss"]
    for one, two in zip(plain.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(one, two)


def trained_both_ways(
    network: nn.Module, other: nn.Module, dataset: Dataset, **options: Any
) -> None:
    """Train one as written and one compiled, and compare weights and losses."""
    plain = trainer_of(dataset, network, **options)
    compiled = trainer_of(dataset, other, compile=True, **options)
    for trainer in (plain, compiled):
        with seeded(CPU, 0):
            trainer.run(lambda _: None)
    assert compiled.passes.compiled
    for row, expected in zip(compiled.history, plain.history, strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        assert (one - two).norm() < 1e-3 * two.norm() + 1e-6


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_ten_compiled_steps_are_those_as_written() -> None:
    """Of two sizes of batches, with augmentation and an average, compiling changes rounding."""
    dataset = small_dataset(37, channels=3)
    trained_both_ways(small_network(3), small_network(3), dataset, augment="flip", ema=0.9)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_cells_compile() -> None:
    """A network of the space with all kinds of operations is compiled as a whole."""
    dataset = small_dataset(16, channels=3)
    kinds = ["separable3x3", "avg_pool3x3", "max_pool3x3", "gate"]
    space = CellSpace(kinds, n_cells=1)
    one, two = (Architecture.read("8,8,8,8", space).build("trained", dataset) for _ in range(2))
    trained_both_ways(one, two, dataset, batch_size=8, epochs=1)


@pytest.mark.slow
def test_without_a_compiler_the_training_goes_on(tmp_path: Path) -> None:
    """On a machine without a compiler the command warns, and ends as without the option."""
    found = subprocess.run(
        [sys.executable, "-m", "pymoo_nas", "train", "--model", "8,0,0,0", "--compile",
         "--epochs", "1", "--out", str(tmp_path / "out")],
        env={**os.environ, "CXX": "no-such-compiler", "PATH": ""},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "without --compile" in " ".join(found.stderr.split())
    described = json.loads((tmp_path / "out" / "training.json").read_text("utf-8"))
    assert described["settings"]["compile"] is True
    assert described["compiled"] is False


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("compiled", [False, True])
def test_ten_steps_on_cuda_are_those_of_the_cpu(compiled: bool) -> None:
    """Images on the card, padded batches, fused steps and CUDA graphs change rounding only."""
    dataset = small_dataset(37, channels=3)
    options: dict[str, Any] = {"augment": "flip", "ema": 0.9, "precision": "float32"}
    plain = trainer_of(dataset, **options)
    other = trainer_of(dataset, None, torch.device("cuda"), compile=compiled, **options)
    for trainer in (plain, other):
        trainer.run(lambda _: None)
    assert other.passes.compiled == compiled
    assert other.images.kept
    for row, expected in zip(other.history, plain.history, strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-2)
    # Without a wish a card that can computes in bfloat16.
    half = torch.cuda.is_bf16_supported(including_emulation=False)
    asked = trainer_of(dataset, None, torch.device("cuda")).settings.precision
    assert asked == ("bfloat16" if half else "float32")
