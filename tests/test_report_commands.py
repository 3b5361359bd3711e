"""The commands of trainings that a report tells, against the settings that the folders keep."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from cheap_problems import made_run
from command_line import Run

from pymoo_nas._machine import Report
from pymoo_nas.reports import TrainedContent
from pymoo_nas.runs import RunFolder, final_of, load_trained
from pymoo_nas.runs._report_commands import search_command, train_command
from pymoo_nas.runs._report_trainings import training_in
from pymoo_nas.spaces import CellSpace
from pymoo_nas.training import Settings, settings_in, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A search on digits, whose cells are repeated three times."""
    return RunFolder(made_run(tmp_path_factory.mktemp("made") / "run"))


def command(folder: RunFolder, settings: Settings, *, same: bool = True, **told: Any) -> str:
    """The command of a training with these settings, which has ended if anything is told."""
    network = {"genotypes": ["8"] * 3}
    described = {"dataset": "digits", "network": network, "image_size": [8, 8], **told}
    training = TrainedContent(
        name="final", title="a cell", described=described, settings=asdict(settings)
    )
    return train_command(training, folder.config(), {}, "run", same=same).text


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"epochs": 3, "validation": "val"}, "--epochs 3 --augment none"),
        ({"validation": 0.1, "augment": "shift"}, "--validation 0.1 --augment shift"),
        ({"validation": 0.0, "seed": 4}, "--validation 0 --seed 4 --augment none"),
        ({"cutout": 2, "balance": True}, "--cutout 2 --augment none --balance"),
    ],
)
def test_options_are_those_of_the_training(
    folder: RunFolder, settings: dict[str, Any], options: str
) -> None:
    """Every setting is told that the command would not have by itself, whatever the images."""
    assert command(folder, Settings(**settings)) == f"pymoo-nas train run {options}"


def test_what_only_python_sets_is_said(folder: RunFolder) -> None:
    """A value of 0 is told as any other."""
    for name in ("label_smoothing", "weight_decay"):
        training = TrainedContent(
            name="final",
            title="a cell",
            described={"dataset": "digits"},
            settings=asdict(Settings(**{name: 0.0})),
        )
        made = train_command(training, folder.config(), {}, "run", same=True)
        assert f"{name} can be set in Python only" in made.note
        assert "--label" not in made.text
        assert "--weight" not in made.text


def test_other_cells_and_images(folder: RunFolder) -> None:
    """Another number of cells, other images and their size are told."""
    settings = Settings()
    two = command(folder, settings, network={"genotypes": ["8", "0"]})
    assert two == "pymoo-nas train run --augment none --cells 2"
    other = command(folder, settings, same=False, dataset="shapes", image_size=[16, 24])
    assert other == "pymoo-nas train run --augment none --dataset shapes --image-size 16x24"


def test_the_folder_of_a_data_set_is_told(folder: RunFolder) -> None:
    """A command finds torchvision's images from wherever it is typed; others have a path."""
    for source, told in (("cifar10", True), ("digits", False), ("/images", False)):
        kept = folder.config()
        kept["problem"] = {**kept["problem"], "dataset": source, "data_dir": "/big/data"}
        kept["search_space"] = CellSpace().settings()
        text = search_command(kept, "run").text
        assert text.startswith(f"pymoo-nas search {source} ")
        assert ("--data-dir /big/data" in text) == told


@pytest.mark.parametrize("cut", [True, False])
def test_a_told_command_makes_the_same_training(tmp_path: Path, run: Run, cut: bool) -> None:
    """Typed again, it trains with the same settings, and goes on with one that was interrupted."""
    made, again = made_run(tmp_path / "run"), tmp_path / "again"
    network, images, _ = final_of(made, None, 3)
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 8, "cutout": 1, "seed": 3}
    settings |= {"augment": "shift", "validation": 0.2, "out": made / "final"}
    with pytest.raises(KeyboardInterrupt) if cut else nullcontext():
        train(network, images, **settings, progress=stop if cut else False)
    found = training_in(made / "final")
    assert found is not None
    told = train_command(found[0], RunFolder(made).config(), {}, str(made), same=True)
    first = settings_in(made / "final")
    _, *words = shlex.split(told.text)
    assert run(*words, *(() if cut else ("--out", str(again))))[0] == 0
    assert settings_in(made / "final" if cut else again) == first
    assert load_trained(made / "final" if cut else again).class_names


def stop(report: Report) -> None:
    """Ctrl-C in the second epoch."""
    if report.work.startswith("epoch 2/2") and not report.found:
        raise KeyboardInterrupt
