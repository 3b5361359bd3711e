"""The command line of pymoo-nas, called as a user does, in the process of the study."""

from __future__ import annotations

from typing import Any

from pymoo_nas.cli._app import app


def flags(options: dict[str, Any]) -> list[str]:
    """Names and values as options: ``max_params`` is ``--max-params``."""
    return [
        part
        for name, value in options.items()
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]


def command(name: str, *arguments: object, **options: Any) -> None:
    """Run ``pymoo-nas NAME``; the study ends where the command is interrupted.

    Raises:
        PymooNasError: what the command would print as an error.
    """
    status = app([name, *map(str, arguments), *flags(options)], standalone_mode=False)
    if status:
        raise SystemExit(status)
