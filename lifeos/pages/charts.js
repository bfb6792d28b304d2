"use strict";
/* Charts of a batch that answer at once: what other limits would let pass, and where the heads look. They show, and change nothing. */

const difference = count => count === 0 ? "as many" : `${Math.abs(count)} ${count > 0 ? "more" : "fewer"}`;
const BARS = 40;

/* Limits to move. `told`: the gates and the pictures; `onChange`: is called after each move. */
class Limits {
  constructor(told, terms, onChange) {
    this.gates = told.gates;
    this.items = told.items.filter(item => item.verdict !== "deleted");
    this.moved = new Map(); /* name of a gate -> limit */
    this.onChange = onChange;
    this.now = this.items.filter(item => this.passes(item)).length;
    const box = document.getElementById("gauges");
    this.parts = this.gates.map(gate => this.build(gate, terms));
    box.append(...this.parts.map(part => part.root));
    this.sum = document.getElementById("would");
    this.only = document.getElementById("only-moved");
    this.reset = document.getElementById("reset-limits");
    this.reset.addEventListener("click", () => { this.set({}); this.onChange(); });
  }

  /* Whether the gates would approve a picture; `limits` instead of those in force. What is rejected for something that no limit moves stays so. */
  passes(item, limits = new Map()) {
    if (item.stuck) return false;
    return this.gates.every(gate => this.reaches(gate, item.scores[gate.name], limits.has(gate.name) ? limits.get(gate.name) : gate.limit));
  }

  reaches(gate, value, limit) {
    if (value === null) return true; /* a score that is missing is a reason of its own */
    const [ours, wanted] = [Math.round(value * 1e4), Math.round(limit * 1e4)];
    return gate.lower ? ours <= wanted : ours >= wanted;
  }

  turns(item) { return item.verdict !== "deleted" && this.passes(item, this.moved) !== this.passes(item); }

  build(gate, terms) {
    const values = this.items.map(item => item.scores[gate.name]).filter(value => value !== null);
    const low = Math.min(gate.low, ...[gate.limit]), high = Math.max(gate.high, gate.limit), width = (high - low) / BARS;
    const counts = new Array(BARS).fill(0);
    for (const value of values) counts[Math.max(0, Math.min(BARS - 1, Math.floor((value - low) / width + 1e-9)))]++;
    const most = Math.max(1, ...counts);
    const bars = counts.map((count, place) => drawn("rect", { x: place * 100 / BARS + .2, width: 100 / BARS - .4, y: 64 - 60 * count / most, height: 60 * count / most }));
    const line = drawn("line", { y1: 0, y2: 64 }), now = drawn("line", { y1: 0, y2: 64, class: "now" });
    const chart = drawn("svg", { viewBox: "0 0 100 64", preserveAspectRatio: "none", "aria-hidden": "true" }, ...bars, now, line);
    const id = `limit-${gate.name}`;
    const slider = h("input", { type: "range", id, min: low, max: high, step: high - low > 2 ? 1 : .01, value: gate.limit, "aria-label": `Limit of ${gate.title}`, "aria-describedby": `${id}-says` });
    const says = h("output", { id: `${id}-says`, for: id });
    const missing = this.items.length - values.length;
    const root = h("div", { class: "gauge" },
      h("div", { class: "name" }, h("span", {}, terms(gate.key, gate.title), gate.lower ? " at most" : " from"), says),
      chart, slider,
      h("div", { class: "ends" }, h("span", {}, String(low)), h("span", {}, `now ${gate.limit}` + (missing ? ` · ${missing} without a score` : "")), h("span", {}, String(high))));
    const at = value => 100 * (value - low) / (high - low);
    now.setAttribute("x1", at(gate.limit)); now.setAttribute("x2", at(gate.limit));
    const move = value => { this.moved.set(gate.name, Number(value)); this.draw(); this.onChange(); };
    slider.addEventListener("input", () => move(slider.value));
    const point = event => {
      const box = chart.getBoundingClientRect();
      slider.value = low + (high - low) * Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
      move(slider.value);
    };
    chart.addEventListener("pointerdown", event => { event.preventDefault(); chart.setPointerCapture(event.pointerId); slider.focus({ preventScroll: true }); point(event); });
    chart.addEventListener("pointermove", event => { if (chart.hasPointerCapture(event.pointerId)) point(event); });
    return { gate, root, slider, says, bars, line, at, middle: place => low + (place + .5) * width };
  }

