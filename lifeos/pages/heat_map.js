"use strict";
/* Rows by columns, with the value in each cell and a shade that grows with it. It is a table: printed, read aloud and without colour it says the same.

   new HeatMap(box, {
     title, rows: { title, names }, columns: { title, names },
     cells: [[{ value, low, high, note, mark }]],      by row and column, null where there is nothing; `mark`: a word under the value, such as best
     low, high,                                        which values are palest and darkest (default: the smallest and the largest)
     text: value -> words, choose(cell, row, column) }) */

class HeatMap {
  constructor(box, told) {
    Object.assign(this, { text: score, choose: null }, told);
    const values = this.cells.flat().filter(cell => cell && cell.value !== null).map(cell => cell.value);
    this.low = told.low ?? Math.min(...values, Infinity);
    this.high = told.high ?? Math.max(...values, -Infinity);
    this.stops = [];
    const head = (text, scope) => h("th", { scope }, String(text));
    this.table = h("table", { class: "heat" },
      h("caption", { class: "hidden-text" }, this.title),
      h("thead", {}, h("tr", {}, h("td", { class: "corner" }, `${this.rows.title} ↓ ${this.columns.title} →`), this.columns.names.map(name => head(name, "col")))),
      h("tbody", {}, this.rows.names.map((name, row) => h("tr", {}, head(name, "row"), this.columns.names.map((_, column) => this.cell(row, column))))));
    this.table.addEventListener("keydown", event => this.press(event));
    if (this.stops.length) this.stops[0].node.setAttribute("tabindex", "0");
    box.classList.add("chart");
    box.replaceChildren(h("h3", {}, this.title), h("div", { class: "scroll" }, this.table), values.length ? this.key() : h("p", { class: "soft" }, "No value is known."));
  }

  cell(row, column) {
    const cell = this.cells[row] && this.cells[row][column];
    if (!cell || cell.value === null) return h("td", { class: "none" }, h("span", {}, "–", cell && cell.note ? h("small", {}, cell.note) : h("span", { class: "hidden-text" }, " nothing")));
    const span = cell.low === null || cell.low === undefined ? "" : `${this.text(cell.low)} to ${this.text(cell.high)}`;
    const inside = [h("b", {}, this.text(cell.value)), span ? h("small", {}, span) : null, cell.mark ? h("small", { class: "mark" }, cell.mark) : null];
    const title = [`${this.rows.title} ${this.rows.names[row]}, ${this.columns.title} ${this.columns.names[column]}`, cell.note].filter(Boolean).join(": ");
    const node = this.choose ? h("button", { type: "button", tabindex: "-1", title, onclick: () => this.choose(cell, row, column) }, inside) : h("span", { title }, inside);
    if (this.choose) this.stops.push({ node, row, column });
    const share = this.high > this.low ? Math.max(0, Math.min(1, (cell.value - this.low) / (this.high - this.low))) : .5;
    const box = h("td", { class: cell.mark ? "marked" : "" }, node);
    box.style.setProperty("--share", `${(100 * share).toFixed(1)}%`);
    return box;
  }

  key() {
    return h("div", { class: "key" }, h("span", {}, this.text(this.low)), h("i", { class: "ramp", "aria-hidden": "true" }), h("span", {}, this.text(this.high)));
  }

  press(event) {
    const here = this.stops.find(stop => stop.node === event.target), way = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!here || !way) return;
    event.preventDefault(); event.stopPropagation();
    const ahead = this.stops.filter(stop => way[0] ? stop.column === here.column && (stop.row - here.row) * way[0] > 0 : stop.row === here.row && (stop.column - here.column) * way[1] > 0);
    const next = ahead.sort((a, b) => Math.abs(a.row - here.row) + Math.abs(a.column - here.column) - Math.abs(b.row - here.row) - Math.abs(b.column - here.column))[0];
    if (!next) return;
    here.node.setAttribute("tabindex", "-1");
    next.node.setAttribute("tabindex", "0");
    next.node.focus();
  }
}
