"""What the site shows of files outside `docs/`: linked sources, command options, public names.

`mkdocs build` calls the functions whose names begin with ``on_``. A link such as
``](../studies/speed.py)`` works where the pages are read as files of the repository; for the site,
the file becomes a page of its own below ``repository/``, and the link leads there.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(((?:\.\./)+(?:CHANGELOG|[a-z]+/)[^)#\s]*)((?:#[^)\s]*)?)\)")
BESIDE = re.compile(r"(?<=\]\()[\w./-]+\.(?:md|py|ipynb)(?=\))")
MARKER = re.compile(r"^<!-- (commands|names)(?: (\w+))? -->$", re.MULTILINE)
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"


def on_files(files: Any, config: Any) -> Any:
    """Add a page or a picture for each file of the repository to which a page links."""
    pages = [file for file in files if file.src_uri.endswith(".md")]
    waiting = {name for page in pages for name in _outside(page.content_string, page.src_uri)}
    linked: set[str] = set()
    while waiting:
        linked |= waiting
        waiting = {other for name in waiting for other in _beside(name)} - linked
    for name in sorted(linked):
        files.append(_file(name, config))
    return files


def _beside(name: str) -> Iterator[str]:
    """Give the files of the repository to which one of its pages or notebooks links."""
    path = ROOT / name
    if path.suffix in {".md", ".ipynb"}:
        for target in BESIDE.findall(path.read_text("utf-8")):
            yield posixpath.normpath(posixpath.join(posixpath.dirname(name), target))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links to the pages of `on_files`, and write the generated parts in place of markers."""
    here = page.file.src_uri

    def led(match: re.Match[str]) -> str:
        name = _repository_name(match[1], here)
        if name is None:
            return match[0]
        target = posixpath.relpath(_site_name(name), posixpath.dirname(here) or ".")
        return f"]({target}{match[2]})"

    def generated(match: re.Match[str]) -> str:
        return "\n".join(command_tables() if match[1] == "commands" else _public_names(match[2]))

    # A number and its deviation stay on one line, also in a narrow column.
    together = re.sub(r"(?<=[\d%]) ±\s(?=\d)", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}", markdown)
    return MARKER.sub(generated, LINK.sub(led, together))


def _outside(markdown: str, here: str) -> Iterator[str]:
    """Give the files outside `docs/` to which a page links, from the repository's root."""
    for target, _ in LINK.findall(markdown):
        name = _repository_name(target, here)
        if name is not None:
            yield name


def _repository_name(target: str, here: str) -> str | None:
    """Name a link's target from the repository's root; None for what lies in `docs/`."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(here), target))
    return None if path.startswith(("docs/", "..")) else path


def _site_name(name: str) -> str:
    """Name the page or picture of a file: sources and notebooks become Markdown."""
    return f"repository/{name}{_suffix(name)}"


def _suffix(name: str) -> str:
    """What is added to the name of a source or notebook whose page is Markdown."""
    return ".md" if posixpath.splitext(name)[1] in {".py", ".ipynb"} else ""


def _file(name: str, config: Any) -> Any:
    from mkdocs.structure.files import File  # noqa: PLC0415 - tests run without mkdocs

    source = ROOT / name
    if source.is_dir() or source.suffix == ".png":
        return File.generated(config, _site_name(name), abs_src_path=str(source))
    text = source.read_text("utf-8")
    writers: dict[str, Callable[[str, str], str]] = {
        ".py": lambda name, text: f"# `{name}`\n\n```python\n{text}```\n",
        ".ipynb": _notebook_page,
    }
    page = writers.get(source.suffix, lambda _, text: text)(name, text)
    if source.suffix in {".md", ".ipynb"}:
        page = BESIDE.sub(lambda match: match[0] + _suffix(match[0]), page)
    return File.generated(config, _site_name(name), content=UNSEARCHED + page)


def _notebook_page(_: str, text: str) -> str:
    """Write a notebook as Markdown, with its texts, tables and pictures."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            parts.append(_output(output))
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any]) -> str:
    data = {kind: "".join(value) for kind, value in output.get("data", {}).items()}
    if "image/png" in data:
        return f"![output](data:image/png;base64,{data['image/png'].strip()})"
    if "text/html" in data:
        # A blank line would end the raw HTML.
        table = re.sub(r"<style.*?</style>", "", data["text/html"], flags=re.DOTALL)
        table = table.replace('<table border="1" class="dataframe">', "<table>")
        return re.sub(r"\n\s*", "\n", table)
    text = data.get("text/plain") or "".join(output.get("text", ()))
    return f"```text\n{text.rstrip()}\n```"


def command_tables() -> Iterator[str]:
    """Write a section per command: what it does, its arguments and its options."""
    # Only the page of commands needs the package.
    from pymoo_nas.cli._app import COMMANDS, load_command  # noqa: PLC0415

    for name in COMMANDS:
        command = load_command(name)
        yield f"\n## `pymoo-nas {name}`\n\n{command.help}\n"
        rows = [row for row in map(_option_row, command.params) if row]
        if rows:
            yield "| option | what | default |\n|---|---|---|"
            yield from rows


def _option_row(parameter: Any) -> str:
    is_argument = parameter.param_type_name == "argument"
    options = [*parameter.opts, *parameter.secondary_opts]
    names = [parameter.metavar or parameter.name] if is_argument else options
    default = parameter.default
    if getattr(parameter, "is_flag", False) or default is None or callable(default):
        default = ""
    elif isinstance(default, list | tuple):
        default = " ".join(map(str, default))
    text = (parameter.help or "").replace("|", "\\|")
    shown = " ".join(f"`{name}`" for name in names)
    return f"| {shown} | {text} | {f'`{default}`' if default != '' else ''} |"


def _public_names(room: str | None) -> Iterator[str]:
    """Write mkdocstrings' lines for a sub-package: first what a user imports, then the rest."""
    module = f"pymoo_nas.{room}"
    top = set(import_module("pymoo_nas").__all__)
    names = import_module(module).__all__
    user = [name for name in names if name in top]
    rest = [name for name in names if name not in top]
    for title, chosen in (
        ("From `pymoo_nas`", user),
        (f"Only from `{module}`", rest),
    ):
        if chosen:
            yield f"\n## {title}\n"
            yield from (f"::: {module}.{name}" for name in chosen)
