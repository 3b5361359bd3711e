"""Outputs, accuracy, loss, recall and confusion of a network on labelled images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from small_training import small_dataset, small_network

from pymoo_nas.errors import DatasetError
from pymoo_nas.training._evaluation import auc_by_class, class_results, evaluate, mean_auc


def test_evaluation_equals_one_image_at_a_time() -> None:
    """Logits, predictions, accuracy and loss equal those of a loop over single images."""
    dataset = small_dataset(n_test=11, channels=2)
    network = small_network(channels=2, dropout=0.5)
    result = evaluate(network, dataset.test_images, dataset.test_labels, dataset, batch_size=4)
    network.eval()
    n_correct, losses = 0, []
    for index, label in enumerate(dataset.test_labels):
        logits = network(dataset.normalized(dataset.test_images[index : index + 1]))[0].detach()
        assert torch.allclose(result.logits[index], logits, atol=1e-6)
        assert result.predictions[index] == int(logits.argmax())
        n_correct += int(logits.argmax()) == label
        losses.append(-float(logits.log_softmax(0)[label]))
    assert result.accuracy == pytest.approx(n_correct / 11)
    assert result.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert not result.logits.requires_grad


def test_evaluation_needs_one_label_per_image() -> None:
    """No images, or a different number of labels, is an error with both counts."""
    dataset = small_dataset()
    network = small_network()
    with pytest.raises(DatasetError, match="6 images and 5 labels"):
        evaluate(network, dataset.test_images, dataset.test_labels[:5], dataset)
    with pytest.raises(DatasetError, match="0 images"):
        evaluate(network, dataset.test_images[:0], dataset.test_labels[:0], dataset)


@given(
    pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30),
)
def test_recall_and_confusion_equal_counting(pairs: list[tuple[int, int]]) -> None:
    """Recall and confusion equal counts by an obvious loop, NaN for a class without images."""
    labels = np.array([true for true, _ in pairs], dtype=np.int64)
    predictions = np.array([predicted for _, predicted in pairs], dtype=np.int64)
    names = ("cat", "dog", "eel", "fox")
    probabilities = np.eye(4)[predictions]
    recall, confusion = class_results(labels, predictions, names, probabilities)
    for i, true in enumerate(names):
        for j, predicted in enumerate(names):
            assert confusion.loc[true, predicted] == pairs.count((i, j))
        images = sum(label == i for label, _ in pairs)
        row = recall.iloc[i]
        assert (row["class"], row["images"], row["correct"]) == (true, images, pairs.count((i, i)))
        if images:
            assert row["recall"] == pairs.count((i, i)) / images
        else:
            assert math.isnan(row["recall"])


def test_auc_equals_the_one_of_scikit_learn() -> None:
    """Where every class occurs, the mean is its macro average of one class against the others."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 4
    probabilities = rng.dirichlet(np.ones(4) + 3 * np.eye(4)[1], 60)
    expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert mean_auc(auc_by_class(labels, probabilities)) == pytest.approx(expected)


@settings(max_examples=30)
@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), max_size=25),
)
def test_auc_counts_pairs(rows: list[tuple[int, int]]) -> None:
    """It is the share of pairs in the right order, ties by half; NaN where there are no pairs."""
    labels = np.array([label for label, _ in rows], dtype=np.int64)
    first = np.array([level / 4 for _, level in rows])
    probabilities = np.stack([first, (1 - first) / 2, (1 - first) / 2], axis=1)
    found = auc_by_class(labels, probabilities)
    for label in range(3):
        mine, others = (
            probabilities[labels == label, label],
            probabilities[labels != label, label],
        )
        pairs = [(a > b) + (a == b) / 2 for a in mine for b in others]
        assert found[label] == pytest.approx(np.mean(pairs) if pairs else math.nan, nan_ok=True)


def test_auc_of_two_classes_and_of_outputs_that_are_none() -> None:
    """Of two classes both have the same AUC; without finite outputs none has one."""
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
    assert auc_by_class(np.array([0, 0, 1, 1]), probabilities).tolist() == [0.75, 0.75]
    probabilities[0] = math.nan
    assert np.isnan(auc_by_class(np.array([0, 0, 1, 1]), probabilities)).all()
