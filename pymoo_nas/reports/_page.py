"""One page of HTML: head, contents, sections, charts and the JavaScript that draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymoo_nas.reports._altair import Spec, javascript, themes
from pymoo_nas.reports._html import Html, element, joined, json_script
from pymoo_nas.reports._look import SCRIPT, STYLE

POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline' 'unsafe-eval'"
)
"""What a browser lets the page do: nothing that needs a network. Vega compiles its expressions."""


DATA = "report-data"
"""The id of the element that holds the data of a page; its script asks for it by this name."""


def is_report(content: bytes) -> bool:
    """Whether the bytes of a file are a page of a report, of any version."""
    return content.startswith(b"<!DOCTYPE html>") and f'id="{DATA}"'.encode() in content


class Page:
    """Sections and charts, which `html` puts together.

    Args:
        title: of the page.

    Attributes:
        data: further plain values for the script of the page.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.data: dict[str, Any] = {}
        self._sections: list[tuple[str, str, Html]] = []
        self._specs: dict[str, Spec] = {}

    def section(self, name: str, title: str, *children: Any) -> None:
        """Add a section; `name` is its place in links."""
        heading = element("h2", title, id=f"{name}-title")
        body = element("section", heading, *children, id=name, aria_labelledby=f"{name}-title")
        self._sections.append((name, title, body))

    def chart(self, name: str, spec: Spec, told: str) -> Html:
        """Add a chart, and return the figure in whose place it is drawn.

        Args:
            name: of the chart, once on a page.
            spec: of Vega-Lite.
            told: what the chart shows, for people who do not see it.
        """
        self._specs[name] = spec
        place = element("div", class_="chart", data_chart=name, role="img", aria_label=told)
        return element("figure", place, element("figcaption", told))

    def html(self, introduction: Html, drawings: Mapping[str, str]) -> str:
        """The whole page.

        Args:
            introduction: what stands above the contents.
            drawings: genotype → data URI of a picture, which tooltips show.
        """
        entries = [
            element("li", element("a", title, href=f"#{name}")) for name, title, _ in self._sections
        ]
        contents = element("nav", element("ol", *entries), aria_label="Contents")
        head = element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=POLICY),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("title", self.title),
            element("style", Html(STYLE)),
        )
        data = {
            "specs": self._specs,
            "drawings": dict(drawings),
            "themes": themes(),
            **self.data,
        }
        body = element(
            "body",
            element("header", element("h1", self.title), introduction),
            contents,
            element("main", *(body for *_, body in self._sections)),
            json_script(DATA, data),
            element("script", Html(javascript())),
            element("script", Html(SCRIPT)),
        )
        return joined([Html("<!DOCTYPE html>"), element("html", head, body, lang="en"), "\n"])
