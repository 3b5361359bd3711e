import json
import os
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import ONE, TINY, Run
from paper_objectives import HISTORY_TYPES
from PIL import Image

from pymoo_nas._machine import versions
from pymoo_nas.networks import OPERATIONS, count_flops, count_parameters
from pymoo_nas.runs import RunFolder
from pymoo_nas.search import read_frame
from pymoo_nas.spaces import NASBench201Space, space_from_settings


def test_run_folder(finished: Path) -> None:
    """A search leaves tables, configuration and pictures, consistent with each other."""
    names = {path.name for path in finished.iterdir()}
    assert names == {
        *("config.json", "front.csv", "archive.csv", "history.csv", "tournaments.json"),
        *("front.png", "evolution.png", "offspring.png", "cell.png"),
        *("checkpoint.json", "checkpoint.previous.json", ".lock"),
    }
    history, front = read_frame(finished / "history.csv"), read_frame(finished / "front.csv")
    assert list(history) == list(HISTORY_TYPES)
    assert len(history) == 18
    assert set(front["genotype"]) <= set(history["genotype"])
    assert front["alpha"].notna().all()
    config = json.loads((finished / "config.json").read_text("utf-8"))
    assert config["generations_done"] == 3
    assert config["candidates"] == 18
    assert config["versions"] == versions()
    for name in names:
        if name.endswith(".png"):
            with Image.open(finished / name) as picture:
                assert min(picture.size) > 100
    assert RunFolder(finished).tournaments() == [3]


def test_problem_of_a_run_scores_the_same(finished: Path) -> None:
    """The problem rebuilt from the folder gives the front's scores to the bit."""
    folder = RunFolder(finished)
    front = folder.front()
    problem = folder.problem()
    for _, row in front.iterrows():
        scores = problem.score_genotype(problem.search_space.parse(row["genotype"]))
        assert scores.values == (row["ntk"], row["activation"], row["correlation"])


@pytest.mark.slow
def test_same_seed_same_tables(run: Run, finished: Path) -> None:
    """A second search with the same seed writes the same tables but for the times."""
    assert run("search", *TINY, "--out", "again")[0] == 0
    for name in ("front.csv", "history.csv"):
        one, two = read_frame(finished / name), read_frame(Path("again") / name)
        assert one.drop(columns="seconds").equals(two.drop(columns="seconds"))


def test_long_genotypes_stay_whole(run: Run) -> None:
    """In files and pipes a table has each genotype on one line, to be copied."""
    cell = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_1x1~2|"
    code, out, _ = run("score", cell, "--inits", "1", "--images", "16")
    assert code == 0
    assert cell in out


def test_score_of_one_initialisation(run: Run) -> None:
    """One initialisation has no deviation; the sizes are those of the network to train."""
    cell = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|nor_conv_1x1~2|"
    code, out, err = run("score", cell, "--inits", "1", "--images", "16")
    assert (code, err) == (0, "")
    assert "±" not in out
    space = NASBench201Space()
    network = space.build_final([space.parse(cell)], 1, 10)
    assert f"{count_parameters(network):,}" in out
    assert f"{count_flops(network, torch.zeros(1, 1, 8, 8)):,}" in out
    heads = re.split("┃", next(line for line in out.splitlines() if "MACs" in line))
    values = re.split("│", next(line for line in out.splitlines() if cell in line))
    row = dict(zip(map(str.strip, heads), map(str.strip, values), strict=True))
    assert 0 < float(row["ms, batch 32"]) < float(row["ms, batch 1"])


def test_search_shows_progress(run: Run) -> None:
    """A line per generation: best of each score, candidates per second, time left; then paths."""
    code, out, err = run("search", *TINY, "--tournament-every", "2", "--seed", "1")
    assert (code, err) == (0, "")
    for generation in (1, 2, 3):
        assert f"generation {generation}/3: ntk " in out
    assert "candidates/s" in out
    assert "s left | tournament" in out
    assert "next: pymoo-nas choose runs/digits" in out
    assert not Path("runs/digits/final").exists()


