"""CI runs the README's test command, and a first search needs one line."""

from documentation import ROOT, blocks

SHELL = [block.text for block in blocks(ROOT / "README.md") if block.language == "bash"]
CI = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()


def test_ci_runs_the_readmes_test_command() -> None:
    """The second command of the README stands in .ci/run as it is."""
    assert SHELL[1].strip() in CI


def test_ci_builds_the_site() -> None:
    """A link or a name that the site does not know ends CI."""
    assert ".venv/bin/mkdocs build --strict" in CI


def test_a_first_search_is_one_line() -> None:
    """The first command of the README installs the package and searches."""
    (line,) = SHELL[0].strip().splitlines()
    assert ".venv/bin/pip install . && .venv/bin/pymoo-nas search" in line


def test_the_readme_is_short() -> None:
    """It is read in two minutes; everything else stands in the pages."""
    assert len((ROOT / "README.md").read_text("utf-8").split()) < 600
