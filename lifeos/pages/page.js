"use strict";
/* What every page does: it builds elements, explains terms, keeps its state in its address, and unfolds for print. The first script of a page. */

const h = (tag, attributes, ...children) => {
  const svg = ["svg", "rect", "polygon"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false));
  return node;
};
const score = value => value === null || value === undefined ? "–" : value.toFixed(2);
/* A score on the way from the lowest to the highest that its gate knows, with a mark at the limit; the number stands beside it. */
const meterOf = (gate, value) => {
  const there = value !== null && value !== undefined;
  const share = number => `${100 * Math.max(0, Math.min(1, (number - gate.low) / (gate.high - gate.low || 1)))}%`;
  const bar = h("em", { class: there && (gate.lower ? value > gate.limit : value < gate.limit) ? "low" : null }), limit = h("u");
  bar.style.width = there ? share(value) : "0"; limit.style.left = share(gate.limit);
  return h("span", { class: "meter", "aria-hidden": "true" }, bar, limit);
};
const drawn = (tag, attributes, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
const counted = count => count + (count === 1 ? " picture" : " pictures");
const explain = terms => (key, text) => terms[key] ? h("span", { class: "term", tabindex: "0" }, text, h("span", { class: "tip", role: "tooltip" }, terms[key])) : text;

/* What is chosen stands behind the # of the address: a copied link, a reload and the way back show the same.

   fields: inputs and selects, each with an id; panels: details elements, each with an id. What they show first is left out.
   places: names that are no choices but where one is, such as the picture that is open. They last until `keep` names others.
   told() -> names and texts of whatever else is chosen; taken(state): puts the page into a state, after its fields and panels. */
class PageState {
  constructor({ fields = [], panels = [], places = ["at", "view"], told = () => ({}), taken = () => {} }) {
    Object.assign(this, { fields, panels, places, told, taken });
    this.first = new Map(fields.map(field => [field, this.value(field)]));
    panels.forEach(panel => panel.addEventListener("toggle", () => this.keepHere()));
    addEventListener("popstate", () => this.recall());
    addEventListener("hashchange", () => { if (location.hash !== this.shown) this.recall(); }); /* of one way back, popstate has told it */
    addEventListener("pageshow", event => { if (event.persisted) this.recall(); });
  }

  get now() { return new URLSearchParams(location.hash.slice(1)); }
  value(field) { return field.type === "checkbox" ? (field.checked ? "1" : "") : field.value; }

  /* `here`: names of `places` and their texts. `push`: as a step that Back undoes. */
  keep(here = {}, push = false) {
    const state = new URLSearchParams(), set = (name, text) => { if (text !== "" && text !== null && text !== undefined) state.set(name, text); };
    for (const field of this.fields) if (this.value(field) !== this.first.get(field)) state.set(field.id, this.value(field));
    for (const [name, text] of Object.entries(this.told())) set(name, text);
    set("open", this.panels.filter(panel => panel.open).map(panel => panel.id).join(" "));
    for (const name of this.places) set(name, here[name]);
    const hash = "#" + state;
    if (hash === (location.hash || "#")) return;
    this.shown = hash;
    if (push) history.pushState({ opened: true }, "", hash); else history.replaceState(history.state, "", hash);
  }

  /* Keep, and stay where one is. */
  keepHere() { const state = this.now; this.keep(Object.fromEntries(this.places.map(name => [name, state.get(name)]))); }

  recall() {
    this.shown = location.hash;
    const state = this.now, opened = (state.get("open") || "").split(" ");
    for (const field of this.fields) {
      const value = state.has(field.id) ? state.get(field.id) : this.first.get(field);
      if (field.type === "checkbox") field.checked = value === "1"; else field.value = value;
      if (field.selectedIndex === -1) field.value = this.first.get(field);
    }
    for (const panel of this.panels) panel.open = opened.includes(panel.id);
    this.taken(state);
  }
}

(() => {
  let unfolded = [];
  addEventListener("beforeprint", () => { unfolded = [...document.querySelectorAll("details:not([open])")]; unfolded.forEach(each => { each.open = true; }); });
  addEventListener("afterprint", () => { unfolded.forEach(each => { each.open = false; }); });
  document.addEventListener("keydown", event => { if (event.key === "Escape" && document.activeElement.classList.contains("term")) document.activeElement.blur(); });
})();
