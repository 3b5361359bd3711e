"""The option ``--threads`` of the commands that compute."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from command_line import Run
from torch.nn.modules.module import register_module_forward_pre_hook


@pytest.fixture
def seen() -> Iterator[set[int]]:
    """The numbers of torch's threads in the passes of any network."""
    numbers: set[int] = set()
    hook = register_module_forward_pre_hook(lambda *_: numbers.add(torch.get_num_threads()))
    yield numbers
    hook.remove()


def test_threads_of_commands(run: Run, finished: Path, seen: set[int]) -> None:
    """Networks are run with the threads asked for, which are as before afterwards."""
    before = torch.get_num_threads()
    small = ["--model", "1000", "--cells", "1", "--epochs", "1", "--out", "trained"]
    for arguments in (
        ["train", *small],
        ["export", "trained", "--to", "python"],
        ["choose", str(finished), "--by", "gradients", "--top", "1"],
        ["score", "1000", "--inits", "1", "--images", "4"],
    ):
        seen.clear()
        code, _, err = run(*arguments, "--threads", "3")
        assert code == 0, err
        assert 3 in seen, arguments
        assert torch.get_num_threads() == before
    assert json.loads(Path("trained/training.json").read_text("utf-8"))["threads"] == 3


@pytest.mark.parametrize("command", ["train", "export", "choose", "score"])
def test_no_threads(command: str, run: Run) -> None:
    """Fewer than one thread are refused by the name of the option."""
    code, _, err = run(command, "run", "--threads", "0")
    assert code == 2
    assert "--threads" in err
