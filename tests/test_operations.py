"""Candidate operations: what they keep, what a table takes, and one of a user's own."""

import operator
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pymoo.optimize import minimize
from torch import Tensor, nn

from pymoo_nas.errors import OperationError, PymooNasError
from pymoo_nas.networks import (
    OPERATIONS,
    PAPER_OPERATIONS,
    AveragePooling,
    build_operation,
    operation_table,
)
from pymoo_nas.networks._operations import (
    SEPARATORS,
    Gate,
    ResidualBlock,
    SkipConnection,
    average_pooling,
    max_pooling,
    separable7x7,
)
from pymoo_nas.search import EvolutiveNAS, NASProblem
from pymoo_nas.spaces import CellSpace, Genotype

EVERY = pytest.mark.parametrize("name", OPERATIONS)


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


pytestmark = pytest.mark.usefixtures("seeded_weights")


# The package's operations


@EVERY
@settings(max_examples=25)
@given(
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    c_in=st.integers(1, 9),
    c_out=st.integers(1, 9),
)
def test_keeps_size(name: str, size: tuple[int, int], c_in: int, c_out: int) -> None:
    """Height and width are kept, square or not, and the channels are those asked for."""
    module = OPERATIONS[name](c_in, c_out)
    assert module(random_images(2, c_in, *size)).shape == (2, c_out, *size)


def test_kernel_7_on_small_maps() -> None:
    """The depthwise kernel of 7 is used on 4×4 maps, and on smaller ones."""
    module = separable7x7(3, 5)
    convolution = module.get_submodule("0")
    assert isinstance(convolution, nn.Conv2d)
    assert (convolution.kernel_size, convolution.groups) == ((7, 7), 3)
    for size in (4, 2, 1):
        assert module(random_images(2, 3, size, size)).shape == (2, 5, size, size)


@EVERY
@pytest.mark.parametrize("channels", [(3, 5), (4, 4)])
def test_pickles(name: str, channels: tuple[int, int]) -> None:
    """The factory and the module it makes travel by pickle and compute the same afterwards."""
    factory = pickle.loads(pickle.dumps(OPERATIONS[name]))
    module = factory(*channels).eval()
    images = random_images(2, channels[0], 5, 6)
    assert torch.equal(pickle.loads(pickle.dumps(module))(images), module(images))


@EVERY
def test_every_weight_has_a_gradient(name: str) -> None:
    """Every parameter takes part in the output."""
    module = OPERATIONS[name](3, 4)
    (module(random_images(4, 3, 5, 5)) ** 2).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_fig1_operations() -> None:
    """The paper's space is, in this order, convolution, residual block, max and average pooling."""
    assert PAPER_OPERATIONS == ("conv3x3", "residual3x3", "max_pool3x3", "avg_pool3x3")
    assert tuple(operation_table()) == PAPER_OPERATIONS


def test_read_only_table() -> None:
    """The package's table cannot be changed by accident."""
    with pytest.raises(TypeError):
        OPERATIONS["mine"] = SkipConnection  # type: ignore[index]


def test_skip_is_identity() -> None:
    """A skip connection is the identity where the channels allow it, else a 1×1 convolution."""
    images = random_images(2, 3, 5, 5)
    assert SkipConnection(3, 3)(images) is images
    assert [type(part) for part in SkipConnection(3, 4)] == [nn.Conv2d, nn.BatchNorm2d]


