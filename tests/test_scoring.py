"""Probe batches, and scores of any network with what is wrong with it."""

from __future__ import annotations

import copy
import math
import pickle
import re

import numpy as np
import pytest
import torch
from autograd_reference import reference
from paper_objectives import worst_scores
from scored_networks import (
    NASBENCH201_CELLS,
    Attention,
    MixesImages,
    Scaled,
    around,
    built,
    images_of,
    nasbench201_network,
)
from torch import Tensor, nn

from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.errors import MemoryLimitError, NetworkError, ScoreError
from pymoo_nas.networks import Counts
from pymoo_nas.scores import PAPER_OBJECTIVES, Probe, Scores, draw_probe, score, score_builds
from pymoo_nas.scores._from_kernels import (
    activation_score,
    correlation_score,
    ntk_score,
    squared_distances,
)
from pymoo_nas.scores._initialisation import reinitialize

IMAGES = images_of(6, 3, 8)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def network() -> nn.Module:
    return built(lambda: around(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()))


def test_probe_is_balanced_distinct_and_normalized(digits: Dataset) -> None:
    """As many images of each class as of any other, none twice, in the data set's own scale."""
    probe = draw_probe(digits, n_images=30, seed=3)
    assert probe.images.shape == (30, digits.in_channels, *digits.image_size)
    assert probe.images.dtype == torch.float32
    assert probe.reason == ""
    every = digits.normalized(digits.train_images).flatten(1)
    labels = []
    for image in probe.images.flatten(1):
        (matching,) = torch.nonzero((every == image).all(1), as_tuple=True)
        labels.append(digits.train_labels[int(matching[0])])
    assert np.bincount(labels).tolist() == [3] * 10


