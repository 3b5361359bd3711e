"""Every block of the README runs, and CI runs the README's test command."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
SHELL = [text for language, text in BLOCKS if language == "bash"]
INSTALL = re.compile(r"python3 -m venv \.venv && \.venv/bin/pip install [^&]+ && ")


def run_shell(block: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a block in a folder, with the interpreter of the tests in place of the README's."""
    scripts = folder / ".venv" / "bin"
    scripts.mkdir(parents=True, exist_ok=True)
    for name in ("pymoo-nas", "python", "dask"):
        source = shutil.which(name, path=str(Path(sys.executable).parent))
        assert source is not None, f"{name} is not installed beside {sys.executable}"
        link = scripts / name
        if not link.exists():
            link.symlink_to(source)
    return subprocess.run(
        ["bash", "-e", "-c", INSTALL.sub("", block)],
        cwd=folder,
        env={"OMP_NUM_THREADS": "2", **os.environ},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_every_block_is_of_a_language_that_is_tested() -> None:
    """No block of the README is left out by its language."""
    assert {language for language, _ in BLOCKS} == {"python", "bash"}
    assert len(PYTHON) >= 4
    assert len(SHELL) >= 4


def test_ci_runs_the_readmes_test_command() -> None:
    """The second command of the README stands in .ci/run as it is."""
    assert SHELL[1].strip() in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()


@pytest.mark.slow
def test_python_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Python blocks run one after the other, as in one session."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setattr("matplotlib.pyplot.show", lambda *_, **__: None)
    namespace: dict[str, object] = {}
    for block in PYTHON:
        exec(compile(block, "README.md", "exec"), namespace)
    header = (tmp_path / "front.csv").read_text("utf-8").splitlines()[0]
    assert {"ntk", "activation", "correlation"} <= set(header.split(","))
    assert "Scores(objectives={'ntk': " in capsys.readouterr().out


@pytest.mark.slow
def test_shell_blocks(tmp_path: Path) -> None:
    """The shell blocks run one after the other; their installation is what CI does."""
    for block in (block for block in SHELL if "pytest" not in block):
        finished = run_shell(block, tmp_path)
        assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "runs" / "digits" / "front.png").exists()
    assert (tmp_path / "runs" / "digits" / "final" / "weights.safetensors").exists()
