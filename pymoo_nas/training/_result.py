"""What a training comes to: its epochs, and the test of the weights that are kept."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pandas as pd
import torch

from pymoo_nas.training._evaluation import class_results, mean_auc
from pymoo_nas.training._trainer import Trainer


@dataclass(frozen=True, eq=False)
class Training:
    """The result of a training.

    Attributes:
        epochs: one row per epoch: epoch (from 1), loss (mean over its images, with label smoothing
            and class weights), train_accuracy (fraction, counted on the augmented images while the
            weights move), validation_accuracy (fraction; NaN without validation),
            validation_balanced_accuracy (mean recall of the classes that occur, likewise),
            learning_rate (of its last step), seconds.
        best_epoch: the epoch whose weights were kept: the last one that the images that judge
            cannot tell from the best (two standard errors); without such images the last.
        test_accuracy: fraction of the test images, with those weights.
        balanced_accuracy: mean recall of the classes that occur among the test images.
        auc: mean over classes of the area under the ROC curve of a class against the others, by
            the probabilities of the test images: 0.5 by chance, larger is better. Classes without
            test images do not count; NaN where all test images are of one class.
        test_loss: mean cross-entropy on them in nats, without label smoothing.
        recall: one row per class: class, images, correct, recall (NaN for a class without images)
            and auc (of this class; NaN where none or all of the images are of it).
        confusion: test images counted by true class (rows) and predicted class (columns).
        seconds: wall time from the first check to the end of the test.
    """

    epochs: pd.DataFrame
    best_epoch: int
    test_accuracy: float
    balanced_accuracy: float
    auc: float
    test_loss: float
    recall: pd.DataFrame
    confusion: pd.DataFrame
    seconds: float


def tested(trainer: Trainer, started: float) -> Training:
    """Load the best weights into the network, and return the result of its test."""
    trainer.network.load_state_dict(trainer.best_state)
    dataset = trainer.dataset
    test = trainer.evaluate(dataset.test_images, dataset.test_labels)
    recall, confusion = class_results(
        dataset.test_labels,
        test.predictions,
        dataset.class_names,
        torch.softmax(test.logits, dim=1).numpy(),
    )
    return Training(
        epochs=pd.DataFrame(trainer.history),
        best_epoch=trainer.best_epoch,
        test_accuracy=test.accuracy,
        balanced_accuracy=test.balanced_accuracy,
        auc=mean_auc(recall["auc"].to_numpy()),
        test_loss=test.loss,
        recall=recall,
        confusion=confusion,
        seconds=time.perf_counter() - started,
    )


def test_values(training: Training) -> dict[str, float]:
    """The numbers of the test, by their names in `Training`."""
    names = ("test_accuracy", "balanced_accuracy", "auc", "test_loss")
    return {name: getattr(training, name) for name in names}
