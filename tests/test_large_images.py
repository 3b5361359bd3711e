"""Large images are halved before the first cell; images of up to 64 pixels stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_images import alternating, make_folder, random_images
from pymoo.core.individual import Individual

from pymoo_nas import (
    Architecture,
    CellSpace,
    NASProblem,
    build_final,
    load_dataset,
    load_trained,
    train,
)
from pymoo_nas.errors import NetworkError, SearchError
from pymoo_nas.networks import PatchStem, ReducingStem, TournamentNetwork, count_all
from pymoo_nas.runs import RunFolder, Search, SearchSettings, final_of
from pymoo_nas.search import DartsTournament
from pymoo_nas.spaces import description_of, design_of, space_from_settings, space_settings

CELL = "5000|0001|0800"


def images_of(side: int, n: int = 8, width: int | None = None, c: int = 3) -> Any:
    return load_dataset((random_images(n, side, width or side, c), alternating(n)))


@pytest.mark.parametrize(
    ("size", "halvings"),
    [((8, 8), 0), ((64, 64), 0), ((32, 512), 0), ((65, 65), 1), ((224, 224), 2), ((256, 300), 2)],
)
def test_sizes(size: tuple[int, int], halvings: int) -> None:
    """The smaller side is halved while it is above 64; a space for smaller images is the same."""
    space = CellSpace()
    suited = space.for_images(size)
    assert (suited.halvings or 0) == halvings
    assert (suited is space) is (halvings == 0)
    again = suited.for_images((8, 8))
    assert again.halvings is None
    assert again.for_images(size).halvings == suited.halvings


def test_small_images_are_as_before() -> None:
    """Networks and settings for small images know nothing of halving."""
    images = images_of(64)
    for role in ("scored", "trained", "body"):
        automatic, without = (
            Architecture.read(CELL, space).build(role, images)
            for space in (CellSpace(), CellSpace(halvings=0))
        )
        assert design_of(automatic) == design_of(without)
        assert "halvings" not in repr(automatic)
    described = description_of(Architecture.read(CELL).build("trained", images))
    assert described is not None
    assert "halvings" not in described["search_space"]


@pytest.mark.parametrize(
    "space", [CellSpace(halvings=0), CellSpace(stem=False)], ids=["asked for", "paper"]
)
def test_spaces_that_stay(space: CellSpace) -> None:
    """A number that is given stays, and the paper's network without a stem sees all pixels."""
    assert space.for_images((224, 224)) is space
    network = Architecture.read(CELL, space).build("trained", images_of(80))
    assert isinstance(getattr(network, "stem", None), PatchStem) is space.stem


def test_patches_side_by_side() -> None:
    """With a stride the stem returns every second patch of the stem without."""
    images = torch.randn(2, 3, 6, 8)
    dense, halved = PatchStem(3).eval(), PatchStem(3, stride=2).eval()
    torch.testing.assert_close(halved(images), dense(images)[:, :, 1::2, 1::2])
    assert dense.state_dict().keys() == halved.state_dict().keys()


@pytest.mark.parametrize("size", [(65, 65), (72, 131), (224, 224), (257, 301)])
def test_stem_reduces(size: tuple[int, int]) -> None:
    """The stem and the images beside the cells are halved alike, odd sizes rounded up."""
    images = images_of(size[0], n=4, width=size[1])
    network = Architecture.read(CELL).build("trained", images)
    stem: Any = network.stem
    assert isinstance(stem, ReducingStem)
    batch = images.normalized(images.train_images[:2])
    reduced = stem(batch).shape
    assert reduced[1] == stem.out_channels == 24
    assert 32 <= min(reduced[2:]) <= 64
    assert network(batch).shape == (2, 2)


def test_gradients_reach_the_whole_stem() -> None:
    """Every weight of the stem is trained."""
    images = images_of(140, n=4)
    network = Architecture.read(CELL).build("trained", images)
    network(images.normalized(images.train_images[:2])).square().sum().backward()
    weights = dict(network.named_parameters())
    assert sum(name.startswith("stem.") for name in weights) == 6
    assert all(weight.grad is not None and weight.grad.any() for weight in weights.values())