def test_pooling_against_loop() -> None:
    """Pooling takes the mean and the largest of each pixel's 3×3 surroundings."""
    images = random_images(1, 1, 4, 5)
    highest = max_pooling(1, 1)(images)
    mean = average_pooling(1, 1)(images)
    for row in range(4):
        for column in range(5):
            window = images[0, 0, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            assert highest[0, 0, row, column] == window.max()
            # The frame of zeros counts: always nine pixels.
            torch.testing.assert_close(mean[0, 0, row, column], window.sum() / 9)


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_average_pooling_with_gradient(include: bool, memory_format: torch.memory_format) -> None:
    """Where a gradient is wanted, means and gradients are those of torch's average pooling."""
    pooling = AveragePooling(count_include_pad=include)
    images = random_images(2, 3, 5, 4).double().contiguous(memory_format=memory_format)
    images.requires_grad_(True)
    means = pooling(images)
    expected = nn.AvgPool2d(3, 1, 1, count_include_pad=include)(images)
    if torch.backends.mkldnn.is_available():
        assert "AvgPool" not in type(means.grad_fn).__name__
    torch.testing.assert_close(means, expected)
    upstream = random_images(2, 3, 5, 4).double()
    (got,) = torch.autograd.grad(means, images, upstream)
    (wanted,) = torch.autograd.grad(expected, images, upstream)
    torch.testing.assert_close(got, wanted)
    with torch.no_grad():
        assert torch.equal(pooling(images), expected)


def test_average_pooling_in_half_precision() -> None:
    """In bfloat16 the convolution is as close to the true means as torch's pooling is."""
    images = random_images(2, 8, 6, 6).bfloat16().requires_grad_(True)
    truth = nn.AvgPool2d(3, 1, 1)(images.double())
    means = average_pooling(8, 8)(images)
    assert means.dtype == torch.bfloat16
    torch.testing.assert_close(means.double(), truth, rtol=2**-7, atol=2**-10)


def test_residual_block_adds_its_shortcut() -> None:
    """A residual block whose branch returns zeros is the ReLU of its input."""
    block = ResidualBlock(3, 3).eval()
    last = block.branch.get_submodule("4")
    assert isinstance(last, nn.BatchNorm2d)
    nn.init.zeros_(last.weight)
    images = random_images(2, 3, 4, 4)
    torch.testing.assert_close(block(images), images.relu())


def test_gate_sees_the_whole_map() -> None:
    """The gate is the sigmoid of a linear map of the global average, one number per channel."""
    gate = Gate(3, 4).eval()
    images = random_images(2, 3, 4, 5)
    expected = gate.local(images).clone()
    for image in range(2):
        average = torch.stack([images[image, channel].mean() for channel in range(3)])
        shares = 1 / (1 + torch.exp(-(gate.linear.weight @ average + gate.linear.bias)))
        for channel in range(4):
            expected[image, channel] *= shares[channel]
    torch.testing.assert_close(gate(images), expected)


# Tables


def test_table_keeps_the_order() -> None:
    """A table has the order in which names or a dictionary give it."""
    assert list(operation_table(["skip", "conv3x3"])) == ["skip", "conv3x3"]
    assert list(operation_table("gate, skip")) == ["gate", "skip"]
    mine = {"b": SkipConnection, "a": Gate}
    table = operation_table(mine)
    assert list(table) == ["b", "a"]
    assert table is not mine


@pytest.mark.parametrize("names", [["conv9x9"], "conv3x3,conv9x9", ["conv3x3", ""], [3], [Gate]])
def test_unknown_name(names: Any) -> None:
    """An unknown name is refused with the names there are and how to bring one's own."""
    with pytest.raises(OperationError, match=r"is unknown; expected one of conv3x3, .*dictionary"):
        operation_table(names)


@pytest.mark.parametrize(
    ("operations", "match"),
    [
        ([], "none given"),
        ({}, "none given"),
        (["skip", "gate", "skip"], "given twice"),
        ({"mine": 3}, "expected a factory"),
        ({"mine": nn.Identity()}, None),
        ({3: Gate}, "expected a name that is text"),
        ({" ": Gate}, "expected a name that is text"),
        *[({f"a{mark}b": Gate}, "without any of") for mark in SEPARATORS],
    ],
)
def test_unusable_table(operations: Any, match: str | None) -> None:
    """No operation, a name twice, an unusable name or something that cannot be called is refused.

    A module can be called, so it counts as a factory until it is asked for channels.
    """
    if match is None:
        ((name, factory),) = operation_table(operations).items()
        with pytest.raises(OperationError, match="'mine' with 3 input and 4 output channels"):
            build_operation(name, factory, 3, 4)
        return
    with pytest.raises(OperationError, match=match) as caught:
        operation_table(operations)
    assert isinstance(caught.value, PymooNasError)


@pytest.mark.parametrize(
    "error", [ValueError, TypeError, RuntimeError, AssertionError, ZeroDivisionError]
)
def test_factory_that_raises(error: type[Exception]) -> None:
    """A factory that cannot make the channels is named with them, the cause is kept."""

    def picky(c_in: int, c_out: int) -> nn.Module:
        raise error("only even numbers")

    with pytest.raises(
        OperationError, match="'picky' with 3 input and 5 output channels: only even numbers"
    ) as caught:
        build_operation("picky", picky, 3, 5)
    assert isinstance(caught.value.__cause__, error)


def test_factory_that_returns_no_module() -> None:
    """A factory that returns something else than a module is named with what it returned."""
    with pytest.raises(OperationError, match=r"'wrong': expected an nn\.Module, got 8"):
        build_operation("wrong", operator.add, 3, 5)


# An operation of a user's own


class SelfAttention(nn.Module):
    """Every pixel attends to every other; heads of one channel, projected to c_out."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.queries_keys_values = nn.Conv2d(c_in, 3 * c_out, 1)
        self.projection = nn.Sequential(nn.Conv2d(c_out, c_out, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """(N, c_in, H, W) → (N, c_out, H, W)."""
        query, key, value = self.queries_keys_values(x).flatten(2).chunk(3, dim=1)
        attention = torch.softmax(query.transpose(1, 2) @ key / query.shape[1] ** 0.5, dim=2)
        mixed = (value @ attention.transpose(1, 2)).unflatten(2, x.shape[2:])
        projected: Tensor = self.projection(mixed)
        return projected


def attention_space() -> CellSpace:
    return CellSpace(
        {"conv3x3": OPERATIONS["conv3x3"], "attention": SelfAttention}, max_channels=8, n_cells=2
    )


def test_own_operation_is_trained() -> None:
    """A network with a user's self-attention is built, and one step lowers its loss."""
    network = attention_space().build(Genotype.parse("40|04|04"), 1, 3)
    assert sum(isinstance(module, SelfAttention) for module in network.modules()) == 4
    images, labels = random_images(8, 1, 6, 7), torch.arange(8) % 3
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    losses = []
    for _ in range(2):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]


