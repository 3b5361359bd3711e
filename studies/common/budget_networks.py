"""The networks that budgets.py trains, and the time of their training steps."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from common.budget_searches import KINDS, architecture_of
from common.hand_designed import HAND_DESIGNED
from common.images import part_of
from common.rows import read_rows
from common.training_steps import BATCH, OurSteps, milliseconds_in_turn
from pymoo_nas._machine import seeded
from pymoo_nas.datasets import Dataset


def build(kind: str, model: str, dataset: Dataset, seed: int) -> nn.Module:
    """An untrained network: of a genotype, or by hand with the width that `model` tells."""
    if kind in KINDS:
        return architecture_of(kind, model).build("trained", dataset, seed=seed)
    with seeded(torch.device("cpu"), seed):
        return HAND_DESIGNED[kind][0](float(model))


def paced(of: argparse.Namespace, dataset: Dataset, work: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """Milliseconds of a training step of each network, those of a budget measured in turn."""
    path, device = work / "paces.csv", torch.device(of.device)
    columns = ["budget", "kind", "model"]
    kept = read_rows(path, ["model"]) if path.exists() else pd.DataFrame(columns=columns)
    part = part_of(dataset, 10 * BATCH)
    for budget, group in rows.drop_duplicates(columns[:2]).groupby("budget"):
        of_budget = kept[kept["budget"] == budget]
        known, asked = (dict(zip(f["kind"], f["model"], strict=True)) for f in (of_budget, group))
        models = known | asked
        if models == known or len(models) < 2:  # a ratio is of two
            continue
        steps = {
            kind: OurSteps(build(kind, model, part, 0), part, device, precision=of.precision)
            for kind, model in models.items()
        }
        found = milliseconds_in_turn(steps, 5, device, rounds=9)
        new = [
            {"budget": budget, "kind": kind, "model": models[kind], "milliseconds": one["step"]}
            for kind, one in found.items()
        ]
        kept = pd.concat([kept[kept["budget"] != budget], pd.DataFrame(new)])
        kept.to_csv(path, index=False)
    return kept


def report_paces(paces: pd.DataFrame) -> None:
    """A line for each budget: the time of a step, and its ratio to the fastest one's."""
    for budget, group in paces.groupby("budget"):
        steps = dict(zip(group["kind"], group["milliseconds"], strict=True))
        least = min(steps.values())
        told = (f"{kind} {ms:.0f} ({ms / least:.2f})" for kind, ms in sorted(steps.items()))
        print(f"{budget} ms per step of {BATCH} images, in turn: {', '.join(told)}")
