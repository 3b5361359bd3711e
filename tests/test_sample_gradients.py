"""Per-sample gradients of single layers, against autograd one sample at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from autograd_reference import relative_error
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_networks import built
from torch import Tensor, nn

from pymoo_nas.errors import ScoreError
from pymoo_nas.kernels import _sample_gradients as sample_gradients
from pymoo_nas.kernels._sample_gradients import (
    RULES,
    by_vjp,
    has_cheaper_gram,
    positions,
    tensors,
    weight_gram,
)

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
relaxed = settings(max_examples=40)


def randn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def output_gradient(layer: nn.Module, a: Tensor) -> Tensor:
    with torch.no_grad():
        return randn(*layer(a).shape, seed=1)


def loop(layer: nn.Module, name: str, a: Tensor, g: Tensor) -> Tensor:
    """(N, P), one backward pass per sample."""
    parameter = layer.get_parameter(name)
    rows = [
        torch.autograd.grad(layer(a[i : i + 1]), parameter, g[i : i + 1])[0].flatten()
        for i in range(len(a))
    ]
    return torch.stack(rows)


def assert_rules_match(layer: nn.Module, a: Tensor, columns: int) -> None:
    """Every rule of a layer, and the products of its weight, agree with the loop."""
    layer = layer.double().eval()
    g = output_gradient(layer, a)
    for name, _ in layer.named_parameters():
        expected = loop(layer, name, a, g)
        blocks = list(RULES[type(layer)][name](layer, a, g, columns))
        assert relative_error(torch.cat(blocks, 1).detach(), expected) < 1e-12
    if type(layer) in (nn.Conv2d, nn.Linear) and getattr(layer, "groups", 1) == 1:
        rows = loop(layer, "weight", a, g)
        gram = weight_gram(layer, a, g)
        assert gram.dtype == torch.float64
        assert relative_error(gram.detach(), rows @ rows.T) < 1e-12


@pytest.mark.parametrize("columns", [1, 1000])
def test_layers_of_numpy_sizes(columns: int) -> None:
    """Torch takes integers of numpy as sizes of layers, and so does every rule."""
    one, two, three, four = map(np.int64, (1, 2, 3, 4))
    assert_rules_match(nn.Linear(four, three), randn(3, 2, 4), columns)
    assert_rules_match(nn.Conv2d(four, two, three), randn(3, 4, 5, 5), columns)
    assert_rules_match(nn.Conv2d(four, two, one), randn(3, 4, 5, 5), columns)
    grouped = nn.Conv2d(four, four, three, stride=two, padding=one, groups=two)
    assert_rules_match(grouped, randn(3, 4, 5, 5), columns)
    assert_rules_match(nn.BatchNorm2d(four), randn(3, 4, 5, 5), columns)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Module, Tensor, int]:
    """A convolution with any options, an input that it takes, and a block size."""
    n_dims = draw(st.sampled_from([1, 2, 2, 2, 3]))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    inputs = groups * draw(st.integers(1, 5))
    outputs = groups * draw(st.integers(1, 5))
    if draw(st.booleans()):  # depthwise, with or without a multiplier
        groups, outputs = inputs, inputs * draw(st.integers(1, 2))
    each = st.integers(1, 3)
    kernel = tuple(draw(each) for _ in range(n_dims))
    dilation = tuple(draw(st.integers(1, 2)) for _ in range(n_dims))
    stride = tuple(draw(each) for _ in range(n_dims))
    padding: Any = draw(st.sampled_from(["same", "valid", "number"]))
    if padding == "same":
        stride = (1,) * n_dims
    elif padding == "number":
        padding = tuple(draw(st.integers(0, 2)) for _ in range(n_dims))
    modes = ["zeros", "circular", "reflect", "replicate"]
    layer = CONVOLUTIONS[n_dims](
        inputs,
        outputs,
        kernel,
        stride,
        padding,
        dilation,
        groups,
        bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(modes)),
    )
    size = [draw(st.integers(5, 7)) for _ in range(n_dims)]
    a = randn(draw(st.integers(1, 4)), inputs, *size, seed=draw(st.integers(0, 99)))
    return layer, a, draw(st.sampled_from([1, 20, 1 << 16]))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@relaxed
@given(convolutions())
def test_convolution(case: tuple[nn.Module, Tensor, int]) -> None:
    """Convolutions of any dimension, stride, padding, dilation and grouping match autograd."""
    assert_rules_match(*case)


@pytest.mark.parametrize("channels", [7, 8, 9, 16])
@pytest.mark.parametrize("outputs", [7, 8, 9])
@pytest.mark.parametrize("columns", [1, 100, 1 << 16])
def test_convolution_channels_around_multiples_of_8(
    channels: int, outputs: int, columns: int
) -> None:
    """Channels that are padded for speed leave no trace in the gradients."""
    layer = built(lambda: nn.Conv2d(channels, outputs, 3, padding=1))
    assert_rules_match(layer, randn(3, channels, 4, 5), columns)


@relaxed
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    features=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    bias=st.booleans(),
    columns=st.sampled_from([1, 7, 1 << 16]),
)
def test_linear(shape: list[int], features: tuple[int, int], bias: bool, columns: int) -> None:
    """Linear layers on (N, F), (N, T, F) and (N, H, W, F) match autograd."""
    layer = built(lambda: nn.Linear(*features, bias=bias))
    assert_rules_match(layer, randn(*shape, features[0]), columns)


@relaxed
@given(n_dims=st.integers(0, 3), channels=st.integers(1, 5), n=st.integers(1, 4))
def test_batch_norm(n_dims: int, channels: int, n: int) -> None:
    """Frozen batch norms with any statistics match autograd."""
    layer = NORMS[n_dims](channels)
    layer.running_mean = randn(channels, seed=2)
    layer.running_var = randn(channels, seed=3).abs() + 0.1
    assert_rules_match(layer, randn(n, channels, *(3,) * n_dims), 100)


@relaxed
@given(
    outer=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    normalized=st.lists(st.integers(2, 4), min_size=1, max_size=2),
    bias=st.booleans(),
)
def test_layer_norm(outer: list[int], normalized: list[int], bias: bool) -> None:
    """Layer norms over one or more trailing dimensions match autograd."""
    assert_rules_match(nn.LayerNorm(normalized, bias=bias), randn(*outer, *normalized), 100)


@relaxed
@given(groups=st.integers(1, 3), per_group=st.integers(1, 3), size=st.lists(st.integers(2, 4)))
def test_group_norm(groups: int, per_group: int, size: list[int]) -> None:
    """Group norms on maps of any dimension match autograd."""
    size = size[:3] or [2]
    assert_rules_match(
        nn.GroupNorm(groups, groups * per_group), randn(2, groups * per_group, *size), 100
    )


def test_batch_norm_without_statistics_is_refused() -> None:
    """A batch norm that keeps no statistics has no rule and says so."""
    layer = nn.BatchNorm2d(2, track_running_stats=False)
    a = torch.ones(2, 2, 3, 3)
    with pytest.raises(ScoreError, match="track_running_stats=True"):
        list(RULES[nn.BatchNorm2d]["weight"](layer, a, a, 10))


def test_blocks_are_at_most_as_wide_as_asked() -> None:
    """A rule yields as many columns at once as asked, and together all of them."""
    layer = nn.Conv2d(2, 6, 3)
    a = randn(2, 2, 5, 5).float()
    g = output_gradient(layer, a).float()
    widths = [block.shape[1] for block in RULES[nn.Conv2d]["weight"](layer, a, g, 40)]
    assert widths == [36, 36, 36]  # two outputs of 18 weights fit into 40
    tokens = randn(2, 4).float()
    linear = RULES[nn.Linear]["weight"](nn.Linear(4, 3), tokens, randn(2, 3).float(), 5)
    assert [block.shape[1] for block in linear] == [4, 4, 4]


def test_gram_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The products of few positions are the same when they are formed a few images at a time."""
    layer = built(lambda: nn.Conv2d(3, 4, 3, padding=1)).double()
    a = randn(5, 3, 2, 2)
    g = output_gradient(layer, a)
    whole = weight_gram(layer, a, g)
    monkeypatch.setattr(sample_gradients, "GRAM_ENTRIES", 2 * 5 * 4 * 4)  # two of five images
    torch.testing.assert_close(weight_gram(layer, a, g), whole, rtol=1e-14, atol=0)


