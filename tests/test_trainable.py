"""Networks that no training could keep are refused before it begins, by module and remedy."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_training import same_state, small_dataset, small_network
from torch import Tensor, nn

from pymoo_nas.errors import NetworkError
from pymoo_nas.training import load_weights, train
from pymoo_nas.training._weights import copy_state


class Scaled(nn.Module):
    """A network whose logits are multiplied with a tensor of its own."""

    def __init__(self, scale: Tensor | None = None, persistent: bool = True) -> None:
        super().__init__()
        self.inner = small_network()
        self.register_buffer("scale", scale, persistent=persistent)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return logits if self.scale is None else logits * self.scale.to_dense().real.float()


class Extra(nn.Module):
    """Keeps a value that is no parameter and no buffer."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.inner, self.value = small_network(), value

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return logits

    def get_extra_state(self) -> Any:
        return self.value

    def set_extra_state(self, state: Any) -> None:
        self.value = state


class Forgetful(Scaled):
    """Gives a state that it does not take back."""

    def __init__(self) -> None:
        super().__init__()
        self.register_state_dict_post_hook(lambda _, state, prefix, __: rename(state, prefix))


def rename(state: dict[str, Tensor], prefix: str) -> None:
    state[f"{prefix}renamed"] = state.pop(f"{prefix}inner.0.weight")


def exported() -> nn.Module:
    example = (torch.zeros(4, 1, 8, 8),)
    module: nn.Module = torch.export.export(small_network().eval(), example).module()
    return module


def partly_scripted() -> nn.Module:
    network = small_network()
    return nn.Sequential(network[:1], scripted(network[1:3]), network[3:])


def made_in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return small_network()


def scripted(module: nn.Module) -> Any:
    """As torch.jit.script gives it, which warns that it will be gone one day."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(module)


LAZY = nn.Sequential, (nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(3))

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "dictionary": (lambda: nn.Sequential(Extra({"a": 1})), r"module '0' keeps.*dict.*register_buf"),
    "number": (lambda: Extra(3), "the network itself keeps a value of type int"),
    "nothing": (lambda: Extra(None), "NoneType"),
    "scripted": (lambda: scripted(small_network()), "the network itself is scripted"),
    "scripted part": (partly_scripted, r"module '1' is scripted.*train the module"),
    "exported": (exported, "training mode.*train the module that it was made of"),
    "lazy": (lambda: LAZY[0](*LAZY[1]), r"'0\.weight' belongs to a lazy module.*call the network"),
    "meta": (lambda: small_network().to("meta"), "'0.weight' is on the device meta"),
    "inference": (made_in_inference_mode, r"'0\.weight' was made within torch.inference_mode"),
    "complex": (lambda: Scaled(torch.ones(3, dtype=torch.complex128)), "'scale'.*complex128"),
    "sparse": (lambda: Scaled(torch.ones(3).to_sparse()), "'scale'.*sparse.*persistent=False"),
    "state": (Forgetful, "does not take its own state_dict"),
    "result": (lambda: SimpleNamespace(opt=1, algorithm=2), r"pymoo result.*build_final\(result\)"),
    "genotype": (lambda: "5000|0001|0800", r"got str.*build_final\(genotype, problem=problem\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_any_work(tmp_path: Path, case: str) -> None:
    """One error of ours names the module and the remedy; nothing is written."""
    build, message = REFUSED[case]
    with pytest.raises(NetworkError, match=message):
        train(build(), small_dataset(), epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def tied() -> nn.Module:
    network = nn.Sequential(small_network(), nn.Linear(3, 3), nn.Linear(3, 3))
    network[2].weight = network[1].weight
    return network


def transposed() -> nn.Module:
    network = nn.Sequential(small_network(), nn.Linear(3, 3))
    network[1].weight = nn.Parameter(torch.eye(3)[[1, 2, 0]].t())
    return network


def expanded_weight() -> nn.Module:
    network = nn.Sequential(small_network(), nn.BatchNorm1d(3))
    network[1].weight = nn.Parameter(torch.ones(1).expand(3))
    return network


TAKEN: dict[str, Callable[[], nn.Module]] = {
    "expanded buffer": lambda: Scaled(torch.ones(1).expand(3)),
    "expanded weight": expanded_weight,
    "no buffer": lambda: Scaled(None),
    "sparse buffer that is not kept": lambda: Scaled(torch.ones(3).to_sparse(), persistent=False),
    "complex buffer": lambda: Scaled(torch.ones(3, dtype=torch.complex64)),
    "tensor as extra state": lambda: Extra(torch.ones(2)),
    "tied weights": tied,
    "transposed weight": transposed,
    "spectral norm": lambda: nn.Sequential(
        small_network(), nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3))
    ),
    "traced by fx": lambda: torch.fx.symbolic_trace(small_network()),
    "compiled": lambda: torch.compile(small_network(), backend="eager"),
}


@pytest.mark.parametrize("case", TAKEN)
def test_unusual_networks_are_trained_and_kept(tmp_path: Path, case: str) -> None:
    """Networks with unusual tensors train, and their weights are read back to the bit."""
    network = TAKEN[case]()
    train(network, small_dataset(), epochs=2, batch_size=8, out=tmp_path)
    kept = copy_state(network)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    load_weights(network, tmp_path)
    assert same_state(copy_state(network), kept)


def test_values_of_expanded_tensors_stay(tmp_path: Path) -> None:
    """A tensor that gets memory of its own keeps its values and its place in the network."""
    network = expanded_weight()
    weight = network[1].weight
    network[1].requires_grad_(False)
    train(network, small_dataset(), epochs=1, batch_size=24, out=tmp_path)
    assert network[1].weight is weight
    assert weight.tolist() == [1.0, 1.0, 1.0]


class Failing(nn.Module):
    """Raises an error in its forward pass."""

    def __init__(self, error: Exception, with_gradients: bool = False) -> None:
        super().__init__()
        self.inner, self.error = small_network(), error
        self.with_gradients = with_gradients

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or not self.with_gradients:
            raise self.error
        logits: Tensor = self.inner(x)
        return logits


@pytest.mark.parametrize(
    "error", [IndexError("no such map"), AttributeError("b"), AssertionError()]
)
def test_errors_of_a_network_are_told(error: Exception) -> None:
    """Whatever a network raises for the images is named by its type."""
    with pytest.raises(NetworkError, match=rf"shape \(7, 1, 8, 8\): {type(error).__name__}"):
        train(Failing(error), small_dataset())


@pytest.mark.parametrize("with_gradients", [False, True])
@pytest.mark.parametrize(("size", "remedy"), [(8, "lower the batch size"), (1, "use smaller")])
def test_too_little_memory(with_gradients: bool, size: int, remedy: str) -> None:
    """Memory that runs out, at once or in the first step, is told; one image cannot be fewer."""
    network = Failing(torch.OutOfMemoryError("out of memory"), with_gradients)
    with pytest.raises(NetworkError, match=f"memory ran out.*; {remedy}"):
        train(network, small_dataset(), batch_size=size)


def test_weights_of_another_precision() -> None:
    """Weights that are not float32 are told, with what to do."""
    with pytest.raises(NetworkError, match=r"weights of float64.*train network\.float\(\)"):
        train(small_network().double(), small_dataset())
