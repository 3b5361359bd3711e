"""Trained networks are built again from their folder and give what they gave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_training import small_dataset, small_network
from torch import nn

from pymoo_nas.choice import build_final
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.errors import DatasetError, RunError, SearchError
from pymoo_nas.networks import OPERATIONS, count_parameters
from pymoo_nas.runs import load_trained
from pymoo_nas.search import NASProblem
from pymoo_nas.spaces import Architecture, CellSpace, NASBench201Space
from pymoo_nas.training import TrainedNetwork, train
from pymoo_nas.training._evaluation import evaluate

NB201 = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|"
DATA = small_dataset()


def by_name(name: str, data: Dataset, space: CellSpace | None = None) -> nn.Module:
    """The network to train of a model or a genotype."""
    return Architecture.read(name, space).build("trained", data)


def cells(*genotypes: str, **settings: Any) -> Callable[[], nn.Module]:
    """Builds the final network of genotypes in a space of its own."""
    problem = NASProblem(DATA, search_space=CellSpace(**settings), n_images=6)
    return lambda: build_final(genotypes, problem=problem)


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "cells": cells("5000|0001|0800", "4000"),
    "cells of other settings": cells(
        "8|4|8", operations=["separable5x5"], reduction="between", stem=False, widening=1, n_cells=2
    ),
    "genotype": lambda: by_name("5000|0001|0800", DATA, CellSpace(reduction="between")),
    "NAS-Bench-201 by name": lambda: by_name(NB201, DATA),
    "NAS-Bench-201": lambda: build_final(
        [NB201],
        problem=NASProblem(
            DATA, search_space=NASBench201Space(final_width=4, final_cells_per_stage=1), n_images=6
        ),
    ),
    "resnet20": lambda: by_name("resnet20", DATA),
    "torchvision": lambda: by_name("squeezenet1_1", small_dataset(size=(24, 24))),
}


def expected(network: nn.Module, data: Dataset) -> np.ndarray:
    """The probabilities of the test images, the long way."""
    logits = evaluate(network, data.test_images, data.test_labels, data).logits
    return torch.softmax(logits, dim=1).numpy()


@pytest.mark.parametrize("name", BUILDERS)
def test_network_is_built_again(tmp_path: Path, name: str) -> None:
    """A folder gives the network that was trained: its probabilities are equal to the bit."""
    data = small_dataset(size=(24, 24)) if name == "torchvision" else DATA
    network = BUILDERS[name]()
    train(network, data, epochs=1, batch_size=8, out=tmp_path)
    trained = load_trained(tmp_path)
    assert not trained.network.training
    assert trained.class_names == ("a", "b", "c")
    assert (trained.probabilities(data.test_images) == expected(network, data)).all()


def test_users_own_network_is_given(tmp_path: Path) -> None:
    """A network that only its user can build is refused without, and filled where it is given."""
    network = small_network()
    train(network, DATA, epochs=1, out=tmp_path)
    with pytest.raises(RunError, match=r"load_trained\(folder, network=...\)"):
        load_trained(tmp_path)
    trained = load_trained(tmp_path, network=small_network())
    assert (trained.probabilities(DATA.test_images) == expected(network, DATA)).all()
    with pytest.raises(RunError, match="do not fit"):
        load_trained(tmp_path, network=small_network(width=4))


def test_operation_of_a_known_name_is_not_taken_for_it(tmp_path: Path) -> None:
    """An operation of one's own that has a brought one's name and shapes is not replaced by it."""

    def dropping(c_in: int, c_out: int) -> nn.Module:
        return OPERATIONS["conv3x3"](c_in, c_out).append(nn.Dropout())

    space = CellSpace({"conv3x3": dropping})
    network = build_final(["8"], problem=NASProblem(DATA, search_space=space, n_images=6))
    train(network, DATA, epochs=1, out=tmp_path)
    with pytest.raises(RunError, match="user's own"):
        load_trained(tmp_path)


def test_network_that_was_changed_is_not_built_again(tmp_path: Path) -> None:
    """A network that had other activations when it was trained is not taken for the one by name."""
    network = build_final(["8000"], problem=NASProblem(DATA, n_images=6))
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.GELU())
    train(network, DATA, epochs=1, out=tmp_path)
    with pytest.raises(RunError, match="changed after it was built"):
        load_trained(tmp_path)
    given = load_trained(tmp_path, network=network)
    assert (given.probabilities(DATA.test_images) == expected(network, DATA)).all()


def test_trainings_of_the_scored_network_stay_readable(tmp_path: Path) -> None:
    """Earlier versions trained the scored network of a NAS-Bench-201 cell: it is built again."""
    network = Architecture.read(NB201).build("scored", DATA)
    train(network, DATA, epochs=1, batch_size=8, out=tmp_path)
    values = json.loads((tmp_path / "training.json").read_text("utf-8"))
    sizes = {"width": 8, "cells_per_stage": 1, "final_width": 16, "final_cells_per_stage": 5}
    values["network"] = {"model": NB201, "search_space": {"space": "nasbench201", **sizes}}
    (tmp_path / "training.json").write_text(json.dumps(values), "utf-8")
    trained = load_trained(tmp_path)
    assert count_parameters(trained.network) == count_parameters(network)
    assert (trained.probabilities(DATA.test_images) == expected(network, DATA)).all()


def test_scored_network_is_no_trained_one() -> None:
    """The network that is scored keeps no name, since by its name another one is trained."""
    scored = Architecture.read("8000").build("scored", DATA)
    assert not any("origin" in name for name in vars(scored))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a training of ResNet-20."""
    path = tmp_path_factory.mktemp("trained")
    train(by_name("resnet20", DATA), DATA, epochs=1, out=path)
    return path