@pytest.mark.parametrize(
    ("reduction", "limit"), [("inside", 100_000_000), ("between", 140_000_000)]
)
def test_limit_at_224(reduction: str, limit: int) -> None:
    """Grown cells keep a hundred million multiply-accumulates or so at 224×224, and not without."""
    images = images_of(224, n=4)
    cells = [CELL, "0,16,16,0|0,0,16,8|0,16,0,0"]
    excess = {}
    for halvings in (None, 0):
        space = CellSpace(halvings=halvings, reduction=reduction)
        problem = NASProblem(images, n_images=2, search_space=space, max_flops=limit)
        excess[halvings] = [problem.excess(space.parse(cell)) for cell in cells]
    assert max(excess[None]) <= 0 < min(excess[0])


def test_scores_of_large_images() -> None:
    """The scored network sees halved images, and passes the check with plain autograd."""
    problem = NASProblem(images_of(72), n_images=4)
    scores = problem.score_genotype(CELL)  # the first few are checked
    assert scores.degenerate == ""
    assert np.isfinite(scores.values).all()
    network = problem.build(problem.search_space.parse(CELL))
    full = Architecture.read(CELL, CellSpace(halvings=0)).build("scored", problem.dataset)
    acts = [count_all(one, problem.probe.images).acts for one in (network, full)]
    assert acts[0] < acts[1] / 3


def test_images_that_become_too_small() -> None:
    """Images that are too small for a network of large images are refused with the least size."""
    network = Architecture.read(CELL).build("trained", images_of(224, n=4))
    with pytest.raises(NetworkError, match="H and W of at least 16"):
        network(torch.zeros(2, 3, 15, 40))


def tournament_of(problem: NASProblem, **changes: Any) -> Kept:
    """A short tournament of three slots with two contenders each, held on the problem."""
    tournament = Kept(n_steps=1, batch_size=4, head_start=0, **changes)
    contender = Individual(X=np.array([problem.search_space.parse(CELL)], dtype=object))
    tournament.compete([[contender] * 2] * 3, problem, seed=0)
    return tournament


class Kept(DartsTournament):
    """Keeps the network of the last tournament and the size of its images."""

    network: TournamentNetwork
    image_size: tuple[int, ...]

    def _train(self, network: TournamentNetwork, dataset: Any, device: Any) -> Any:
        self.network = network
        hook = network.register_forward_pre_hook(self._look)
        try:
            return super()._train(network, dataset, device)
        finally:
            hook.remove()

    def _look(self, _: Any, inputs: tuple[torch.Tensor]) -> None:
        self.image_size = tuple(inputs[0].shape[2:])


