"""Curves and pictures of searches and trainings, read back with TensorBoard's own reader."""

from __future__ import annotations

import copy
import io
import sys
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cheap_problems import Channels, MadeScores, nsga2
from command_line import Run
from PIL import Image
from pymoo.optimize import minimize
from small_training import small_dataset, small_network
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_training_resume import OPTIONS, STEPS, interrupted

from pymoo_nas import TensorBoard
from pymoo_nas.errors import RunError, SearchError
from pymoo_nas.runs import RunFolder, Search, SearchSettings
from pymoo_nas.search import (
    CallbackChain,
    DartsTournament,
    EvolutiveNAS,
    NothingFoundWarning,
    front_to_frame,
    history_to_frame,
)
from pymoo_nas.training import train

NAMES = ("ntk", "activation", "correlation")
SETTINGS = SearchSettings(4, 2, 4, tournament_every=0, seed=1)


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def curve(events: EventAccumulator, tag: str) -> dict[int, float]:
    """Step → value; each step once."""
    found = events.Scalars(tag)
    steps = [event.step for event in found]
    assert len(set(steps)) == len(steps)
    return {event.step: event.value for event in found}


def searched(problem: Any, callback: Any, algorithm: Any = None, **options: Any) -> Any:
    algorithm = EvolutiveNAS(3, 6) if algorithm is None else algorithm
    return minimize(problem, algorithm, ("n_gen", 4), callback=callback, seed=1, **options)


def test_curves_of_a_search(tmp_path: Path) -> None:
    """Each generation has the values of its survivors and candidates; the search stays as it is."""
    generations: list[Any] = []

    def note(algorithm: Any) -> None:
        generations.append(np.array([individual.F for individual in algorithm.pop]))

    result = searched(MadeScores(), CallbackChain(note, TensorBoard(tmp_path, pictures_every=0)))
    plain = searched(MadeScores(), None)
    assert (result.F == plain.F).all()
    assert history_to_frame(result).equals(history_to_frame(plain))
    events, history = read(tmp_path), history_to_frame(result)
    for index, name in enumerate(NAMES):
        for step, F in enumerate(generations, start=1):
            assert curve(events, f"best/{name}")[step] == pytest.approx(F[:, index].min())
            assert curve(events, f"median/{name}")[step] == pytest.approx(np.median(F[:, index]))
    assert curve(events, "search/candidates") == {1: 6, 2: 12, 3: 18, 4: 24}
    usable = (history["degenerate"] == "").groupby(history["generation"]).mean()
    assert curve(events, "search/usable") == pytest.approx(usable.to_dict())


def test_hypervolume_and_pictures(tmp_path: Path) -> None:
    """It is that of all candidates so far, in units of the first front; pictures are drawn."""
    result = searched(MadeScores(objectives=NAMES[:2]), TensorBoard(tmp_path))
    events = read(tmp_path)
    for tag in ("front", "evolution", "cell"):
        assert [image.step for image in events.Images(tag)] == [3, 4]
        picture = Image.open(io.BytesIO(events.Images(tag)[-1].encoded_image_string))
        assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 10
    values = curve(events, "search/hypervolume")
    assert list(values) == [1, 2, 3, 4]
    assert sorted(values.values()) == list(values.values())
    history = history_to_frame(result)
    history = history[history["degenerate"] == ""]
    F, generation = history[list(NAMES[:2])].to_numpy(), history["generation"].to_numpy()
    first = F[generation == 1]
    scaled = result.problem.normalise(F, scores=first)
    assert values[4] == pytest.approx(area(scaled), rel=1e-5)
    assert values[1] == pytest.approx(area(scaled[generation == 1]), rel=1e-5)


def area(points: np.ndarray) -> float:
    """The area that points dominate below 1.1 in both coordinates, strip by strip."""
    edges = np.sort([*points[points[:, 0] < 1.1, 0], 1.1])
    total = 0.0
    for low, high in pairwise(edges):
        total += (high - low) * max(0.0, 1.1 - points[points[:, 0] <= low, 1].min())
    return total


def test_continued_search_has_each_step_once(tmp_path: Path) -> None:
    """A search that is cut off, and goes on from its last kept generation, has whole curves."""

    def begun(name: str) -> Search:
        folder = RunFolder(tmp_path / name)
        folder.create()
        return Search(folder, MadeScores(), SETTINGS, {"problem": {"dataset": "digits"}})

    whole = begun("whole")
    whole.run(TensorBoard(whole.folder.path / "tensorboard", pictures_every=0))
    cut = begun("cut")

    def stop(algorithm: Any) -> None:
        if algorithm.n_iter == 3:  # written to the curves, but not to the run folder
            raise KeyboardInterrupt

    place = cut.folder.path / "tensorboard"
    with TensorBoard(place, pictures_every=0) as board, pytest.raises(KeyboardInterrupt):
        cut.run(CallbackChain(board, stop))
    assert list(curve(read(place), "best/ntk")) == [1, 2, 3]
    again = Search.continued(cut.folder, problem=MadeScores())
    assert again.generations_done == 2
    again.run(TensorBoard(place, pictures_every=0))
    one, other = read(whole.folder.path / "tensorboard"), read(place)
    assert one.Tags()["scalars"] == other.Tags()["scalars"]
    for tag in one.Tags()["scalars"]:
        assert curve(one, tag) == curve(other, tag)
    again.folder.create(overwrite=True)
    assert not list(place.iterdir())


