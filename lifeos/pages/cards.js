"use strict";
/* The cards of a batch page. The page itself holds a linked picture for each; what stands below it is built from the packed rows. */

/* What `pack_rows` of columns.py packed. A name with a dot is one within another: `scores.face`. */
const unpackRows = ({ count, columns }) => {
  const rows = Array.from({ length: count }, () => ({}));
  for (const [name, column] of Object.entries(columns)) {
    const value = "all" in column ? () => column.all : column.each ? place => column.each[place] : place => column.table[column.at[place]];
    const [outer, inner] = name.split(".");
    rows.forEach((row, place) => { if (inner) (row[outer] = row[outer] || {})[inner] = value(place); else row[name] = value(place); });
  }
  return rows;
};

/* What stands below a picture. `gates`: those in force; `placeOf`: the place of a picture by its name, undefined for one that is not here. */
const cardBody = (item, gates, placeOf) => {
  const shorten = text => text.length > 90 ? `${text.slice(0, 89)}…` : text;
  const against = item.overruled.length || item.decided && item.gates_verdict !== item.verdict;
  const kept = item.like ? placeOf(item.like) : undefined;
  const lines = [
    [item.shot, item.config ? ` · ${item.config}` : ""],
    item.prompt ? [h("span", { title: item.prompt.slice(0, 1000) }, shorten(item.prompt))] : null,
    [item.reference_name ? `nearest ${item.reference_name}` : "", item.reference_name && item.seed !== null ? " · " : "", item.seed !== null ? `seed ${item.seed}` : ""],
    item.flags ? [item.flags] : null, item.source ? [item.source] : null,
  ].filter(line => line && line.some(Boolean));
  return h("div", { class: "body" },
    h("div", { class: "head" }, h("span", { class: "tag" }, item.verdict), item.decided ? h("span", { class: "tag hand", title: item.decided }, `by ${item.decided_by}`) : null, h("span", { class: "n" }, `#${item.index}`)),
    h("div", { class: "scores" }, gates.map(gate => [h("i", {}, gate.name), meterOf(gate, item.scores[gate.name]), h("b", {}, score(item.scores[gate.name]))])),
    against ? h("p", { class: "against" }, `The gates: ${item.gates_verdict}${item.overruled.length ? `, ${item.overruled.join("; ")}` : ""}`) : null,
    kept !== undefined ? h("p", { class: "against" }, item.alike, h("a", { href: `#at=${kept + 1}` }, item.like)) : null,
    item.why.length ? h("ul", { class: "why" }, item.why.map(reason => h("li", {}, reason))) : null,
    h("p", { class: "more" }, lines.map((line, number) => [number ? h("br", {}) : null, line])));
};

/* Lays cards out in blocks of some whole rows, each a list of its own: what is far from the view costs a browser one block instead of each
   card. What stands below the pictures of a block is built when it comes near, and at once where there are few. `onBuilt` is told of each card. */
class CardBlocks {
  constructor(root, cards, body, onBuilt) {
    Object.assign(this, { root, body, onBuilt, listed: [], blocks: [], waiting: new Set(cards) });
    this.probe = h("ul", { class: "grid", "aria-hidden": "true" });
    this.near = new IntersectionObserver(seen => { for (const each of seen) if (each.isIntersecting) [...each.target.children].forEach(card => this.build(card)); }, { rootMargin: "1200px 0px" });
    root.replaceChildren(this.probe);
    if (cards.length <= CardBlocks.MOST_AT_ONCE) this.buildAll();
    addEventListener("beforeprint", () => this.buildAll());
    addEventListener("resize", () => { if (this.columns() !== this.across) this.lay(); });
  }

  columns() { return getComputedStyle(this.probe).gridTemplateColumns.split(" ").length; }

  /* These cards, in this order. */
  show(cards) {
    if (cards.length === this.listed.length && cards.every((card, place) => card === this.listed[place])) return;
    this.listed = cards;
    this.lay();
  }

  lay() {
    this.across = this.columns();
    this.near.disconnect();
    const size = this.across * CardBlocks.ROWS;
    this.blocks = Array.from({ length: Math.ceil(this.listed.length / size) }, (_, number) => h("ul", { class: "grid block" }, this.listed.slice(number * size, (number + 1) * size)));
    const focus = document.activeElement;
    this.root.replaceChildren(this.probe, ...this.blocks);
    if (focus !== document.activeElement && this.root.contains(focus)) focus.focus({ preventScroll: true });
    this.blocks.forEach(block => this.near.observe(block));
  }

  build(card) {
    if (!this.waiting.delete(card)) return;
    card.append(this.body(card));
    this.onBuilt(card);
  }

  buildAll() { for (const card of this.waiting) this.build(card); }
}
CardBlocks.MOST_AT_ONCE = 500;
CardBlocks.ROWS = 3;