@pytest.fixture
def trained(folder: Path) -> TrainedNetwork:
    return load_trained(folder)


def test_images_in_other_forms(trained: TrainedNetwork) -> None:
    """Without a channel, as a torch tensor, in other batches, resized: the same classes."""
    images = DATA.test_images
    asked = trained.probabilities(images)
    assert asked.sum(1) == pytest.approx(1)
    assert (trained.probabilities(images[..., 0]) == asked).all()
    assert (trained.probabilities(images.astype(np.int64)) == asked).all()
    assert (trained.probabilities(torch.from_numpy(images).permute(0, 3, 1, 2)) == asked).all()
    assert trained.probabilities(images, batch_size=4) == pytest.approx(asked, abs=1e-6)
    assert trained.probabilities(images.repeat(2, 1).repeat(2, 2)).shape == asked.shape


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_one_image_or_many_in_any_form(tmp_path: Path, mode: str) -> None:
    """A path, a folder, an image of PIL, one array, one tensor, lists of them: the same classes."""
    channels = len(mode)
    data = small_dataset(channels=channels)
    train(by_name("resnet20", data), data, epochs=1, out=tmp_path / "trained")
    trained = load_trained(tmp_path / "trained")
    array = data.test_images[:3]
    pictures = [Image.fromarray(one if channels == 3 else one[..., 0]) for one in array]
    paths = [tmp_path / "files" / f"{index}.png" for index in range(3)]
    paths[0].parent.mkdir()
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    tensor = torch.from_numpy(array).permute(0, 3, 1, 2)
    asked = trained.probabilities(array)
    several: list[Any] = [paths, list(map(str, paths)), paths[0].parent, pictures, list(array)]
    several += [list(tensor), [paths[0], pictures[1], array[2]], tuple(tensor)]
    for images in several:
        assert trained.probabilities(images) == pytest.approx(asked, abs=1e-6)
    for image in (paths[0], str(paths[0]), pictures[0], array[0], tensor[0]):
        assert trained.probabilities(image) == pytest.approx(asked[:1], abs=1e-6)
    larger = [array[0], array[0].repeat(2, 0).repeat(2, 1)]
    assert trained.probabilities(larger).shape == (2, 3)


def test_files_that_are_no_images_are_refused(tmp_path: Path, trained: TrainedNetwork) -> None:
    """A path that is not there, or that holds no image, is named; nothing is skipped in silence."""
    (tmp_path / "text.png").write_text("no image", "utf-8")
    with pytest.raises(DatasetError, match=r"text\.png"):
        trained.probabilities(tmp_path / "text.png")
    with pytest.raises(DatasetError, match="nosuch"):
        trained.probabilities([DATA.test_images[0], tmp_path / "nosuch"])


def test_images_of_another_kind_are_refused(trained: TrainedNetwork) -> None:
    """Floats and colours that the network was not trained on are refused, not scaled."""
    images = DATA.test_images
    for strange in (images / 255, images * np.int64(-1), np.repeat(images, 3, axis=3)):
        with pytest.raises(DatasetError, match="trained on uint8 from 0 to 255, channels: 1;"):
            trained.probabilities(strange)
    for colours in (np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30, 4), np.uint8)):
        for given in (colours, [colours], [images[0], colours]):
            with pytest.raises(DatasetError, match=f"channels: {colours.shape[2]}; the network"):
                trained.probabilities(given)


