"use strict";
/* The report of a batch: filters, and the large view. What is decided here stays in this browser until it is exported. */
(() => {
  const grid = document.getElementById("grid"), pictures = [...grid.querySelectorAll(".pic")];
  const fields = ["by", "who", "shot", "prompt", "like", "edge", "sort", "find"].map(id => document.getElementById(id)).filter(Boolean);
  const { by, who, shot, prompt, like, edge, sort, find } = Object.fromEntries(fields.map(field => [field.id, field]));
  const buttons = [...document.querySelectorAll("[data-show]")];
  const told = JSON.parse(document.getElementById("viewed").textContent), items = told.items = unpackRows(told.items);
  const placeOf = new Map(items.map((item, place) => [item.name, place])), liked = new Set(items.map(item => item.like).filter(name => placeOf.has(name)));
  items.forEach((item, place) => {
    const picture = pictures[place];
    picture.dataset.index = place + 1;
    item.url = picture.firstElementChild.getAttribute("href") || "";
    item.reference = item.reference_url && told.references !== null ? `${told.references}/${item.reference_url}` : "";
    item.reasons = item.overruled.length ? item.overruled : item.why;
  });
  const texts = new Map(); /* what is found in a picture's card, once somebody looks for something */
  const textOf = item => {
    const parts = () => [item.name, item.verdict, `#${item.index}`, item.shot, item.config, item.prompt, item.reference_name && `nearest ${item.reference_name}`, item.seed !== null && `seed ${item.seed}`,
      item.decided, item.decided && `by ${item.decided_by}`, item.flags, item.source, item.alike, item.like, ...item.why, ...item.overruled];
    if (!texts.has(item)) texts.set(item, parts().filter(Boolean).join(" ").toLowerCase());
    return texts.get(item);
  };
  const panels = [...document.querySelectorAll("details.panel")];
  const term = explain(told.terms);
  let verdict = "all", limits = null, map = null, onlyTurned = false;
  /* Each filter with a value: whether a picture fits. */
  const filters = [
    [shot, (item, value) => item.shot === value],
    [prompt, (item, value) => String(item.prompt_id) === value],
    [edge, (item, value) => item.borderline === (value === "1")],
    [like, (item, value) => value === "none" ? !item.like : value === "repeat" ? Boolean(item.like) : Boolean(item.like) || liked.has(item.name)],
    [who, (item, value) => value === "disputed" ? item.disputed : value.startsWith("by ") ? item.people.includes(value.slice(3)) : (value === "hand") === Boolean(item.decided)],
    [by, (item, value) => item.rejected_by.includes(value === "-" ? "" : value)],
  ].filter(([field]) => field);
  const show = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = new Set(items.filter(item => (verdict === "all" || item.verdict === verdict) && filters.every(([field, rule]) => !field.value || rule(item, field.value))
      && (!onlyTurned || limits.turns(item)) && words.every(word => textOf(item).includes(word))));
    cards.show(inOrder.filter(place => shown.has(items[place])).map(place => pictures[place]));
    const count = shown.size;
    buttons.forEach(button => button.setAttribute("aria-pressed", button.dataset.show === verdict));
    if (map) map.mark(shown);
    document.getElementById("shown").textContent = count + (count === 1 ? " picture" : " pictures");
    document.getElementById("empty").hidden = count > 0;
  };
  let inOrder = [];
  const order = () => {
    const down = sort.value.startsWith("-"), key = sort.value.replace("-", "");
    const worth = item => { const value = key in item.scores ? item.scores[key] : item[key]; return value === null ? -1 : Number(value); };
    const worths = items.map(worth);
    inOrder = items.map((_, place) => place).sort((a, b) => ((worths[a] - worths[b]) * (down ? -1 : 1)) || a - b);
  };
  /* What is decided here: steps in this browser, by batch. */
  const shelf = `lifeos-decisions-${told.batch_id}`;
  const load = () => { try { return JSON.parse(localStorage.getItem(shelf)) || []; } catch { return []; } };
  let steps = load();
  const standing = () => {
    const found = new Map();
    for (const step of steps) for (const one of step) if (one.verdict === "withdrawn") found.delete(one.name); else found.set(one.name, one);
    return found;
  };
  let said = standing();
  const save = fresh => {
    steps = fresh;
    said = standing();
    try { localStorage.setItem(shelf, JSON.stringify(steps)); } catch { viewer.toast("this browser keeps nothing: export before you close the page", true); }
  };
  const store = {
    own: item => said.get(item.name) || null,
    decide: async wishes => {
      for (const wish of wishes) {
        const item = items[placeOf.get(wish.name)];
        if (wish.verdict === "approved" && item.guards && !wish.reason.trim()) throw { what: item.name, why: `${item.guards} rejects it`, guards: [item.guards] };
      }
      save([...load(), wishes.map(wish => ({ ...wish, reason: wish.reason.trim(), when: new Date().toISOString() }))]);
    },
    undo: async () => { const last = steps[steps.length - 1]; if (!last) return []; save(steps.slice(0, -1)); return last.map(one => one.name); },
    undoable: () => steps.length,
  };
  const groups = (() => {
    const leader = new Map();
    for (const item of items) if (placeOf.has(item.like)) leader.set(item.name, item.like);
    const lead = name => { for (let hops = 0; leader.has(name) && hops < items.length; hops++) name = leader.get(name); return name; };
    const found = new Map();
    for (const [name] of leader) { const first = lead(name); found.set(first, [...(found.get(first) || [first]), name]); }
    return [...found.values()];
  })();
  const itemOf = picture => items[Number(picture.dataset.index) - 1];
  const viewer = new Viewer({
    store, gates: () => told.gates, blind: false, groups: () => groups,
    source: { all: () => items, picture: item => item.url, reference: item => item.reference, hasSkin: true, skin: async item => item.skin_regions.map(outlineOf) },
    items: () => cards.listed.map(itemOf).filter(item => item.url),
    onMove: item => { if (state.now.get("view")) state.keep({ at: pictureOf(item).dataset.index, view: item.index }); else open(item, false); },
    onClose: () => { if (history.state && history.state.opened) history.back(); else { state.keep({ at: pictureOf(viewer.item).dataset.index }); state.recall(); } },
    onChange: () => mark(),
  });
  const pictureOf = item => pictures[placeOf.get(item.name)];
  viewer.current = () => { const picture = document.activeElement.closest && document.activeElement.closest(".pic"); return picture && itemOf(picture); };
  const open = (item, draw = true) => {
    const at = pictureOf(item).dataset.index;
    state.keep({ at });
    state.keep({ at, view: item.index }, true);
    if (draw) viewer.open(item);
  };
  const marks = new Map();
  const badge = picture => {
    const own = store.own(itemOf(picture)), before = marks.get(picture), head = picture.querySelector(".head");
    if (before) { before.remove(); marks.delete(picture); }
    if (!own || !head) return;
    marks.set(picture, h("span", { class: `badge own ${own.verdict}` }, `you: ${own.verdict}`));
    head.prepend(marks.get(picture));
  };
  const mark = () => {
    for (const picture of new Set([...marks.keys(), ...[...said.keys()].filter(name => placeOf.has(name)).map(name => pictures[placeOf.get(name)])])) badge(picture);
    const button = document.getElementById("export");
    button.hidden = !said.size;
    button.textContent = `Export ${said.size} ${said.size === 1 ? "decision" : "decisions"}`;
  };
  const exportAll = () => {
    const field = h("input", { id: "reviewer", maxlength: "60", value: "", placeholder: "owner", autocomplete: "name" });
    const send = () => {
      const decisions = items.filter(item => said.has(item.name)).map(item => {
        const one = said.get(item.name);
        return { picture: { name: item.name, sha256: item.sha256 }, verdict: one.verdict, when: one.when, reason: one.reason };
      });
      const document_ = { schema: 1, kind: "lifeos decisions", batch_id: told.batch_id, run_id: told.run_id, protocol_id: told.protocol_id, reviewer: field.value.trim(), decisions };
      const address = URL.createObjectURL(new Blob([JSON.stringify(document_, null, 1)], { type: "application/json" }));
      const name = `decisions_${told.run_id.replace(/[^\w.-]+/g, "_")}.json`;
      h("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60000);
      viewer.closeSheet();
      viewer.toast(`written: ${name}. Take it in with: review OUT --apply ${name}`);
    };
    field.addEventListener("keydown", event => { if (event.key === "Enter") send(); });
    viewer.openSheet("Export decisions", [
      h("p", {}, "A file with your verdicts, for python -m lifeos review OUT --apply FILE. They stay in this browser as well."),
      h("p", {}, h("label", { for: "reviewer" }, "Your name "), field),
      h("div", { class: "row" }, h("button", { type: "button", onclick: () => viewer.closeSheet() }, "Cancel"), h("button", { type: "button", class: "yes", onclick: send }, "Write the file")),
    ]);
    field.focus();
  };
  document.getElementById("export").addEventListener("click", exportAll);
  document.getElementById("keys").addEventListener("click", () => viewer.help());
  addEventListener("storage", event => { if (event.key === shelf) { steps = load(); said = standing(); mark(); } });

  const state = new PageState({
    fields, panels,
    told: () => ({
      show: verdict === "all" ? "" : verdict,
      ...(limits ? Object.fromEntries([...limits.moved].map(([name, limit]) => [`limit.${name}`, Number(limit.toFixed(4))])) : {}),
      turned: onlyTurned ? "1" : "",
    }),
    taken: chosen => {
      verdict = buttons.some(button => button.dataset.show === chosen.get("show")) ? chosen.get("show") : "all";
      if (limits) {
        limits.set(Object.fromEntries([...chosen].filter(([name]) => name.startsWith("limit.")).map(([name, value]) => [name.slice(6), value])));
        onlyTurned = chosen.has("turned");
        limits.only.setAttribute("aria-pressed", onlyTurned);
        limits.draw();
      }
      order();
      show();
      const viewed = items.find(item => String(item.index) === chosen.get("view"));
      if (viewed) { viewer.open(viewed); return; }
      if (viewer.isOpen) viewer.hide();
      const picture = pictures.find(picture => picture.dataset.index === chosen.get("at"));
      if (!picture || !picture.isConnected) return;
      history.scrollRestoration = "manual";
      const frame = picture.firstElementChild, reach = () => picture.scrollIntoView({ block: "center" });
      reach();
      requestAnimationFrame(reach); /* the pictures above it have their heights now */
      frame.focus({ preventScroll: true });
    },
  });
  const change = () => { show(); state.keep(); };
  const choose = button => { verdict = button.dataset.show; change(); };
  buttons.forEach(button => button.addEventListener("click", () => choose(button)));
  fields.forEach(field => field.addEventListener(field === find ? "input" : "change", () => { if (field === sort) order(); change(); }));
  grid.addEventListener("click", event => {
    const picture = event.target.closest(".pic");
    const frame = picture && event.target.closest("a.frame[href]");
    if (!frame) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey) { state.keep({ at: picture.dataset.index }); return; }
    event.preventDefault();
    open(itemOf(picture));
  });
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
    if (event.defaultPrevented || viewer.isOpen || !viewer.sheet.hidden) return;
    if (event.key === "/") { event.preventDefault(); find.focus(); return; }
    const button = buttons["1234".indexOf(event.key)];
    if (button) { choose(button); return; }
    const step = { ArrowRight: 1, ArrowLeft: -1, j: 1, k: -1 }[event.key];
    if (!step) return;
    const links = cards.listed.map(picture => picture.firstElementChild);
    const next = links[Math.max(0, Math.min(links.length - 1, links.indexOf(document.activeElement) + step))];
    if (next) { event.preventDefault(); next.focus(); next.scrollIntoView({ block: "nearest" }); }
  });
  if (document.getElementById("gauges")) {
    limits = new Limits(told, term, () => { if (onlyTurned) show(); state.keep(); });
    limits.only.addEventListener("click", () => { onlyTurned = !onlyTurned; limits.only.setAttribute("aria-pressed", onlyTurned); limits.draw(); change(); });
    map = new PoseMap(items, item => open(item));
  }
  const cards = new CardBlocks(grid, pictures, picture => cardBody(itemOf(picture), told.gates, name => placeOf.get(name)), badge);
  mark();
  state.recall();
})();
