"""Multiply-accumulates of operations that torch's counter lacks: by hand, and as published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from scored_networks import images_of
from torch import Tensor, nn

from pymoo_nas.networks import OPERATIONS, count_flops
from pymoo_nas.networks._size import count_acts
from pymoo_nas.search import NASProblem
from pymoo_nas.spaces import CellSpace


class Calls(nn.Module):
    """A function of the image, given as 6 tokens of 4 numbers (1, 6, 4)."""

    def __init__(self, function: Callable[[Tensor], Any], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Any:
        return self.function(x.flatten(2).transpose(1, 2))


def calls(make: Callable[[], nn.Module], *others: str) -> Calls:
    """A layer, called with the tokens, or as often with them as it takes."""
    layer = make()
    return Calls(lambda x: layer(x, *(x for _ in others)), layer)


def attention(**options: Any) -> Calls:
    """Two heads of two numbers each, on 6 tokens of 4."""
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    return Calls(lambda x: layer(x, x, x, **options), layer)


ATTENTION = 3 * 6 * 4 * 4 + 2 * 2 * 6 * 6 * 2 + 6 * 4 * 4
"""Three projections, 2 heads of 6 × 6 products of 2 numbers twice, and one projection."""

BY_HAND: dict[str, tuple[Callable[[], Calls], int]] = {
    "attention": (attention, ATTENTION),
    "attention without its weights": (lambda: attention(need_weights=False), ATTENTION),
    # Attention, then 6 tokens by weights of 4 × 8 and 8 × 4.
    "transformer layer": (
        lambda: calls(lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)),
        ATTENTION + 2 * 6 * 4 * 8,
    ),
    # 6 steps; of 4 gates, by the input of 4 and by the state of 3.
    "LSTM": (lambda: calls(lambda: nn.LSTM(4, 3, batch_first=True)), 6 * 4 * 3 * (4 + 3)),
    "LSTM of two directions and layers": (
        lambda: calls(
            lambda: nn.LSTM(4, 3, num_layers=2, batch_first=True, bidirectional=True, bias=False)
        ),
        6 * 2 * 4 * 3 * ((4 + 3) + (6 + 3)),
    ),
    "GRU": (lambda: calls(lambda: nn.GRU(4, 3, batch_first=True)), 6 * 3 * 3 * (4 + 3)),
    "RNN": (lambda: calls(lambda: nn.RNN(4, 3, batch_first=True)), 6 * 3 * (4 + 3)),
    "LSTM cell": (lambda: Calls(lambda x: nn.LSTMCell(4, 3)(x[:, 0])), 4 * 3 * (4 + 3)),
    "GRU cell": (lambda: Calls(lambda x: nn.GRUCell(4, 3)(x[:, 0])), 3 * 3 * (4 + 3)),
    # For each of 6 tokens and 5 outputs: 4 × 4 by one input, then 4 by the other.
    "bilinear": (lambda: calls(lambda: nn.Bilinear(4, 4, 5), "other"), 6 * 5 * (4 * 4 + 4)),
    # 2 × 3 pixels of 4 channels each add 6 × 3 × 3 products.
    "transposed convolution": (
        lambda: Calls(
            lambda x: nn.ConvTranspose2d(4, 6, 3, stride=2)(x.transpose(1, 2).view(1, 4, 2, 3))
        ),
        6 * 4 * 6 * 9,
    ),
    "grouped convolution": (
        lambda: Calls(
            lambda x: nn.Conv2d(4, 6, 3, padding=1, groups=2)(x.transpose(1, 2).view(1, 4, 2, 3))
        ),
        6 * 6 * 2 * 9,
    ),
    # 6 steps of one token, without padding 4 remain; each of 5 outputs sums 3 × 4.
    "convolution of steps": (
        lambda: Calls(
            lambda x: torch.conv_tbc(x.transpose(0, 1), torch.randn(3, 4, 5), torch.zeros(5))
        ),
        4 * 5 * 3 * 4,
    ),
    "functional, one dimension": (
        lambda: Calls(lambda x: F.conv1d(x.transpose(1, 2), torch.randn(5, 4, 3))),
        4 * 5 * 4 * 3,
    ),
    "functional, three dimensions": (
        lambda: Calls(lambda x: F.conv3d(x.view(1, 1, 2, 3, 4), torch.randn(5, 1, 2, 2, 2))),
        1 * 2 * 3 * 5 * 8,
    ),
    "deformable convolution": (
        lambda: Calls(
            lambda x: torchvision.ops.deform_conv2d(
                x.reshape(1, 1, 4, 6), torch.zeros(1, 8, 3, 5), torch.randn(5, 1, 2, 2)
            )
        ),
        3 * 5 * 5 * 4,
    ),
    "linear layer of four dimensions": (
        lambda: Calls(lambda x: nn.Linear(4, 5)(x.view(1, 2, 3, 4))),
        6 * 4 * 5,
    ),
    "einsum": (lambda: Calls(lambda x: torch.einsum("ntc,nsc->nts", x, x)), 6 * 6 * 4),
    "sum of a batch of products": (
        lambda: Calls(lambda x: torch.baddbmm(torch.zeros(1, 6, 6), x, x.mT)),
        6 * 6 * 4,
    ),
    "batch of products, summed": (
        lambda: Calls(lambda x: torch.addbmm(torch.zeros(6, 6), x, x.mT)),
        6 * 6 * 4,
    ),
    "matrix by vector": (lambda: Calls(lambda x: x[0] @ x[0, 0]), 6 * 4),
    "matrix by vector, added": (
        lambda: Calls(lambda x: torch.addmv(torch.zeros(6), x[0], x[0, 0])),
        6 * 4,
    ),
    "outer product, added": (
        lambda: Calls(lambda x: torch.addr(torch.zeros(4, 6), x[0, 0], x[0, :, 0])),
        4 * 6,
    ),
    "dot product": (lambda: Calls(lambda x: x[0, 0].dot(x[0, 1])), 4),
    "distances": (lambda: Calls(lambda x: torch.cdist(x, x)), 6 * 6 * 4),
    # 4 heads of queries on 6 tokens, 2 heads of keys and values: each is multiplied twice.
    "keys that heads share": (
        lambda: Calls(
            lambda x: F.scaled_dot_product_attention(
                x.view(1, 1, 6, 4).expand(1, 4, 6, 4),
                x.view(1, 1, 6, 4).expand(1, 2, 6, 4),
                x.view(1, 1, 6, 4).expand(1, 2, 6, 4),
                enable_gqa=True,
            )
        ),
        4 * 2 * 6 * 6 * 4,
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", BY_HAND)
def test_layers_by_hand(name: str, dtype: torch.dtype) -> None:
    """A layer's multiply-accumulates, on one image of 2 × 3 pixels and 4 channels, are by hand."""
    make, expected = BY_HAND[name]
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        assert count_flops(make(), images_of(2, 4, (2, 3)).to(dtype)) == expected
    finally:
        torch.set_default_dtype(before)