def test_own_operation_is_scored_and_searched() -> None:
    """A search over a user's self-attention scores candidates that use it."""
    problem = NASProblem("digits", search_space=attention_space(), n_images=16)
    result = minimize(problem, EvolutiveNAS(2, 4), ("n_gen", 2), seed=1)
    scored = result.algorithm.scored
    reasons = [
        individual.get("degenerate")
        for individual in scored
        if any(block[1] for block in individual.X[0].blocks)
    ]
    # Tiny candidates may be degenerate for their kernels, none because of the operation.
    assert "" in reasons
    assert not any("attention" in reason for reason in reasons)
    assert all(np.isfinite(individual.F).all() for individual in scored)
    assert result.F.shape[1] == 3


def test_own_operation_that_changes_the_size() -> None:
    """An operation that halves the map is named when the network is used, with both shapes."""
    strided: Any = lambda c_in, c_out: nn.Conv2d(c_in, c_out, 3, stride=2, padding=1)  # noqa: E731
    network = CellSpace({"strided": strided}, n_cells=1).build(Genotype.parse("4"), 3, 2)
    with pytest.raises(OperationError, match=r"strided.*\(2, 4, 4, 4\).*expected \(2, 4, 8, 8\)"):
        network(random_images(2, 3, 8, 8))


def test_own_operation_with_other_channels() -> None:
    """An operation that ignores c_out is named when the network is used."""
    wide: Any = lambda c_in, c_out: nn.Conv2d(c_in, c_out + 1, 1)  # noqa: E731
    network = CellSpace({"wide": wide}, n_cells=1).build(Genotype.parse("4"), 3, 2)
    with pytest.raises(OperationError, match=r"wide.*expected \(2, 4, 8, 8\)"):
        network(random_images(2, 3, 8, 8))