@pytest.mark.parametrize("n", [1, 2, 63, 64, 1000])
def test_cheaper_gram_depends_on_the_whole_batch(n: int) -> None:
    """A piece of a batch is treated as the whole is: N T² (d + o) against d o (T + N)."""
    layer = nn.Conv2d(8, 16, 3)
    expected = n * 4 * 4 * (72 + 16) < 72 * 16 * (4 + n)
    for piece in (1, 2, n):
        assert has_cheaper_gram(layer, torch.ones(piece, 16, 2, 2), n) == expected


def test_cheaper_gram_is_for_dense_weights_only() -> None:
    """Grouped convolutions, norms and subclasses always form their gradients."""
    g = torch.ones(2, 64, 1, 1)
    assert has_cheaper_gram(nn.Conv2d(64, 64, 3), g, 2)
    assert has_cheaper_gram(nn.Linear(64, 64), torch.ones(2, 64), 2)
    assert not has_cheaper_gram(nn.Conv2d(64, 64, 3, groups=2), g, 2)
    assert not has_cheaper_gram(nn.BatchNorm2d(64), g, 2)
    assert not has_cheaper_gram(type("Own", (nn.Linear,), {})(64, 64), torch.ones(2, 64), 2)


def test_positions() -> None:
    """A convolution counts pixels, a linear layer tokens."""
    assert positions(nn.Conv2d(1, 3, 1), torch.ones(2, 3, 4, 5)) == 20
    assert positions(nn.Linear(1, 3), torch.ones(2, 7, 3)) == 7
    assert positions(nn.Linear(1, 3), torch.ones(2, 3)) == 1


