"""Give every class a name, and number the labels accordingly."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pymoo_nas.errors import DatasetError


def class_name(label: int, class_names: Sequence[str] | None) -> str:
    """Return the name of a class for messages."""
    return repr(class_names[label]) if class_names is not None else str(label)


def name_classes(
    labels: dict[str, NDArray[np.int64]], class_names: Sequence[Any] | None, name: str
) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """Number the classes 0..n_classes-1; without names, the labels that occur become the names.

    Args:
        labels: part → (n,).
        class_names: label → name; blanks at either end are removed.
        name: name of the data set, for messages.

    Raises:
        DatasetError: labels have no name or do not occur in training, there is only one class, or
            names cannot be told apart.
    """
    classes = np.unique(labels["train"]) if class_names is None else np.arange(len(class_names))
    names = tuple(str(c).strip() for c in (classes if class_names is None else class_names))
    _require_distinct(names, name)
    for part, array in labels.items():
        unknown = np.setdiff1d(array, classes)
        if len(unknown):
            known = "the training labels" if class_names is None else "one for each class name"
            raise DatasetError(
                f"data set {name!r}, {part} labels: got {_few(unknown)}; expected only "
                f"{_few(classes)}, {known}"
            )
    empty = np.setdiff1d(classes, labels["train"])
    if len(empty):
        raise DatasetError(
            f"data set {name!r}: no training image of class {_few([names[c] for c in empty])}; "
            "add images or leave the class out"
        )
    if len(classes) < 2:
        raise DatasetError(f"data set {name!r}: only one class, {names[0]!r}; expected two or more")
    return names, {part: np.searchsorted(classes, array) for part, array in labels.items()}


def _require_distinct(names: Sequence[str], name: str) -> None:
    """Refuse names that a reader cannot tell apart; upper and lower case are different.

    Raises:
        DatasetError: a name is empty, or two names look alike.
    """
    first: dict[str, int] = {}
    for label, given in enumerate(names):
        seen = _as_seen(given)
        if not seen:
            raise DatasetError(
                f"data set {name!r}: the name of class {label} is empty; expected a name for each "
                "class"
            )
        if seen in first:
            raise DatasetError(
                f"data set {name!r}: classes {first[seen]} and {label} are both called {given!r} "
                "(blanks aside); expected another name for each class; rename one, or join them"
            )
        first[seen] = label


def _as_seen(name: str) -> str:
    """Remove invisible differences from a name: kinds of blanks, zero widths, composed letters."""
    visible = (c for c in unicodedata.normalize("NFC", name) if unicodedata.category(c) != "Cf")
    return " ".join("".join(visible).split())


def _few(values: Any) -> str:
    values = list(map(str, values))
    return ", ".join(values[:5]) + (f", … ({len(values)})" if len(values) > 5 else "")
