"""What README and pages name is there: files, titles, commands, options."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from documentation import (
    COMMANDS,
    NOT_RUN,
    PAGES,
    ROOT,
    anchors,
    blocks,
    calls,
    links,
    name_of,
    options_in,
    prose,
    script,
)

every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)
SCRIPTS = ROOT / "docs" / "_scripts"


@every_page
def test_blocks_parse(page: Path) -> None:
    """Each block is Python or shell that parses, or plain text."""
    for block in blocks(page):
        assert block.language in {"python", "bash", "text"}, block
        if block.language == "python":
            compile(block.text, name_of(page), "exec")
        if block.language == "bash":
            command = ["bash", "-n", "-c", block.text]
            checked = subprocess.run(command, capture_output=True, text=True, check=False)
            assert checked.returncode == 0, checked.stderr


def test_hardly_a_block_is_not_run() -> None:
    """A block that the tests leave out says why, and is about several machines or cards."""
    left_out = [b for page in PAGES for b in blocks(page) if b.title.startswith(NOT_RUN)]
    assert 1 <= len(left_out) <= 5
    assert all(re.search("machines|CUDA", block.title) for block in left_out)


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    """Each link inside the repository names a file that is there, and a title of it."""
    for target in links(page):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), f"{target}: {sorted(anchors(linked))}"


@every_page
def test_paths_are_there(page: Path) -> None:
    """Each path of the repository that a page names is there."""
    paths = re.findall(
        r"(?<![\w/.])((?:studies|examples|docs|tests|pymoo_nas)/[\w./-]*\w)", prose(page)
    )
    assert [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] == []


@every_page
def test_options_are_those_of_the_command(page: Path) -> None:
    """Each option stands behind a command that has it, or is an option of some command."""
    for block in blocks(page):
        for command, options in calls(block.text) if block.language == "bash" else ():
            assert options <= COMMANDS[command], (command, options - COMMANDS[command])
    every = {"--version"}.union(*COMMANDS.values())
    for span in re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", prose(page)):
        first = span.removeprefix("pymoo-nas ").split()[0]
        known = COMMANDS.get(first, every)
        assert options_in(span) <= known, (span, options_in(span) - known)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_shown(command: str) -> None:
    """A page that is written by hand shows how the command is called, and its blocks run."""
    shown = [
        name
        for page in PAGES
        for block in blocks(page)
        if block.language == "bash" and block.is_run
        for name, _ in calls(block.text)
    ]
    assert command in shown


def test_every_page_is_in_the_menu() -> None:
    """The site's menu leads to each page."""
    menu = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]}
    assert set(re.findall(r"[\w/-]+\.md", menu)) == pages


def test_every_study_and_example_is_linked() -> None:
    """A reader finds each study and each example from a page."""
    files = [*(ROOT / "studies").glob("*.py"), *(ROOT / "examples").iterdir()]
    linked = {(page.parent / target).resolve() for page in PAGES[1:] for target in links(page)}
    assert {path.name for path in files if path.suffix in {".py", ".ipynb"}} <= {
        path.name for path in linked
    }


def test_every_drawing_is_made_and_shown() -> None:
    """The script draws the pictures that the pages show, and no others."""
    drawn = {f"{name}.svg" for name in script(SCRIPTS / "drawings.py").PICTURES}
    assert drawn == {path.name for path in (ROOT / "docs" / "figures").iterdir()}
    shown = {Path(target).name for page in PAGES[1:] for target in links(page)}
    assert drawn <= shown


@pytest.mark.slow
def test_drawings_are_drawn(tmp_path: Path) -> None:
    """The script writes each picture, without letters that need a font."""
    drawings = script(SCRIPTS / "drawings.py")
    drawings.main(tmp_path)
    for name in drawings.PICTURES:
        text = (tmp_path / f"{name}.svg").read_text("utf-8")
        assert "<path" in text
        assert "<text" not in text


def test_command_tables_have_every_option() -> None:
    """The page of commands has a section per command and a row per option."""
    text = "\n".join(script(SCRIPTS / "hooks.py").command_tables())
    sections = dict(zip(*[iter(re.split(r"## `pymoo-nas (\w+)`", text)[1:])] * 2, strict=True))
    assert set(sections) == set(COMMANDS)
    for name, section in sections.items():
        options = {option for option in COMMANDS[name] if option.startswith("--")}
        assert options - {"--help"} <= set(re.findall(r"`(--[a-z0-9-]+)`", section))


def test_links_to_sources_lead_to_their_pages() -> None:
    """On the site, a linked source is a page of its own; pictures and pages stay what they are."""
    hooks = script(SCRIPTS / "hooks.py")

    class Page:
        class file:  # noqa: N801 - as mkdocs has it
            src_uri = "api/index.md"

    markdown = (
        "[a](../../studies/speed.py) ![b](../../studies/figures/x.png) [c](../gpus.md#rounding)"
    )
    assert hooks.on_page_markdown(markdown, page=Page) == (
        "[a](../repository/studies/speed.py.md) ![b](../repository/studies/figures/x.png) "
        "[c](../gpus.md#rounding)"
    )
