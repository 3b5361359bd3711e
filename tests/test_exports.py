"""Exported networks: the same probabilities as torch, for every operation and space."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from darts_cells import SMALL as DARTS
from exported import SMALL, untrained
from small_training import small_dataset

from pymoo_nas.exports._deployed import deployed, describe, raw
from pymoo_nas.exports._onnx import OnnxRunner, onnx_bytes
from pymoo_nas.exports._program import graph_of
from pymoo_nas.exports._pt2 import Pt2Runner, pt2_bytes
from pymoo_nas.exports._python import python_files, run_files
from pymoo_nas.networks import OPERATIONS
from pymoo_nas.spaces import Architecture, CellSpace, NASBench201Space, SearchSpace
from pymoo_nas.training import TrainedNetwork

NB201 = NASBench201Space(width=2, final_width=2, final_cells_per_stage=1)
ONE = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|none~1|avg_pool_3x3~2|"
V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('max_pool_3x3', 1), ('sep_conv_5x5', 0), "
    "('skip_connect', 2), ('dil_conv_3x3', 1), ('avg_pool_3x3', 2), ('dil_conv_5x5', 3), "
    "('none', 0)], normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), ('avg_pool_3x3', 1), "
    "('skip_connect', 0), ('dil_conv_5x5', 1), ('sep_conv_3x3', 2), ('none', 0), "
    "('dil_conv_3x3', 1), ('skip_connect', 2)], reduce_concat=range(2, 6))"
)
"""A genotype with every operation of DARTS in both cells."""

LARGER = small_dataset(8, n_test=8, size=(32, 32), channels=3)
"""Images for networks that halve the map five times."""

MODELS = [
    "resnet20",
    "resnet18",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
    "densenet121",
    "swin_t",
]


def of_space(space: SearchSpace, text: str) -> TrainedNetwork:
    return untrained(Architecture.of(space, space.parse(text)).build("trained", SMALL), SMALL)


def of_operation(name: str) -> TrainedNetwork:
    """A network of an operation that adds channels and of one that keeps them."""
    return of_space(CellSpace({name: OPERATIONS[name]}, n_cells=1), "3|0|3")


def of_model(name: str) -> TrainedNetwork:
    return untrained(Architecture.read(name).build("trained", LARGER), LARGER)


def images_for(trained: TrainedNetwork, n: int) -> Any:
    return (SMALL if trained.image_size == (8, 8) else LARGER).test_images[:n]


def check_exact(trained: TrainedNetwork) -> None:
    """The files for torch give the probabilities of the network to the bit, for any number."""
    program, _ = recorded(trained)
    described = describe(trained, "uint8")
    source = run_files(python_files(program, described, "small"))
    archive = Pt2Runner(pt2_bytes(program, described))
    assert archive.described() == described
    for n in (1, 2, 7):
        images = images_for(trained, n)
        expected = trained.probabilities(images)
        pixels = raw(images, "uint8")
        assert torch.equal(source(pixels), torch.from_numpy(expected))
        assert torch.equal(archive(pixels), torch.from_numpy(expected))


def check_onnx(trained: TrainedNetwork) -> None:
    """ONNX Runtime's probabilities are torch's, for any number of images."""
    program, example = recorded(trained)
    runner = OnnxRunner(onnx_bytes(program, example, describe(trained, "uint8"), "small"))
    for n in (1, 2, 7):
        images = images_for(trained, n)
        found = runner(raw(images, "uint8")).numpy()
        assert found == pytest.approx(trained.probabilities(images), abs=1e-5)


def recorded(trained: TrainedNetwork) -> tuple[torch.export.ExportedProgram, torch.Tensor]:
    example = raw(images_for(trained, 2), "uint8")
    return graph_of(deployed(trained), example, "small"), example


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_for_torch(name: str) -> None:
    """Every operation of the package is exported to pt2 and to Python, to the bit."""
    check_exact(of_operation(name))


def test_mirror_images_for_torch() -> None:
    """The mean over an image and its mirror image is in the files, to the bit."""
    check_exact(replace(of_operation("conv3x3"), test_flip=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_in_onnx(name: str) -> None:
    """Every operation of the package is exported to ONNX."""
    check_onnx(of_operation(name))


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["inside", "between"])
def test_cells_for_torch(reduction: str) -> None:
    """Networks of several cells are exported, wherever the maps are halved."""
    check_exact(of_space(CellSpace(n_cells=2, reduction=reduction), "3111|0200|0011"))


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["inside", "between"])
def test_cells_in_onnx(reduction: str) -> None:
    """The same in ONNX."""
    check_onnx(of_space(CellSpace(n_cells=2, reduction=reduction), "3111|0200|0011"))


@pytest.mark.slow
@pytest.mark.parametrize(("space", "text"), [(NB201, ONE), (DARTS, V2)], ids=["201", "darts"])
def test_other_spaces(space: SearchSpace, text: str) -> None:
    """The networks of the other spaces are exported to every format."""
    check_exact(of_space(space, text))
    check_onnx(of_space(space, text))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    """Networks designed by hand are exported to every format."""
    check_exact(of_model(name))
    check_onnx(of_model(name))
