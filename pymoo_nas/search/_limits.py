"""Limits: the largest size or latency that an architecture may have, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pymoo_nas._machine import positive
from pymoo_nas.errors import SearchError
from pymoo_nas.scores import SIZES


class Limits(Mapping[str, float]):
    """Some of `SIZES` → largest number; a size without an entry has no limit.

    Args:
        **most: largest number of each size; None for no limit. Counts are read as integers, 2e5
            too; ``latency`` is in milliseconds.

    Raises:
        SearchError: an unknown size, a count that is no number of at least 1, or a latency that is
            not positive.
    """

    def __init__(self, **most: float | None) -> None:
        unknown = [name for name in most if name not in SIZES]
        if unknown:
            raise SearchError(
                f"limits of {', '.join(unknown)}; expected some of {', '.join(SIZES)}"
            )
        self._most: dict[str, float] = {}
        for name, limit in most.items():
            if limit is None:
                continue
            value = positive(f"max_{name}", limit)
            if name != "latency" and value < 1:
                raise SearchError(f"max_{name}={limit!r}; expected a number of at least 1, or None")
            self._most[name] = float(value) if name == "latency" else int(limit)

    @classmethod
    def read(cls, arguments: Mapping[str, float | None]) -> Limits:
        """The limits that keyword arguments give: ``max_params`` and so on, one for each size.

        Raises:
            SearchError: another argument, or see `Limits`.
        """
        known = {f"max_{name}": name for name in SIZES}
        unknown = [name for name in arguments if name not in known]
        if unknown:
            raise SearchError(
                f"{', '.join(unknown)}: no such limit; expected some of {', '.join(known)}"
            )
        return cls(**{known[name]: limit for name, limit in arguments.items()})

    def __getitem__(self, name: str) -> float:
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
            counts: name → number, or column of numbers. A size that is absent or None was not
                measured, and exceeds nothing.

        >>> Limits(params=200, flops=1000).excess({"params": 300, "flops": 900})
        {'params': 0.5, 'flops': -0.1}
        """
        shares: dict[str, Any] = {}
        for name, limit in self.items():
            found = counts.get(name)
            shares[name] = 0.0 if found is None else (found - limit) / limit
        return shares

    def kept_by(self, counts: Mapping[str, Any]) -> bool:
        """Whether a network of this size is within all limits."""
        return all(share <= 0 for share in self.excess(counts).values())
