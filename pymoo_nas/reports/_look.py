"""The style sheet and the script of a report."""

from __future__ import annotations

STYLE = """
:root {
  --ink: #1d1d1f; --paper: #fff; --soft: #f3f4f6; --line: #d9d9de; --link: #0660a9;
  --quiet: #56565c; --note: #fff4d6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e8e8ea; --paper: #17181b; --soft: #222429; --line: #3d3f46; --link: #7cc0f5;
    --quiet: #a9aab2; --note: #3a3216;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body {
  margin: 0 auto; padding: 1rem; max-width: 64rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  overflow-wrap: anywhere;
}
h1, h2, h3 { line-height: 1.25; }
h1 { font-size: 1.8rem; margin: 0.5rem 0; }
h2 { font-size: 1.4rem; margin: 2.5rem 0 0.75rem; padding-top: 0.75rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin: 1.5rem 0 0.5rem; }
a { color: var(--link); }
nav ol { columns: 14rem; padding-left: 2rem; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
code { font-size: 0.9em; }
pre { background: var(--soft); padding: 0.75rem; border-radius: 0.4rem; overflow-x: auto;
  margin: 0.25rem 0; overflow-wrap: normal; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(45%, 13rem), 1fr));
  gap: 0.5rem 1.5rem; margin: 0.5rem 0; }
dt { color: var(--quiet); font-size: 0.85rem; }
dd { margin: 0; }
.missing { background: var(--note); padding: 0.5rem 0.75rem; border-radius: 0.4rem; }
.scroll { overflow-x: auto; max-height: 32rem; overflow-y: auto; margin: 0.5rem 0; }
table { border-collapse: collapse; font-size: 0.85rem; min-width: 100%; }
caption { text-align: left; color: var(--quiet); padding-bottom: 0.25rem; }
th, td { text-align: left; padding: 0.3rem 0.75rem 0.3rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: normal; }
th { font-weight: 600; min-width: 4.5rem; }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td code { display: inline-block; min-width: 11rem; max-width: 24rem; overflow-wrap: anywhere; }
figure { margin: 0.75rem 0; min-width: 0; }
figcaption { color: var(--quiet); font-size: 0.85rem; }
.chart { width: 100%; overflow-x: auto; }
.chart.vega-embed { display: block; padding-right: 0; }
.chart .vega-bindings { display: flex; flex-wrap: wrap; gap: 0.25rem 1.5rem; padding: 0.25rem 0; }
.chart .vega-bind { margin: 0; }
.chart select { font: inherit; font-size: 0.9rem; max-width: 100%; color: var(--ink);
  background: var(--soft); border: 1px solid var(--line); border-radius: 0.3rem; padding: 0.2rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr));
  gap: 0 1.5rem; }
.drawing { max-width: 100%; height: auto; background: #fff; border-radius: 0.4rem;
  padding: 0.25rem; }
.mistakes { list-style: none; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); }
.mistakes li { display: flex; flex-direction: column; font-size: 0.85rem; }
.mistakes img { width: 6rem; height: 6rem; object-fit: contain; image-rendering: pixelated;
  background: var(--soft); border-radius: 0.3rem; }
#vg-tooltip-element { max-width: min(34rem, 92vw); overflow-wrap: anywhere; font-size: 12px; }
#vg-tooltip-element h2 { border: 0; margin: 0 0 0.25rem; padding: 0; font-size: 0.85rem; }
#vg-tooltip-element img { max-width: 100%; max-height: 15rem; background: #fff; }
#vg-tooltip-element table { min-width: 0; }
#vg-tooltip-element td { border: 0; padding: 0 0.5rem 0 0; }
#vg-tooltip-element table tr td.key { max-width: 14rem; }
@media (max-width: 40rem) { .drawing { max-width: none; } }
@media print { nav, .vega-bindings { display: none; } .scroll { max-height: none; } }
"""

SCRIPT = """
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Map();
  const MOST = 50;

  // Each drawing stands in the page once; the rows of all charts find theirs by genotype.
  const illustrate = (value) => {
    if (Array.isArray(value)) value.forEach(illustrate);
    else if (value && typeof value === "object") {
      if (typeof value.genotype === "string") value.image = data.drawings[value.genotype] || "";
      else Object.values(value).forEach(illustrate);
    }
  };
  illustrate(data.specs);

  const cell = (name, value) => {
    const made = document.createElement("td");
    if (name === "genotype") {
      made.appendChild(document.createElement("code")).textContent = value;
    } else if (typeof value === "number") {
      made.className = "number";
      const digits = Number.isInteger(value) ? 15 : 6;
      made.textContent = value.toLocaleString("en", { maximumSignificantDigits: digits });
    } else made.textContent = value === null ? "–" : value;
    return made;
  };

  const list = (view) => {
    const [x, y] = [view.signal("x_axis"), view.signal("y_axis")];
    const limits = view.signal("limits");
    const brush = view.signal("brush") || {};
    const within = (row, column, range) => {
      if (row[column] === null) return false;
      const value = Math.min(Math.max(row[column], limits[column][0]), limits[column][1]);
      return value >= Math.min(...range) && value <= Math.max(...range);
    };
    const found = data.specs.front.layer[0].data.values.filter(
      (row) => !brush.x || (within(row, x, brush.x) && within(row, y, brush.y))
    );
    // The most important candidates are drawn last, and listed first.
    const shown = found.slice(-MOST).reverse();
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const [, title] of data.brushed) {
      const made = head.appendChild(document.createElement("th"));
      made.scope = "col";
      made.textContent = title;
    }
    const body = table.createTBody();
    for (const row of shown) {
      const line = body.insertRow();
      for (const [name] of data.brushed) line.appendChild(cell(name, row[name]));
    }
    document.getElementById("brushed-table").replaceChildren(table);
    const all = brush.x ? `${found.length} candidates` : `No rectangle: all ${found.length}`;
    const cut = found.length > MOST ? `, ${MOST} of them listed` : "";
    document.getElementById("brushed-count").textContent = all + cut + ".";
  };

  const follow = (view) => {
    view.addSignalListener("brush", () => list(view));
    for (const name of ["x_axis", "y_axis"]) {
      view.addSignalListener(name, async () => {
        // On other axes the rectangle would stand for other values.
        await view.signal("brush_x", [0, 0]).signal("brush_y", [0, 0]).runAsync();
        list(view);
      });
    }
    list(view);
  };

  const draw = async (place) => {
    const name = place.dataset.chart;
    const theme = dark.matches ? "dark" : "light";
    const before = drawn.get(name);
    const axes = name === "front" && before
      ? ["x_axis", "y_axis"].map((axis) => [axis, before.view.signal(axis)]) : [];
    if (before) before.finalize();
    const options = {
      mode: "vega-lite", renderer: "svg", config: data.themes[theme], tooltip: { theme },
      actions: false,
    };
    const made = await window.vegaEmbed(place, data.specs[name], options);
    drawn.set(name, made);
    for (const [axis, value] of axes) await made.view.signal(axis, value).runAsync();
    if (name === "front") follow(made.view);
  };

  const drawAll = async () => {
    for (const place of document.querySelectorAll("[data-chart]")) {
      try {
        await draw(place);
      } catch (error) {
        place.textContent = "This chart cannot be drawn: " + error;
        console.error(error);
      }
    }
    document.documentElement.dataset.drawn = "yes";
  };

  dark.addEventListener("change", drawAll);
  drawAll();
})();
"""