VJP_CASES = {
    "convolution": (lambda: nn.Conv2d(2, 3, 3), (4, 2, 5, 5)),
    "transposed convolution": (lambda: nn.ConvTranspose2d(2, 3, 3), (4, 2, 5, 5)),
    "bilinear in one input": (lambda: nn.GRU(3, 2, batch_first=True), (4, 5, 3)),
    "several layers": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), (4, 3)),
    "in place": (lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2)), (4, 3)),
}


@pytest.mark.parametrize("case", VJP_CASES)
def test_fallback(case: str) -> None:
    """The fallback gives any module's gradients, and leaves its input as it is."""
    make, shape = VJP_CASES[case]
    module = built(make).double()
    a = randn(*shape)
    before = a.clone()
    g = randn(*next(tensors(module(a.clone()))).shape, seed=1)
    names = [name for name, _ in module.named_parameters()]
    rows = by_vjp(module, names, ((a,), {}), {0: g}, len(a))
    assert torch.equal(a, before)
    for name in names:
        for i in range(len(a)):
            output = next(tensors(module(a[i : i + 1].clone())))
            (expected,) = torch.autograd.grad(output, module.get_parameter(name), g[i : i + 1])
            torch.testing.assert_close(rows[name][i], expected.flatten(), rtol=1e-12, atol=1e-14)


def test_fallback_with_samples_in_the_second_dimension() -> None:
    """Recurrent layers that take (T, N, F) are split along N."""
    module = built(lambda: nn.LSTM(3, 2)).double()
    a, g = randn(5, 4, 3), randn(5, 4, 2, seed=1)
    rows = by_vjp(module, ["weight_hh_l0"], ((a,), {}), {0: g}, 4, batch_dim=1)["weight_hh_l0"]
    for i in range(4):
        (expected,) = torch.autograd.grad(
            module(a[:, i : i + 1])[0], module.weight_hh_l0, g[:, i : i + 1]
        )
        torch.testing.assert_close(rows[i], expected.flatten())


def test_fallback_of_a_parameter_that_is_not_used() -> None:
    """A parameter that has no influence has gradients of zero, not none."""
    module = nn.Linear(2, 1)
    module.register_parameter("unused", nn.Parameter(torch.ones(3)))
    rows = by_vjp(module, ["unused"], ((torch.ones(4, 2),), {}), {0: torch.ones(4, 1)}, 4)
    assert torch.equal(rows["unused"], torch.zeros(4, 3))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_fallback_of_several_outputs(kind: type[nn.Module]) -> None:
    """Sequence and last states of a recurrent layer have the samples in different dimensions."""
    module = built(lambda: kind(3, 2, num_layers=2, batch_first=True)).double()
    a = randn(4, 5, 3)
    gradients = {i: randn(*one.shape, seed=i) for i, one in enumerate(tensors(module(a)))}
    rows = by_vjp(module, ["weight_hh_l1"], ((a,), {}), gradients, 4)["weight_hh_l1"]
    for i in range(4):
        states = [g[:, i : i + 1] for place, g in gradients.items() if place > 0]
        (expected,) = torch.autograd.grad(
            list(tensors(module(a[i : i + 1]))),
            module.weight_hh_l1,
            [gradients[0][i : i + 1], *states],
        )
        torch.testing.assert_close(rows[i], expected.flatten())


def test_fallback_refuses_samples_that_cannot_be_told_apart() -> None:
    """A layer that returns another shape for one sample than its part of several is named."""

    class Mean(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).mean(0)

    module = Mean(2, 3)
    with pytest.raises(ScoreError, match=r"Mean: .*\(3,\) for one"):
        by_vjp(module, ["weight"], ((torch.ones(4, 2),), {}), {0: torch.ones(2)}, 4)


def test_tensors() -> None:
    """Tensors are found in nested tuples, lists and mappings, in order."""
    x, y = torch.ones(2), torch.zeros(2)
    assert [id(t) for t in tensors(({"a": x}, [y, None], "text"))] == [id(x), id(y)]


def test_every_ruled_parameter_has_a_rule() -> None:
    """No layer of the table has a parameter that its rules forget."""
    layers = [
        *(kind(2, 2, 1) for kind in CONVOLUTIONS.values()),
        *(kind(2) for kind in {*NORMS.values(), nn.LayerNorm}),
        nn.Linear(2, 2),
        nn.GroupNorm(1, 2),
    ]
    assert {type(layer) for layer in layers} == set(RULES)
    for layer in layers:
        assert set(RULES[type(layer)]) == dict(layer.named_parameters()).keys()