def test_score_table(run: Run) -> None:
    """Genotypes, NAS-Bench-201 cells and torchvision's networks stand in one table."""
    cell = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|nor_conv_1x1~2|"
    code, out, err = run("score", "5000|0001|0800", "0008", cell, "squeezenet1_1", "--images", "8",
                         "--inits", "2", "--image-size", "32")  # fmt: skip
    assert (code, err) == (0, "")
    for text in ("5000|0001|0800", "squeezenet1_1", "|nor_conv_3x3~0", "no ReLU", "±"):
        assert text in out


def test_score_names_what_it_cannot_score(run: Run) -> None:
    """Good rows are printed, the others named, and the exit code is 2."""
    code, out, err = run("score", "5000", "nosuch", "alexnet", "--images", "8", "--inits", "1")
    assert code == 2
    assert "5000" in out
    assert "nosuch" in err
    assert "resnet18" in err
    assert "alexnet" in err
    assert [line.split(":")[0] for line in err.splitlines()] == ["error", "error"]


def test_plot_draws_again(run: Run, finished: Path) -> None:
    """The pictures come from the tables."""
    (finished / "front.png").unlink()
    code, out, _ = run("plot", str(finished))
    assert code == 0
    assert (finished / "front.png").exists()
    assert "evolution.png" in out


def test_operations_lists_all(run: Run) -> None:
    """Every operation is named with its size."""
    code, out, _ = run("operations")
    assert code == 0
    assert all(name in out for name in OPERATIONS)


@pytest.mark.parametrize(
    "command", ["", "search", "choose", "train", "compare", "score", "plot", "operations"]
)
def test_help(run: Run, command: str) -> None:
    """Every command explains itself."""
    code, out, _ = run(*filter(None, [command]), "--help")
    assert code == 0
    assert "Usage" in out


