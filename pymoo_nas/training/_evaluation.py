"""Evaluate a network on labelled images: logits, accuracy, loss, recall, AUC, confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pymoo_nas._machine import network_errors, resolve_device
from pymoo_nas.datasets import Dataset
from pymoo_nas.errors import DatasetError, NetworkError


class Images(Protocol):
    """Images (n, H, W, C) that are read in parts; an array, or some images of an array."""

    def __len__(self) -> int:
        """Number of images, n."""

    def __getitem__(self, part: slice, /) -> np.ndarray:
        """Images of a part, (b, H, W, C)."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Outputs of a network for n images.

    Attributes:
        logits: float32 (n, n_classes), on the CPU; with mirror images see `mirrored_logits`.
        predictions: int64 (n,), the class of the largest logit.
        accuracy: fraction of predictions that equal the label.
        balanced_accuracy: see `balanced_accuracy`.
        loss: mean cross-entropy in nats.
    """

    logits: Tensor
    predictions: np.ndarray
    accuracy: float
    balanced_accuracy: float
    loss: float


def evaluate(
    network: nn.Module,
    images: Images,
    labels: np.ndarray,
    dataset: Dataset,
    *,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
    memory_format: torch.memory_format = torch.contiguous_format,
    flip: bool = False,
) -> Evaluation:
    """Run images through a network in eval mode, without gradients.

    The network is moved to `device` and left in eval mode.

    Args:
        network: (N, C, H, W) → (N, n_classes).
        images: (n, H, W, C), not yet normalised.
        labels: (n,) integers.
        dataset: gives the mean and the standard deviation that normalise the images.
        batch_size: images at a time; changes only memory and speed.
        device: see `resolve_device`.
        memory_format: format of the batches; `torch.channels_last` is often faster on a CPU.
        flip: whether mirror images count too, see `mirrored_logits`.

    Raises:
        DatasetError: no images, or another number of labels.
        DeviceError: an unknown or absent device.
        NetworkError: the network cannot take the images, or returns NaN or infinity.
    """
    if len(images) == 0 or len(images) != len(labels):
        raise DatasetError(
            f"data set {dataset.name!r}: got {len(images)} images and {len(labels)} labels to "
            "evaluate; expected one label for each image and at least one"
        )
    logits = logits_of(
        network,
        images,
        dataset.normalized,
        batch_size=batch_size,
        device=resolve_device(device),
        memory_format=memory_format,
        flip=flip,
    )
    truth = torch.from_numpy(np.array(labels, dtype=np.int64))
    predictions = logits.argmax(1)
    return Evaluation(
        logits=logits,
        predictions=predictions.numpy(),
        accuracy=(predictions == truth).double().mean().item(),
        balanced_accuracy=balanced_accuracy(truth.numpy(), predictions.numpy()),
        loss=F.cross_entropy(logits, truth).item(),
    )


def balanced_accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Mean recall over the classes that occur among the labels; in [0, 1], NaN without labels.

    >>> balanced_accuracy(np.array([0, 0, 0, 2]), np.array([0, 0, 0, 1]))
    0.5
    """
    recalls = [(predictions[labels == label] == label).mean() for label in np.unique(labels)]
    return float(np.mean(recalls)) if recalls else float("nan")


