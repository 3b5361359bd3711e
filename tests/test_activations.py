"""Signs of pre-activations, whoever computes the activation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pymoo_nas.kernels._activations import ReluCalls, depends_on


def heard(call: Callable[[Tensor], object], x: Tensor) -> list[Tensor]:
    """What is recorded while a function is called on x."""
    seen: list[Tensor] = []
    with ReluCalls(lambda tensor: seen.append(tensor.detach().clone())):
        call(x)
    return seen


MODULES = [
    nn.ReLU(),
    nn.ReLU(inplace=True),
    nn.ReLU6(),
    nn.ReLU6(inplace=True),
    nn.LeakyReLU(),
    nn.LeakyReLU(inplace=True),
    nn.PReLU(),
    nn.ELU(),
    nn.ELU(inplace=True),
    nn.SELU(),
    nn.SELU(inplace=True),
    nn.CELU(),
    nn.CELU(inplace=True),
    nn.GELU(),
    nn.GELU(approximate="tanh"),
    nn.SiLU(),
    nn.SiLU(inplace=True),
    nn.Mish(),
    nn.Hardswish(),
    nn.Hardswish(inplace=True),
    nn.RReLU().eval(),
    nn.Threshold(0, 0),
    nn.Threshold(0, 0, inplace=True),
    nn.Hardtanh(0, 1),
]
FUNCTIONS = {
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "F.relu_": F.relu_,
    "F.relu by keyword": lambda x: F.relu(input=x),
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda x: x.relu(),
    "Tensor.relu_": lambda x: x.relu_(),
    "Tensor.clip": lambda x: x.clip(min=0),
    "Tensor.clip_": lambda x: x.clip_(0),
    "torch.clip": lambda x: torch.clip(x, 0, 6),
    "clamp by a tensor": lambda x: x.clamp(min=torch.zeros(())),
    "torch.maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "torch.max": lambda x: torch.max(x, torch.zeros(1)),
    "Tensor.maximum by keyword": lambda x: x.maximum(other=torch.zeros(1)),
    "Tensor.clamp": lambda x: x.clamp(min=0),
    "Tensor.clamp_": lambda x: x.clamp_(0),
    "Tensor.clamp_min": lambda x: x.clamp_min(0),
    "torch.clamp": lambda x: torch.clamp(x, 0, 6),
    "torch.clamp_min": lambda x: torch.clamp_min(x, 0),
    "F.hardtanh": lambda x: F.hardtanh(x, min_val=0.0, max_val=6.0),
    "F.relu6": F.relu6,
    "torch.selu": torch.selu,
    "torch.celu": torch.celu,
}
SILENT = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hardtanh": F.hardtanh,
    "clamp from above": lambda x: x.clamp(max=1),
    "clamp to [-1, 1]": lambda x: x.clamp(-1, 1),
    "clamp by another tensor": lambda x: torch.clamp(x, min=torch.ones(3)),
    "the largest of a row": lambda x: torch.max(x, 0),
    "addition": lambda x: x + 1,
    "max pooling": lambda x: F.max_pool1d(x[None], 1),
}


@pytest.fixture
def x() -> Tensor:
    return torch.tensor([[-2.0, 0.0, 3.0], [1.0, -1.0, 8.0]])


@pytest.mark.parametrize("module", MODULES)
def test_modules(module: nn.Module, x: Tensor) -> None:
    """Every ReLU-like module is heard exactly once, before it changes anything."""
    before = x.clone()
    seen = heard(module, x)
    assert len(seen) == 1
    assert torch.equal(seen[0], before)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str, x: Tensor) -> None:
    """Every ReLU written as a function or a method is heard exactly once."""
    before = x.clone()
    seen = heard(FUNCTIONS[name], x)
    assert len(seen) == 1
    assert torch.equal(seen[0], before)


@pytest.mark.parametrize("name", SILENT)
def test_what_is_no_relu(name: str, x: Tensor) -> None:
    """Other functions are not heard."""
    assert heard(SILENT[name], x) == []


def test_results_are_unchanged(x: Tensor) -> None:
    """Listening changes neither the result nor the gradient."""
    module = nn.Sequential(nn.SiLU(), nn.ReLU())
    plain = x.clone().requires_grad_(True)
    module(plain).sum().backward()
    listened = x.clone().requires_grad_(True)
    with ReluCalls(lambda _: None):
        module(listened).sum().backward()
    assert torch.equal(plain.grad, listened.grad)


def test_a_module_called_twice_is_heard_twice(x: Tensor) -> None:
    """A ReLU that is shared between two places has two sets of units."""
    relu = nn.ReLU()
    seen = heard(lambda x: relu(-relu(x)), x)
    assert len(seen) == 2
    assert torch.equal(seen[1], -x.clamp_min(0))


def test_nothing_is_heard_afterwards(x: Tensor) -> None:
    """After the block, also after an error in it, nobody listens."""
    seen: list[Tensor] = []
    with pytest.raises(ZeroDivisionError), ReluCalls(seen.append):
        raise ZeroDivisionError
    F.relu(x)
    assert seen == []


def test_depends_on() -> None:
    """A tensor depends on what autograd would carry a gradient to."""
    images, other = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    assert depends_on((images * other).relu(), images)
    assert depends_on(images * 1, other, images)
    assert not depends_on(other * 2, images)
    assert not depends_on(images.detach() * other, images)
    assert not depends_on(torch.ones(2), images)
