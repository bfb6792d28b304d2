"use strict";
/* Lines over numbers or categories, with bands of their intervals; each point can be focused, read and chosen, and all stand in a table.

   new LineChart(box, {
     title, x: { title, kind: "number" or "category", text }, y: { title, low, high, text },     `text`: value -> words; low, high: where the axis ends
     series: [{ name, points: [{ x, y, low, high, note }] }],                                   null where nothing is known; `note` is said beside the numbers
     limits: [{ y, name }], choose(point, series),
     joined: false })                                                                           where neighbours have nothing to do with each other */

const SERIES = 5; /* as many colours, marks and dashes as there are in charts.css */
const tidy = value => value === null || value === undefined ? "–" : typeof value === "string" ? value : String(Number(Number(value).toPrecision(6)));

/* Round numbers from `low` to `high`, about `count` of them. */
const roundSteps = (low, high, count) => {
  const rough = (high - low) / Math.max(1, count) || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(times => times * power >= rough * .999);
  const found = [];
  for (let place = Math.ceil(low / step - 1e-9); place <= high / step + 1e-9; place++) found.push(Number((place * step).toPrecision(12)));
  return found;
};

const marked = (shape, x, y, size) => {
  const at = points => points.map(([dx, dy]) => `${x + dx * size},${y + dy * size}`).join(" ");
  if (shape === 0) return drawn("circle", { cx: x, cy: y, r: size });
  if (shape === 1) return drawn("rect", { x: x - size * .9, y: y - size * .9, width: size * 1.8, height: size * 1.8 });
  return drawn("polygon", { points: at({ 2: [[0, -1.2], [1.1, .9], [-1.1, .9]], 3: [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]], 4: [[-1.1, -.9], [1.1, -.9], [0, 1.2]] }[shape]) });
};

