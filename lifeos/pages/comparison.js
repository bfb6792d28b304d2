"use strict";
/* The comparison of two versions: which pairs are shown, in which order, and the large view of one. */
(() => {
  const told = JSON.parse(document.getElementById("told").textContent), items = told.pairs;
  const grid = document.getElementById("grid"), cards = [...grid.children], texts = cards.map(card => (card.textContent + " " + items[Number(card.dataset.index) - 1].files.join(" ")).toLowerCase());
  const field = id => document.getElementById(id), fields = ["sort", "shot", "config", "verdict", "find"].map(field);
  const [sort, shot, config, verdict, find] = fields, buttons = [...document.querySelectorAll("[data-show]")];
  const itemOf = card => items[Number(card.dataset.index) - 1], cardOf = item => cards[item.index - 1];
  let chosen = "all";

  for (const [select, values] of [[shot, items.map(item => item.shot)], [config, items.flatMap(item => item.configs)]]) {
    const names = [...new Set(values.filter(Boolean))].sort();
    select.append(...names.map(name => h("option", { value: name }, name)));
    select.closest("label").hidden = names.length < 2;
  }
  for (const gate of told.gates) {
    const by = (down, text) => h("option", { value: `${down ? "-" : ""}gate.${gate.key}` }, `${gate.title}, ${text} first`);
    sort.append(by(gate.lower, "worst"), by(!gate.lower, "best"));
  }

  const passes = {
    lost: ([a, b]) => a.verdict === "approved" && b.verdict !== "approved", won: ([a, b]) => a.verdict !== "approved" && b.verdict === "approved",
    approved: both => both.every(one => one.verdict === "approved"), rejected: both => both.every(one => one.verdict === "rejected"), people: both => both.some(one => one.by),
  };
  const value = (item, key) => {
    if (key === "index") return item.index;
    if (key === "rank") return item.rank;
    if (key === "size") return item.rank === null ? null : Math.abs(item.rank);
    const [a, b] = item.scores[key.slice(5)] || [null, null];
    return a === null || b === null ? null : b - a;
  };
  const order = () => {
    const down = sort.value.startsWith("-"), key = sort.value.replace(/^-/, "");
    grid.append(...[...cards].sort((one, two) => {
      const [a, b] = [value(itemOf(one), key), value(itemOf(two), key)];
      if (a === null || b === null) return (a === null) - (b === null) || one.dataset.index - two.dataset.index; /* what has no number comes last */
      return (a - b) * (down ? -1 : 1) || one.dataset.index - two.dataset.index;
    }));
  };
  const show = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    cards.forEach((card, place) => {
      const item = itemOf(card);
      const fits = (chosen === "all" || item.direction === chosen) && (!shot.value || item.shot === shot.value) && (!config.value || item.configs.includes(config.value))
        && (!verdict.value || passes[verdict.value](item.verdicts)) && words.every(word => texts[place].includes(word));
      card.hidden = !fits;
      count += fits;
    });
    buttons.forEach(button => button.setAttribute("aria-pressed", button.dataset.show === chosen));
    field("shown").textContent = count + (count === 1 ? " pair" : " pairs");
    field("empty").hidden = count > 0;
  };

  /* What stands beside the large view */
  const judged = one => [h("span", { class: `badge ${one.verdict}` }, one.verdict), one.by ? h("span", { class: "badge own" }, `by ${person(one.by)}`) : null,
    one.by && one.gates && one.gates !== one.verdict ? h("span", { class: "soft" }, `the gates: ${one.gates}`) : null];
  const tell = item => {
    const row = (title, [a, b], lower) => {
      const change = a === null || b === null ? null : b - a, kind = change === null || Math.abs(change) < .005 ? "" : (change > 0) === !lower ? "better" : "worse";
      return h("tr", {}, h("th", { scope: "row" }, title), h("td", { class: "num" }, score(a)), h("td", { class: "num" }, score(b)), h("td", { class: `num change ${kind}` }, change === null ? "–" : (change > 0 ? "+" : "") + change.toFixed(2)));
    };
    const same = item.configs[0] === item.configs[1];
    return [
      h("table", { class: "sides" }, h("thead", {}, h("tr", {}, h("td", {}), told.names.map(name => h("th", { scope: "col", class: "num" }, name)), h("th", { scope: "col", class: "num" }, "change"))),
        h("tbody", {}, row("overall", item.overall, false), told.gates.filter(gate => item.scores[gate.key]).map(gate => row(gate.title, item.scores[gate.key], gate.lower)))),
      ...told.names.map((name, place) => h("p", { class: "tags" }, h("span", {}, `${name}:`), judged(item.verdicts[place]))),
      ...item.prompts.map(prompt => h("p", { class: "soft" }, prompt)),
      item.prompts.length > 1 ? h("p", { class: "soft" }, "The two versions have other words under this number.") : null,
      h("p", { class: "soft" }, [item.shot, ...(same ? item.configs.slice(0, 1) : item.configs)].filter(Boolean).join(" · ")),
      ...item.files.map((file, place) => h("p", { class: "soft" }, `${told.names[place]}: ${file}`)),
    ].filter(Boolean);
  };
  const viewer = new Viewer({
    gates: () => told.gates, names: () => told.names, tell,
    source: { all: () => items, picture: item => item.urls[0], reference: item => item.urls[1], hasSkin: false },
    items: () => [...grid.children].filter(card => !card.hidden).map(itemOf),
    onMove: item => { if (state.now.get("view")) state.keep({ at: item.index, view: item.index }); viewer.open(item); },
    onClose: () => { if (history.state && history.state.opened) history.back(); else { state.keep({ at: viewer.item.index }); state.recall(); } },
    onChange: () => {}, onLook: () => state.keepHere(),
  });
  viewer.compare = true;
  viewer.current = () => null;

  const state = new PageState({
    fields, panels: [...document.querySelectorAll("details.panel")],
    told: () => ({ show: chosen === "all" ? "" : chosen, swipe: viewer.swipe ? "1" : "" }),
    taken: now => {
      chosen = buttons.some(button => button.dataset.show === now.get("show")) ? now.get("show") : "all";
      viewer.swipe = now.has("swipe");
      order();
      show();
      const viewed = items.find(item => String(item.index) === now.get("view")), last = viewer.isOpen ? viewer.item : null;
      if (viewed) { viewer.open(viewed); return; }
      if (last) viewer.hide();
      const at = last || items.find(item => String(item.index) === now.get("at"));
      if (!at || cardOf(at).hidden) return;
      cardOf(at).scrollIntoView({ block: "center" });
      cardOf(at).querySelector(".frame").focus({ preventScroll: true });
    },
  });
  const change = () => { show(); state.keep(); };
  const choose = button => { chosen = button.dataset.show; change(); };
  buttons.forEach(button => button.addEventListener("click", () => choose(button)));
  fields.forEach(each => each.addEventListener(each === find ? "input" : "change", () => { if (each === sort) order(); change(); }));
  field("keys").addEventListener("click", () => viewer.help());
  grid.addEventListener("click", event => {
    const frame = event.target.closest("a.frame");
    if (!frame || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const item = itemOf(frame.closest(".pair"));
    state.keep({ at: item.index });
    state.keep({ at: item.index, view: item.index }, true);
    viewer.open(item);
  });
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.target.matches("input, select, textarea") || viewer.isOpen || !viewer.sheet.hidden) return;
    if (event.key === "/") { event.preventDefault(); find.focus(); return; }
    const button = buttons["1234".indexOf(event.key)];
    if (button) { choose(button); return; }
    const step = { ArrowRight: 1, ArrowLeft: -1, j: 1, k: -1 }[event.key];
    if (!step) return;
    const frames = [...grid.children].filter(card => !card.hidden).map(card => card.querySelector(".frame"));
    const next = frames[Math.max(0, Math.min(frames.length - 1, frames.indexOf(document.activeElement) + step))];
    if (next) { event.preventDefault(); next.focus(); next.scrollIntoView({ block: "nearest" }); }
  });
  state.recall();
})();