@pytest.mark.parametrize(("side", "seen"), [(72, 9), (130, 9), (64, 16), (24, 12)])
def test_tournaments_halve_images(side: int, seen: int) -> None:
    """The first cells see images of at most max_size pixels, whoever halves them."""
    problem = NASProblem(images_of(side), n_images=4)
    tournament = tournament_of(problem)
    halvings = problem.search_space.halvings or 0
    assert tournament.network.halvings == halvings
    assert -(-tournament.image_size[0] // 2**halvings) == seen


def test_tournament_costs_as_much_as_its_cells() -> None:
    """On images of 72 pixels, a contender costs about as much as its scored network."""
    problem = NASProblem(images_of(72), n_images=4)
    tournament = tournament_of(problem, max_size=72)
    assert tournament.image_size == (72, 72)
    images = problem.probe.images[:2]
    macs = count_all(tournament.network, images).flops
    scored = problem.build(problem.search_space.parse(CELL))
    assert macs < 2 * count_all(scored, images).flops


def test_tournament_of_images_that_become_too_small() -> None:
    """A tournament network refuses images that its halvings make too small."""
    problem = NASProblem(images_of(72), n_images=4)
    with pytest.raises(NetworkError, match="H and W of at least 8"):
        tournament_of(problem).network(torch.zeros(2, 3, 7, 40))


def test_halvings_out_of_range() -> None:
    """A negative number is refused."""
    with pytest.raises(SearchError, match="halvings"):
        CellSpace(halvings=-1)


def test_description_makes_the_network_again() -> None:
    """The description of a network, and of a problem's architecture, hold the real number."""
    images = images_of(72)
    space = NASProblem(images, n_images=4).search_space
    network = Architecture.read(CELL).build("trained", images)
    for described in (
        Architecture.of(space, space.parse(CELL)).describe(),
        description_of(network),
    ):
        assert described is not None
        assert described["search_space"]["halvings"] == 1
        again = Architecture.from_description(described).build("trained", images_of(32))
        assert design_of(again) == design_of(network)


def test_settings_leave_it_to_the_images() -> None:
    """The settings of a search are the same at every size, and a given number stays."""
    for side in (32, 72):
        space = NASProblem(images_of(side), n_images=4).search_space
        assert space_settings(space)["halvings"] is None
        again = space_from_settings(space_settings(space))
        assert again.settings() == space.settings()
        assert [again.for_images((one, one)).halvings for one in (32, 72, 224)] == [None, 1, 2]
    given = space_from_settings(space_settings(CellSpace(halvings=1).for_images((224, 224))))
    assert given.for_images((224, 224)).halvings == 1


@pytest.mark.parametrize(("searched", "trained"), [(32, 72), (72, 32)])
def test_trainings_on_images_of_another_size(searched: int, trained: int, tmp_path: Path) -> None:
    """A final network suits the images of its training, from memory and from the run folder."""
    data = make_folder(tmp_path / "images", n=8, c=3)
    run = RunFolder(tmp_path / "run")
    run.create()
    arguments: Any = {"dataset": str(data), "image_size": searched, "n_images": 4}
    settings = SearchSettings(generations=1, population=2, offspring=2, tournament_every=0)
    problem = NASProblem(**arguments)
    result = Search(run, problem, settings, {"problem": arguments}).run()
    halvings = {32: 0, 72: 1}
    final: Any
    kept: Any
    in_memory: Any
    final, images, _ = final_of(run.path, 3, 0, image_size=trained)
    other = NASProblem(**{**arguments, "image_size": trained}, search_space=problem.search_space)
    in_memory = build_final(result.X[0], problem=other, n_cells=3)
    for network in (final, in_memory):
        assert network.halvings == halvings[trained]
        assert isinstance(network.stem, ReducingStem) == (halvings[trained] > 0)
    assert images.image_size == (trained, trained)
    described = description_of(final)
    assert described is not None
    assert described["search_space"].get("halvings", 0) == halvings[trained]
    kept, _, _ = final_of(run.path, 3, 0)
    assert kept.halvings == halvings[searched]


def test_earlier_versions_saw_all_pixels() -> None:
    """Settings without the number, of an earlier version, make the network of that version."""
    settings = {k: v for k, v in space_settings(CellSpace(halvings=2)).items() if k != "halvings"}
    earlier = Architecture.from_description(
        {"genotypes": [CELL, CELL], "search_space": settings}
    ).build("trained", images_of(224, n=4))
    assert isinstance(earlier.stem, PatchStem)
    problem = NASProblem(images_of(72), n_images=4, search_space=space_from_settings(settings))
    assert "halvings" not in problem.search_space.settings()
    assert not problem.search_space.halvings


@pytest.mark.slow
def test_training_is_loaded_again(tmp_path: Path) -> None:
    """A network of large images is trained, kept, and loaded with the same probabilities."""
    images = images_of(72, n=24)
    network = Architecture.read(CELL).build("trained", images)
    train(network, images, epochs=1, batch_size=4, out=tmp_path)
    with torch.no_grad():
        logits = network.eval()(images.normalized(images.test_images))
    found = load_trained(tmp_path).probabilities(images.test_images)
    np.testing.assert_allclose(found, torch.softmax(logits, 1).numpy(), rtol=1e-4, atol=1e-6)