def test_probe_depends_on_its_seed_alone(digits: Dataset) -> None:
    """The same seed gives the same batch, another seed another, the global state is not touched."""
    before = torch.get_rng_state()
    first, again, other = (draw_probe(digits, 20, seed) for seed in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert torch.equal(torch.get_rng_state(), before)


def test_probe_larger_than_the_data(digits: Dataset) -> None:
    """Where more images are asked for than there are, all are taken, and their number is told."""
    n = len(digits.train_labels)
    with pytest.warns(UserWarning, match=f"1000000 images asked for .* scored on {n}"):
        assert len(draw_probe(digits, n_images=10**6).images) == n


def test_probe_distances() -> None:
    """Distances are those of the flattened images."""
    expected = squared_distances(IMAGES.double().flatten(1).numpy())
    np.testing.assert_allclose(Probe(IMAGES).distances, expected)


def test_duplicate_images_are_flagged() -> None:
    """An image counted twice is reported as degenerate, and the scores are bad but finite."""
    images = IMAGES.clone()
    images[4] = images[1]
    assert Probe(images).reason == "duplicate images in the probe"
    scores = score(network(), images)
    assert scores.degenerate == "duplicate images in the probe"
    proper = score(network(), IMAGES)
    assert all(map(math.isfinite, scores.values))
    for bad, good, worst in zip(scores.values, proper.values, worst_scores(6), strict=True):
        assert good < bad <= worst


def test_scores_are_those_of_the_loop() -> None:
    """score() gives the objectives of the loop's kernels, and what the network costs."""
    scores = score(network(), IMAGES)
    loop = reference(network(), IMAGES)
    distances = squared_distances(IMAGES.double().flatten(1).numpy())
    expected = (
        ntk_score(loop.ntk.numpy()).value,
        activation_score(loop.agreement.numpy()).value,
        correlation_score(loop.input_gradients.numpy(), distances).value,
    )
    assert scores.values == pytest.approx(expected, rel=1e-4)
    assert scores.degenerate == ""
    assert scores.spread == dict.fromkeys(PAPER_OBJECTIVES, 0)
    # 3·4·9 + 4 + (4 + 4) + 4·4·9 + 4 + 4·3 + 3 weights; per pixel of 8×8 and 6×6 maps.
    assert scores.params == 283
    assert scores.flops == 64 * 3 * 4 * 9 + 36 * 4 * 4 * 9 + 4 * 3
    assert scores.acts == 64 * 4 + 36 * 4
    assert scores.seconds > 0


def test_scores_are_deterministic() -> None:
    """Two calls give the same scores to the bit, also with drawn initialisations."""
    for n_inits in (1, 3):
        first, second = (score(network(), IMAGES, n_inits=n_inits, seed=5) for _ in range(2))
        assert first.values == second.values
        assert first.spread == second.spread


def test_mean_and_spread_over_initialisations() -> None:
    """Scores are the mean, spread the standard deviation, over networks drawn from each seed."""
    single = []
    for seed in (7, 8, 9):
        drawn = network()
        reinitialize(drawn, seed)
        single.append(score(drawn, IMAGES).values)
    scores = score(network(), IMAGES, n_inits=3, seed=7)
    assert scores.values == pytest.approx(np.mean(single, axis=0).tolist())
    assert [*scores.spread.values()] == pytest.approx(np.std(single, axis=0).tolist())
    assert min(scores.spread.values()) > 0


def snapshot(network: nn.Module) -> tuple[dict[str, Tensor], list[object]]:
    modules = list(network.modules())
    flags: list[object] = [module.training for module in modules]
    flags += [parameter.requires_grad for parameter in network.parameters()]
    flags += [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in modules]
    return copy.deepcopy(network.state_dict()), flags


@pytest.mark.parametrize("n_inits", [1, 2])
def test_network_is_given_back_as_it_was(n_inits: int) -> None:
    """Weights, statistics, modes and flags are as before, and torch's generator too."""
    scored = network().train()
    scored[1].eval()
    scored[3].weight.requires_grad_(False)
    scored(IMAGES)
    (values, flags), random, pixels = snapshot(scored), torch.get_rng_state(), IMAGES.clone()
    score(scored, IMAGES, n_inits=n_inits)
    values_after, flags_after = snapshot(scored)
    assert flags_after == flags
    for name, value in values.items():
        assert torch.equal(values_after[name], value), name
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(IMAGES, pixels)


def test_network_is_given_back_after_an_error() -> None:
    """A network that is refused gets its own weights back."""
    refused = built(lambda: around(MixesImages(), nn.ReLU()))
    before = snapshot(refused)
    with pytest.raises(ScoreError, match="MixesImages"):
        score(refused, IMAGES, n_inits=2)
    after = snapshot(refused)
    assert after[1] == before[1]
    for name, value in before[0].items():
        assert torch.equal(after[0][name], value)


def test_reinitialize_draws_all_layers_anew() -> None:
    """New weights depend on the seed alone; the global generator is not touched."""
    random = torch.get_rng_state()
    drawn, other = network(), built(network, seed=9)
    reinitialize(drawn, 1)
    reinitialize(other, 1)
    assert torch.equal(torch.get_rng_state(), random)
    for name, value in drawn.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
    assert not torch.equal(drawn[0].weight, network()[0].weight)
    reinitialize(other, 2)
    assert not torch.equal(drawn[0].weight, other[0].weight)


def test_reinitialize_draws_attention_anew() -> None:
    """Layers whose method to reset has a leading underscore are drawn too."""
    drawn = built(lambda: around(Attention(batch_first=True)))
    before = drawn[1].attention.in_proj_weight.clone()
    reinitialize(drawn, 1)
    assert not torch.equal(drawn[1].attention.in_proj_weight, before)


class Constant(nn.Module):
    """Logits that do not depend on the images."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return torch.full((len(x), 2), self.value)


DEGENERATE = {
    "constant": (Constant, "output not connected to the input"),
    "NaN": (lambda: Constant(math.nan), "NaN or overflow in the output"),
    "unconnected": (
        lambda: nasbench201_network(NASBENCH201_CELLS["unconnected"]),
        "output not connected to the input",
    ),
    "nothing at all": (
        lambda: nasbench201_network(NASBENCH201_CELLS["nothing at all"]),
        "output not connected to the input",
    ),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_worthless_networks_get_the_worst_scores(case: str) -> None:
    """A network that says nothing of the images gets the worst of each score, and the reason."""
    make, reason = DEGENERATE[case]
    scores = score(built(make), IMAGES, n_inits=2)
    assert scores.values == worst_scores(6)
    assert scores.degenerate == reason


def overflowing() -> nn.Module:
    scored = network()
    with torch.no_grad():
        scored[0].weight.mul_(1e25)
        scored[-1].weight.mul_(1e30)
    scored[1] = nn.Identity()
    return scored


def partly_nan() -> nn.Module:
    scored = network()
    with torch.no_grad():
        scored[-1].bias[0] = math.nan
    return scored


def without_relu() -> nn.Module:
    return around(nn.Tanh())


def dead_relus() -> nn.Module:
    scored = around(nn.ReLU())
    with torch.no_grad():
        scored[0].bias.fill_(-1e3)
    return scored


def few_parameters() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1)
    )


FLAGGED = {
    "overflow": (overflowing, "NaN or overflow"),
    "partly NaN": (partly_nan, "NaN or overflow in the output"),
    "no ReLU": (without_relu, "no ReLU"),
    "dead ReLUs": (dead_relus, "output not connected to the input"),
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), "no ReLU"),
}


@pytest.mark.parametrize("case", FLAGGED)
def test_degenerate_networks_are_flagged(case: str) -> None:
    """Overflow, NaN and absent or dead ReLUs give finite scores and a reason."""
    make, reason = FLAGGED[case]
    scores = score(built(make), IMAGES)
    assert scores.degenerate.startswith(reason)
    assert all(map(math.isfinite, scores.values))
    assert all(value <= worst for value, worst in zip(scores.values, worst_scores(6), strict=True))


def test_fewer_parameters_than_images() -> None:
    """Six parameters cannot tell seven images apart: singular, hence flagged and bad."""
    scores = score(built(few_parameters), images_of(7, 3, 8))
    assert scores.params == 6
    assert scores.degenerate in ("singular tangent kernel", "fewer parameters than images")
    assert 10 < scores.ntk <= worst_scores(7)[0]


def test_what_does_not_fit_in_memory() -> None:
    """A network for which memory runs out even for one image gets the worst scores."""

    class Hungry(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if torch.is_grad_enabled():
                raise torch.OutOfMemoryError("CUDA out of memory")
            return x

    scores = score(built(lambda: around(Hungry())), IMAGES, check=False)
    assert scores.values == worst_scores(6)
    assert scores.degenerate == "does not fit in memory"
    assert score(built(lambda: around(Hungry())), IMAGES).values == worst_scores(6)


REFUSED = {
    "no tensor": (IMAGES.numpy(), ScoreError, "ndarray"),
    "integers": (IMAGES.to(torch.uint8), ScoreError, "floating point"),
    "one image": (IMAGES[:1], ScoreError, "at least 2"),
    "NaN": (IMAGES * math.nan, ScoreError, "NaN"),
    "double": (IMAGES.double(), ScoreError, "float64"),
    "bfloat16": (IMAGES.bfloat16(), ScoreError, "bfloat16"),
    "grey": (IMAGES[:, :1], NetworkError, r"\(6, 1, 8, 8\)"),
    "flat": (IMAGES.flatten(1), ScoreError, r"\(N, C, H, W\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_images_that_do_not_fit(case: str) -> None:
    """Images that cannot be scored are refused with what was given and what is expected."""
    images, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        score(network(), images)


@pytest.mark.parametrize("n_inits", [0, -1])
def test_number_of_initialisations(n_inits: int) -> None:
    """At least one initialisation is needed."""
    with pytest.raises(ScoreError, match=f"n_inits={n_inits}"):
        score(network(), IMAGES, n_inits=n_inits)
    with pytest.raises(ScoreError, match="no network"):
        score_builds([], Probe(IMAGES))


def test_network_without_parameters() -> None:
    """Nothing to draw anew is nothing to score, however many initialisations are asked for."""
    for n_inits in (1, 2):
        with pytest.raises(ScoreError, match="no trainable parameters"):
            score(torch.nn.Flatten(), IMAGES, n_inits=n_inits)


def test_half_precision() -> None:
    """A network in bfloat16 is scored in float64 products, without an exception."""
    scores = score(network().bfloat16(), IMAGES.bfloat16())
    assert all(map(math.isfinite, scores.values))


def test_counts_that_are_known() -> None:
    """Counts given by the caller are taken over, and only the first network is checked."""
    builds = [network, lambda: built(lambda: around(Scaled(), nn.ReLU()))]
    scores = score_builds(builds, Probe(IMAGES), counts=Counts(5, 6, 7), check=True)
    assert (scores.params, scores.flops, scores.acts) == (5, 6, 7)
    single = [score_builds([build], Probe(IMAGES)).values for build in builds]
    assert scores.values == pytest.approx(np.mean(single, axis=0).tolist())


def test_the_first_reason_is_kept() -> None:
    """One degenerate initialisation of several flags the score."""
    scores = score_builds([network, lambda: built(partly_nan)], Probe(IMAGES))
    assert scores.degenerate == "NaN or overflow in the output"


def test_small_memory_gives_the_same_scores() -> None:
    """max_memory changes the scores by rounding at most."""
    whole, pieces = score(network(), IMAGES), score(network(), IMAGES, max_memory=60 << 20)
    assert pieces.values == pytest.approx(whole.values, rel=1e-4)


def test_limit_that_cannot_be_kept_is_refused() -> None:
    """A limit that is too low is refused with the smallest one, which is kept."""
    with pytest.raises(
        MemoryLimitError, match=r"max_memory=1000: .* at least [0-9]+ bytes"
    ) as found:
        score(network(), IMAGES, max_memory=1000)
    smallest = int(re.search(r"at least (\d+) bytes", str(found.value))[1])
    assert score(network(), IMAGES, max_memory=smallest).values == pytest.approx(
        score(network(), IMAGES).values, rel=1e-4
    )


def test_values_are_in_the_order_of_objectives() -> None:
    """Scores.values holds the objectives in their order; each is an attribute too."""
    scores = Scores({"ntk": 1, "activation": 2, "mine": 3})
    assert scores.values == (1, 2, 3)
    assert (scores.ntk, scores.mine) == (1, 3)
    assert pickle.loads(pickle.dumps(scores)) == scores == copy.deepcopy(scores)
    with pytest.raises(AttributeError, match="correlation"):
        scores.correlation  # noqa: B018
