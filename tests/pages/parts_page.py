"""A page that has every part pages share: charts, a heat map, and a large view of two pictures, with its state in its address."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from lifeos.pages.page_templates import page_environment

TEMPLATE = """
{% extends "page.html.j2" %}
{% from "macros.j2" import demo_notice, footer, head, term, tile %}
{% set title = "Parts" %}
{% set styles = ["viewer.css", "charts.css"] %}
{% set scripts = ["swipe.js", "viewer.js", "line_chart.js", "heat_map.js"] %}
{% block main %}
{{ head("Parts", name, "What pages share.") }}
{{ demo_notice("These are no pictures of a model.") }}
<div class="tiles">{{ tile(3, "approved", "ok") }}</div>
<p>{{ term("face", "face") }} and {{ term("nobody knows it", "another") }}</p>
<div class="bar">
<label>Kind <select id="kind"><option value="">every</option><option value="two">two</option></select></label>
<button type="button" id="look">Look</button></div>
<details class="panel" id="more"><summary>More</summary><p>Behind it.</p></details>
<h2>Charts</h2>
<div id="steps"></div>
<div id="names"></div>
<div id="map"></div>
{{ footer("python -m lifeos demo", "2026-02-03T04:05:06Z") }}
{% endblock %}
"""
SCRIPT = """
<script>
const chosen = [];
const at = (x, y, more = {}) => ({
  x, y, low: y === null ? null : y - .04, high: y === null ? null : y + .05, note: "12 pictures", ...more,
});
new LineChart(document.getElementById("steps"), {
  title: "Face by training step", x: { title: "step", kind: "number" }, y: { title: "face" }, limits: [{ y: .6, name: "limit" }],
  series: [
    { name: "strength 0.7", points: [at(1500, .66), at(500, .41), at(1000, .58), at(2000, .62)] },
    { name: "strength <b>1.0</b>", points: [at(500, .5), at(1000, null), at(1500, .71, { low: null, high: null }), at(2000, .6)] },
  ],
  choose: (point, one) => chosen.push(`${one.name} ${point.x}`),
});
new LineChart(document.getElementById("names"), {
  title: "Cost by card", x: { title: "card", kind: "category" }, y: { title: "dollars", low: 0 }, joined: false,
  series: [{ name: "all", points: [at("RTX 4090", 1.2), at("H100", 3.4), at("L40", 2)] }],
});
new HeatMap(document.getElementById("map"), {
  title: "Overall score", rows: { title: "step", names: ["500", "1000", "1500"] }, columns: { title: "strength", names: [.6, .8, 1] },
  cells: [
    [{ value: .41 }, { value: .5, low: .44, high: .57 }, null],
    [{ value: .55 }, { value: .63 }, { value: null, note: "no face" }],
    [{ value: .6 }, { value: .72, mark: "best" }, { value: .7 }],
  ],
  choose: (cell, row, column) => chosen.push(`${row},${column}: ${cell.value}`),
});
const pairs = [
  { name: "one", title: "prompt 1, seed 7", one: "old.png", two: "new.png", index: 1 },
  { name: "two", one: "old.png", two: "wide.png", index: 2 },
];
const viewer = new Viewer({
  source: { all: () => pairs, picture: item => item.one, reference: item => item.two, hasSkin: false }, gates: () => [],
  items: () => pairs, onMove: item => state.keep({ view: item.index }), onClose: () => history.back(), onChange: () => {},
  names: () => ["v2", "v3"], tell: item => [h("p", {}, `about ${item.name}`)],
});
viewer.compare = true;
const state = new PageState({
  fields: [document.getElementById("kind")], panels: [document.getElementById("more")], places: ["view"],
  taken: now => {
    const item = pairs.find(each => String(each.index) === now.get("view"));
    if (item) viewer.open(item); else if (viewer.isOpen) viewer.hide();
  },
});
document.getElementById("kind").addEventListener("change", () => state.keep());
document.getElementById("look").addEventListener("click", () => { state.keep({ view: 1 }, true); viewer.open(pairs[0]); });
state.recall();
</script>
</body>
"""


def write_parts(folder: Path) -> Path:
    for name, size, colour in (("old", (80, 120), (180, 60, 50)), ("new", (80, 120), (50, 90, 180)), ("wide", (120, 80), (60, 150, 90))):
        Image.new("RGB", size, colour).save(folder / f"{name}.png")
    page = page_environment().from_string(TEMPLATE.lstrip()).render(name="<script>alert(1)</script>")
    path = folder / "parts.html"
    path.write_text(page.replace("</body>\n", SCRIPT), encoding="utf-8")
    return path
