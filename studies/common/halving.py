"""The space of studies that were measured when cells halved the map inside them by default."""

from __future__ import annotations

from pymoo_nas.spaces import CellSpace

INSIDE = CellSpace(reduction="inside")
"""The default then; what such a study prints would not be comparable with today's."""
