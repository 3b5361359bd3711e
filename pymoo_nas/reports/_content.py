"""What a report tells, as plain values: no run folder, no network and no data set is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that made a part of the run.

    Attributes:
        made: the part, such as "the search".
        text: the command; empty where it is not known.
        note: what a reader has to know of it.
    """

    made: str
    text: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A test image that was taken for another class.

    Attributes:
        picture: the image as a data URI of a PNG.
        place: its place among the test images, from 0.
        true: name of its class.
        named: name of the class that it was taken for.
        probability: of that class.
    """

    picture: str
    place: int
    true: str
    named: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class ExportedFile:
    """A file that `export` wrote.

    Attributes:
        name: of the file or the folder.
        n_bytes: its size.
        measured: what the export measured; None where nothing was kept.
    """

    name: str
    n_bytes: int
    measured: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainedContent:
    """One training of the run.

    Attributes:
        name: of its folder.
        title: of its network, in words.
        described: content of its ``training.json``; empty where it was interrupted.
        settings: of the training, name → plain value.
        flops: multiply-accumulates per image; None where the network cannot be built again.
        epochs: see `Training`.
        confusion: test images by true class (rows) and predicted class (columns).
        recall: one row per class: class, images, correct, recall.
        exports: the files that were exported from it.
    """

    name: str
    title: str
    described: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    flops: int | None = None
    epochs: pd.DataFrame = field(default_factory=pd.DataFrame)
    confusion: pd.DataFrame = field(default_factory=pd.DataFrame)
    recall: pd.DataFrame = field(default_factory=pd.DataFrame)
    exports: tuple[ExportedFile, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Content:
    """All that a report tells of a run.

    Attributes:
        name: of the run, its folder.
        summary: the most important facts, in words or numbers.
        settings: title → name → value.
        commands: in the order of their use.
        history: every scored candidate, see `history_to_frame`.
        front: the rows that the search kept.
        accuracies: genotype → known accuracy, as a fraction or in per cent.
        accuracy_title: what these accuracies are.
        tournaments: generation, slots, alphas and winners of each, see `DartsTournament`.
        at_random: whether the search drew every candidate at random.
        chosen: the genotypes that were chosen; empty without a choice.
        choice: name → value of the choice.
        cells: the genotypes of the network to draw: of the main training, of the choice or the
            best of the front.
        cells_source: where they come from, in words.
        drawings: genotype → drawing of the cell as a data URI of a PNG.
        no_drawings: why there are none; empty where there are some.
        alts: genotype → drawing of the cell in words.
        trainings: all trainings in the folder.
        main: place of the training that is shown in detail; None without a finished one.
        mistakes: test images with the highest probability for a wrong class, the highest first.
        no_mistakes: why the mistakes are not known; empty where they are.
        missing: the part of a report → what is missing for it, and the command that makes it.
    """

    name: str
    summary: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, Any]]
    commands: tuple[Command, ...]
    history: pd.DataFrame
    front: pd.DataFrame
    accuracies: Mapping[str, float] = field(default_factory=dict)
    accuracy_title: str = ""
    tournaments: tuple[Mapping[str, Any], ...] = ()
    at_random: bool = False
    chosen: tuple[str, ...] = ()
    choice: Mapping[str, Any] = field(default_factory=dict)
    cells: tuple[str, ...] = ()
    cells_source: str = ""
    drawings: Mapping[str, str] = field(default_factory=dict)
    no_drawings: str = ""
    alts: Mapping[str, str] = field(default_factory=dict)
    trainings: tuple[TrainedContent, ...] = ()
    main: int | None = None
    mistakes: tuple[Mistake, ...] = ()
    no_mistakes: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