def test_floats_for_a_network_of_floats(tmp_path: Path) -> None:
    """A network of whole floats takes finite floats and integers of any precision, but no bytes."""
    data = small_dataset(dtype=np.float32)
    network = by_name("resnet20", data)
    train(network, data, epochs=1, out=tmp_path)
    trained = load_trained(tmp_path)
    asked = trained.probabilities(data.test_images.astype(np.float64))
    assert (asked == expected(network, data)).all()
    whole = DATA.test_images.astype(np.int64)
    assert (trained.probabilities(whole) == asked).all()
    with pytest.raises(DatasetError, match="trained on finite float32"):
        trained.probabilities(DATA.test_images)
    with pytest.raises(DatasetError, match="1 of 1 given images hold NaN"):
        trained.probabilities(np.full((1, 8, 8), np.nan))
    with pytest.warns(UserWarning, match="same scale"):
        assert trained.probabilities(300 * whole).shape == asked.shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.pop("mean"), "of a version that kept less"),
        (lambda values: values.update(class_names=None), r"damaged \(class_names is None\)"),
        (lambda values: values.pop("network"), "of a version that kept less"),
        (lambda values: values["network"].update(model="nosuch"), "cannot be built again"),
        (lambda values: values.update(class_names=["a", "b"]), "built otherwise"),
    ],
    ids=["no mean", "no names", "no network", "unknown network", "fewer classes"],
)
def test_damaged_description(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    """A description that lacks something, or tells of another network, is named as such."""
    values = json.loads((folder / "training.json").read_text("utf-8"))
    change(values)
    (tmp_path / "training.json").write_text(json.dumps(values), "utf-8")
    (tmp_path / "weights.safetensors").write_bytes((folder / "weights.safetensors").read_bytes())
    with pytest.raises(RunError, match=message):
        load_trained(tmp_path)


@pytest.mark.parametrize(("text", "message"), [("{", "damaged"), ("[]", "no JSON object")])
def test_no_description(tmp_path: Path, text: str, message: str) -> None:
    """A folder without a finished training, and a file that is none, are errors with the path."""
    with pytest.raises(RunError, match="holds no finished training"):
        load_trained(tmp_path)
    (tmp_path / "training.json").write_text(text, "utf-8")
    with pytest.raises(RunError, match=message):
        load_trained(tmp_path)


def test_dark_images_of_a_deep_scale(tmp_path: Path) -> None:
    """A batch of integers that 8 bits could hold is read on the scale of the training images."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 4096, (20, 8, 8), dtype=np.int16)
    images[:10] //= 64
    data = load_dataset((images, np.arange(20) // 10))
    train(by_name("0,8,0,0", data), data, epochs=1, batch_size=8, out=tmp_path)
    trained = load_trained(tmp_path)
    dark = trained.probabilities(images[:3])
    np.testing.assert_allclose(dark, trained.probabilities(images)[:3], rtol=1e-4)
    for other in (np.zeros((1, 8, 8), np.uint8), np.full((1, 8, 8), 10**39)):
        with pytest.raises(DatasetError):
            trained.probabilities(other)


def test_integers_are_not_fractions(tmp_path: Path) -> None:
    """A network of images between 0 and 1 refuses integers from 0 to 255."""
    data = load_dataset((np.random.default_rng(0).random((20, 8, 8)), np.arange(20) % 2))
    train(by_name("0,8,0,0", data), data, epochs=1, batch_size=8, out=tmp_path)
    with pytest.raises(DatasetError, match="trained on finite float32"):
        load_trained(tmp_path).probabilities(np.full((1, 8, 8), 200))


def test_images_without_pixels_are_refused(trained: TrainedNetwork) -> None:
    """A single number, an empty array, an empty picture and no images at all are no images."""
    empty = [np.uint8(3)[()], np.array(3, np.uint8), np.zeros((2, 0, 8), np.uint8),
             np.zeros((0, 8, 8), np.uint8), torch.zeros(0), Image.new("L", (0, 0))]  # fmt: skip
    for nothing in empty:
        with pytest.raises(DatasetError):
            trained.probabilities(nothing)
    for number in (0, -1, 2.5):
        with pytest.raises(SearchError, match="batch_size"):
            trained.probabilities(DATA.test_images, batch_size=number)  # type: ignore[arg-type]
