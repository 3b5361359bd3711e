"""A limit of memory is kept, as the system counts it, or refused with the smallest one."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

SCORED = """
import json, sys
import torch
from pymoo_nas.errors import MemoryLimitError
from pymoo_nas.spaces import Architecture
from pymoo_nas.scores import score
from typing import NamedTuple

class Images(NamedTuple):
    name: str
    in_channels: int
    n_classes: int

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))

torch.set_num_threads(1)
name, n, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
network = Architecture.read(name).build("trained", Images("images", 3, 10))
images = torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(0))
# Torch loads modules of its own in the first pass of a process; they are no memory of a scoring.
tiny = Architecture.read("8000").build("trained", Images("images", 3, 10))
score(tiny, torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
before = status("VmRSS")
try:
    scores = score(network, images, max_memory=limit)
except MemoryLimitError as error:
    print(json.dumps({"refused": str(error), "peak": status("VmHWM") - before}))
else:
    print(json.dumps({"values": scores.values, "peak": status("VmHWM") - before}))
"""


def scored(*arguments: object) -> dict[str, object]:
    """Score in a process of its own, whose memory was never larger."""
    command = [sys.executable, "-c", SCORED, *map(str, arguments)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, object] = json.loads(printed)
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize(
    ("name", "n", "mebibytes"),
    [
        ("resnet20", 64, 64),
        ("resnet20", 64, 100),
        ("resnet20", 256, 64),
        ("resnet18", 256, 256),
        ("mobilenet_v2", 64, 128),
        ("squeezenet1_1", 64, 200),
    ],
)
def test_limit_is_kept_or_refused(name: str, n: int, mebibytes: int) -> None:
    """The peak of a scoring is below the limit; one that cannot be kept is refused at little cost.

    The smallest limit that a refusal names can be kept.
    """
    limit = mebibytes << 20
    found = scored(name, n, limit)
    assert found["peak"] <= limit
    if "refused" in found:
        limit = int(re.search(r"at least (\d+) bytes", str(found["refused"]))[1])
        assert limit > mebibytes << 20
        found = scored(name, n, limit)
        assert found["peak"] <= limit
    whole = scored(name, n, 8 << 30)
    assert found["values"] == pytest.approx(whole["values"], rel=1e-3)
