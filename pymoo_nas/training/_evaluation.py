"""Evaluate a network on labelled images: logits, accuracy, loss, recall, confusion matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pymoo_nas._machine import resolve_device
from pymoo_nas.datasets import Dataset
from pymoo_nas.errors import DatasetError


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Outputs of a network for n images.

    Attributes:
        logits: float32 (n, n_classes), on the CPU.
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
    images: np.ndarray,
    labels: np.ndarray,
    dataset: Dataset,
    *,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
    memory_format: torch.memory_format = torch.contiguous_format,
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

    Raises:
        DatasetError: no images, or another number of labels.
        DeviceError: an unknown or absent device.
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
    images: np.ndarray,
    normalized: Callable[[np.ndarray], Tensor],
    *,
    batch_size: int,
    device: torch.device,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """Compute the logits of images, batch by batch: float32 (n, n_classes), on the CPU.

    Args:
        network: moved to `device` and left in eval mode.
        images: (n, H, W, C), at least one.
        normalized: function from b of the images to the input of the network, (b, C, H, W).
        batch_size: images at a time.
        device: device of the network and the batches.
        memory_format: format of the batches.
    """
    network.to(device).eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), batch_size):
            batch = normalized(images[start : start + batch_size])
            parts.append(network(batch.to(device, memory_format=memory_format)).float().cpu())
    return torch.cat(parts)


def class_results(
    labels: np.ndarray, predictions: np.ndarray, class_names: tuple[str, ...]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compute recall per class and the confusion matrix, as `training.Training` describes them.

    Args:
        labels: (n,) true classes.
        predictions: (n,) predicted classes.
        class_names: names of class 0, 1, …
    """
    n_classes = len(class_names)
    counts = np.bincount(labels * n_classes + predictions, minlength=n_classes**2)
    matrix = counts.reshape(n_classes, n_classes)
    images, correct = matrix.sum(1), matrix.diagonal()
    recall = np.divide(correct, images, out=np.full(n_classes, np.nan), where=images > 0)
    names = list(class_names)
    table = {"class": names, "images": images, "correct": correct, "recall": recall}
    confusion = pd.DataFrame(
        matrix, index=pd.Index(names, name="true"), columns=pd.Index(names, name="predicted")
    )
    return pd.DataFrame(table), confusion
