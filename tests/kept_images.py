"""Image folders that are large enough for their pixels to be kept."""

from __future__ import annotations

import os
from pathlib import Path

from pymoo_nas._machine import Report

LARGE = 17 * 2**20
"""Bytes of files that are more than a folder may have whose pixels stay in memory."""


def made_large(folder: Path) -> Path:
    """Let an image file have bytes behind its end, which take no place on the disk."""
    path = folder / "a" / "0.png"
    os.truncate(path, LARGE)
    return folder


class Told(list[Report]):
    """Takes reports; `decoded` tells whether a folder was decoded."""

    def __call__(self, report: Report) -> None:
        self.append(report)

    @property
    def decoded(self) -> bool:
        return any(report.work == "decoding images" for report in self)
