"""``.pt2`` files: torch's own format, which plain torch loads."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from pymoo_nas.errors import ExportError
from pymoo_nas.exports._program import quiet_torch

DESCRIPTION_FILE = "pymoo_nas.json"
"""Name of the extra file in the archive that holds the description."""


def pt2_bytes(program: ExportedProgram, described: Mapping[str, Any]) -> bytes:
    """Write a recorded network as an archive of torch, with its description as an extra file."""
    buffer = io.BytesIO()
    with quiet_torch():
        torch.export.save(program, buffer, extra_files={DESCRIPTION_FILE: json.dumps(described)})
    return buffer.getvalue()


class Pt2Runner:
    """Runs a ``.pt2`` file; see `Runner`.

    Args:
        content: bytes of the file.

    Attributes:
        pixels: type of the pixels that the file takes.

    Raises:
        ExportError: no such file.
    """

    def __init__(self, content: bytes) -> None:
        extra = {DESCRIPTION_FILE: ""}
        try:
            with quiet_torch():
                program = torch.export.load(io.BytesIO(content), extra_files=extra)
                self._module = program.module()
        except Exception as error:
            raise ExportError(f"no .pt2 file that this torch can load ({error})") from error
        self._text = extra[DESCRIPTION_FILE]
        example = program.example_inputs
        dtype = example[0][0].dtype if example else torch.float32
        self.pixels = "uint8" if dtype == torch.uint8 else "float32"

    def __call__(self, images: Tensor) -> Tensor:
        """Run the file; see `Runner`."""
        with torch.no_grad():
            found: Tensor = self._module(images)
        return found

    def described(self) -> dict[str, Any]:
        """Return the description that `pt2_bytes` was given.

        Raises:
            ValueError: the description is absent or damaged.
        """
        found: dict[str, Any] = json.loads(self._text)
        return found