def test_other_algorithms_and_problems(tmp_path: Path) -> None:
    """Where no history is kept, and where objectives and constraints are the user's own."""
    for name, problem, algorithm, every in (
        ("pymoo", MadeScores(objectives=NAMES[:2]), nsga2(), 4),
        ("own", Channels(2, n_ieq_constr=1, limit=0), EvolutiveNAS(3, 6), 4),
        ("four", Channels(4), EvolutiveNAS(3, 6), 0),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NothingFoundWarning)
            searched(problem, TensorBoard(tmp_path / name, pictures_every=every), algorithm)
    pymoo, own, four = (read(tmp_path / name) for name in ("pymoo", "own", "four"))
    assert set(pymoo.Tags()["images"]) == {"front", "cell"}
    assert list(curve(pymoo, "median/ntk")) == [1, 2, 3, 4]
    assert curve(own, "search/usable") == dict.fromkeys(range(1, 5), 0.0)
    assert "best/f1" not in own.Tags()["scalars"]  # nothing keeps the limit
    assert "best/f4" in four.Tags()["scalars"]
    assert "search/hypervolume" not in four.Tags()["scalars"]


def test_tournaments_are_drawn_and_copies_begin_anew(tmp_path: Path) -> None:
    """The callback stands behind a tournament, and a copy of it writes on where it was copied."""
    board = TensorBoard(tmp_path / "one", pictures_every=0)
    tournament = DartsTournament(1, 2, n_steps=1)
    chain = CallbackChain(tournament, board)
    result = minimize(MadeScores(), EvolutiveNAS(2, 4), ("n_gen", 1), callback=chain, seed=1)
    events = read(tmp_path / "one")
    assert len(tournament.data["tournaments"]) == 1
    best = front_to_frame(result)["ntk"].min()
    assert curve(events, "best/ntk")[1] == pytest.approx(best)
    open_ = TensorBoard(tmp_path / "two")
    open_.curves.write(1, {"a": 1.0})
    other = copy.deepcopy(open_)
    other.curves.write(2, {"a": 2.0, "b": float("nan")})
    open_.curves.close()
    other.curves.close()
    assert curve(read(tmp_path / "two"), "a") == {1: 1.0, 2: 2.0}
    assert read(tmp_path / "two").Tags()["scalars"] == ["a"]


def test_curves_of_a_training(tmp_path: Path) -> None:
    """Each epoch has a step, also in a training that was continued; overwriting begins anew."""
    place = tmp_path / "tensorboard"
    interrupted(tmp_path, 1 + 2 * STEPS + 1, tensorboard=True)
    assert list(curve(read(place), "loss/training")) == [1, 2]
    options: dict[str, Any] = {**OPTIONS, "out": tmp_path, "tensorboard": True}
    network = small_network(dropout=0.5)
    training = train(network, small_dataset(), resume=True, **options)
    events = read(place)
    for tag, column in (
        ("loss/training", "loss"),
        ("accuracy/training", "train_accuracy"),
        ("accuracy/validation", "validation_accuracy"),
        ("learning rate", "learning_rate"),
        ("seconds", "seconds"),
    ):
        expected = dict(zip(training.epochs["epoch"], training.epochs[column], strict=True))
        assert curve(events, tag) == pytest.approx(expected)
    assert curve(events, "test/accuracy") == pytest.approx({4: training.test_accuracy})
    train(small_network(dropout=0.5), small_dataset(), overwrite=True, **{**options, "epochs": 1})
    assert list(curve(read(place), "loss/training")) == [1]


def test_folders_of_curves(tmp_path: Path) -> None:
    """A folder of one's own; and what is said where none can be had."""
    plain, curved = small_network(), small_network()
    train(plain, small_dataset(), epochs=1, validation=0.0)
    train(curved, small_dataset(), epochs=1, validation=0.0, tensorboard=tmp_path / "own")
    assert (plain[0].weight == curved[0].weight).all()
    assert "accuracy/validation" not in read(tmp_path / "own").Tags()["scalars"]
    with pytest.raises(RunError, match="tensorboard=True without out"):
        train(small_network(), small_dataset(), epochs=1, tensorboard=True)
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(RunError, match=r"file cannot be made"):
        train(small_network(), small_dataset(), epochs=1, tensorboard=tmp_path / "file")
    with pytest.raises(SearchError, match="pictures_every"):
        TensorBoard(tmp_path, pictures_every=-1)


def test_without_the_package(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names the command that installs it, before anything is done."""
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for command in (["search"], ["train", "--model", "resnet20"]):
        code, out, err = run(*command, "--tensorboard")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "pip install 'pymoo-nas[tensorboard]'" in err
    assert not list(Path().iterdir())
    with pytest.raises(SearchError, match="pip install"):
        TensorBoard("curves")


def test_command_line(run: Run) -> None:
    """Curves lie in the folder of the run, and in that of the training."""
    tiny = [
        "--generations",
        "1",
        "--offspring",
        "2",
        "--population",
        "1",
        "--images",
        "8",
        "--cells",
        "1",
    ]
    assert run("search", *tiny, "--out", "run", "--tensorboard")[0] == 0
    assert list(curve(read(Path("run/tensorboard")), "search/candidates").values()) == [2.0]
    train_ = ["train", "--model", "1000", "--epochs", "1", "--out", "named", "--tensorboard"]
    code, out, _ = run(*train_)
    assert code == 0
    assert "AUC 0." in out
    assert set(curve(read(Path("named/tensorboard")), "loss/training")) == {1}
    events = read(Path("run/tensorboard"))
    assert set(events.Tags()["images"]) == {"front", "evolution", "cell"}
