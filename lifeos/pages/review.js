"use strict";
/* The page of a review: every picture, and what the reviewer says. A decision is shown only after the server has it on the disk. */
(() => {
  const at = id => document.getElementById(id);
  const grid = at("grid"), find = at("find"), shot = at("shot");
  let batch = null, items = [], filter = "all", version = -1, cards = new Map();

  let lost = false; /* the server did not answer when it was asked last */
  const ask = async (path, body) => {
    let reply;
    try {
      reply = await fetch(path, body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    } catch { lost = true; throw { what: "not saved", why: "the server of this review does not answer", fix: "start tools/review.py again; this page goes on by itself" }; }
    if (reply.headers.get("Content-Type") === "application/json") {
      const told = await reply.json();
      if (reply.ok) return told;
      throw told.error;
    }
    throw { what: "not saved", why: (await reply.text()).trim() };
  };

  const store = {
    own: item => item.own,
    decide: async wishes => take((await ask("/api/decide", wishes.map(({ name, verdict, reason }) => ({ name, verdict, reason })))).batch),
    undo: async () => { const told = await ask("/api/undo", {}); take(told.batch); return told.names; },
    undoable: () => batch.undo,
  };
  const source = {
    all: () => items,
    thumb: item => `/thumb/${item.url}?${item.sha256.slice(0, 12)}`,
    picture: item => `/picture/${item.url}?${item.sha256.slice(0, 12)}`,
    reference: item => item.reference ? `/reference/${item.reference}` : "",
    hasSkin: true,
    skin: async item => (await ask(`/skin/${item.url}`)).ellipses.map(outlineOf),
  };

  const FILTERS = [
    ["all", "All", () => true], ["undecided", "Undecided", item => !item.own], ["decided", "Decided", item => item.own],
    ["borderline", "Borderline", item => item.borderline], ["approved", "Approved", item => item.verdict === "approved"],
    ["rejected", "Rejected", item => item.verdict === "rejected"], ["alike", "Duplicates", item => batch.groups.some(names => names.includes(item.name))],
  ];
  const filters = () => FILTERS.filter(([name]) => batch && (!batch.blind || ["all", "undecided", "decided"].includes(name)));
  const fits = item => {
    const rule = filters().find(([name]) => name === filter);
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = [item.name, item.prompt, item.seed, item.config, item.source, ...(item.reasons || []), item.own && item.own.reason].join(" ").toLowerCase();
    return (!rule || rule[2](item)) && (!shot.value || item.shot === shot.value) && words.every(word => text.includes(word));
  };
  /* Within the large view the list stays as it was when it was opened: what is decided does not vanish under one's hands. */
  let frozen = null;
  const listed = () => frozen ? frozen.map(name => items.find(item => item.name === name)).filter(Boolean) : items.filter(fits);

  const viewer = new Viewer({
    store, source, items: listed, gates: () => batch.gates, blind: false, groups: () => batch.groups,
    onMove: item => go(item), onClose: () => leave(), onChange: () => { if (!viewer.isOpen) draw(); },
  });
  viewer.current = () => { const card = document.activeElement.closest && document.activeElement.closest(".card"); return card ? items.find(item => item.name === card.dataset.name) : null; };

  const take = fresh => {
    if (!fresh.whole) { // after a decision; what others did meanwhile comes with the next question
      const changed = new Map(fresh.items.map(item => [item.name, item]));
      items = items.map(item => changed.get(item.name) || item);
      batch = { ...fresh, items, groups: batch.groups };
      return;
    }
    batch = fresh; items = fresh.items; version = fresh.version; viewer.blind = fresh.blind;
    const order = new Map(place.map((name, number) => [name, number])); // what was shown keeps its place; what is new comes behind
    if (place.length) items.sort((a, b) => (order.get(a.name) ?? Infinity) - (order.get(b.name) ?? Infinity) || 0);
    place = items.map(item => item.name);
  };
  let place = [];

  const draw = () => {
    const decided = items.filter(item => item.own).length, total = items.length;
    document.title = `Review of ${batch.run_id}`;
    at("kicker").textContent = ["Review", `by ${person(batch.reviewer)}`, batch.blind ? "blind" : "", batch.sample ? `sample of ${batch.sample}` : ""].filter(Boolean).join(" · ");
    at("title").textContent = batch.run_id;
    at("progress").textContent = `${decided} of ${total} pictures decided${decided === total && total ? ". All done." : "."}`;
    at("bar").style.width = `${total ? 100 * decided / total : 0}%`;
    say("status", batch.status || (batch.running ? "The batch is at work: new pictures appear as they are scored." : ""));
    say("notice", batch.notice ? `Demo pictures. ${batch.notice}` : "");
    at("undo").disabled = !batch.undo; at("start").disabled = decided === total;
    const wanted = filters().map(([name, word, rule]) => [name, word, items.filter(rule).length]).filter(([name, , count]) => count || name !== "alike");
    at("filters").replaceChildren(...wanted.map(([name, word, count]) =>
      h("button", { type: "button", "data-show": name, "aria-pressed": name === filter ? "true" : "false", onclick: () => choose(name) }, `${word} ${count}`)));
    const shots = [...new Set(items.map(item => item.shot))].sort();
    if (shot.options.length !== shots.length + 1) {
      const chosen = shot.value;
      shot.replaceChildren(h("option", { value: "" }, "every"), ...shots.map(each => h("option", { value: each }, each)));
      shot.value = chosen;
    }
    const focus = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.name : null;
    const shown = items.filter(fits);
    for (const [name, card] of cards) if (!items.some(item => item.name === name)) cards.delete(name);
    grid.replaceChildren(...shown.map(item => cardOf(item)));
    if (focus && !viewer.isOpen) { const card = cards.get(focus); if (card && card.isConnected) card.firstElementChild.focus({ preventScroll: true }); }
    at("shown").textContent = `${shown.length} ${shown.length === 1 ? "picture" : "pictures"}`;
    at("empty").hidden = shown.length > 0 || !total && batch.running;
  };
  const say = (id, text) => { at(id).textContent = text; at(id).hidden = !text; };

  const cardOf = item => {
    let entry = cards.get(item.name);
    if (!entry) {
      const image = h("img", { src: source.thumb(item), loading: "lazy", decoding: "async", alt: "" });
      entry = h("li", {}, h("button", { type: "button", class: "card pic", "data-name": item.name, onclick: () => open(item.name) }, h("span", { class: "frame" }, image), h("span", { class: "body" })));
      cards.set(item.name, entry);
    }
    const card = entry.firstElementChild, own = item.own;
    card.className = `card pic ${own ? `mine-${own.verdict}` : ""}`;
    const tags = [h("span", { class: "badge" }, `#${item.index}`)];
    if (own) tags.push(h("span", { class: `badge own ${own.verdict}` }, `you: ${own.verdict}`));
    if (!batch.blind) {
      if (!own || own.verdict !== item.gates_verdict) tags.push(h("span", { class: `badge ${item.gates_verdict}` }, `gates: ${item.gates_verdict}`));
      for (const other of item.others) tags.push(h("span", { class: `badge ${other.verdict}` }, `${person(other.by)}: ${other.verdict}`));
      if (item.borderline) tags.push(h("span", { class: "badge warn" }, "borderline"));
      if (item.guards) tags.push(h("span", { class: "badge warn" }, item.guards));
    }
    const words = batch.blind ? "" : item.reasons.join("; ");
    card.lastElementChild.replaceChildren(h("span", { class: "head" }, tags), words ? h("span", { class: "why" }, words) : "", h("span", { class: "more" }, own && own.reason ? own.reason : item.prompt ? item.prompt.slice(0, 80) : item.source || ""));
    card.setAttribute("aria-label", [`Picture ${item.index}`, item.shot, own ? `you: ${own.verdict}` : "undecided", batch.blind ? "" : `gates: ${item.gates_verdict}`].filter(Boolean).join(", "));
    return entry;
  };

  /* What is shown stands behind the # of the address: Back, a reload and a copied address show the same. */
  const keep = (name, push) => {
    const state = new URLSearchParams();
    if (filter !== "all") state.set("show", filter);
    if (shot.value) state.set("shot", shot.value);
    if (find.value) state.set("find", find.value);
    if (name) state.set("view", name);
    const hash = `#${state}`;
    if (hash === (location.hash || "#")) return;
    if (push) history.pushState({ opened: true }, "", hash); else history.replaceState(history.state, "", hash);
  };
  const open = name => { frozen = items.filter(fits).map(item => item.name); keep(name, true); show(name); };
  const show = name => { const item = items.find(each => each.name === name); if (item) viewer.open(item); return Boolean(item); };
  const go = item => { if (!frozen) { frozen = items.map(each => each.name); keep(item.name, true); } else keep(item.name, false); };
  const leave = () => { if (history.state && history.state.opened) history.back(); else { keep("", false); recall(); } };
  const recall = () => {
    const state = new URLSearchParams(location.hash.slice(1));
    filter = filters().some(([name]) => name === state.get("show")) ? state.get("show") : "all";
    shot.value = state.get("shot") || ""; if (shot.selectedIndex === -1) shot.value = "";
    find.value = state.get("find") || "";
    const name = state.get("view");
    if (name && !frozen) { frozen = items.filter(fits).map(item => item.name); if (!frozen.includes(name)) frozen = items.map(item => item.name); }
    if (name && show(name)) return;
    const last = viewer.isOpen ? viewer.item.name : null;
    frozen = null; viewer.hide(); draw();
    const card = last && cards.get(last);
    if (card && card.isConnected) { card.scrollIntoView({ block: "center" }); card.firstElementChild.focus({ preventScroll: true }); }
  };
  const choose = name => { filter = name; keep("", false); draw(); };

  find.addEventListener("input", () => { keep("", false); draw(); });
  shot.addEventListener("change", () => { keep("", false); draw(); });
  at("start").addEventListener("click", () => viewer.nextUndecided());
  at("undo").addEventListener("click", () => viewer.undo());
  at("help").addEventListener("click", () => viewer.help());
  addEventListener("popstate", recall);
  addEventListener("hashchange", recall);
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || viewer.isOpen || !viewer.sheet.hidden) return;
    if (event.target.matches("input, select, textarea")) { if (event.key === "Escape") event.target.blur(); return; }
    if (event.key === "/") { event.preventDefault(); find.focus(); return; }
    const buttons = [...at("filters").children], button = buttons["1234567".indexOf(event.key)];
    if (button && event.key) { choose(button.dataset.show); return; }
    const step = { ArrowRight: 1, ArrowLeft: -1, j: 1, k: -1 }[event.key];
    if (!step) return;
    const all = [...grid.children].map(entry => entry.firstElementChild);
    const next = all[Math.max(0, Math.min(all.length - 1, all.indexOf(document.activeElement) + step))];
    if (next) { event.preventDefault(); next.focus(); next.scrollIntoView({ block: "nearest" }); }
  });

  const poll = async () => {
    try {
      const state = await ask("/api/state");
      const news = state.version !== version || state.status !== batch.status || state.running !== batch.running;
      if (news && !viewer.busy) { take(await ask("/api/batch")); if (viewer.isOpen) viewer.refresh(); else draw(); }
      if (lost) { lost = false; viewer.toast("the server is back"); draw(); }
    } catch (error) {
      lost = true;
      say("status", `${error.why}${error.fix ? ` (${error.fix})` : ""}`);
    }
    setTimeout(poll, document.hidden ? 10000 : 2500);
  };
  const begin = async () => {
    try { take(await ask("/api/batch")); } catch (error) { at("title").textContent = "Review"; say("status", `${error.why}${error.fix ? ` (${error.fix})` : ""}`); setTimeout(begin, 2500); return; }
    say("status", "");
    recall();
    draw();
    setTimeout(poll, 1500);
  };
  begin();
})();
