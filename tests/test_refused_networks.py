"""What cannot be scored is refused by name, and the network is always given back as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scored_networks import (
    ChangesItsInput,
    ChangesItsInputUnruled,
    MixesImages,
    MixesImagesWithWeights,
    Scaled,
    Shifted,
    TiedFunctionally,
    Twice,
    around,
    built,
    images_of,
)
from torch import Tensor, nn

from pymoo_nas.errors import NetworkError, ScoreError
from pymoo_nas.kernels import measure_kernels
from pymoo_nas.kernels._layer_plan import Steps


def state(network: nn.Module) -> dict[str, object]:
    """All that must be as it was afterwards."""
    return {
        "values": copy.deepcopy(network.state_dict()),
        "trained": [p.requires_grad for p in network.parameters()],
        "gradients": [p.grad for p in network.parameters()],
        "modes": [module.training for module in network.modules()],
        "momenta": [getattr(module, "momentum", None) for module in network.modules()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in network.modules()
        ],
    }


def assert_same_state(network: nn.Module, before: dict[str, object]) -> None:
    after = state(network)
    values, expected = after.pop("values"), dict(before)
    for name, value in expected.pop("values").items():
        assert torch.equal(values[name], value), name
    assert after == expected


@pytest.mark.parametrize("options", [{}, {"steps": Steps(1, 1)}, {"max_memory": 1 << 28}], ids=str)
def test_network_is_given_back_as_it_was(options: dict[str, Any]) -> None:
    """Weights, buffers, modes, momenta, what is trained and hooks are as before."""
    network = built(lambda: around(nn.BatchNorm2d(4, momentum=0.3), Twice(), Scaled()))
    network.train()
    network[1].eval()
    network[0].weight.requires_grad_(False)
    images = images_of(4, 3, 6)
    network(images)
    before, pixels, random = state(network), images.clone(), torch.get_rng_state()
    measure_kernels(network, images, **options, check=True)
    assert_same_state(network, before)
    assert torch.equal(images, pixels)
    assert torch.equal(torch.get_rng_state(), random)


class Fails(nn.Module):
    """Raises in its n-th call, forward or backward."""

    def __init__(self, call: int, error: Exception, backward: bool = False) -> None:
        super().__init__()
        self.call, self.error, self.backward = call, error, backward

    def fail(self, _: Tensor) -> None:
        raise self.error

    def forward(self, x: Tensor) -> Tensor:
        self.call -= 1
        if self.call == 0 and not self.backward:
            raise self.error
        if self.backward and x.requires_grad:
            x.register_hook(self.fail)
        return x * 1


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(
    "error", [KeyError("strange"), RuntimeError("shape")], ids=["key", "shape"]
)
def test_network_is_given_back_after_an_error(call: int, backward: bool, error: Exception) -> None:
    """Whatever a network raises in either pass, forward or backward, no hook stays behind."""
    network = built(lambda: around(nn.BatchNorm2d(4), Scaled(), Fails(call, error, backward)))
    before = state(network)
    with pytest.raises(NetworkError, match=f"{type(error).__name__}: .*{error.args[0]}"):
        measure_kernels(network, images_of(4, 3, 6))
    assert_same_state(network, before)
    seen = torch.overrides._get_current_function_mode_stack()
    assert not seen


IMAGES = images_of(4, 3, 6)


class Returns(nn.Module):
    """Returns whatever a function makes of the logits."""

    def __init__(self, change: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.body, self.change = around(nn.ReLU()), change

    def forward(self, x: Tensor) -> object:
        return self.change(self.body(x))


REFUSED: dict[str, tuple[Callable[[], nn.Module], Tensor, type[Exception], str]] = {
    "no tensor": (around, [[1.0]], ScoreError, "list"),
    "three dimensions": (around, IMAGES[0], ScoreError, r"\(N, C, H, W\)"),
    "integers": (around, IMAGES.byte(), ScoreError, "floating point.*uint8"),
    "one image": (around, IMAGES[:1], ScoreError, "at least 2"),
    "no image": (around, IMAGES[:0], ScoreError, "at least 2"),
    "NaN": (around, IMAGES / 0 * 0, ScoreError, "NaN or infinite"),
    "infinite": (around, IMAGES / 0, ScoreError, "NaN or infinite"),
    "other dtype": (around, IMAGES.double(), ScoreError, "'0.weight' is .*float32 on cpu.*float64"),
    "one other dtype": (
        lambda: around(nn.Conv2d(4, 4, 1).double()),
        IMAGES,
        ScoreError,
        "parameter '1.weight' is torch.float64",
    ),
    "complex": (
        lambda: around(nn.Conv2d(4, 4, 1, dtype=torch.complex64)),
        IMAGES,
        ScoreError,
        "'1.weight' is torch.complex64; expected real",
    ),
    "one number per image": (
        lambda: Returns(lambda y: y[:, 0]),
        IMAGES,
        NetworkError,
        r"got \(4,\); return one row per image",
    ),
    "other device": (lambda: around().to("meta"), IMAGES, ScoreError, "meta.*cpu"),
    "channels": (around, IMAGES[:, :1], NetworkError, r"\(4, 1, 6, 6\)"),
    "too small": (lambda: around(nn.Conv2d(4, 4, 7)), IMAGES, NetworkError, "image_size"),
    "no parameters": (nn.Flatten, IMAGES, ScoreError, "no trainable parameters"),
    "nothing trained": (
        lambda: around().requires_grad_(False),
        IMAGES,
        ScoreError,
        "no trainable parameters",
    ),
    "maps": (
        lambda: nn.Conv2d(3, 2, 1),
        IMAGES,
        NetworkError,
        r"\(4, n_classes\), got \(4, 2, 6, 6\)",
    ),
    "no batch": (lambda: Returns(lambda y: y.sum(0)), IMAGES, NetworkError, r"got \(3,\)"),
    "other batch": (lambda: Returns(lambda y: y[1:]), IMAGES, NetworkError, r"got \(3, 3\)"),
    "tuple": (lambda: Returns(lambda y: (y, y)), IMAGES, NetworkError, "got tuple"),
    "dictionary": (lambda: Returns(lambda y: {"out": y}), IMAGES, NetworkError, "got dict"),
    "batch norm of the batch": (
        lambda: around(nn.BatchNorm2d(4, track_running_stats=False)),
        IMAGES,
        ScoreError,
        "layer '1'.*track_running_stats=True",
    ),
    "mixed images": (lambda: around(MixesImages()), IMAGES, ScoreError, "'1' .MixesImages"),
    "mixed images, weights": (
        lambda: around(MixesImagesWithWeights(), nn.ReLU()),
        IMAGES,
        ScoreError,
        "MixesImagesWithWeights",
    ),
    "weight used elsewhere": (
        lambda: around(TiedFunctionally()),
        IMAGES,
        ScoreError,
        "parameter '1.conv.weight'",
    ),
    "input changed": (lambda: around(ChangesItsInput()), IMAGES, ScoreError, "Conv2d.*in place"),
    "input changed, own layer": (
        lambda: around(ChangesItsInputUnruled(Shifted())),
        IMAGES,
        ScoreError,
        "Shifted.*in place",
    ),
    "input changed, seen by autograd": (
        lambda: around(ChangesItsInputUnruled(Scaled())),
        IMAGES,
        NetworkError,
        "differentiated.*out of place",
    ),
    "ReLU of tokens first": (
        lambda: Returns(lambda y: F.relu(y.T).T),
        IMAGES,
        ScoreError,
        r"ReLU .*\(3, 4\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_scored_is_refused(case: str) -> None:
    """Networks and images that cannot be scored are refused with what is wrong and where."""
    build, images, error, message = REFUSED[case]
    with pytest.raises(error, match=f"(?s){message}"):
        measure_kernels(built(build), images, check=True)


@pytest.mark.parametrize(
    "case", ["mixed images, weights", "input changed", "input changed, own layer"]
)
def test_refused_without_a_check_too(case: str) -> None:
    """Layers whose own gradients would be wrong are refused in every pass."""
    build, images, error, _ = REFUSED[case]
    with pytest.raises(error):
        measure_kernels(built(build), images)
