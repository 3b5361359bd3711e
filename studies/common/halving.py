"""The space of studies that were measured when cells halved the map inside them by default."""

from __future__ import annotations

from pymoo_nas.spaces import CellSpace

INSIDE = CellSpace(reduction="inside")
"""The default then. With today's, such a study would print figures that cannot be compared with
those in its header."""