def test_fast_path_is_given_back() -> None:
    """Counting leaves torch's switch as it was, also where the network fails."""
    for enabled in (True, False):
        torch.backends.mha.set_fastpath_enabled(enabled)
        try:
            count_flops(attention(), images_of(1, 4, (2, 3)))
            assert torch.backends.mha.get_fastpath_enabled() == enabled
        finally:
            torch.backends.mha.set_fastpath_enabled(True)


def test_poolings_of_three_dimensions_are_acts() -> None:
    """Poolings count whatever their dimensions: 12 numbers of 2 × 3 × 4, halved in one of them."""
    for pool in (nn.MaxPool3d((1, 1, 2)), nn.AvgPool3d((1, 1, 2))):
        network = Calls(lambda x, pool=pool: pool(x.view(1, 1, 2, 3, 4)))
        assert count_acts(network, images_of(1, 4, (2, 3))) == 12


FEW = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3"),
    *("mnasnet1_0", "mobilenet_v2", "mobilenet_v3_large", "resnet18", "resnet50"),
    *("resnext50_32x4d", "shufflenet_v2_x1_0", "squeezenet1_1", "swin_t", "vgg11", "vit_b_16"),
)
MANY = (
    *("convnext_base", "densenet201", "efficientnet_b4", "efficientnet_v2_s", "maxvit_t"),
    *("mnasnet0_5", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_0", "swin_v2_t"),
    *("vgg16_bn", "vit_b_32", "vit_l_16", "wide_resnet50_2"),
)


@pytest.mark.parametrize("name", [*FEW, *(pytest.param(n, marks=pytest.mark.slow) for n in MANY)])
def test_classifiers_as_published(name: str) -> None:
    """Classifiers of torchvision have the multiply-accumulates that it publishes, to all digits.

    On images of the size that its weights were tested on.
    """
    weights = torchvision.models.get_model_weights(name).DEFAULT
    size = weights.transforms().crop_size[0]
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        network = torchvision.models.get_model(name, **options)
        counted = count_flops(network, torch.zeros(1, 3, size, size)) / 1e9
    assert f"{counted:.3f}" == f"{weights.meta['_ops']:.3f}"


class PixelAttention(nn.Module):
    """Self-attention of two heads over the pixels."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(c_in, c_out, 1)
        self.attention = nn.MultiheadAttention(c_out, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.layer(x))
        tokens = x.flatten(2).transpose(1, 2)
        return x + self.attention(tokens, tokens, tokens)[0].transpose(1, 2).view_as(x)


def test_attention_over_the_limit_is_refused() -> None:
    """A candidate whose attention exceeds `max_flops` is not scored."""
    space = CellSpace({"conv3x3": OPERATIONS["conv3x3"], "attention": PixelAttention})
    cell = space.parse("8,0|0,8|8,0")
    counted = NASProblem("digits", n_images=16, search_space=space).score_genotype(cell).flops
    network, images = space.build_final([cell] * 3, 1, 10), torch.zeros(1, 1, 8, 8)
    of_attention = 0

    def seen(_module: nn.Module, inputs: tuple[Tensor, ...], _: object) -> None:
        nonlocal of_attention
        n, channels = inputs[0].shape[1:]
        of_attention += 4 * n * channels**2 + 2 * n**2 * channels

    attentions = [m for m in network.modules() if isinstance(m, nn.MultiheadAttention)]
    for module in attentions:
        module.register_forward_hook(seen)
    total = count_flops(network, images)
    assert len(attentions) == 3
    assert counted == total
    for module in network.modules():
        if isinstance(module, PixelAttention):
            module.attention.forward = lambda query, *_: (query,)
    expected = of_attention
    assert total - count_flops(network, images) == expected
    for limit, refused in ((total, False), (total - 1, True)):
        problem = NASProblem("digits", n_images=16, search_space=space, max_flops=limit)
        assert ("over the limit" in problem.score_genotype(cell).degenerate) == refused
