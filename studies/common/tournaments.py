"""Ways to hold a tournament, each of which judges contenders by more than trained alphas.

A path through a `TournamentNetwork` has one contender per slot: the contender alone, times its part
of the slot's projection. Each way leaves the alphas where the head start puts them, and adds what
it has measured to them in the end: minus the loss on held-out images, standardised over all
contenders as the head start is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pymoo_nas.datasets import Dataset
from pymoo_nas.kernels import recalibrate
from pymoo_nas.networks import MIN_SIZE, TournamentNetwork, halve
from pymoo_nas.networks._maps import next_stage, out_channels
from pymoo_nas.search import DartsTournament
from pymoo_nas.search._given import parsed
from pymoo_nas.search._tournament import _shrunk, _step, batches

Places: TypeAlias = list[list[int]]
"""For each slot, the contenders that are still in it."""

Losses: TypeAlias = dict[str, list[float]]

Batches: TypeAlias = Iterator[tuple[Tensor, Tensor]]


def cells_of(network: TournamentNetwork) -> list[list[Any]]:
    """The contenders of each slot."""
    slots: Any = network.slots
    return [list(slot) for slot in slots]


class HeadStartAlone(DartsTournament):
    """No training: the scores decide."""

    def _train(self, network: TournamentNetwork, dataset: Dataset, device: torch.device) -> Losses:
        del network, dataset, device
        return {"weight_losses": [], "alpha_losses": []}


class Path(nn.Module):
    """One contender per slot of a tournament network, or, for None, all of them together.

    Args:
        network: gives its modules; nothing is copied.
        path: the place of a contender in each slot, or None.
    """

    def __init__(self, network: TournamentNetwork, path: Sequence[int | None]) -> None:
        super().__init__()
        self.halvings = network.halvings
        self.path = path
        self.cells = nn.ModuleList()
        self.parts: list[list[slice]] = []
        for cells, place in zip(cells_of(network), path, strict=True):
            ends = [0, *accumulate(map(out_channels, cells))]
            parts = [slice(start, end) for start, end in pairwise(ends)]
            kept = range(len(cells)) if place is None else [place]
            self.cells.append(nn.ModuleList(cells[i] for i in kept))
            self.parts.append([parts[i] for i in kept])
        self.projections = network.projections
        self.classifier = network.classifier

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) → logits (N, n_classes)."""
        for _ in range(self.halvings):
            images = halve(images)
        x = images
        for depth, cells in enumerate(self.cells):
            if depth > 0:
                x, images = next_stage(x, images)
                x = torch.cat([x, images], dim=1)
            projection: Any = self.projections[depth]
            weight = torch.cat([projection[0].weight[:, part] for part in self.parts[depth]], 1)
            # Equal shares, as those of alphas that are zero.
            alone: Any = cells
            output = torch.cat([cell(x) for cell in alone], 1) / len(alone)
            x = projection[1](F.conv2d(output, weight))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


class HeldOut(DartsTournament, ABC):
    """Contenders are judged by the loss on held-out images; a way adds how they are trained.

    Args:
        recalibrated: judge with batch norms that hold the statistics of training images, not of
            the batch that is judged.
        n_judging: batches of the held-out images per contender.
        judging_size: images of such a batch, and of the one that recalibrates.
        **settings: see `DartsTournament`.
    """

    def __init__(
        self, *, recalibrated: bool = False, n_judging: int = 8, judging_size: int = 128,
        **settings: Any,
    ) -> None:  # fmt: skip
        super().__init__(**settings)
        self.recalibrated = recalibrated
        self.n_judging = n_judging
        self.judging_size = judging_size

    def _train(self, network: TournamentNetwork, dataset: Dataset, device: torch.device) -> Losses:
        n = min(self.n_images, len(dataset.train_labels))
        drawn = torch.randperm(len(dataset.train_labels))[:n].numpy()
        ours, held_out = drawn[: n // 2], drawn[n // 2 :]
        most, least = (side * 2**network.halvings for side in (self.max_size, MIN_SIZE))

        def of(part: Any, size: int) -> Batches:
            drawing = batches(dataset, part, size, device)
            while True:
                yield _shrunk(drawing, most, least)

        self.training = of(ours, self.batch_size)
        self.fresh = of(ours, self.judging_size)
        self.held_out = of(held_out, self.judging_size)
        return self._contest(network)

    @abstractmethod
    def _contest(self, network: TournamentNetwork) -> Losses:
        """Train and judge; the alphas become what decides."""

    def _optimizer(self, network: TournamentNetwork, n: int) -> tuple[Any, Any]:
        """The weights' optimiser and its schedule over n steps, as those of `DartsTournament`."""
        optimizer = torch.optim.SGD(
            network.weights(), self.learning_rate, momentum=0.9, weight_decay=3e-4, nesterov=True
        )
        return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n)

    @torch.no_grad()
    def _loss(self, path: Path, images: Tensor, labels: Tensor) -> float:
        path.train()
        if self.recalibrated:
            recalibrate(path, [next(self.fresh)[0]])
        loss = float(F.cross_entropy(path(images), labels))
        path.train()
        return loss


