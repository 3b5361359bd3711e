"""``pymoo-nas choose`` and ``train``: from a run, or from a name, to a trained network."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from command_line import ONE, TINY, Run

from pymoo_nas.choice import build_final
from pymoo_nas.networks import count_flops, count_parameters
from pymoo_nas.runs import Choice, RunFolder, load_trained
from pymoo_nas.runs import _folder as runs
from pymoo_nas.spaces import CellSpace


def test_train_and_its_files(run: Run, finished: Path) -> None:
    """The final network is trained; weights, recall and confusion are written; a second refused."""
    code, out, _ = run("train", str(finished), "--epochs", "2", "--out", "final")
    assert code == 0
    assert "epoch 2/2" in out
    assert "test accuracy" in out
    assert {path.name for path in Path("final").iterdir()} >= {
        *("weights.safetensors", "training.csv", "recall.csv", "confusion.csv", "training.json")
    }
    assert read_table("final/confusion.csv") == 10
    before = Path("final/weights.safetensors").read_bytes()
    code, _, err = run("train", str(finished), "--epochs", "1", "--out", "final")
    assert code == 2
    assert "overwrite" in err
    assert Path("final/weights.safetensors").read_bytes() == before


def read_table(path: str) -> int:
    """Rows of a CSV below its header."""
    return len(Path(path).read_text("utf-8").strip().splitlines()) - 1


def test_choose_and_train(run: Run, finished: Path) -> None:
    """A choice is kept in the run folder, and stands at every stage of the final network."""
    folder = runs.RunFolder(finished)
    code, out, _ = run("choose", str(finished), "--weights", "ntk=2", "activation=1")
    assert code == 0
    choice = folder.choice()
    assert choice is not None
    (chosen,) = choice.genotypes
    assert f"chosen: {chosen}" in out
    assert "worth: of " in out
    assert "--by training compares accuracies" in out
    assert chosen in set(folder.front()["genotype"])
    code, out, _ = run("train", str(finished), "--epochs", "1", "--cells", "2", "--out", "chosen")
    assert code == 0
    problem = folder.problem()
    network = build_final(chosen, 2, problem=problem)
    assert f"{count_parameters(network):,} parameters" in out
    by_training = ("choose", str(finished), "--by", "training", "--epochs", "1")
    code, out, _ = run(*by_training, "--top", "1", "--random", "1")
    assert code == 0
    assert "of the held-out images" in out
    assert re.search(r"worth: .* % of the held-out images, 1 random ones [\d.]+ %", out)
    code, out, _ = run("choose", str(finished), "--by", "gradients", "--top", "1")
    assert code == 0
    assert "growth 0.00, smoothness" in out
    assert out.count("yes") + out.count(" no ") >= len(folder.front())
    (finished / runs.CHOICE).unlink()


@pytest.mark.slow
def test_cells_of_search_and_train(run: Run) -> None:
    """As many cells as are asked for are scored, and trained; `score` and names know them too."""
    limits = ("--generations", "1", "--offspring", "2", "--population", "1", "--images", "20")
    assert run("search", "digits", *limits, "--cells", "4", "--out", "four")[0] == 0
    folder = runs.RunFolder("four")
    row = folder.front().iloc[0]
    code, out, _ = run("train", "four", "--epochs", "1")
    assert code == 0
    assert f"{row['params']:,} parameters" in out
    code, out, _ = run(
        "train", "--model", row["genotype"], "--cells", "4", "--epochs", "1", "--out", "named"
    )
    assert f"{row['params']:,} parameters" in out
    code, out, _ = run("score", row["genotype"], "--cells", "4", "--inits", "1")
    assert f"{row['params']:,}" in out
    code, _, err = run("search", "--resume", "four", "--cells", "3")
    assert code == 2
    assert "the run has 4" in err


@pytest.mark.slow
def test_widths_of_search_train_export_and_report(run: Run) -> None:
    """Widths and shortcuts of a search are those of its training, exported file and report."""
    limits = ("--generations", "2", "--offspring", "3", "--population", "2", "--images", "20")
    widths = ("--widths", "1,1.5,2", "--shortcut")
    search = ("search", "digits", *limits, *widths, "--tournament-every", "2", "--out", "kept")
    assert run(*search)[0] == 0
    assert run("choose", "kept")[0] == 0
    chosen = json.loads(Path("kept/choice.json").read_text("utf-8"))["genotypes"][0]
    space = CellSpace(widths=(1, 1.5, 2), shortcut=True)
    network = space.build_final([space.parse(chosen)] * 3, 1, 10)
    flops = count_flops(network, torch.zeros(1, 1, 8, 8))
    front = runs.RunFolder("kept").front().set_index("genotype")
    assert front.loc[chosen, "flops"] == flops
    assert f"{flops:,} multiply" in run("train", "kept", "--epochs", "1")[1]
    assert f"{flops:,} multiply" in run("train", "--model", chosen, *widths, "--epochs", "1")[1]
    assert f"{flops:,}" in run("score", chosen, *widths, "--inits", "1")[1]
    assert run("export", "kept", "--to", "pt2")[0] == 0
    assert run("report", "kept")[0] == 0
    assert "--widths 1,1.5,2 --shortcut" in Path("kept/report.html").read_text("utf-8")
    code, _, err = run("search", "--resume", "kept", "--widths", "1,2,4")
    assert (code, "widths [1.0, 2.0, 4.0] (the run has [1.0, 1.5, 2.0])" in err) == (2, True)
    assert run("search", "--resume", "kept", *widths, "--generations", "3")[0] == 0
    path = Path("kept/config.json")
    config = json.loads(path.read_text("utf-8"))
    del config["search_space"]["shortcut"]  # as in runs of before there was a choice
    path.write_text(json.dumps(config), "utf-8")
    code, _, err = run("search", "--resume", "kept", "--shortcut")
    assert (code, "shortcut True (the run has" in err) == (2, True)


@pytest.mark.slow
def test_reduction_of_search_and_train(run: Run) -> None:
    """Cells halve the map where it is asked for, in a search, in a training, by name and scored."""
    limits = ("--generations", "1", "--offspring", "2", "--population", "1", "--images", "20")
    between, cell = ("--reduction", "between"), "8,0,0,0|0,0,0,0|0,8,0,0"

    def flops(genotype: str, reduction: str) -> int:
        space = CellSpace(reduction=reduction)
        network = space.build_final([space.parse(genotype)] * 3, 1, 10)
        return count_flops(network, torch.zeros(1, 1, 8, 8))

    assert run("search", "digits", *limits, *between, "--out", "kept")[0] == 0
    row = runs.RunFolder("kept").front().iloc[0]
    assert row["flops"] == flops(row["genotype"], "between")
    assert f"{row['flops']:,} multiply" in run("train", "kept", "--epochs", "1")[1]
    expected = f"{flops(cell, 'between'):,}"
    assert flops(cell, "between") > flops(cell, "inside")
    assert f"{expected} multiply" in run("train", "--model", cell, *between, "--epochs", "1")[1]
    assert expected in run("score", cell, *between, "--inits", "1")[1]
    path = Path("kept/config.json")
    config = json.loads(path.read_text("utf-8"))
    del config["search_space"]["reduction"]  # as in runs of before there was a choice
    path.write_text(json.dumps(config), "utf-8")
    code, _, err = run("search", "--resume", "kept", "--reduction", "inside")
    assert (code, "the run has 'between'" in err) == (2, True)
    code, _, err = run("train", "kept", *between, "--out", "again")
    assert (code, "leave --reduction out" in err) == (2, True)


@pytest.mark.slow
def test_more_cells_than_the_limits_allow(run: Run) -> None:
    """A choice is not trained with more cells than keep the limits of its run, nor chosen so."""
    limits = ("--generations", "1", "--offspring", "9", "--population", "2", "--images", "16")
    assert run("search", *limits, "--max-params", "100000", "--out", "small")[0] == 0
    assert run("choose", "small")[0] == 0
    code, _, err = run("train", "small", "--cells", "40", "--epochs", "1")
    assert (code, "break the limits max_params=100000" in err) == (2, True)
    code, _, err = run("choose", "small", "--by", "training", "--cells", "40")
    assert (code, "no architecture keeps the limits" in err) == (2, True)
    assert run("train", "small", "--epochs", "1")[0] == 0


@pytest.mark.slow
def test_stages_of_nasbench201(run: Run) -> None:
    """Its final network is larger than the one that limits bound, and has always three stages."""
    search = ("search", "--space", "nasbench201", "--generations", "1", "--images", "16")
    few = ("--offspring", "2", "--population", "1", "--max-params", "100000", "--out", "nb")
    assert run(*search, *few)[0] == 0
    assert "best by ranks first" in run("choose", "nb")[1]
    assert "best by gradients first" in run("choose", "nb", "--by", "gradients", "--top", "1")[1]
    (Path("nb") / runs.CHOICE).unlink()
    for command in (("train", "nb"), ("choose", "nb", "--by", "training")):
        code, _, err = run(*command, "--cells", "4", "--epochs", "1")
        assert (code, "4 cells: networks of this search space have 3 stages" in err) == (2, True)
    assert run("train", "nb", "--epochs", "1", "--batch-size", "700")[0] == 0


def test_operations_of_train(run: Run) -> None:
    """A cell of other operations is trained by its text, in a folder that every system can have."""
    cell = "8,0|0,4|8,0"
    code, out, _ = run(
        "train", "--model", cell, "--operations", "conv3x3,skip", "--epochs", "1", "--cells", "1"
    )
    assert code == 0
    assert "wrote runs/8,0_0,4_8,0" in out
    space = CellSpace(["conv3x3", "skip"], n_cells=1)
    network = space.build_final([space.parse(cell)], 1, 10)
    assert f"{cell}: {count_parameters(network):,} parameters" in out


def test_train_by_name(run: Run) -> None:
    """A network by name is trained by the same command, on a data set by name."""
    code, out, _ = run("train", "--model", "resnet20", "--epochs", "1", "--batch-size", "512")
    assert code == 0
    assert "resnet20: 269,434 parameters" in out
    assert Path("runs/resnet20/weights.safetensors").is_file()


@pytest.mark.slow
def test_each_choice_has_its_training(run: Run, finished: Path) -> None:
    """Every choice of a run is trained in a folder of its own, and the last choice counts."""
    shutil.copytree(finished, "run")
    for name in ("choice.json", "final"):
        assert not Path("run", name).exists()
    assert run("train", "run", "--epochs", "1")[0] == 0
    of_front = load_trained("run")
    assert of_front.folder == Path("run/final")
    code, out, _ = run("choose", "run", "--by", "knee")
    assert (code, out.splitlines()[-1]) == (0, "next: pymoo-nas train run")
    code, _, err = run("predict", "run", "nosuch.png")
    assert code == 2
    chosen_text = json.loads(Path("run/choice.json").read_text("utf-8"))["genotypes"][0]
    assert f"not trained yet ({chosen_text}; trained:" in err
    assert "run/final" in err
    assert run("train", "run", "--epochs", "1")[0] == 0
    chosen = load_trained("run")
    choice = RunFolder("run").choice()
    assert choice is not None
    assert chosen.folder == Path("run/final-2")
    assert chosen.title == f"{choice.genotypes[0]} × 3"
    assert load_trained("run/final").title == of_front.title != chosen.title
    # The same network again is refused, as its weights would be lost.
    code, _, err = run("train", "run", "--epochs", "1")
    assert code == 2
    assert "run/final-2" in err
    assert run("train", "run", "--epochs", "1", "--overwrite")[0] == 0
    assert not Path("run/final-3").exists()
    # A third network replaces no other one, whatever is asked for.
    before = {
        path: Path(path, "weights.safetensors").read_bytes()
        for path in ("run/final", "run/final-2")
    }
    other = next(g for g in RunFolder("run").history()["genotype"] if g not in chosen.title)
    RunFolder("run").choose(Choice([other]))
    assert run("train", "run", "--epochs", "1", "--overwrite")[0] == 0
    assert load_trained("run").folder == Path("run/final-3")
    for path, weights in before.items():
        assert Path(path, "weights.safetensors").read_bytes() == weights


def test_a_run_that_was_trained_is_not_replaced(run: Run, finished: Path) -> None:
    """A run of which something was trained is not overwritten by another search."""
    shutil.copytree(finished, "run")
    Path("run/final").mkdir()
    Path("run/final/weights.safetensors").touch()
    code, _, err = run("search", *TINY, "--out", "run", "--overwrite")
    assert code == 2
    assert "run/final" in err


@pytest.mark.slow
def test_search_names_the_next_command(run: Run) -> None:
    """The last line of a search is the command that chooses an architecture."""
    code, out, _ = run("search", *TINY, *ONE, "--out", "run")
    assert (code, out.splitlines()[-1]) == (0, "next: pymoo-nas choose run")


def test_cell_picture_shows_the_choice(run: Run, finished: Path) -> None:
    """cell.png is drawn again when another cell than the first of the front is chosen."""
    shutil.copytree(finished, "run")
    folder = RunFolder("run")
    first = Path("run/cell.png").read_bytes()
    others = folder.history()
    usable = others[others["feasible"] & (others["degenerate"] == "")]
    other = next(g for g in usable["genotype"] if g != folder.front()["genotype"].iloc[0])
    folder.choose(Choice([other]))
    assert folder.draw("cell.png") == [Path("run/cell.png")]
    assert Path("run/cell.png").read_bytes() != first


@pytest.mark.slow
def test_augmentation_of_a_search_is_that_of_its_training(run: Run) -> None:
    """What a search was given is kept, taken by train, replaced by train's own; else refused."""
    limits = ("--generations", "1", "--offspring", "2", "--population", "1", "--images", "20")
    assert run("search", "digits", *limits, "--augment", "shift", "--out", "signs")[0] == 0
    assert "augmentation: shift" in run("train", "signs", "--epochs", "1")[1]
    given = run("train", "signs", "--epochs", "1", "--augment", "flip", "--overwrite")[1]
    assert "augmentation: flip" in given
    code, _, err = run("search", "--resume", "signs", "--augment", "none")
    assert (code, "the run has 'shift'" in err) == (2, True)
    for command in (("search", "digits", "--out", "new"), ("train", "signs", "--overwrite")):
        code, _, err = run(*command, "--augment", "mirror")
        assert (code, err.count("\n")) == (2, 1)
        assert "--augment mirror; expected one of none, shift, flip" in err
    assert not Path("new").exists()
    path = Path("signs/config.json")
    config = json.loads(path.read_text("utf-8"))
    del config["problem"]["augment"]  # as in runs of before
    path.write_text(json.dumps(config), "utf-8")
    trained = run("train", "signs", "--epochs", "1", "--overwrite", "--balance")
    assert "augmentation: none" in trained[1]
    assert "balanced" in trained[1]


