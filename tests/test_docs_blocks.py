"""Every block of code in README and pages runs, page by page, in the order of the page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from documentation import PAGES, blocks, name_of, run_shell

WITH_CODE = [page for page in PAGES if any(block.is_run for block in blocks(page))]
RESULTS = {
    "README.md": ["runs/digits/front.png", "runs/digits/final/weights.safetensors"],
    "docs/comparing.md": ["runs/comparison/table.csv", "comparison/attainment.png"],
    "docs/deploying.md": ["runs/shapes/final/model.int8.onnx", "runs/shapes/final/python"],
    "docs/extending.md": ["runs/depths/front.csv", "runs/widths/choice.json"],
    "docs/machines.md": ["runs/two/front.csv", "runs/cluster/front.csv"],
    "docs/own-images.md": ["classes.csv", "runs/resnet20/weights.safetensors"],
    "docs/pymoo.md": ["front.csv", "trained/weights.safetensors"],
}
"""Page → some of the files that its blocks leave."""


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks run in one folder: shell in a shell, Python as in one session, files as files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setattr("matplotlib.pyplot.show", lambda *_, **__: None)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        if not block.is_run or "pytest" in block.text:
            continue
        if block.title.endswith(".py"):
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
            monkeypatch.delitem(sys.modules, Path(block.title).stem, raising=False)
        elif block.language == "python":
            exec(compile(block.text, name_of(page), "exec"), namespace)
        else:
            finished = run_shell(block.text, tmp_path)
            assert finished.returncode == 0, finished.stderr
    for name in RESULTS.get(name_of(page), ()):
        assert (tmp_path / name).exists(), name
