"""The DARTS tournament among cells (Fig. 2): every third generation it chooses the population.

The scores have a bias. So now and then the best candidates of a generation are put into one
network: several in parallel at every depth, each with a weight alpha. The network is trained for a
short time. At each depth, the candidate with the largest alpha survives.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from pymoo.core.callback import Callback
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from torch import Tensor, nn

from pymoo_nas._machine import (
    Progress,
    Report,
    is_out_of_memory,
    not_negative,
    positive,
    release_freed_memory,
    seeded,
    whole,
)
from pymoo_nas.datasets import Dataset
from pymoo_nas.errors import NetworkError, OperationError, SearchError
from pymoo_nas.networks import MIN_SIZE, TournamentNetwork, halve
from pymoo_nas.search._given import parsed
from pymoo_nas.search._steady import known_to_be_steady
from pymoo_nas.search._survival import is_usable, rank_sum
from pymoo_nas.spaces import Architecture


class DartsTournament(Callback):
    """A tournament chooses the population by differentiable competition in place of the scores.

    The contenders are the best pop_size × size candidates of the generation by the algorithm's
    survival; all are feasible and not degenerate. Where steady ones survive first, only those that
    are known to be steady are contenders, and there is no tournament where these are no more than
    there are slots. They are dealt to the slots at random, each to one slot.
    Weights are trained on one half of the drawn images and alphas on the other, in alternation (Liu
    2018, first order), by cross-entropy. The winners become ``algorithm.pop``; optimum, history and
    later results follow.

    A short training of the contenders says little about which of them trains well; the scores say
    much (studies/tournaments.py). So an alpha does not start at zero, but at a value from the
    scores: minus `head_start` times the contender's sum of ranks, standardised over all contenders.
    The training can then change close decisions, but not clear ones.

    A tournament works alone, in `CallbackChain` and in pymoo's ``CallbackCollection``.

    Args:
        every: a tournament is held in every generation whose number is a multiple of this.
        size: contenders per slot.
        n_steps: number of pairs of steps, one on the alphas and one on the weights. More of them
            chose no better beside a head start, and no better than chance without one.
        batch_size: images per step.
        n_images: training images drawn, split into two halves.
        learning_rate: rate of the weights, by SGD with momentum 0.9 and a cosine to zero.
        alpha_learning_rate: rate of the alphas, by Adam.
        noise: standard deviation of the noise added to every slot's output while training.
        head_start: lead of an alpha per standard deviation of the sum of ranks; 0, as in the paper,
            leaves the choice to the training alone.
        max_size: longest side of the images that the first cell sees, in pixels; larger images are
            halved for the tournament, which on CIFAR-10 allows four times the steps in the same
            time.

    Attributes:
        data: "tournaments": one dictionary of plain values per tournament: generation, slots
            (texts), alphas (softmax), winners, losses of the weight and alpha steps.
        progress: takes a `Report` after each step, or None.

    Raises:
        SearchError: a setting that is not positive (`noise` and `head_start` may be 0) or not
            finite, a count that is no integer, or fewer than two images.

    Warns:
        UserWarning: a tournament could not be held (a cell does not accept the width of its input,
            or memory ran out), so that the choice of the scores stays; or its training diverged,
            and the alphas until then decided.
    """

    def __init__(
        self,
        every: int = 3,
        size: int = 4,
        *,
        n_steps: int = 5,
        batch_size: int = 32,
        n_images: int = 2048,
        learning_rate: float = 0.05,
        alpha_learning_rate: float = 0.05,
        noise: float = 0.05,
        head_start: float = 1.0,
        max_size: int = 16,
    ) -> None:
        super().__init__()
        self.every = whole("tournament: every", every)
        self.size = whole("tournament: size", size)
        self.n_steps = whole("tournament: n_steps", n_steps)
        self.batch_size = whole("tournament: batch_size", batch_size)
        self.n_images = whole("tournament: n_images", n_images, 2)  # two halves
        self.learning_rate = positive("tournament: learning_rate", learning_rate)
        self.alpha_learning_rate = positive("tournament: alpha_learning_rate", alpha_learning_rate)
        self.noise = not_negative("tournament: noise", noise)
        self.head_start = not_negative("tournament: head_start", head_start)
        self.max_size = whole("tournament: max_size", max_size)
        self.data: dict[str, list[dict[str, Any]]] = {"tournaments": []}
        self.progress: Progress | None = None

    def update(self, algorithm: Any) -> None:
        """Hold a tournament if this generation has one."""
        if algorithm.n_iter % self.every == 0:
            self.hold(algorithm)

    def hold(self, algorithm: Any) -> None:
        """Hold a tournament now; its winners become the population."""
        contenders = self._contenders(algorithm)
        without_contest = getattr(algorithm, "steady", False) and (
            len(contenders) <= algorithm.pop_size
        )
        if len(contenders) < 2 or without_contest:
            return
        rng = algorithm.random_state
        slots = deal(contenders, algorithm.pop_size, rng)
        seed = int(rng.integers(2**31))
        try:
            alphas, losses = self.compete(slots, algorithm.problem, seed)
        except (NetworkError, OperationError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                raise
            # The run goes on with the choice of the scores.
            warnings.warn(
                f"no tournament in generation {algorithm.n_iter}: {error}; "
                "the population is the scores' choice",
                stacklevel=2,
            )
            return
        release_freed_memory()
        winners = []
        for slot, shares in zip(slots, alphas, strict=True):
            for individual, share in zip(slot, shares, strict=True):
                individual.set("alpha", share)
            winners.append(slot[int(np.argmax(shares))])
        space = algorithm.problem.search_space

        def text(individual: Individual) -> str:
            return str(space.format(parsed(space, individual.X[0])))

        self.data["tournaments"].append(
            {
                "generation": algorithm.n_iter,
                "slots": [[text(individual) for individual in slot] for slot in slots],
                "alphas": alphas,
                "winners": [text(individual) for individual in winners],
                **losses,
            }
        )
        crown(algorithm, winners)

    def _contenders(self, algorithm: Any) -> list[Individual]:
        generation = getattr(algorithm, "generation", None)
        if generation is None:
            generation = merge_distinct(algorithm.pop, algorithm.off)
        usable = list(filter(is_usable, generation))
        return list(
            algorithm.survival.do(
                algorithm.problem,
                Population(known_to_be_steady(usable) or usable),
                n_survive=algorithm.pop_size * self.size,
                algorithm=algorithm,
                random_state=algorithm.random_state,
            )
        )

    def compete(
        self, slots: list[list[Individual]], problem: Any, seed: int
    ) -> tuple[list[list[float]], dict[str, list[float]]]:
        """Train the tournament network.

        Args:
            slots: the contenders of every depth, with their scores in F if there is a head start.
            problem: gives search space, images and device: a `NASProblem`, or one wrapped by pymoo.
            seed: of weights, images and noise.

        Returns:
            the softmax of every slot's alphas; the losses of the alpha and the weight steps.

        Raises:
            NetworkError: a cell does not accept the width of its input.
            SearchError: a problem without images.
        """
        if not hasattr(problem, "dataset"):
            raise SearchError(
                f"tournament: {type(problem).__name__} has no images to train on; expected a "
                "NASProblem; leave the tournament out"
            )
        dataset: Dataset = problem.dataset
        space = problem.search_space

        def build_cell(genotype: Any, in_channels: int) -> nn.Module:
            maps = _Maps(in_channels, dataset.n_classes)
            return Architecture.of(space, genotype).build("slot", maps, seed=None)

        with seeded(problem.device, seed):
            network = TournamentNetwork(
                [[parsed(space, individual.X[0]) for individual in slot] for slot in slots],
                build_cell,
                dataset.in_channels,
                dataset.n_classes,
                noise=self.noise,
                halvings=space.halvings or 0,
            ).to(problem.device)
            if self.head_start:
                for alpha, start in zip(network.alphas, standings(slots), strict=True):
                    alpha.data += self.head_start * torch.tensor(start).to(alpha)
            losses = self._train(network, dataset, problem.device)
        shares = [torch.softmax(alpha.detach(), dim=0).cpu().tolist() for alpha in network.alphas]
        return shares, losses

    def _train(
        self, network: TournamentNetwork, dataset: Dataset, device: torch.device
    ) -> dict[str, list[float]]:
        n = min(self.n_images, len(dataset.train_labels))
        drawn = torch.randperm(len(dataset.train_labels))[:n].numpy()
        halves = np.sort(drawn[: n // 2]), np.sort(drawn[n // 2 :])
        weight_batches, alpha_batches = (
            batches(dataset, half, self.batch_size, device) for half in halves
        )
        weights = torch.optim.SGD(
            network.weights(), self.learning_rate, momentum=0.9, weight_decay=3e-4, nesterov=True
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(weights, self.n_steps)
        alphas = torch.optim.Adam(
            network.alphas.parameters(), self.alpha_learning_rate, betas=(0.5, 0.999)
        )
        losses: dict[str, list[float]] = {"weight_losses": [], "alpha_losses": []}
        # The network halves large images itself before the first slot.
        most, least = (side * 2**network.halvings for side in (self.max_size, MIN_SIZE))
        network.train()
        for step in range(self.n_steps):
            alpha_loss = _step(network, alphas, _shrunk(alpha_batches, most, least))
            weight_loss = _step(network, weights, _shrunk(weight_batches, most, least))
            if not math.isfinite(alpha_loss + weight_loss):
                warnings.warn(
                    f"tournament: the training diverged in step {step + 1} of {self.n_steps}; the "
                    "alphas until then decide; lower learning_rate",
                    stacklevel=2,
                )
                break
            losses["alpha_losses"].append(alpha_loss)
            losses["weight_losses"].append(weight_loss)
            schedule.step()
            if self.progress is not None:
                self.progress(Report("tournament", step + 1, self.n_steps))
        return losses


def _shrunk(drawn: Iterator[tuple[Tensor, Tensor]], most: int, least: int) -> tuple[Tensor, Tensor]:
    """The next batch, its images halved until their longest side is at most `most` pixels.

    Images with a side of at most `least` pixels are not halved further.
    """
    images, labels = next(drawn)
    while max(images.shape[2:]) > most and min(images.shape[2:]) > least:
        images = halve(images)
    return images, labels


class _Maps(NamedTuple):
    """Input channels and number of classes for the cell of a slot."""

    in_channels: int
    n_classes: int


class CallbackChain(Callback):
    """A chain of callbacks, each called in full, in this order.

    pymoo's ``CallbackCollection`` calls only ``update`` of its members, so that a member's own
    ``notify`` is never called.

    Args:
        *callbacks: callbacks of pymoo, or functions of the algorithm.

    Raises:
        SearchError: something that cannot be called with an algorithm.
    """

    def __init__(self, *callbacks: Any) -> None:
        super().__init__()
        for callback in callbacks:
            check_callback(callback)
        self.callbacks = callbacks

    def notify(self, algorithm: Any) -> None:
        """Call all callbacks."""
        for callback in self.callbacks:
            callback(algorithm)


def check_callback(callback: Any) -> None:
    """Refuse a callback that pymoo cannot call after a generation.

    Raises:
        SearchError: a class, a list, or anything else that cannot be called.
    """
    if isinstance(callback, type):
        name = callback.__name__
        raise SearchError(f"callback={name}: a class; expected an instance, such as {name}()")
    if not callable(callback):
        raise SearchError(
            f"callback={callback!r}; expected a callback, or CallbackChain(one, another)"
        )


def tournaments_in(callback: Any) -> list[DartsTournament]:
    """List the tournaments in a callback, which may be a tournament or hold some."""
    if isinstance(callback, DartsTournament):
        return [callback]
    return [t for inner in getattr(callback, "callbacks", ()) for t in tournaments_in(inner)]


def deal(
    contenders: list[Individual], n_slots: int, rng: np.random.Generator
) -> list[list[Individual]]:
    """Deal shuffled contenders, each to one slot; the sizes of slots differ by at most one."""
    order = rng.permutation(len(contenders))
    n_slots = min(n_slots, len(contenders))
    return [[contenders[i] for i in order[slot::n_slots]] for slot in range(n_slots)]


def standings(slots: list[list[Individual]]) -> list[list[float]]:
    """The lead of each contender by the scores, per slot: minus its standardised rank sum."""
    F = np.array([individual.F for slot in slots for individual in slot])
    ranks = rank_sum(F).astype(float)
    spread = ranks.std()
    ahead = iter(((ranks.mean() - ranks) / (spread if spread > 0 else 1.0)).tolist())
    return [[next(ahead) for _ in slot] for slot in slots]


def merge_distinct(*populations: Any) -> Any:
    """Merge several populations; each individual occurs once."""
    return Population(list({id(ind): ind for pop in populations for ind in pop}.values()))


def crown(algorithm: Any, winners: list[Individual]) -> None:
    """Make the winners the population; update the optimum and the last entry of the history."""
    algorithm.pop = algorithm.survival.do(
        algorithm.problem,
        Population(winners),
        n_survive=len(winners),
        algorithm=algorithm,
        random_state=algorithm.random_state,
    )
    algorithm._set_optimum()
    # pymoo has copied the generation into its history before it calls the callbacks.
    if algorithm.save_history and algorithm.history:
        entry = algorithm.history[-1]
        entry.pop, entry.opt = copy.deepcopy((algorithm.pop, algorithm.opt))


def batches(
    dataset: Dataset, indices: Any, batch_size: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless shuffled batches (images (B, C, H, W), labels (B,)) by torch's global generator."""
    batch_size = min(batch_size, len(indices))
    while True:
        order = indices[torch.randperm(len(indices)).numpy()]
        for start in range(0, len(order) - batch_size + 1, batch_size):
            part = order[start : start + batch_size]
            images = dataset.normalized(dataset.train_images[part]).to(device)
            yield images, torch.from_numpy(dataset.train_labels[part]).to(device)


def _step(
    network: TournamentNetwork, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]
) -> float:
    """Take a step and return the loss; NaN, without a step, if loss or gradients are not finite."""
    images, labels = batch
    loss = F.cross_entropy(network(images), labels)
    # An operation of a user's own may hold parameters that are frozen or not used.
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    norm = torch.nn.utils.clip_grad_norm_(parameters, 5.0)
    if not bool(torch.isfinite(loss + norm)):
        return math.nan
    optimizer.step()
    return float(loss.detach())