@pytest.mark.slow
def test_batch_size_and_epochs_of_the_command_line(run: Run, finished: Path) -> None:
    """Numbers and auto are taken, what is chosen is printed, all else is one line."""
    train = ("train", str(finished), "--out", "final", "--overwrite")
    out = run(*train, "--epochs", "1", "--batch-size", "auto")[1]
    assert "batch size 64: 21 steps per epoch, 1 epochs" in out
    choose = ("choose", str(finished), "--by", "training", "--top", "1", "--random", "0")
    out = run(*choose, "--epochs", "1", "--batch-size", "200")[1]
    assert "batch size 200: 7 steps per epoch, 1 epochs" in out
    (finished / runs.CHOICE).unlink()
    for option in ("--epochs", "--batch-size"):
        for value in ("0", "many", "2.5", 5000 * "9"):
            for command in (train, choose):
                code, _, err = run(*command, option, value)
                assert (code, err.count("\n")) == (2, 1)
                assert f"{option} {value}; expected a whole number from 1, or auto" in err


@pytest.mark.parametrize("name", ["my runs", "-x", "a;b"])
def test_the_next_command_can_be_copied(run: Run, finished: Path, name: str) -> None:
    """The last line of a command is one that a shell takes, whatever the folder is called."""
    shutil.copytree(finished, f"./{name}")
    code, out, _ = run("choose", f"./{name}", "--by", "knee")
    assert code == 0
    program, command, folder = shlex.split(out.splitlines()[-1].removeprefix("next: "))
    assert (program, command, Path(folder)) == ("pymoo-nas", "train", Path(name))
    assert not folder.startswith("-")


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--validation", "2", "--validation 2"),
        ("--optimizer", "adam", "optimizer is 'adam'"),
        ("--precision", "int8", "precision is 'int8'"),
        ("--cutout", "-1", "cutout is -1"),
        ("--learning-rate", "nan", "learning_rate is nan"),
    ],
)
def test_settings_are_checked_before_images_are_read(
    run: Run, option: str, value: str, named: str
) -> None:
    """A mistake ends the command although the images are not even there."""
    code, out, err = run("train", "--model", "resnet20", "--dataset", "absent", option, value)
    assert (code, out) == (2, "")
    assert named in err