  draw() {
    for (const part of this.parts) {
      const { gate } = part, limit = this.moved.has(gate.name) ? this.moved.get(gate.name) : gate.limit;
      const alone = this.items.filter(item => this.passes(item, new Map([[gate.name, limit]]))).length;
      const said = `at ${Number(limit.toFixed(4))}: ${difference(alone - this.now)}`;
      part.says.textContent = this.moved.has(gate.name) ? said : "";
      part.slider.setAttribute("aria-valuetext", this.moved.has(gate.name) ? said : `${limit}, in force`);
      part.line.setAttribute("x1", part.at(limit)); part.line.setAttribute("x2", part.at(limit));
      part.bars.forEach((bar, place) => bar.setAttribute("class", this.reaches(gate, part.middle(place), limit) ? "pass" : "fail"));
    }
    const would = this.items.filter(item => this.passes(item, this.moved)).length, turned = this.items.filter(item => this.turns(item)).length;
    this.sum.textContent = this.moved.size ? `With all limits as set here, ${would} of ${counted(this.items.length)} would pass the gates: ${difference(would - this.now)} than now.`.replace("as many than", "as many as")
      : `${this.now} of ${counted(this.items.length)} pass the gates with the limits in force.`;
    this.only.textContent = `Show the ${counted(turned)} that ${turned === 1 ? "turns" : "turn"}`;
    this.only.disabled = !turned && this.only.getAttribute("aria-pressed") !== "true";
    this.reset.disabled = !this.moved.size;
  }

  /* From the address: an object of texts. What is no number of this gate's scale is left out. */
  set(texts) {
    this.moved.clear();
    for (const part of this.parts) {
      const text = texts[part.gate.name], value = Number(text), known = text !== undefined && text !== "" && Number.isFinite(value);
      const inside = known && value >= Number(part.slider.min) && value <= Number(part.slider.max);
      if (inside) this.moved.set(part.gate.name, value);
      part.slider.value = inside ? value : part.gate.limit;
    }
    this.draw();
  }
}

/* Where the heads look and how large they are: a point for each picture that has a face. `open`: of the picture that was chosen. */
class PoseMap {
  constructor(items, open) {
    this.svg = document.getElementById("map");
    this.known = items.filter(item => item.yaw !== null && item.face && item.verdict !== "deleted").sort((a, b) => a.yaw - b.yaw || a.index - b.index);
    this.open = open;
    this.shown = new Set(items);
    const without = items.filter(item => item.verdict !== "deleted").length - this.known.length;
    document.getElementById("map-note").textContent = without ? ` ${counted(without)} without a measured pose ${without === 1 ? "is" : "are"} not on the map.` : "";
    this.svg.closest("details").addEventListener("toggle", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.svg);
    this.svg.addEventListener("click", event => { const item = this.points && this.points.get(event.target); if (item) open(item); });
    this.svg.addEventListener("keydown", event => this.key(event));
  }

  draw() {
    const width = this.svg.clientWidth, height = 320, [left, right, top, bottom] = [46, 12, 12, 40];
    if (!width) return;
    const span = Math.max(30, 15 * Math.ceil(Math.max(0, ...this.known.map(item => Math.abs(item.yaw))) / 15));
    const most = Math.max(.2, Math.ceil(10 * Math.max(0, ...this.known.map(item => item.face[3]))) / 10);
    const x = yaw => left + (width - left - right) * (yaw + span) / (2 * span), y = share => height - bottom - (height - top - bottom) * share / most;
    const text = (at, down, said, anchor) => drawn("text", { x: at, y: down, "text-anchor": anchor }, said);
    const parts = [];
    const step = span > 45 ? 30 : 15;
    for (let yaw = -Math.floor(span / step) * step; yaw <= span; yaw += step) parts.push(drawn("line", { x1: x(yaw), x2: x(yaw), y1: top, y2: height - bottom }), text(x(yaw), height - bottom + 16, `${yaw}°`, "middle"));
    for (let tenth = 0; tenth <= Math.round(most * 10); tenth += most > .5 ? 2 : 1) parts.push(drawn("line", { x1: left, x2: width - right, y1: y(tenth / 10), y2: y(tenth / 10) }), text(left - 6, y(tenth / 10) + 4, `${tenth * 10} %`, "end"));
    parts.push(text((left + width - right) / 2, height - 6, "head turned to one side ← yaw → to the other", "middle"));
    this.points = new Map(this.known.map((item, place) => [drawn("circle", {
      cx: x(item.yaw), cy: y(item.face[3]), r: 6, class: item.verdict, role: "button", tabindex: place ? -1 : 0,
      "aria-label": `Picture ${item.index}, ${item.verdict}, yaw ${item.yaw.toFixed(0)}°, face ${(100 * item.face[3]).toFixed(0)} % of the height`,
    }), item]));
    this.svg.replaceChildren(...parts, ...this.points.keys());
    this.mark(this.shown);
  }

  mark(shown) {
    this.shown = shown;
    if (!this.points) return;
    let stop = "0";
    for (const [point, item] of this.points) {
      point.classList.toggle("away", !shown.has(item));
      point.setAttribute("tabindex", shown.has(item) ? stop : "-1");
      if (shown.has(item)) stop = "-1";
    }
  }

  key(event) {
    const item = this.points && this.points.get(event.target), step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!item) return;
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); event.stopPropagation(); this.open(item); }
    if (!step) return;
    event.preventDefault(); event.stopPropagation();
    const near = [...this.points.keys()].filter(point => this.shown.has(this.points.get(point)));
    const next = near[near.indexOf(event.target) + step];
    if (next) next.focus();
  }
}
