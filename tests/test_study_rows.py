"""The tables in the headers of studies are what their kept rows come to."""

from __future__ import annotations

from pathlib import Path

import pytest
import spaces

from common.rows import read_rows

KEPT = Path(__file__).parents[1] / "studies" / "rows"


def test_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    """Each mean of the changes of the space, and each difference to base."""
    spaces.report_means(read_rows(KEPT / "spaces" / "fitted.csv"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 24
    assert spaces.__doc__ is not None
    assert [line for line in lines if line not in spaces.__doc__] == []
