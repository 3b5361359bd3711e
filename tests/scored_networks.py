"""Networks and layers of every kind that the scoring is tested on."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from pymoo_nas.networks import OPERATIONS
from pymoo_nas.spaces import CellSpace, Genotype, NASBench201Space


def images_of(n: int, channels: int, size: int | tuple[int, int], seed: int = 0) -> Tensor:
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, channels, height, width, generator=generator)


def built(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A network with weights of a seed, torch's global generator untouched."""
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        return make()


def around(*layers: nn.Module, channels: int = 4, n_classes: int = 3) -> nn.Sequential:
    """A classifier of 3-channel images: convolution, these layers, pooling, linear."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1),
        *layers,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, n_classes),
    )


def operation_network(name: str) -> nn.Module:
    space = CellSpace([name, "skip" if name == "conv3x3" else "conv3x3"])
    return space.build(Genotype(((5, 3), (4, 0), (0, 4))), 3, 4)


def shortcut_network(text: str) -> nn.Module:
    space = CellSpace(["conv3x3", "max_pool3x3"], shortcut=True)
    return space.build(space.parse(text), 3, 4)


def nasbench201_network(text: str) -> nn.Module:
    space = NASBench201Space(width=4)
    return space.build(space.parse(text), 3, 4)


class Twice(nn.Module):
    """The same convolution and norm, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(F.relu(self.norm(self.conv(x)))))


class Tied(nn.Module):
    """Two linear layers with one weight, the second used transposed in shape only."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.relu(self.first(x.movedim(1, -1)))).movedim(-1, 1)


class TiedFunctionally(nn.Module):
    """A convolution whose weight is also used by a function outside of the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(torch.relu(self.conv(x)), self.conv.weight)


class Scaled(nn.Module):
    """A layer with parameters of its own, also applied to a ReLU of a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(4, 1, 1))
        self.shift = nn.Parameter(torch.randn(4))
        self.unused = nn.Parameter(torch.randn(7))

    def forward(self, x: Tensor) -> Tensor:
        return x * F.softplus(self.scale) + F.relu(self.shift)[:, None, None]


class InPlaceScaled(nn.Module):
    """A layer of one's own followed by an activation in place."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x * self.scale, inplace=True)


class Attention(nn.Module):
    """Self-attention over pixels, with images in the first or in the second dimension."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=batch_first)
        self.batch_first = True
        self.transpose = not batch_first

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens.transpose(0, 1) if self.transpose else tokens
        tokens = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        tokens = tokens.transpose(0, 1) if self.transpose else tokens
        return tokens.transpose(1, 2).reshape(x.shape)


class SeparateAttention(nn.Module):
    """Attention from linear layers; the bias of its keys has a gradient of exactly zero."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        query, key, value = self.query(tokens), self.key(tokens), self.value(tokens)
        mixed = torch.softmax(query @ key.transpose(1, 2), 2) @ value
        return mixed.transpose(1, 2).reshape(x.shape)


class Recurrent(nn.Module):
    """An LSTM over the rows of the map."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x.mean(3).transpose(1, 2))[0].transpose(1, 2).unsqueeze(3)


class LastState(nn.Module):
    """A recurrent layer of which the sequence and the last states of both layers are used."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.layer = kind(4, 4, num_layers=2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        sequence, states = self.layer(x.mean(3).transpose(1, 2))
        states = states if isinstance(states, tuple) else (states,)
        last = sum(state.sum(0) for state in states)
        return (sequence.mean(1) + last)[:, :, None, None]


def doubled(layer: nn.Module) -> nn.Module:
    """A layer with a user's own hook, which changes what it returns."""
    layer.register_forward_hook(lambda _module, _inputs, output: 2 * output)
    return layer


class Folded(nn.Module):
    """A linear layer that gets images and pixels folded into one dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        tokens = self.linear(x.movedim(1, -1).reshape(-1, channels))
        return tokens.reshape(n, height, width, channels).movedim(-1, 1)


class ByKeyword(nn.Module):
    """A layer that is called with its input as a keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(input=x)


class OfLists(nn.Module):
    """A layer of one's own that takes a list of maps."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(2))

    def forward(self, maps: list[Tensor]) -> Tensor:
        return maps[0] * self.weights[0] + maps[1] * self.weights[1]


class ListCaller(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weigh = OfLists()

    def forward(self, x: Tensor) -> Tensor:
        return self.weigh([x, x.flip(3)])


class OwnSquare(torch.autograd.Function):
    """x² with a backward pass of its own, in the old style that torch.func does not take."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * g


class OwnBackward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return OwnSquare.apply(x * self.scale)


class Detached(nn.Module):
    """Cuts the gradient off, and adds a branch that does not depend on the images."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Conv2d(4, 4, 1)
        self.after = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1))
        self.silent = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            silent = self.silent(x)
        return x + silent + self.after(self.before(x).detach())


class MixesImages(nn.Module):
    """Subtracts the mean over the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x - 0.5 * x.mean(0, keepdim=True)


class MixesImagesWithWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5 * x.mean(0, keepdim=True)) * self.scale


class ChangesItsInput(nn.Module):
    """A convolution whose input is changed in place after it was used."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x * 1
        y = self.conv(x)
        x.mul_(2)
        return x + y


class Shifted(nn.Module):
    """A layer of one's own that autograd differentiates without its input."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.randn(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


class ChangesItsInputUnruled(nn.Module):
    """A layer of one's own whose input is changed in place after it was used."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        x = x * 1
        y = self.layer(x)
        x.mul_(2)
        return x + y


class StartsInPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = around(nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        images.mul_(0.5)
        return self.body(images)


def small_vit() -> nn.Module:
    vit = torchvision.models.VisionTransformer(
        image_size=8, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16
    )
    # torchvision's own head is zero at the start, so that every gradient before it is too.
    vit.heads = nn.Linear(8, 5)
    return vit


OPERATION_NETWORKS = {
    f"operation {name}": (lambda name=name: operation_network(name)) for name in OPERATIONS
}
NASBENCH201_CELLS = {
    "all convolutions": "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
    "pooling and skips": "|avg_pool_3x3~0|+|skip_connect~0|nor_conv_1x1~1|"
    "+|none~0|avg_pool_3x3~1|skip_connect~2|",
    "dead operations": "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|nor_conv_1x1~0|none~1|none~2|",
    "operations on nothing": "|none~0|+|nor_conv_3x3~0|nor_conv_1x1~1|"
    "+|none~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "unconnected": "|skip_connect~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|",
    "nothing at all": "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
}
NASBENCH201_NETWORKS = {
    f"nasbench201 {name}": (lambda text=text: nasbench201_network(text))
    for name, text in NASBENCH201_CELLS.items()
}
LAYER_NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "used twice": lambda: around(Twice(), nn.ReLU()),
    "shortcuts, projected": lambda: shortcut_network("3,2|0,0|4,1"),
    "shortcuts, the first as it is": lambda: shortcut_network("2,1"),
    "tied": lambda: around(Tied()),
    "relu in place": lambda: around(nn.BatchNorm2d(4), nn.ReLU(inplace=True), Twice()),
    "relu6": lambda: around(nn.ReLU6(), nn.Conv2d(4, 4, 1), nn.ReLU6(inplace=True)),
    "smooth": lambda: around(
        nn.SiLU(), nn.Conv2d(4, 4, 1), nn.GELU(), nn.Conv2d(4, 4, 1), nn.Hardswish()
    ),
    "layer of one's own": lambda: around(Scaled(), nn.ReLU(), InPlaceScaled()),
    "attention": lambda: around(Attention(batch_first=True), nn.ReLU()),
    "attention, images second": lambda: around(Attention(batch_first=False), nn.ReLU()),
    "separate attention": lambda: around(SeparateAttention(), nn.ReLU()),
    "lstm": lambda: around(Recurrent(), nn.ReLU()),
    "last states of an lstm": lambda: around(nn.ReLU(), LastState(nn.LSTM)),
    "last states of a gru": lambda: around(nn.ReLU(), LastState(nn.GRU)),
    "folded": lambda: around(nn.ReLU(), Folded()),
    "keyword": lambda: around(ByKeyword(), nn.ReLU()),
    "list": lambda: around(ListCaller(), nn.ReLU()),
    "own backward": lambda: around(nn.ReLU(), OwnBackward()),
    "detached": lambda: around(nn.ReLU(), Detached()),
    "instance norm": lambda: around(nn.InstanceNorm2d(4, affine=True), nn.ReLU()),
    "group norm": lambda: around(nn.GroupNorm(2, 4), nn.ReLU(), nn.GroupNorm(4, 4), nn.ReLU()),
    "layer norm": lambda: around(nn.LayerNorm([4, 8, 6]), nn.ReLU()),
    "transposed": lambda: around(nn.ConvTranspose2d(4, 4, 3), nn.ReLU()),
    "layer with a hook": lambda: around(nn.ReLU(), doubled(nn.Conv2d(4, 4, 3, padding=1))),
    "weight norm": lambda: around(
        nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)), nn.ReLU()
    ),
    "frozen layer": lambda: around(nn.Conv2d(4, 4, 1).requires_grad_(False), nn.ReLU()),
    "starts in place": StartsInPlace,
    "prelu": lambda: around(nn.PReLU(4), nn.Conv2d(4, 4, 1), nn.LeakyReLU(), nn.ELU()),
    "small vit": small_vit,
}
POPULAR_NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=10), 32),
    "vgg11_bn": (lambda: torchvision.models.vgg11_bn(num_classes=10), 32),
    "alexnet": (lambda: torchvision.models.alexnet(num_classes=10), 64),
    "densenet121": (lambda: torchvision.models.densenet121(num_classes=10), 32),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(num_classes=10), 32),
    "vit": (small_vit, 8),
}