def test_version(run: Run) -> None:
    """The version is printed."""
    assert run("--version")[1].startswith("pymoo-nas 0.")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["search", "nosuch"], "digits"),
        (["search", "cifar10"], "--download"),
        (["search", "--operations", "conv3x3,nosuch"], "nosuch"),
        (["search", "--space", "nosuch"], "nasbench201"),
        (["search", "--space", "nasbench201", "--cells", "4"], "3 stages"),
        (["search", "--space", "nasbench201", "--reduction", "between"], "leave --reduction out"),
        (["search", "--space", "nasbench201", "--reduction", "inside"], "leave --reduction out"),
        (["search", "--space", "nosuch", "--reduction", "between"], "nasbench201"),
        (["search", "--reduction", "outside"], "between, inside"),
        (["search", "--widths", "1;2"], "--widths 1;2"),
        (["search", "--widths", "1,-2"], "widths"),
        (["search", "--space", "nasbench201", "--widths", "1,2"], "leave --widths out"),
        (["train", "--model", "resnet20", "--widths", "1"], "leave --widths out"),
        (["score", "resnet20", "--widths", "1"], "leave --widths out"),
        (["search", "--space", "darts", "--shortcut"], "leave --shortcut out"),
        (["train", "--model", "resnet20", "--shortcut"], "leave --shortcut out"),
        (["score", "resnet20", "--shortcut"], "leave --shortcut out"),
        (["search", "--device", "tpu"], "cpu"),
        (["search", "--image-size", "2"], "too small"),
        (["search", *TINY, *ONE, "--offspring", "2", "--max-params", "20"], "limit 20"),
        (["search", "--generations", "0"], "generations"),
        (["search", "--seed", str(10**30)], "seed"),
        (["search", "--max-params", "0"], "max_params"),
        (["search", "--max-flops=-5"], "max_flops"),
        (["search", *TINY, *ONE, "--offspring", "2", "--max-acts", "20"], "limit 20"),
        (["search", "--device", "cuda:99"], "cuda:99"),
        (["nosuch"], "No such command"),
        (["train", "nosuch"], "holds no run"),
        (["plot", "nosuch"], "holds no run"),
        (["choose", "nosuch"], "holds no run"),
        (["compare", "nosuch"], "holds no run"),
        (["choose", "nosuch", "--by", "luck"], "knee, weights, gradients, training"),
        (["choose", "nosuch", "--by", "weights"], "needs --weights"),
        (["choose", "nosuch", "--by", "knee", "--weights", "ntk=1"], "leave one out"),
        (["choose", "nosuch", "--weights", "ntk"], "name=number"),
        (["train"], "run folder, or --model"),
        (["train", "--model", "nosuch"], "resnet20.*resnet18"),
        (["train", "--model", "resnet20", "--cells", "4"], "leave --cells out"),
        (["train", "--model", "|none~0|+|", "--cells", "4"], "leave --cells out"),
        (["train", "--model", "resnet20", "--reduction", "inside"], "leave --reduction out"),
        (
            ["train", "--model", "resnet20", "--cells", "4", "--reduction", "between"],
            "leave --cells and --reduction out",
        ),
        (["score", "resnet20", "--reduction", "between"], "leave --reduction out"),
        (["score", "resnet20", "--cells", "4"], "leave --cells out"),
        (["score", "resnet20", "--operations", "gate"], "leave --operations out"),
        (["search", "--space", "nasbench201", "--operations", "gate"], "leave --operations out"),
        (["search", "--space", "nasbench201", "--cells", "2"], "leave --cells out"),
        (["search", "x" * 300], "x" * 300),
        (["search", "--out", "x" * 300], "x" * 300),
        (["plot", "x" * 300], "x" * 300),
        (["predict", "x" * 300, "y.png"], "holds no finished training"),
        (
            ["search", "--tournament-every", "0", "--tournament-size", "3"],
            "leave --tournament-size",
        ),
        (["train", "--model", "|none~0|+|", "--operations", "gate"], "leave --operations out"),
        (["choose", "nosuch", "--by", "ranks", "--top", "3"], "--top with --by ranks"),
        (["choose", "nosuch", "--by", "knee", "--device", "cuda"], "leave --device out"),
        (["choose", "nosuch", "--by", "gradients", "--epochs", "2"], "leave --epochs out"),
        (["train", "nosuch", "--operations", "gate"], "leave --operations out"),
        (["train", "nosuch", "--dataset", "digits"], "holds no run"),
        (["train", "nosuch", "--resume", "--overwrite"], "expected one of them"),
        (["train", "nosuch", "--validation", "1"], "--validation 1; expected a share"),
        (["train", "nosuch", "--validation", "nan"], "--validation nan; expected a share"),
        (["score", "resnet20", "--objectives", "nomod:x"], "nomod:x"),
        (["train", "--model", "alexnet"], "cannot take images"),
        (["score", "5000|0001"], r"n\(n\+1\)/2"),
        (["score", "9000|000-1|0000"], "position 9"),
        (["score", "8,-4,0,0"], "position 3"),
        (["score", "99999,0,0,0"], "4096"),
    ],
)
def test_mistakes_exit_with_2(run: Run, arguments: list[str], match: str) -> None:
    """A mistake is said in words, with exit code 2 and no traceback."""
    code, _, err = run(*arguments)
    assert code == 2
    assert "Traceback" not in err
    assert err.count("error: ") + err.count("─ Error ─") == 1
    assert re.search(match, err)


def test_existing_run_is_kept(run: Run, finished: Path) -> None:
    """Without --overwrite nothing in a run folder changes."""
    before = {path: path.read_bytes() for path in finished.iterdir()}
    code, _, err = run("search", *TINY, "--out", str(finished))
    assert code == 2
    assert "--overwrite" in err
    assert {path: path.read_bytes() for path in finished.iterdir()} == before


def test_a_strangers_table_is_kept(run: Run) -> None:
    """A folder with a front.csv of whatever origin is not written to."""
    Path("front.csv").write_text("mine", encoding="utf-8")
    code, _, err = run("search", *TINY, "--out", ".")
    assert code == 2
    assert "front.csv" in err
    assert [path.name for path in Path().iterdir()] == ["front.csv"]


def test_nothing_that_can_be_judged(run: Run) -> None:
    """Limits that only degenerate candidates keep: exit code 2, the reason, tables and pictures.

    The reason is told after the first generation too, as the others may take long.
    """
    code, out, err = run("search", "--generations", "2", "--offspring", "4", "--max-params", "1200",
                       "--no-repair", "--out", "small")  # fmt: skip
    assert code == 2
    assert re.search(
        r"^error: none of 9 candidates .*no ReLU.*max_params.* small, and --overwrite.*$", err
    )
    assert re.search(r"^generation 1/2: nothing yet: none of \d candidates .*max_params", out, re.M)
    assert read_frame("small/history.csv")["degenerate"].astype(bool).all()
    assert run("plot", "small")[0] == 0


