"""Check the numbers that a user sets; numpy's numbers are accepted and become Python's."""

from __future__ import annotations

import sys
from numbers import Integral, Real
from typing import Any

from pymoo_nas.errors import PymooNasError, SearchError

LARGEST = 2**53
"""Largest whole number of a setting: floats, of which some take part, hold all up to it."""


def whole(
    name: str,
    value: Any,
    least: int = 1,
    most: int | None = None,
    *,
    error: type[PymooNasError] = SearchError,
) -> int:
    """Check a whole number from `least` to `most`.

    Args:
        name: name of the setting, for the message.
        value: value given by the user.
        least: smallest number that is allowed.
        most: largest number that is allowed; None for `LARGEST`.
        error: type of the error.

    Raises:
        PymooNasError: the value is another number, a bool, or no number; the type is `error`.
    """
    number = isinstance(value, Integral) and not isinstance(value, bool)
    if not number or not least <= value <= (LARGEST if most is None else most):
        expected = f"an integer of at least {least}" if most is None else f"{least} to {most}"
        if number and most is None and value > LARGEST:
            expected += ", at most 2^53"
        raise error(f"{name}={_in_short(value)}; expected {expected}")
    return int(value)


def share(name: str, value: Any) -> float:
    """Check a probability.

    Raises:
        SearchError: the value is not a number from 0 to 1.
    """
    if not _is_real(value) or not 0 <= value <= 1:
        raise SearchError(f"{name}={_in_short(value)}; expected a number from 0 to 1")
    return float(value)


def positive(name: str, value: Any, *, error: type[PymooNasError] = SearchError) -> float:
    """Check a finite number over 0.

    Raises:
        PymooNasError: the value is another number, or no number; the type is `error`.
    """
    if not _is_real(value) or not 0 < value <= sys.float_info.max:
        raise error(f"{name}={_in_short(value)}; expected a positive number that a float holds")
    return float(value)


def not_negative(name: str, value: Any) -> float:
    """Check a finite number of 0 or more.

    Raises:
        SearchError: the value is another number, or no number.
    """
    if not _is_real(value) or not 0 <= value <= sys.float_info.max:
        raise SearchError(f"{name}={_in_short(value)}; expected a number from 0 that a float holds")
    return float(value)


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _in_short(value: Any) -> str:
    """A value as a message shows it; Python refuses to spell numbers of thousands of digits."""
    if isinstance(value, int) and abs(value) > 10**30:
        return f"{'-' * (value < 0)}2^{value.bit_length() - 1} or more"
    return repr(value)