class MixedTournament(HeldOut):
    """All contenders of a slot are trained together; each is judged alone in its slot.

    `n_steps` are steps on the weights; alphas take none.
    """

    def _contest(self, network: TournamentNetwork) -> Losses:
        start = [alpha.detach().clone() for alpha in network.alphas]
        for alpha in network.alphas:
            alpha.data.zero_()
        optimizer, schedule = self._optimizer(network, self.n_steps)
        weight_losses = []
        network.train()
        for _ in range(self.n_steps):
            weight_losses.append(_step(network, optimizer, next(self.training)))
            schedule.step()
        shown = [next(self.held_out) for _ in range(self.n_judging)]
        losses = []
        for depth, cells in enumerate(cells_of(network)):
            row = []
            for place in range(len(cells)):
                alone: list[int | None] = [None] * len(network.slots)
                alone[depth] = place
                path = Path(network, alone)
                row.append(sum(self._loss(path, *batch) for batch in shown) / len(shown))
            losses.append(torch.tensor(row))
        for alpha, ahead, lead in zip(network.alphas, start, standardised(losses), strict=True):
            alpha.data = ahead + lead
        return {"weight_losses": weight_losses, "alpha_losses": [float(torch.cat(losses).mean())]}


class FairTournament(HeldOut):
    """Contenders are trained one at a time in each slot, with equal numbers of steps (Chu 2021).

    In each round, every contender of a slot is in exactly one path. The gradients of all paths make
    one step. Rounds on held-out images judge the contenders: the losses of their paths are fitted
    by a sum of one term per contender.

    `n_steps` counts rounds; a round of k contenders per slot costs about as much as a step in which
    all k work in parallel.

    Args:
        stages: after each but the last, the worse half of each slot leaves, and its steps go to
            the others (successive halving).
        **settings: see `HeldOut`.
    """

    def __init__(self, *, stages: int = 1, **settings: Any) -> None:
        super().__init__(**settings)
        self.stages = stages

    def _contest(self, network: TournamentNetwork) -> Losses:
        left: Places = [list(range(len(cells))) for cells in cells_of(network)]
        # Half as many contenders take twice as many rounds in the same time.
        plan = [self.n_steps * 2**stage // self.stages for stage in range(self.stages)]
        optimizer, schedule = self._optimizer(network, sum(plan))
        start = [alpha.detach().clone() for alpha in network.alphas]
        decided: list[Tensor] = []
        weight_losses: list[float] = []
        held_out: list[float] = []
        for n_rounds in plan:
            for _ in range(n_rounds):
                weight_losses.append(self._round(network, optimizer, left))
                schedule.step()
            losses = self._judge(network, left)
            held_out.append(float(torch.cat(losses).mean()))
            leads = standardised(losses)
            now = [ahead[slot] + lead for ahead, lead, slot in zip(start, leads, left, strict=True)]
            decided = _merged(decided, now, left)
            left = [
                sorted(slot, key=alpha.neg().tolist().__getitem__)[: (len(slot) + 1) // 2]
                for slot, alpha in zip(left, decided, strict=True)
            ]
        for alpha, value in zip(network.alphas, decided, strict=True):
            alpha.data = value
        return {"weight_losses": weight_losses, "alpha_losses": held_out}

    def _round(
        self, network: TournamentNetwork, optimizer: torch.optim.Optimizer, left: Places
    ) -> float:
        network.train()
        images, labels = next(self.training)
        optimizer.zero_grad()
        total, paths = 0.0, fair_paths(left)
        for path in paths:
            loss = F.cross_entropy(Path(network, path)(images), labels)
            loss.backward()
            total += float(loss.detach())
        nn.utils.clip_grad_norm_(network.weights(), 5.0)
        optimizer.step()
        return total / len(paths)

    def _judge(self, network: TournamentNetwork, left: Places) -> list[Tensor]:
        """The term of each contender in the losses of its paths, per slot."""
        met, losses = [], []
        network.train()
        for _ in range(self.n_judging):
            images, labels = next(self.held_out)
            paths = fair_paths(left)
            row = torch.tensor([self._loss(Path(network, path), images, labels) for path in paths])
            met += paths
            losses.append(row - row.mean())  # what all paths lose on these images says nothing
        return fitted(torch.tensor(met), torch.cat(losses), left)


class CarriedTournament(FairTournament):
    """A fair tournament in which cells that met in an earlier one start from their weights then.

    The first layers of a cell see as many channels as the slot before gives. Where the number
    differs, the last channels, among which the images are, keep their weights.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.known: dict[str, dict[str, Tensor]] = {}

    def compete(self, slots: Any, problem: Any, seed: int) -> Any:
        """See `DartsTournament.compete`."""
        space = problem.search_space
        self.texts = [[space.format(parsed(space, i.X[0])) for i in slot] for slot in slots]
        return super().compete(slots, problem, seed)

    def _contest(self, network: TournamentNetwork) -> Losses:
        cells = {
            text: cell
            for row, texts in zip(cells_of(network), self.texts, strict=True)
            for cell, text in zip(row, texts, strict=True)
        }
        for text, cell in cells.items():
            carry(self.known.get(text, {}), cell)
        losses = super()._contest(network)
        for text, cell in cells.items():
            self.known[text] = {name: v.clone() for name, v in cell.state_dict().items()}
        return losses


@torch.no_grad()
def carry(known: dict[str, Tensor], cell: nn.Module) -> None:
    """Give a cell the known weights; of tensors that are larger now, the last elements."""
    for name, value in cell.state_dict().items():
        if name in known:
            old = known[name]
            shared = [min(sides) for sides in zip(value.shape, old.shape, strict=True)]
            last = tuple(slice(-side, None) for side in shared)
            value[last] = old[last]


def fair_paths(left: Places) -> list[list[int]]:
    """Random paths: each contender is in one, or in one more than another of a shorter slot."""
    n = max(map(len, left))
    columns = [
        [slot[i % len(slot)] for i in torch.randperm(n).tolist()] for slot in left
    ]  # fmt: skip
    return [list(path) for path in zip(*columns, strict=True)]


def fitted(met: Tensor, losses: Tensor, left: Places) -> list[Tensor]:
    """Least-squares terms of the contenders of each slot, whose mean per slot is zero.

    Args:
        met: (n, slots) the contender of each slot in each path.
        losses: (n,).
        left: the contenders of each slot.
    """
    columns = [(met[:, d] == place).double() for d, slot in enumerate(left) for place in slot]
    # The minimum-norm solution has equal means in all slots, and these are removed.
    terms = torch.linalg.lstsq(
        torch.stack(columns, 1), losses.double(), driver="gelsd"
    ).solution  # fmt: skip
    parts = torch.split(terms.float(), [len(slot) for slot in left])
    return [part - part.mean() for part in parts]


def standardised(losses: list[Tensor]) -> list[Tensor]:
    """Minus the losses: mean zero per slot, standard deviation one over all."""
    ahead = [loss.mean() - loss for loss in losses]
    spread = float(torch.cat(ahead).std(correction=0))
    return [values / (spread or 1.0) for values in ahead]


def _merged(before: list[Tensor], now: list[Tensor], left: Places) -> list[Tensor]:
    """The new values of those that are left, the old ones of the others moved below them."""
    if not before:
        return now
    merged = []
    for old, new, slot in zip(before, now, left, strict=True):
        gone = [place for place in range(len(old)) if place not in slot]
        values = old.clone()
        if gone:
            values[gone] += new.min() - 1 - old[gone].max()
        values[slot] = new
        merged.append(values)
    return merged