def evaluation_batch_size(batch_size: int, image_size: tuple[int, int]) -> int:
    """Batch size without gradients: about as many pixels as in 256 images of 32×32, at most 256.

    Args:
        batch_size: batch size of the training, which fits into memory; the result is not smaller.
        image_size: (H, W) in pixels.

    >>> evaluation_batch_size(8, (32, 32)), evaluation_batch_size(8, (224, 224))
    (256, 8)
    """
    return max(batch_size, min(256, 256 * 32 * 32 // (image_size[0] * image_size[1])))


def logits_of(
    network: nn.Module,
    images: Images,
    normalized: Callable[[np.ndarray], Tensor],
    *,
    batch_size: int,
    device: torch.device,
    memory_format: torch.memory_format = torch.contiguous_format,
    flip: bool = False,
) -> Tensor:
    """Compute the logits of images, batch by batch: float32 (n, n_classes), on the CPU.

    Args:
        network: moved to `device` and left in eval mode.
        images: (n, H, W, C), at least one.
        normalized: function from b of the images to the input of the network, (b, C, H, W).
        batch_size: images at a time, mirror images included.
        device: device of the network and the batches.
        memory_format: format of the batches.
        flip: whether mirror images count too, see `mirrored_logits`.

    Raises:
        NetworkError: the network cannot take the images, or returns NaN or infinity.
    """
    network.to(device).eval()
    parts = []
    at_once = max(1, batch_size // 2) if flip else batch_size
    with torch.no_grad():
        for start in range(0, len(images), at_once):
            batch = normalized(images[start : start + at_once])
            batch = batch.to(device, memory_format=memory_format)
            with network_errors(batch):
                logits = mirrored_logits(network, batch) if flip else network(batch).float()
            parts.append(logits.cpu())
    logits = torch.cat(parts)
    # Of minus infinity the softmax is 0, but NaN would be taken for the first class.
    bad = (logits.isnan() | logits.isposinf()).any(dim=1)
    if bad.any():
        raise NetworkError(
            f"network: NaN or infinite outputs for {int(bad.sum())} of {len(bad)} images in eval "
            "mode; lower the learning rate, or look for a division by 0 or an overflow"
        )
    return logits


def mirrored_logits(network: nn.Module, images: Tensor) -> Tensor:
    """Compute logits whose softmax is the mean over images and their mirror images.

    Both go through the network in one batch, so that a recorded graph holds each layer once.

    Args:
        network: in eval mode, (N, C, H, W) → (N, n_classes).
        images: (N, C, H, W), normalised; they are mirrored left to right.

    Returns:
        float32 (N, n_classes), the logarithms of the mean probabilities.
    """
    logits = network(torch.cat([images, images.flip(3)])).float()
    shares = torch.log_softmax(logits, dim=1).reshape(2, -1, logits.shape[1])
    return torch.logsumexp(shares, dim=0) - math.log(2)


class Mirrored(nn.Module):
    """What judges an image with its mirror image: (N, C, H, W) → the logits of `mirrored_logits`.

    Args:
        network: see `mirrored_logits`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) → (N, n_classes)."""
        return mirrored_logits(self.network, images)


def as_judging(network: nn.Module, *, flip: bool) -> nn.Module:
    """What computes a prediction, to count its cost: twice the network's with mirror images."""
    return Mirrored(network) if flip else network


def auc_by_class(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The area under the ROC curve of each class against all others (Fawcett 2006).

    It is the share of pairs, one image of the class and one of another, in which the image of the
    class has the larger probability of the class; 0.5 by chance, larger is better.

    Args:
        labels: (n,) true classes.
        probabilities: (n, n_classes).

    Returns:
        (n_classes,), from 0 to 1; NaN for a class that none or all of the images belong to, and
        everywhere where a probability is not finite.
    """
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - heavy

    found = np.full(probabilities.shape[1], np.nan)
    if np.isfinite(probabilities).all():
        for label in range(len(found)):
            mine = labels == label
            if mine.any() and not mine.all():
                found[label] = roc_auc_score(mine, probabilities[:, label])
    return found


def mean_auc(by_class: np.ndarray) -> float:
    """The mean AUC of the classes that have one; NaN where none has.

    >>> mean_auc(np.array([0.5, np.nan, 1.0])), mean_auc(np.array([np.nan]))
    (0.75, nan)
    """
    known = by_class[~np.isnan(by_class)]
    return float(known.mean()) if len(known) else math.nan


def class_results(
    labels: np.ndarray,
    predictions: np.ndarray,
    class_names: tuple[str, ...],
    probabilities: np.ndarray,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compute recall and AUC per class and the confusion matrix, see `training.Training`.

    Args:
        labels: (n,) true classes.
        predictions: (n,) predicted classes.
        class_names: names of class 0, 1, …
        probabilities: (n, n_classes).
    """
    n_classes = len(class_names)
    counts = np.bincount(labels * n_classes + predictions, minlength=n_classes**2)
    matrix = counts.reshape(n_classes, n_classes)
    images, correct = matrix.sum(1), matrix.diagonal()
    recall = np.divide(correct, images, out=np.full(n_classes, np.nan), where=images > 0)
    names = list(class_names)
    table = {"class": names, "images": images, "correct": correct, "recall": recall}
    table["auc"] = auc_by_class(labels, probabilities)
    confusion = pd.DataFrame(
        matrix, index=pd.Index(names, name="true"), columns=pd.Index(names, name="predicted")
    )
    return pd.DataFrame(table), confusion
