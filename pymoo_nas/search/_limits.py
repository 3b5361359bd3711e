"""Limits: the largest size that an architecture may have, by name of a count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pymoo_nas._machine import positive
from pymoo_nas.errors import SearchError
from pymoo_nas.networks import Counts


class Limits(Mapping[str, int]):
    """Fields of `Counts` → largest number; a count without an entry has no limit.

    Args:
        **most: largest number of each count; 2e5 is read as an integer, None as no limit.

    Raises:
        SearchError: an unknown count, or a limit that is no number of at least 1.
    """

    def __init__(self, **most: float | None) -> None:
        unknown = [name for name in most if name not in Counts._fields]
        if unknown:
            raise SearchError(
                f"limits of {', '.join(unknown)}; expected some of {', '.join(Counts._fields)}"
            )
        for name, limit in most.items():
            if limit is not None and positive(f"max_{name}", limit) < 1:
                raise SearchError(f"max_{name}={limit!r}; expected a number of at least 1, or None")
        self._most = {name: int(limit) for name, limit in most.items() if limit is not None}

    def __getitem__(self, name: str) -> int:
        return self._most[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._most)

    def __len__(self) -> int:
        return len(self._most)

    def __repr__(self) -> str:
        return f"Limits({self})"

    def __str__(self) -> str:
        """The limits, written as arguments of a problem.

        >>> str(Limits(params=2e5, acts=None))
        'max_params=200000'
        """
        return ", ".join(f"max_{name}={limit}" for name, limit in self.items())

    def excess(self, counts: Mapping[str, Any]) -> dict[str, Any]:
        """The excess over each limit, as a share of the limit; 0 or less where it is kept.

        Args:
            counts: name → number, or column of numbers, for every name with a limit.

        >>> Limits(params=200, flops=1000).excess({"params": 300, "flops": 900})
        {'params': 0.5, 'flops': -0.1}
        """
        return {name: (counts[name] - limit) / limit for name, limit in self.items()}

    def kept_by(self, counts: Mapping[str, Any]) -> bool:
        """Whether a network of this size is within all limits."""
        return all(share <= 0 for share in self.excess(counts).values())
