"""Every study runs on made data and prints the columns that its header shows."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from pymoo_nas.scores import PAPER_OBJECTIVES
from pymoo_nas.spaces import CellSpace, DARTSSpace
from pymoo_nas.spaces.nasbench201._genotype import connected_representatives

STUDIES = Path(__file__).parents[1] / "studies"


class Call(NamedTuple):
    """Command lines of a study, run in turn; texts that header and output share; files left."""

    study: str
    commands: tuple[str, ...]
    shows: tuple[str, ...]
    leaves: tuple[str, ...] = ()
    slow: bool = False


CALLS = (
    Call(
        "batch_size",
        ("--shared {} --rows rows.csv --sets cifar10 --most 60 --epochs 2 --steps 4 --seeds 1"
         " --judging 20",),
        ("cifar10, 60 images, cell", "by batch_size: 8:", "by n_epochs:", "minutes of training",
         "statistics of"),
        ("rows.csv",),
    ),
    Call(
        "better_training",
        ("--shared {} --rows rows.csv --sets cifar10 --most 60 --epochs 1 --seeds 2",),
        ("cifar10:", "images, judged by", "plain:", "ema 0.9:", "ema 0.99:", "test flip:",
         "ema 0.99, test flip:", "cifar10, made unequal:", "balance:", "%, balanced", "AUC",
         "accuracy;", "balanced;", "auc", "minutes of one core"),
        ("rows.csv",),
    ),
    Call(
        "bookkeeping",
        ("memory --n 20", "history --generations 2", "latency --cifar {}/cifar10.npz --n 1"),
        ("kept in", "one hit: median", "hits at once", "with save_history", "resnet20",
         "difference median"),
    ),
    Call(
        "budgets",
        ("--cifar {}/cifar10.npz --work . --budgets A --seeds 1 --generations 2 --offspring 4"
         " --withheld 20 --short 1 --epochs 2 --full-seeds 1 --ema 0.9 --cutout 4",
         "--cifar {}/cifar10.npz --work by-hand --budgets A B --withheld 20 --short 1 --epochs 0"
         " --kinds resnet8"),
        ("epochs: parameters, MMACs, thousand acts, ms per image, minutes of search, of",
         "training, accuracy %, n", "A ours ", "A shortcut ", "A inside ", "A light ", "A later ",
         "A front ", "A staged ", "A staged-chosen ", "A tried ", "A lean ", "limited ", "chosen ",
         "A separable ", "A evolved ", "A random ", "A random-later ", "A te-nas ", "A largest ",
         "A resnet8 ", "A resnet14 ", "A resnet20 ", "A resnet32 ", "A mobilenetv2 ",
         "A shufflenetv2 ", "ms per step of 128 images, in turn:"),
        ("searches.csv", "trained-1.csv", "trained-2-ema0.9-cutout4.csv", "by-hand/trained-1.csv"),
        slow=True,
    ),
    Call(
        "cells",
        ("--cifar {}/cifar10.npz --partial cells.csv --n 4 --cells 1 --epochs 1"
         " --images 60 --size 8 --max-params 4000",),
        ("accuracy", "τ", "mean accuracy of the three best", "three, log ranks",
         "three and FLOPs, as choose", "balanced_ntk", "minus params", "best"),
        ("cells.csv",),
        slow=True,
    ),
    Call(
        "cifar10",
        ("--cifar {}/cifar10.npz --work . --optimizers muon --searches ours ranks random --seeds 1"
         " --generations 2 --offspring 5 --withheld 20 --short 1 --epochs 1 --cells 1"
         " --full ours --full-seeds 2",),
        ("accuracy on the 5,000 withheld images", "ours", "ranks", "random", "muon", "epochs",
         "parameters", "MMACs", "min", "full schedule:", "n = 2"),
        ("ours-0/choice.json", "ours-full-muon-1/training.json"),
        slow=True,
    ),
    Call(
        "contention",
        ("--rounds 1 --n 1 --images 8",),
        ("rounds", "neighbour waiting threads seconds most ratio to the first line threads taken",
         "alone default one", "alone passive all", "busy default auto", "busy passive auto",
         "scores are equal to the bit whatever the waiting: True",
         "scores are equal to the bit whatever the threads:"),
        ("contention.csv",),
        slow=True,
    ),
    Call(
        "darts_scores",
        ("--table {}/darts.csv --cifar {}/cifar10.npz --n 6 --images 20 --inits 1 --drawn 5"
         " --sizes 3x2 3x3 --partial darts.csv",),
        ("rows 0 to", "(layers x channels):", "connected", "of them flagged", "s each",
         "score tau 95 % interval mean accuracy of the ten best", "balanced_ntk", "params",
         "flops", "acts", "three and FLOPs, log ranks", "best of all"),
        ("darts.csv",),
        slow=True,
    ),
    Call(
        "evolution",
        ("--cifar {}/cifar10.npz --out . --generations 2 --offspring 4",),
        ("'generations':", "candidates,", "within the limits and not degenerate",
         "best offspring ntk", "activation", "correlation"),
        ("evolution.png", "offspring.png"),
        slow=True,
    ),
    Call(
        "gpu_speed",
        ("--quick",),
        ("launches), kernels", "waits), scores with check", "cells: ",
         "2 initialisations of", "one by one", "launches), stacked", "own plan", "known plan",
         "eigenvalues of each of 40 kernels of 64 images: one by one", "together by torch",
         "resnet20: 269,722 parameters", "MMACs", "before step", "ms (data", "passes",
         "optimisers", "times as fast", "float32, contiguous step", "float32, channels_last step",
         "kernel by kernel", "equal shapes (", "padded (", "one by one", "foreach", "fused"),
    ),
    Call(
        "own_images",
        ("--shared {} --work . --seeds 1 --generations 1 --sets made --epochs 1",),
        ("minutes to search", "by later scores", "to choose by training", "ours", "random",
         "later", "inside", "random inside", "training", "smaller", "of all", "resnet20",
         "balanced", "AUC", "parameters", "MMACs", "above random, split by split",
         "above random inside, split by split"),
        ("ours.csv", "later.csv", "inside.csv", "tried.csv", "trainings.csv"),
        slow=True,
    ),
    Call(
        "epochs",
        ("--shared {} --work . --seeds 2 --epochs 1 2 --sets made digits",),
        ("made, ", "digits, ", "epochs of", "images,", "steps,", "best", "one", "two", "last",
         "mean of the sets,"),
        ("trainings.csv",),
    ),
    Call(
        "recipe",
        ("--images {}/cifar10.npz --work . --epochs 1 --seeds 2 --networks chain"
         " --recipes sgd muon",),
        ("seeds 0 to 1", "chain sgd", "chain muon", "n = 2", "s per epoch"),
        ("chain-muon-1/training.json",),
    ),
    Call(
        "handed_over",
        ("--cifar {}/cifar10.npz --rows {} --work . --images 8 --inits 1 --drawn 20",),
        ("networks", "ntk", "synflow", "zico", "params", "acts", "withheld"),
        ("scores.csv",),
        slow=True,
    ),
    Call(
        "large_images",
        ("--images 60 --side 80 --image-size 40 --many 100 --generations 1 --work .",),
        ("limit", "JPEGs of", "decode, and score one network", "own", "mapped files", "search",
         "train", "multiply-accumulates per image", "steps per epoch", "test accuracy",
         "GiB of pixels", "mean and standard deviation:", "probe of 64 images:",
         "one pass of batches of 128:"),
        slow=True,
    ),
    Call(
        "gradient_choice",
        ("--cifar {}/cifar10.npz --table {}/table.csv --memory memory.csv --partial gradients.csv"
         " --n 20 --seeds 1 --images 20 --inits 1 --rivals 'ours, no tournament'",),
        ("same choice", "ours, no tournament,", "careful", "library", "judges all",
         "ends at 20 beaten", "ends at 100 beaten", "5 images: deviation over initialisations",
         "20 images: deviation over initialisations", "verdicts of 4 initialisations differ in",
         "seconds of a measurement:", "s before,", "s now for the choice, ratio"),
        ("gradients.csv",),
        slow=True,
    ),
    Call(
        "limits",
        ("--cifar {}/cifar10.npz --rows rows.csv --seeds 1 --generations 1 --images 4 --epochs 1"
         " --training 50 --budgets 1 --strategies evolutive",),
        ("30,000 parameters", "evolutive, without repair:", "evolutive, with repair:",
         "over the limits,", "judged, hypervolume", "gain in hypervolume:", "gain in accuracy:",
         "minutes of one core for the searches"),
        ("rows.csv",),
        slow=True,
    ),
    Call(
        "tournaments",
        ("--cifar {}/cifar10.npz --partial {}/cells.csv --rows rows.csv --tournaments 1 --slots 2"
         " --settings 'head start alone' '20 steps, small' '5 steps, head start 1' fair halving"
         " 'halving, head start 1' carried 'mixed, recalibrated' 'fair, recalibrated'",),
        ("head start alone", "5 steps, head start 1", "fair", "halving", "halving, head start 1",
         "carried", "mixed, recalibrated", "fair, recalibrated", "20 steps, small",
         "+ a head start", "concordance", "winners", "gain", "best", "room"),
        ("rows.csv",),
        slow=True,
    ),
    Call(
        "rivals",
        ("--cifar {}/cifar10.npz --table {}/table.csv --memory memory.csv --out rivals.csv"
         " --candidates 20 --seeds 1 --images 20 --inits 1 --rivals random"
         " 'regularised evolution' 'ours, no tournament'",),
        ("candidates", "with known accuracy", "random", "regularised evolution",
         "ours, no tournament"),
        ("memory.csv", "rivals.csv"),
        slow=True,
    ),
    Call(
        "sanity_check",
        ("--cifar {}/cifar10.npz --random 4 --popular resnet20 --out sanity.png",),
        ("seed 0, N = 64, R = 1", "random genotypes: n =", "hand-made CNNs: n = 8, degenerate",
         "distance to the origin", "name ntk activation correlation params distance", "8-16-32 bn",
         "resnet20"),
        ("sanity.png",),
    ),
    Call(
        "score_cost",
        ("--repeats 1 --images 8 --size 16 --cells 2",),
        ("params MMACs step s scores s ratio TE-NAS/scores one by one/scores",
         "median ratio to one step:", "median ratio of the kernels alone",
         "of scores with check and counts", "median speed-up over TE-NAS's loop", "images N:",
         "width (parameters grow with its square): 4:", "map size (pixels per side):",
         "time grows with exponent", "peak resident memory"),
        slow=True,
    ),
    Call(
        "score_quality",
        ("scores --table {}/table.csv --cifar {}/cifar10.npz --n 12 --images 20 --inits 1"
         " --drawn 5 --partial quality.csv --plot quality.png",
         "variants --table {}/table.csv --cifar {}/cifar10.npz --n 8 --images 20 --inits 2"),
        ("connected architectures;",
         "score tau 95 % interval rho nDCG mean accuracy of the ten best", "balanced ntk",
         "three and FLOPs, worst rank", "participation",
         "mixed three, log ranks", "later and FLOPs, worst rank", "best of all", "s each",
         "FLOPs", "ntk: without reduction", "activation: stage 3", "activation: / units^0.25",
         "correlation: half weight, ridge 0.01", "log ranks of three, and with FLOPs"),
        ("quality.csv", "quality.png"),
    ),
    Call(
        "soak",
        ("--candidates 12 --offspring 6 --every 6",),
        ("digits, at most", "candidates", "MiB", "files", "threads", "children",
         "largest of the first half", "of the second half"),
    ),
    Call(
        "spaces",
        ("--cifar {}/cifar10.npz --work . --seeds 2 --candidates 3 --epochs 1 --withheld 10"
         " --images 70 --judging 20 --spaces base widths-1-1.5-2 inverted two-cells different"
         " --rivals resnet8",
         "--cifar {}/cifar10.npz --work . --seeds 1 --candidates 3 --epochs 1 --withheld 10"
         " --images 70 --judging 20 --spaces base inverted different between-excited"
         " --rivals --fitted"),
        ("space, seed, parameters, MMACs, thousand acts, ms per image, seconds of search, of",
         "epochs on", "images, judged by", "base", "widths-1-1.5-2", "two-cells", "inverted",
         "resnet8", "params,", " ms, "),
        ("spaces-1.csv", "spaces-1-base-1/training.json", "fitted-1.csv", "cells.csv"),
        slow=True,
    ),
    Call(
        "speed",
        ("candidates --cifar {}/cifar10.npz --least-params 4000 --n 2", "pooling --repeats 1",
         "training --cifar {}/cifar10.npz --n 2 --repeats 1 --max-params 30000 --models resnet20"),
        ("channel_step 8, widening 1: n =", "s per candidate of", "million MACs",
         "128 × 16 maps of 32×32, torch.bfloat16, torch.channels_last: torch's",
         "resnet20:", "MMACs", "acts", "s per step", "by SGD", "cells:", "multiply-accumulates",
         "both of them correlation", "deviation"),
        slow=True,
    ),
    Call(
        "stages",
        ("--cifar {}/cifar10.npz --partial stages.csv --images 80 --epochs 1 --cells 2",),
        ("epochs, seed 0", "between,", "inside, stem", "higher in", "MMACs",
         "thousand acts", "s per epoch", "without the stem, as it is: correlation",
         "behind the stem , blurred : correlation", "smoothness"),
        ("stages.csv",),
        slow=True,
    ),
    Call(
        "steady_gradients",
        ("--table {}/table.csv --cifar {}/cifar10.npz --partial steady.csv --n 6 --inits 1",),
        ("half tune, n =", "growth: τ with the accuracy", "smoothness: τ with the accuracy",
         "growth smoothness order handed over first five", "three and size", "activation and size"),
        ("steady.csv",),
        slow=True,
    ),
    Call(
        "rivals",
        ("--cifar {}/cifar10.npz --table {}/table.csv --memory memory.csv --out rivals.csv"
         " --candidates 20 --seeds 1 --images 20 --inits 1 --gradients gradients.csv"
         " --rivals te-nas 'random, steady gradients' 'random, short training'"
         " 'ours, steady first'",),
        ("candidates", "with known accuracy", "te-nas",
         "random, steady gradients", "ours, steady first", "minutes in all, to measure"),
        slow=True,
    ),
    Call(
        "speed",
        ("search --parts cifar --generations 1 --cifar {}/cifar10.npz",),
        ("seed 0, n = 1", "cifar search", "GiB", "cifar train, 2 epochs", "candidates,",
         "met in tournaments, median", "s per scored candidate"),
        slow=True,
    ),
    Call(
        "speed",
        ("workers --cifar {}/cifar10.npz --candidates 4 --rounds 1 --workers 1",),
        ("medians of", "one thread", "threads", "workers", "× one thread",
         "scores of the workers equal those of one thread to the bit: True"),
        slow=True,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ten classes of small images, and tables of NAS-Bench-201 and of DARTS."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 100), ("test", 20)):
        labels = np.arange(n) % 10
        noise = rng.integers(0, 60, (n, 8, 8, 3))
        arrays[f"{part}_images"] = (noise + 19 * labels[:, None, None, None]).astype(np.uint8)
        arrays[f"{part}_labels"] = labels
    np.savez(folder / "cifar10.npz", **arrays)
    genotypes = connected_representatives()
    chosen = rng.choice(len(genotypes), 40, replace=False)
    table = pd.DataFrame({"arch": [str(genotypes[index]) for index in chosen]})
    table["cifar10_test"] = rng.uniform(80, 94, len(table))
    table["params_m"] = rng.uniform(0.1, 1.5, len(table))
    table["flops_m"] = rng.uniform(41, 220, len(table))
    table.to_csv(folder / "table.csv", index=False)
    space = DARTSSpace()
    cells = pd.DataFrame({"genotype": [str(space.sample(rng)) for _ in range(8)]})
    cells["cifar10_valid"] = rng.uniform(65, 86, len(cells))
    cells.to_csv(folder / "darts.csv", index=False)
    small, whole = CellSpace(max_nodes=2, sample_nodes=2), CellSpace()
    drawn = dict.fromkeys(whole.format(small.sample(rng)) for _ in range(40))
    grown = pd.DataFrame({"genotype": list(drawn)[:9]})
    for name in (*PAPER_OBJECTIVES, "accuracy"):
        grown[name] = rng.uniform(size=len(grown))
    grown.to_csv(folder / "cells.csv", index=False)
    rivals = pd.DataFrame({"budget": "A", "kind": "later", "model": list(drawn)[:12]})
    rivals["rival"] = "A later 0 " + rivals["model"]
    for name in ("params", "flops", "acts", "validation"):
        rivals[name] = rng.uniform(size=len(rivals))
    rivals["accuracy"] = rng.uniform(size=len(rivals))
    rivals.to_csv(folder / "trained-4.csv", index=False)
    return folder


def test_every_study_is_called() -> None:
    """No study is left out here."""
    assert {call.study for call in CALLS} == {path.stem for path in STUDIES.glob("*.py")}


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(call, id=f"{call.study}-{place}", marks=pytest.mark.slow if call.slow else ())
        for place, call in enumerate(CALLS)
    ],
)
def test_study_prints_what_its_header_shows(
    call: Call,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On tiny settings each column, row title and unit of the header is printed."""
    monkeypatch.chdir(tmp_path)
    study = importlib.import_module(call.study)
    for command in call.commands:
        study.main(shlex.split(command.replace("{}", str(data))))
    header, printed = (" ".join(text.split()) for text in (study.__doc__, capsys.readouterr().out))
    for text in call.shows:
        assert text in header, f"{text!r} is not in the header"
        assert text in printed, f"{text!r} is not printed: {printed}"
    for name in call.leaves:
        assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("budgets --cifar {} --work work", "--cifar"),
        ("budgets --cifar PATH/cifar10.npz --work work", "--cifar"),
        ("own_images --shared {} --work work", "--shared"),
        ("handed_over --cifar . --rows {} --work work", "--rows"),
        ("rivals --cifar . --table {} --memory memory.csv --out rivals.csv", "--table"),
        ("score_quality variants --cifar . --table {}", "--table"),
        ("speed search --parts cifar --cifar {}", "--cifar"),
    ],
)
def test_a_study_refuses_an_absent_path(
    command: str,
    option: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A path to read that is absent ends a study with status 2, named, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    study, *arguments = shlex.split(command.replace("{}", "/nowhere"))
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(study).main(arguments)
    assert ended.value.code == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {option}:" in told
    assert not list(tmp_path.iterdir())
