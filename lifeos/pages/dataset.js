"use strict";
/* A training set: filters, pairs side by side, and the large view. */
(() => {
  const told = JSON.parse(document.getElementById("told").textContent), items = told.pictures;
  const at = id => document.getElementById(id), grid = at("grid"), cards = [...grid.children];
  const show = at("show"), finding = at("finding"), bucket = at("bucket"), find = at("find");
  const texts = items.map(item => `${item.name} ${item.caption || ""}`.toLowerCase());
  const levels = item => item.notes.map(note => note.severity);
  const SHOWN = {
    found: item => item.notes.length, clean: item => !item.notes.length, held: item => item.held_out, trained: item => !item.held_out,
    error: item => levels(item).includes("error"), warning: item => levels(item).includes("warning"), notice: item => levels(item).includes("notice"),
  };
  const fits = (item, place) => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    return (!show.value || SHOWN[show.value](item)) && (finding.value === "" || item.notes.some(note => note.number === Number(finding.value)))
      && (!bucket.value || (!item.held_out && (item.bucket || "none") === bucket.value)) && words.every(word => texts[place].includes(word));
  };
  const draw = () => {
    let count = 0;
    cards.forEach((card, place) => { card.hidden = !fits(items[place], place); count += !card.hidden; });
    at("shown").textContent = counted(count);
    at("empty").hidden = count > 0;
  };

  const partner = new Map(); /* of a picture: the one beside it in the large view */
  for (const pair of told.pairs) for (const [one, other] of [[pair.first, pair.second], [pair.second, pair.first]]) if (!partner.has(one)) partner.set(one, items[other - 1]);
  const viewer = new Viewer({
    source: { all: () => items, picture: item => item.url, reference: item => (partner.get(item.index) || {}).url || "", hasSkin: false },
    gates: () => [], items: () => items.filter((item, place) => !cards[place].hidden && item.url),
    names: item => [item.name, (partner.get(item.index) || {}).name || ""],
    onMove: item => state.keep({ view: item.index }),
    onClose: () => { if (history.state && history.state.opened) history.back(); else { state.keep(); state.recall(); } }, onChange: () => {},
    tell: item => [
      h("p", {}, item.caption === null ? h("em", {}, "no caption") : item.caption || "(empty)"),
      item.held_out ? h("p", {}, h("span", { class: "level held" }, "held out")) : "",
      h("ul", { class: "notes" }, item.notes.map(each =>
        h("li", {}, h("span", { class: `level ${each.severity}` }, each.title), ` ${each.text}`, each.fix ? h("i", {}, ` (${each.fix})`) : ""))),
      h("p", { class: "soft" }, [item.width ? `${item.width} × ${item.height}` : "", `${item.kilobytes} kB`, item.bucket ? `bucket ${item.bucket}` : ""].filter(Boolean).join(" · ")),
    ],
  });
  viewer.current = () => { const card = document.activeElement.closest && document.activeElement.closest(".pic"); return card && items[cards.indexOf(card)]; };
  const state = new PageState({
    fields: [show, finding, bucket, find], panels: [...document.querySelectorAll("details.panel")], places: ["view"],
    taken: now => {
      draw();
      const item = items[Number(now.get("view")) - 1], last = viewer.isOpen ? viewer.item : null;
      if (item && item.url) { if (viewer.item !== item || !viewer.isOpen) viewer.open(item); return; }
      viewer.hide();
      const card = last && cards[items.indexOf(last)];
      if (card && !card.hidden) { card.scrollIntoView({ block: "nearest" }); card.querySelector("a").focus({ preventScroll: true }); }
    },
  });
  const open = item => { state.keepHere(); state.keep({ view: item.index }, true); viewer.open(item); };
  const choose = (field, value) => { for (const each of [show, finding, bucket]) each.value = ""; find.value = ""; field.value = value; draw(); state.keep(); at("grid").scrollIntoView({ block: "start" }); };

  grid.addEventListener("click", event => {
    const frame = event.target.closest("a.frame");
    if (!frame || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const item = items[cards.indexOf(frame.closest(".pic"))];
    if (!item.url) return;
    event.preventDefault();
    viewer.compare = false;
    open(item);
  });
  document.querySelectorAll("[data-finding]").forEach(button => button.addEventListener("click", () => choose(finding, button.dataset.finding)));
  document.querySelectorAll("[data-bucket]").forEach(button => button.addEventListener("click", () => choose(bucket, button.dataset.bucket)));
  document.querySelectorAll("[data-pair]").forEach(button => {
    const pair = told.pairs[Number(button.dataset.pair)], both = [pair.first, pair.second];
    for (const index of both) {
      const image = cards[index - 1].querySelector("img");
      if (image) button.querySelector(".two").append(h("img", { src: image.getAttribute("src"), alt: items[index - 1].name, loading: "lazy" }));
    }
    button.addEventListener("click", () => {
      partner.set(pair.first, items[pair.second - 1]); partner.set(pair.second, items[pair.first - 1]);
      viewer.compare = true;
      open(items[pair.first - 1]);
    });
  });
  for (const field of [show, finding, bucket]) field.addEventListener("change", () => { draw(); state.keep(); });
  find.addEventListener("input", () => { draw(); state.keep(); });
  at("keys").addEventListener("click", () => viewer.help());
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || viewer.isOpen || !viewer.sheet.hidden) return;
    if (event.target.matches("input, select, textarea")) { if (event.key === "Escape") event.target.blur(); return; }
    if (event.key === "/") { event.preventDefault(); find.focus(); return; }
    const by = { ArrowRight: 1, ArrowLeft: -1, j: 1, k: -1 }[event.key];
    if (!by) return;
    const frames = cards.filter(card => !card.hidden).map(card => card.querySelector("a"));
    const next = frames[Math.max(0, Math.min(frames.length - 1, frames.indexOf(document.activeElement) + by))];
    if (next) { event.preventDefault(); next.focus(); next.scrollIntoView({ block: "nearest" }); }
  });
  state.recall();
})();