class LineChart {
  constructor(box, told) {
    Object.assign(this, { limits: [], choose: null, joined: true }, told);
    this.xText = this.x.text || tidy;
    this.yText = this.y.text || score;
    this.names = this.x.kind === "category" ? [...new Set(this.series.flatMap(one => one.points.map(point => point.x)))] : null;
    if (!this.names) this.series = this.series.map(one => ({ ...one, points: [...one.points].sort((a, b) => a.x - b.x) }));
    this.svg = drawn("svg", { class: "lines", role: "group", "aria-label": this.title });
    this.reading = h("output", { class: "reading" });
    box.classList.add("chart");
    box.replaceChildren(h("h3", {}, this.title), this.key(), this.svg, this.reading, this.table());
    this.at = null; /* [series, point] that keys start from */
    this.svg.addEventListener("keydown", event => this.press(event));
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  says(point, one) {
    const span = point.low === null || point.low === undefined ? "" : ` (${this.yText(point.low)} to ${this.yText(point.high)})`;
    return `${this.series.length > 1 ? `${one.name}, ` : ""}${this.x.title} ${this.xText(point.x)}: ${this.yText(point.y)}${span}${point.note ? `, ${point.note}` : ""}`;
  }

  key() {
    if (this.series.length < 2 && !this.limits.length) return "";
    const swatch = (number, ...parts) => drawn("svg", { viewBox: "0 0 28 12", class: `swatch s${number % SERIES}`, "aria-hidden": "true" }, ...parts);
    const line = kind => drawn("line", { x1: 0, x2: 28, y1: 6, y2: 6, class: kind });
    return h("div", { class: "key" },
      this.series.length > 1 ? this.series.map((one, number) => h("span", {}, swatch(number, line("line"), marked(number % SERIES, 14, 6, 4)), one.name)) : null,
      this.limits.map(limit => h("span", {}, drawn("svg", { viewBox: "0 0 28 12", class: "swatch", "aria-hidden": "true" }, line("limit")), `${limit.name} (${this.yText(limit.y)})`)));
  }

  table() {
    const band = this.series.some(one => one.points.some(point => point.low !== null && point.low !== undefined));
    const row = (one, point) => h("tr", {}, this.series.length > 1 ? h("th", { scope: "row" }, one.name) : null, h("td", { class: "num" }, this.xText(point.x)),
      h("td", { class: "num" }, this.yText(point.y)), band ? h("td", { class: "num" }, point.low === null || point.low === undefined ? "–" : `${this.yText(point.low)} to ${this.yText(point.high)}`) : null,
      h("td", {}, point.note || ""));
    const head = text => h("th", { scope: "col" }, text);
    return h("details", { class: "as-table" }, h("summary", {}, "As a table"), h("div", { class: "scroll" }, h("table", {}, h("caption", { class: "hidden-text" }, this.title),
      h("thead", {}, h("tr", {}, this.series.length > 1 ? head("line") : null, head(this.x.title), head(this.y.title), band ? head("interval") : null, head("more"))),
      h("tbody", {}, this.series.flatMap(one => one.points.map(point => row(one, point)))))));
  }

  /* Where the axes end, and the places of values on them. */
  scale(width, height) {
    const all = this.series.flatMap(one => one.points).filter(point => point.y !== null), of = name => all.map(point => point[name]).filter(value => value !== null && value !== undefined);
    const values = [...of("y"), ...of("low"), ...of("high"), ...this.limits.map(limit => limit.y)];
    let low = this.y.low ?? Math.min(...values, Infinity), high = this.y.high ?? Math.max(...values, -Infinity);
    if (!(low < high)) [low, high] = Number.isFinite(low) ? [low - .5, low + .5] : [0, 1];
    const pad = this.y.low === undefined ? (high - low) * .06 : 0;
    [low, high] = [low - pad, high + (this.y.high === undefined ? (high - low) * .06 : 0)];
    const rows = roundSteps(low, high, 5), letters = Math.max(0, ...rows.map(value => this.yText(value).length));
    const room = { left: Math.max(54, 26 + 7 * letters), right: 16, top: 10, bottom: 44 };
    const wide = width - room.left - room.right, tall = height - room.top - room.bottom;
    const xs = this.names ? [] : this.series.flatMap(one => one.points.map(point => point.x)), first = Math.min(...xs, Infinity), last = Math.max(...xs, -Infinity);
    const x = this.names ? value => room.left + wide * (this.names.indexOf(value) + .5) / Math.max(1, this.names.length)
      : value => room.left + (last > first ? wide * (value - first) / (last - first) : wide / 2);
    const own = [...new Set(xs)].sort((a, b) => a - b);
    const ticks = this.names || (own.length <= Math.max(2, wide / 70) ? own : roundSteps(first, last, wide / 90));
    return { room, width, height, x, y: value => room.top + tall * (high - value) / (high - low), ticks, rows };
  }

  draw() {
    const width = this.svg.clientWidth;
    if (!width) return;
    const held = this.svg.contains(document.activeElement), to = this.scale(width, 300), { room, height } = to;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const text = (x, y, said, anchor, more = {}) => drawn("text", { x, y, "text-anchor": anchor, ...more }, said);
    const line = (x1, y1, x2, y2, kind = "grid") => drawn("line", { x1, x2, y1, y2, class: kind });
    const every = Math.ceil(to.ticks.length * 62 / (width - room.left - room.right));
    const parts = [
      ...to.rows.flatMap(value => [line(room.left, to.y(value), width - room.right, to.y(value)), text(room.left - 8, to.y(value) + 4, this.yText(value), "end")]),
      ...to.ticks.filter((_, place) => place % every === 0).map(value => text(to.x(value), height - room.bottom + 17, this.short(this.xText(value)), "middle")),
      text((room.left + width - room.right) / 2, height - 6, this.x.title, "middle"),
      text(14, (room.top + height - room.bottom) / 2, this.y.title, "middle", { transform: `rotate(-90 14 ${(room.top + height - room.bottom) / 2})` }),
      ...this.limits.map(limit => line(room.left, to.y(limit.y), width - room.right, to.y(limit.y), "limit")),
    ];
    this.points = new Map();
    this.series.forEach((one, number) => parts.push(this.drawSeries(one, number, to)));
    this.svg.replaceChildren(...parts);
    const stop = this.nodeAt(this.at) || this.points.keys().next().value;
    if (stop) stop.setAttribute("tabindex", "0");
    if (held && stop) stop.focus({ preventScroll: true });
  }

  /* Neighbours of which an interval is known. */
  spans(run) {
    const found = [[]];
    for (const point of run) { if (point.low === null || point.low === undefined) found.push([]); else found[found.length - 1].push(point); }
    return found;
  }

  short(text) { return text.length > 11 ? `${text.slice(0, 10)}…` : text; }

  drawSeries(one, number, to) {
    const group = drawn("g", { class: `series s${number % SERIES}` }), runs = [[]];
    for (const point of one.points) { if (point.y === null) runs.push([]); else runs[runs.length - 1].push(point); }
    for (const run of runs) {
      for (const banded of this.spans(run)) {
        const [upper, lower] = ["high", "low"].map(end => banded.map(point => [to.x(point.x), to.y(point[end])]));
        if (!this.names && banded.length > 1) group.append(drawn("polygon", { class: "band", points: [...upper, ...lower.reverse()].join(" ") }));
        else upper.forEach(([x, y], place) => group.append(drawn("line", { class: "whisker", x1: x, x2: x, y1: lower[place][1], y2: y })));
      }
      if (this.joined && run.length > 1) group.append(drawn("polyline", { class: "line", points: run.map(point => [to.x(point.x), to.y(point.y)]).join(" ") }));
    }
    one.points.forEach((point, place) => {
      if (point.y === null) return;
      const node = drawn("g", { class: this.choose ? "point chosen-by" : "point", role: this.choose ? "button" : "img", tabindex: "-1", "aria-label": this.says(point, one) }, marked(number % SERIES, to.x(point.x), to.y(point.y), 5.5));
      const read = () => { this.reading.textContent = this.says(point, one); };
      node.addEventListener("focus", () => { this.at = [number, place]; read(); });
      node.addEventListener("pointerenter", read);
      if (this.choose) node.addEventListener("click", () => this.choose(point, one));
      this.points.set(node, [number, place]);
      group.append(node);
    });
    return group;
  }

  nodeAt(at) { return at && [...this.points].find(([, [number, place]]) => number === at[0] && place === at[1])?.[0]; }

  press(event) {
    const at = this.points && this.points.get(event.target.closest(".point"));
    if (!at) return;
    const [number, place] = at, point = this.series[number].points[place];
    const known = which => this.series[which].points.map((each, index) => [each, index]).filter(([each]) => each.y !== null).map(([, index]) => index);
    let next = null;
    if (event.key === "Enter" || event.key === " ") { if (this.choose) this.choose(point, this.series[number]); else return; }
    else if (event.key === "ArrowRight") next = [number, known(number).find(index => index > place)];
    else if (event.key === "ArrowLeft") next = [number, known(number).findLast(index => index < place)];
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const other = number + (event.key === "ArrowDown" ? 1 : -1), far = index => this.names ? Math.abs(this.names.indexOf(this.series[other].points[index].x) - this.names.indexOf(point.x)) : Math.abs(this.series[other].points[index].x - point.x);
      if (this.series[other]) next = [other, known(other).sort((a, b) => far(a) - far(b))[0]];
    } else return;
    event.preventDefault(); event.stopPropagation();
    const node = next && this.nodeAt(next);
    if (!node) return;
    event.target.closest(".point").setAttribute("tabindex", "-1");
    node.setAttribute("tabindex", "0");
    node.focus();
  }
}
