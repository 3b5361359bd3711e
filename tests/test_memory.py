import sys
from pathlib import Path

import pytest

from pymoo_nas._machine import release_freed_memory


def resident() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text("utf-8").split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and glibc is Linux's")
def test_freed_memory_goes_back_to_the_system() -> None:
    """What the C library keeps below a block that is still used is handed back."""
    blocks = [bytearray(100_000) for _ in range(2000)]
    del blocks[:-1]
    before = resident()
    release_freed_memory()
    assert resident() <= before
    release_freed_memory()
