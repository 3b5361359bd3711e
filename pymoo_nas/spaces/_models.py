"""Networks by name: CIFAR's residual networks and torchvision's classifiers."""

from __future__ import annotations

import difflib

from torch import Tensor, nn

from pymoo_nas.errors import NetworkError
from pymoo_nas.networks import BLOCKS, CifarResNet


class GreyToColour(nn.Module):
    """Repeats grey images for a network that takes three channels."""

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 1, H, W) → (N, 3, H, W)."""
        return images.expand(-1, 3, -1, -1)


def build_model(name: str, in_channels: int, n_classes: int) -> nn.Module:
    """Build a network from its name, with weights from torch's generator in its present state.

    Args:
        name: ``resnet20``, ``resnet32`` or ``resnet56`` for CIFAR (He 2016), or a torchvision
            classifier (``resnet18``).
        in_channels: channels of the images. torchvision's networks take 3: grey images are
            repeated.
        n_classes: number of logits.

    Returns:
        (N, C, H, W) → logits (N, n_classes).

    Raises:
        NetworkError: the name is unknown, or a torchvision network cannot take so many channels.
    """
    if name in BLOCKS:
        return CifarResNet(BLOCKS[name], in_channels, n_classes)
    import torchvision  # noqa: PLC0415 - takes seconds

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        near = difflib.get_close_matches(name, [*BLOCKS, *known], n=1)
        meant = f", did you mean {near[0]}?" if near else ""
        raise NetworkError(
            f"model {name!r} is unknown{meant}; expected a genotype such as 5000|0001|0800, "
            f"{', '.join(BLOCKS)}, or one of torchvision's: {', '.join(known)}"
        )
    if in_channels not in (1, 3):
        raise NetworkError(
            f"model {name!r} takes images of 3 channels; the data set has {in_channels}"
        )
    network: nn.Module = torchvision.models.get_model(name, num_classes=n_classes)
    return network if in_channels == 3 else nn.Sequential(GreyToColour(), network)