def test_a_run_stays_until_another_has_found_something(run: Run, finished: Path) -> None:
    """With --overwrite, a search that finds nothing leaves the earlier run as it was."""
    shutil.copytree(finished, "run")
    shutil.rmtree("run/final", ignore_errors=True)
    before = {path: path.read_bytes() for path in Path("run").iterdir() if path.is_file()}
    code, _, err = run("search", *TINY, "--max-params", "1200", "--no-repair", "--out", "run",
                       "--overwrite")  # fmt: skip
    assert code == 2
    assert re.search(r"^error: none of .* the earlier run in run yet, which is kept$", err)
    assert {path: path.read_bytes() for path in Path("run").iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_names_go_before_paths(run: Run) -> None:
    """A folder called digits, such as a run's, does not hide the data set of that name."""
    Path("digits").mkdir()
    assert run("search", *TINY, *ONE, "--out", "[red]a[/red]")[0] == 0
    folder = RunFolder("[red]a[/red]")
    assert folder.config()["problem"]["dataset"] == "digits"
    assert Path(folder.config()["problem"]["data_dir"]).is_absolute()
    code, out, _ = run("plot", "[red]a[/red]")
    assert code == 0
    assert "wrote [red]a[/red]/front.png" in out


@pytest.mark.slow
def test_nas_bench_201(run: Run) -> None:
    """The second space goes all the way from search to training."""
    assert run("search", *TINY, *ONE, "--space", "nasbench201", "--out", "bench")[0] == 0
    code, out, _ = run("train", "bench", "--epochs", "1")
    assert code == 0
    assert "test accuracy" in out


@pytest.mark.slow
def test_overwrite(run: Run) -> None:
    """With --overwrite a run takes the place of another."""
    first = [*TINY, "--out", "runs/a", "--tournament-every", "0"]
    assert run("search", *first)[0] == 0
    assert run("search", *first, "--seed", "5", "--overwrite")[0] == 0
    assert json.loads(Path("runs/a/config.json").read_text("utf-8"))["algorithm"]["seed"] == 5


@pytest.fixture
def folder_of_images(tmp_path: Path) -> Path:
    """Two classes of small colour images, one file of which is none."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for index in range(14):
            pixels = rng.integers(0, 256, (9 + index, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{index}.png")
    (tmp_path / "pets" / "cat" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "pets"


def test_a_folder_of_images(run: Run, folder_of_images: Path) -> None:
    """A practitioner's folder is searched and trained; an unreadable file is named."""
    arguments = [str(folder_of_images), *TINY, "--image-size", "12", "--tournament-every", "0"]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, _, err = run("search", *arguments)
        assert code == 0
        assert re.search(r"warning: .*skipped 1 of 29 .*broken\.png", err)
        assert run("train", "runs/pets", "--epochs", "1")[0] == 0


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ("{}", "cannot be rebuilt"),
        ('{"problem": {}, "search_space": {"space": "nosuch"}}', "cannot be rebuilt"),
        (
            '{"problem": {}, "search_space": {"space": "cell", "operations": ["mine"]}}',
            "build_final",
        ),
    ],
)
def test_damaged_configuration(run: Run, config: str, match: str) -> None:
    """A run folder that was edited by hand is refused with what is wrong."""
    Path("broken").mkdir()
    Path("broken/config.json").write_text(config, encoding="utf-8")
    code, _, err = run("train", "broken")
    assert code == 2
    assert match in err


def test_spaces_from_settings() -> None:
    """Both spaces come back from their own plain values."""
    for name in ("cell", "nasbench201"):
        settings = space_from_settings({"space": name}).settings()
        assert space_from_settings(settings).settings() == settings


@pytest.mark.slow
def test_no_threads_or_files_are_left(run: Run) -> None:
    """A search leaves no open file behind and torch's threads as they were."""
    before = torch.get_num_threads(), len(os.listdir("/proc/self/fd"))
    run("search", *TINY, "--tournament-every", "0")
    assert (torch.get_num_threads(), len(os.listdir("/proc/self/fd"))) == before
