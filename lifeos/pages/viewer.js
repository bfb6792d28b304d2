"use strict";
/* The large view of one picture, alone or beside another, and the keys to decide: for the page of a review, the report of a batch, and
   pages on which one only looks, which give no store.

   store: own(item) -> {verdict, reason} or null; decide([{name, verdict, reason}]) -> promise, refused with {why, fix, guards};
   undo() -> promise of names; undoable() -> count.
   source: thumb(item), picture(item), reference(item) -> addresses ("" for none); skin(item) -> promise of outlines, or null.
   Besides: names(item) -> what the picture and the one beside it are called; tell(item) -> what stands at the side;
   onLook(): the picture is looked at in another way now. */

const MOST_SIDE_BY_SIDE = 9; /* one for each key; the others of a larger group are left as they are */
const person = name => name === "owner" ? "the owner" : name;

const KEYS = [
  ["A", "approve, and go on to the next undecided picture"], ["X", "reject, and go on"], ["R", "give a reason for your verdict"],
  ["W", "take your verdict on this picture back"], ["U", "undo your last step; again for the one before"],
  ["N", "next undecided picture"], ["→ ←", "next and previous picture (J and K too)"], ["Enter", "open the picture in the large view"],
  ["Esc", "back to all pictures"], ["Z", "zoom to pixels; again for two screen pixels each, then the whole picture"],
  ["C", "compare with the nearest reference"], ["V", "both in one frame, with a divider to drag or to move with ← and →"], ["F", "face box"], ["S", "skin regions"],
  ["D", "pictures that are nearly the same, side by side"], ["1 – 9", "there: keep this one, reject the others"],
  ["/", "find"], ["1 – 7", "in the overview: which pictures are shown"], ["?", "these keys"],
];

const KEYS_TO_DECIDE = ["A", "X", "R", "W", "U", "N", "D", "1 – 9", "/", "1 – 7"];
const NOTHING_DECIDED = { own: () => null, undoable: () => 0 };

/* Points around an ellipse that is told by its middle and its two half axes. */
const outlineOf = ([x, y, ax, ay, bx, by]) => Array.from({ length: 24 }, (_, step) => {
  const [cosine, sine] = [Math.cos(step * Math.PI / 12), Math.sin(step * Math.PI / 12)];
  return [x + cosine * ax + sine * bx, y + cosine * ay + sine * by];
});

class Viewer {
  constructor({ store, source, items, gates, blind = false, groups = () => [], onMove, onClose, onChange, names = null, tell = null, onLook = () => {} }) {
    Object.assign(this, { source, items, gates, blind, groups, onMove, onClose, onChange, names, tell, onLook, decides: Boolean(store) });
    this.store = store || NOTHING_DECIDED;
    this.item = null; this.mode = "single"; this.zoom = 0; this.face = false; this.skin = false; this.compare = false; this.swipe = false; this.divider = 50; this.busy = false;
    this.build();
  }

  /* Parts of the page */
  build() {
    const button = (text, key, action, kind = "", more = {}) =>
      h("button", { type: "button", class: kind, title: `${text} (key ${key})`, "aria-keyshortcuts": key, onclick: action, ...more }, text, h("kbd", { "aria-hidden": "true" }, key));
    this.title = h("h2", { id: "viewer-title" });
    this.placeText = h("span", { class: "place" });
    this.stage = h("div", { class: "stage" });
    this.side = h("aside", { class: "side", "aria-label": "About this picture" });
    this.buttons = {
      reject: button("Reject", "X", () => this.say("rejected"), "nay"),
      approve: button("Approve", "A", () => this.say("approved"), "yes"),
      reason: button("Reason", "R", () => this.askReason()),
      undo: button("Undo", "U", () => this.undo()),
      next: button("Next undecided", "N", () => this.nextUndecided()),
      zoom: button("Zoom", "Z", () => this.toggle("zoom"), "", { "aria-pressed": "false" }),
      compare: button("Compare", "C", () => this.toggle("compare"), "", { "aria-pressed": "false" }),
      swipe: button("Swipe", "V", () => this.toggle("swipe"), "", { "aria-pressed": "false" }),
      face: button("Face", "F", () => this.toggle("face"), "", { "aria-pressed": "false" }),
      skin: button("Skin", "S", () => this.toggle("skin"), "", { "aria-pressed": "false" }),
      alike: button("Duplicates", "D", () => this.toggle("alike"), "", { "aria-pressed": "false" }),
    };
    const b = this.buttons;
    const deciding = [b.reject, b.approve, h("span", { class: "apart" }), b.reason, b.undo, b.next, h("span", { class: "apart" })];
    this.bar = h("div", { class: "deciding", role: "toolbar", "aria-label": this.decides ? "Decide" : "How it is shown" }, this.decides ? deciding : null, b.zoom, b.compare, b.swipe, b.face, b.skin, b.alike);
    const step = by => () => this.step(by);
    this.root = h("div", { class: "viewer", role: "dialog", "aria-modal": "true", "aria-labelledby": "viewer-title", hidden: true, tabindex: "-1" },
      h("div", { class: "top" },
        h("button", { type: "button", title: "All pictures (key Esc)", "aria-label": "All pictures", onclick: () => this.close() }, "✕"),
        this.title, this.placeText, h("span", { class: "push" }),
        h("button", { type: "button", title: "Previous picture (key ←)", "aria-label": "Previous picture", onclick: step(-1) }, "‹"),
        h("button", { type: "button", title: "Next picture (key →)", "aria-label": "Next picture", onclick: step(1) }, "›"),
        h("button", { type: "button", title: "Keys (key ?)", "aria-label": "Keys", onclick: () => this.help() }, "?")),
      this.stage, this.side, this.bar);
    this.sheet = h("div", { class: "sheet", hidden: true, role: "dialog", "aria-modal": "true" });
    this.toastBox = h("div", { class: "toast", hidden: true, role: "status" });
    document.body.append(this.root, this.sheet, this.toastBox);
    this.sheet.addEventListener("click", event => { if (event.target === this.sheet) this.closeSheet(); });
    document.addEventListener("keydown", event => this.key(event));
    addEventListener("resize", () => { if (this.isOpen) this.fit(); });
    let start = null;
    this.stage.addEventListener("pointerdown", event => {
      start = event.isPrimary && event.pointerType !== "mouse" && !this.zoom && this.mode === "single" && !event.target.closest(".divided .mat") ? [event.clientX, event.clientY] : null;
    });
    this.stage.addEventListener("pointerup", event => {
      if (!start) return;
      const [x, y] = [event.clientX - start[0], event.clientY - start[1]];
      start = null;
      if (Math.abs(x) > 60 && Math.abs(x) > 2 * Math.abs(y)) this.step(x < 0 ? 1 : -1);
    });
  }

  get isOpen() { return !this.root.hidden; }

  open(item, mode = "single") {
    if (!this.isOpen) this.before = document.activeElement;
    this.item = item; this.mode = mode; this.zoom = 0;
    this.root.hidden = false;
    document.body.classList.add("viewing");
    this.draw();
    if (!this.root.contains(document.activeElement)) this.root.focus({ preventScroll: true });
  }

  close() { if (this.isOpen) this.onClose(); }

  hide() {
    this.root.hidden = true;
    document.body.classList.remove("viewing");
    this.stage.replaceChildren();
  }

  group(item) { return this.groups().find(names => names.includes(item.name)) || null; }

  draw() {
    const item = this.item, group = this.group(item), onDivider = document.activeElement.classList.contains("divider");
    if (this.mode === "alike" && !group) this.mode = "single";
    const panes = this.mode === "alike" ? group.slice(0, MOST_SIDE_BY_SIDE).map((name, number) => this.pane(this.find(name), number + 1)) : [this.pane(item, 0)];
    const beside = this.mode === "single" && this.compare, both = this.source.picture(item) && this.source.reference(item);
    if (beside && both && this.swipe) divide(panes[0].querySelector(".sight"), { address: this.source.reference(item), names: this.calls(item), at: this.divider, moved: at => { this.divider = at; } });
    else if (beside) panes.push(this.referencePane(item));
    this.stage.replaceChildren(...panes);
    this.stage.classList.toggle("alike", this.mode === "alike");
    this.stage.style.setProperty("--columns", panes.length <= 4 ? panes.length : Math.ceil(panes.length / 2));
    this.drawRest(item, group);
    this.fit();
    if (onDivider) this.focusDivider();
    const list = this.items(), at = list.indexOf(item);
    for (const near of [list[at + 1], list[at - 1]]) if (near && this.source.picture(near)) new Image().src = this.source.picture(near);
  }

  focusDivider() { const divider = this.stage.querySelector(".divider"); if (divider) divider.focus({ preventScroll: true }); }

  /* Something is new: all but the pictures is drawn again, which stay as they are looked at. */
  refresh() {
    this.item = this.find(this.item.name) || this.item;
    this.drawRest(this.item, this.group(this.item));
  }

  drawRest(item, group) {
    const list = this.items(), left = list.filter(each => !this.store.own(each)).length;
    this.title.textContent = item.title || item.name;
    this.placeText.textContent = `${list.indexOf(item) + 1} of ${list.length}${this.decides ? ` · ${left} undecided` : ""}`;
    this.drawSide(item, group);
    const b = this.buttons, own = this.store.own(item);
    b.approve.setAttribute("aria-pressed", own && own.verdict === "approved" ? "true" : "false");
    b.reject.setAttribute("aria-pressed", own && own.verdict === "rejected" ? "true" : "false");
    b.undo.disabled = !this.store.undoable(); b.next.disabled = !left; b.alike.hidden = !group; b.face.hidden = !item.face;
    b.skin.hidden = !item.face || !this.source.hasSkin; b.compare.hidden = b.swipe.hidden = !this.source.reference(item);
    for (const [name, on] of [["zoom", this.zoom > 0], ["compare", this.compare], ["swipe", this.compare && this.swipe], ["face", this.face], ["skin", this.skin], ["alike", this.mode === "alike"]]) {
      b[name].setAttribute("aria-pressed", on ? "true" : "false");
    }
  }

  find(name) { return this.all().find(each => each.name === name); }

  all() { return this.source.all(); }

  pane(item, number) {
    const address = this.source.picture(item), own = this.store.own(item);
    const label = number
      ? h("div", { class: "label" }, h("span", {}, `#${item.index} `, own ? h("b", {}, own.verdict) : ""),
        h("button", { type: "button", class: "yes", "aria-label": `Keep picture ${item.index}, reject the others`, onclick: () => this.keep(number) }, "Keep ", h("kbd", { "aria-hidden": "true" }, String(number))))
      : this.compare && !this.swipe ? h("div", { class: "label" }, h("b", {}, this.calls(item)[0])) : null;
    const sight = this.sight(address, item, `${this.calls(item)[0]}${item.prompt ? `: ${item.prompt}` : ""}`);
    return h("div", { class: "pane" }, sight, label);
  }

  referencePane(item) {
    const name = this.calls(item)[1];
    return h("div", { class: "pane" }, this.sight(this.source.reference(item), null, name), h("div", { class: "label" }, h("b", {}, name)));
  }

  /* What the picture and the one beside it are called. */
  calls(item) { return this.names ? this.names(item) : [`Picture ${item.index}`, this.blind ? "Reference" : `Reference ${item.reference_name}`]; }

  sight(address, item, text) {
    const sight = h("div", { class: "sight", tabindex: "0", role: "group", "aria-label": text });
    const lost = () => sight.replaceChildren(h("p", { class: "missing" }, item || this.names ? "this picture is not there" : "the reference is not here"));
    if (!address) { lost(); return sight; }
    const mat = h("div", { class: "mat" });
    const image = h("img", { src: address, alt: text, draggable: "false", onerror: lost });
    image.addEventListener("load", () => { sight.size = [image.naturalWidth, image.naturalHeight]; this.fit(); });
    sight.size = item && item.width ? [item.width, item.height] : null;
    mat.append(image);
    sight.append(mat);
    if (item) this.drawMarks(mat, item);
    let held = null;
    sight.addEventListener("pointerdown", event => {
      if (event.pointerType !== "mouse" || !this.zoom) return;
      held = [event.clientX + sight.scrollLeft, event.clientY + sight.scrollTop];
      sight.setPointerCapture(event.pointerId); sight.classList.add("held");
    });
    sight.addEventListener("pointermove", event => { if (held) { sight.scrollLeft = held[0] - event.clientX; sight.scrollTop = held[1] - event.clientY; } });
    sight.addEventListener("pointerup", () => { held = null; sight.classList.remove("held"); });
    sight.addEventListener("dblclick", () => this.toggle("zoom"));
    this.listenForPinch(sight);
    sight.addEventListener("scroll", () => { /* what stands beside it shows the same place */
      for (const other of this.mode === "single" && this.zoom ? this.stage.querySelectorAll(".sight") : []) {
        const left = sight.scrollLeft / Math.max(1, sight.scrollWidth - sight.clientWidth) * (other.scrollWidth - other.clientWidth);
        const top = sight.scrollTop / Math.max(1, sight.scrollHeight - sight.clientHeight) * (other.scrollHeight - other.clientHeight);
        if (other !== sight && Math.abs(other.scrollLeft - left) + Math.abs(other.scrollTop - top) > 2) { other.scrollLeft = left; other.scrollTop = top; }
      }
    });
    return sight;
  }

  /* Two fingers make the picture larger or smaller; what lies between them stays there. One finger then moves it, as a browser scrolls. */
  listenForPinch(sight) {
    let start = null;
    const between = ([one, two]) => ({ spread: Math.hypot(one.clientX - two.clientX, one.clientY - two.clientY), x: (one.clientX + two.clientX) / 2, y: (one.clientY + two.clientY) / 2 });
    sight.addEventListener("touchstart", event => {
      start = event.touches.length === 2 && sight.size ? { spread: between(event.touches).spread, scale: sight.querySelector(".mat").offsetWidth / sight.size[0] } : null;
      if (start && event.cancelable) event.preventDefault();
    }, { passive: false });
    sight.addEventListener("touchmove", event => {
      if (!start || event.touches.length !== 2) return;
      if (event.cancelable) event.preventDefault();
      const { spread, x, y } = between(event.touches);
      this.zoomTo(sight, start.scale * spread / Math.max(1, start.spread), x, y);
    }, { passive: false });
    for (const end of ["touchend", "touchcancel"]) sight.addEventListener(end, () => { start = null; });
  }

  /* `scale`: screen points for each pixel of the picture; the place at x and y of the screen stays where it is. Never smaller than the whole picture. */
  zoomTo(sight, scale, x, y) {
    const mat = sight.querySelector(".mat"), before = mat.getBoundingClientRect(), whole = Math.min(sight.clientWidth / sight.size[0], sight.clientHeight / sight.size[1]);
    this.zoom = scale <= whole * 1.02 ? 0 : Math.min(scale, Math.max(4, 4 * whole)) * (devicePixelRatio || 1);
    for (const each of this.stage.querySelectorAll(".sight")) each.zoom = this.zoom;
    this.fit();
    const after = mat.getBoundingClientRect();
    sight.scrollLeft += after.left + (x - before.left) / before.width * after.width - x;
    sight.scrollTop += after.top + (y - before.top) / before.height * after.height - y;
    this.buttons.zoom.setAttribute("aria-pressed", this.zoom > 0 ? "true" : "false");
  }

  drawMarks(mat, item) {
    const box = h("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
    mat.append(box);
    if (this.face && item.face) {
      const [x, y, width, height] = item.face;
      box.append(h("rect", { x, y, width, height }));
    }
    if (this.skin && item.face && this.source.hasSkin) {
      this.source.skin(item).then(outlines => {
        for (const outline of outlines) box.append(h("polygon", { points: outline.map(point => point.join(",")).join(" ") }));
        if (!outlines.length) this.toast("no skin region is known for this face");
      }, () => this.toast("the skin regions could not be loaded", true));
    }
  }

  /* The picture as large as fits, or one picture pixel for each screen pixel, or for four. */
  fit() {
    const dense = devicePixelRatio || 1;
    for (const sight of this.stage.querySelectorAll(".sight")) {
      const mat = sight.querySelector(".mat");
      if (!mat || !sight.size) continue;
      const [width, height] = sight.size, room = [sight.clientWidth, sight.clientHeight];
      const scale = this.zoom ? this.zoom / dense : Math.min(room[0] / width, room[1] / height);
      mat.style.width = `${width * scale}px`; mat.style.height = `${height * scale}px`;
      sight.classList.toggle("zoomed", this.zoom > 0); sight.classList.toggle("pixels", this.zoom >= 2);
      if (this.zoom && sight.zoom !== this.zoom) {
        const [x, y] = this.item.face && this.mode === "single" ? [this.item.face[0] + this.item.face[2] / 2, this.item.face[1] + this.item.face[3] / 2] : [.5, .5];
        sight.scrollLeft = x * width * scale - room[0] / 2; sight.scrollTop = y * height * scale - room[1] / 2;
      }
      sight.zoom = this.zoom;
    }
  }

  drawSide(item, group) {
    if (this.tell) { this.side.replaceChildren(...this.tell(item)); return; }
    const own = this.store.own(item), parts = [];
    const tags = [];
    if (own) tags.push(h("span", { class: `badge own ${own.verdict}` }, `you: ${own.verdict}`));
    if (!this.blind) {
      tags.push(h("span", { class: `badge ${item.gates_verdict}` }, `gates: ${item.gates_verdict}`));
      for (const other of item.others || []) tags.push(h("span", { class: `badge ${other.verdict}` }, `${person(other.by)}: ${other.verdict}`));
      if (item.borderline) tags.push(h("span", { class: "badge warn" }, "borderline"));
      if (item.guards) tags.push(h("span", { class: "badge warn" }, `guard: ${item.guards}`));
      if (item.disputed) tags.push(h("span", { class: "badge warn" }, "reviewers disagree"));
    }
    if (group) tags.push(h("span", { class: "badge warn" }, `${group.length} nearly the same`));
    parts.push(h("div", { class: "tags" }, tags));
    if (own && own.reason) parts.push(h("p", {}, `Your reason: ${own.reason}`));
    for (const other of this.blind ? [] : item.others || []) if (other.reason) parts.push(h("p", { class: "soft" }, `${person(other.by)}: ${other.reason}`));
    if (!this.blind && item.scores) {
      const scores = h("div", { class: "scores" });
      for (const gate of this.gates()) {
        const value = item.scores[gate.name];
        scores.append(h("i", {}, gate.title), meterOf(gate, value), h("b", { title: `limit ${score(gate.limit)}` }, score(value)));
      }
      parts.push(scores);
      if (item.reasons.length) parts.push(h("ul", { class: "why" }, item.reasons.map(reason => h("li", {}, reason))));
    }
    const told = [item.shot, item.config, item.seed !== null && item.seed !== undefined ? `seed ${item.seed}` : "", item.width ? `${item.width} × ${item.height}` : ""];
    if (item.prompt) parts.push(h("p", { class: "soft" }, item.prompt));
    parts.push(h("p", { class: "soft" }, told.filter(Boolean).join(" · ")));
    if (item.source) parts.push(h("p", { class: "soft" }, item.source));
    this.side.replaceChildren(...parts);
  }

  /* Going on */
  step(by) {
    const list = this.items(), at = list.indexOf(this.item);
    const next = list[at < 0 ? 0 : Math.max(0, Math.min(list.length - 1, at + by))];
    if (next && next !== this.item) this.go(next);
    else this.toast(by > 0 ? "this is the last picture" : "this is the first picture");
  }

  go(item) { this.open(item); this.onMove(item); }

  nextUndecided(quiet) {
    if (!this.isOpen && this.item && !this.store.own(this.item)) { this.go(this.item); return true; }
    const list = this.items(), at = list.indexOf(this.item);
    const next = [...list.slice(at + 1), ...list.slice(0, Math.max(at, 0))].find(each => !this.store.own(each));
    if (next) this.go(next);
    else if (!quiet || !this.store.own(this.item)) this.toast("every picture shown here is decided");
    return Boolean(next);
  }

  /* Deciding */
  async say(verdict, reason = "", item = this.item) {
    if (!item) return;
    if (await this.decide([{ name: item.name, verdict, reason }]) && this.isOpen && this.mode === "single" && verdict !== "withdrawn") this.nextUndecided(true);
  }

  async decide(wishes) {
    if (this.busy) return false;
    this.busy = true;
    try {
      await this.store.decide(wishes);
      const [first] = wishes;
      this.toast(wishes.length > 1 ? `kept one, rejected ${wishes.length - 1}` : first.verdict === "withdrawn" ? "taken back" : first.verdict);
      this.changed();
      return true;
    } catch (error) {
      if (error.guards && error.guards.length) this.askReason(wishes, `${error.what}: ${error.why}. Approving it all the same needs a reason, which is kept and shown.`);
      else this.toast([error.what, error.why].filter(Boolean).join(": ") + (error.fix ? ` (${error.fix})` : ""), true);
      return false;
    } finally { this.busy = false; }
  }

  keep(number) {
    const names = (this.group(this.item) || []).slice(0, MOST_SIDE_BY_SIDE);
    if (number > names.length) return;
    const kept = names[number - 1];
    this.decide(names.map(name => ({ name, verdict: name === kept ? "approved" : "rejected", reason: name === kept ? "" : `nearly the same as ${kept}` })));
  }

  async undo() {
    if (this.busy) return;
    this.busy = true;
    try {
      const names = await this.store.undo();
      if (!names.length) this.toast("nothing is left to undo");
      else {
        const item = this.find(names[0]);
        this.changed();
        if (item && this.isOpen) this.go(item);
        this.toast(names.length > 1 ? `undone: ${names.length} pictures` : `undone: ${names[0]}`);
      }
    } catch (error) { this.toast([error.what, error.why].filter(Boolean).join(": "), true); } finally { this.busy = false; }
  }

  changed() {
    this.onChange();
    if (!this.isOpen) return;
    if (this.mode === "single") this.refresh();
    else { this.item = this.find(this.item.name) || this.item; this.draw(); }
  }

  askReason(wishes, text = "") {
    const item = this.item, own = item && this.store.own(item);
    if (!wishes && !item) return;
    const field = h("textarea", { id: "reason", maxlength: "500", placeholder: "six fingers; wrong tattoo; …" });
    field.value = wishes ? wishes[0].reason : own ? own.reason : "";
    const send = async verdict => {
      const reason = field.value.trim();
      if (text && !reason) { field.focus(); return; }
      this.closeSheet();
      if (wishes) { if (await this.decide(wishes.map(wish => ({ ...wish, reason: wish.verdict === "approved" ? reason : wish.reason }))) && this.isOpen && this.mode === "single") this.nextUndecided(true); }
      else await this.say(verdict, reason, item);
    };
    const choose = (verdict, kind, word) => h("button", { type: "button", class: kind, onclick: () => send(verdict) }, word);
    const usual = wishes ? "approved" : own ? own.verdict : "rejected";
    field.addEventListener("keydown", event => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); send(usual); } });
    this.openSheet(wishes ? "Why is it approved all the same?" : "Reason", [
      text ? h("p", {}, text) : null,
      h("label", { for: "reason", class: "hidden-text" }, "Reason"), field,
      h("div", { class: "row" }, h("button", { type: "button", onclick: () => this.closeSheet() }, "Cancel"),
        wishes ? null : choose("rejected", "nay", "Reject"), choose("approved", "yes", "Approve")),
    ]);
    field.focus();
  }

  help() {
    this.openSheet("Keys", [h("dl", {}, KEYS.filter(([key]) => (this.source.hasSkin || !"SF".includes(key) || (key === "F" && this.decides)) && (this.decides || !KEYS_TO_DECIDE.includes(key))).map(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)])),
      h("p", {}), h("p", {}, "By touch: tap a picture, swipe to the next one, spread two fingers to zoom and move it with one."),
      h("div", { class: "row" }, h("button", { type: "button", onclick: () => this.closeSheet() }, "Close"))]);
    this.sheet.querySelector("button").focus();
  }

  openSheet(title, content) {
    this.sheetBefore = document.activeElement;
    this.sheet.setAttribute("aria-label", title);
    this.sheet.replaceChildren(h("div", {}, h("h2", {}, title), content));
    this.sheet.hidden = false;
  }

  closeSheet() {
    this.sheet.hidden = true;
    this.sheet.replaceChildren();
    if (this.sheetBefore && this.sheetBefore.isConnected) this.sheetBefore.focus({ preventScroll: true });
  }

  toast(text, bad = false) {
    this.toastBox.textContent = text;
    this.toastBox.classList.toggle("bad", bad);
    this.toastBox.hidden = false;
    clearTimeout(this.toastEnd);
    this.toastEnd = setTimeout(() => { this.toastBox.hidden = true; }, bad ? 6000 : 1600);
  }

  toggle(what) {
    if (what === "zoom") this.zoom = this.zoom === 0 ? 1 : this.zoom === 1 ? 2 : 0;
    else if (what === "swipe") { this.swipe = !(this.compare && this.swipe); this.compare = true; }
    else if (what === "alike") this.mode = this.mode === "alike" || !this.group(this.item) ? "single" : "alike";
    else this[what] = !this[what];
    if (what === "zoom") { this.buttons.zoom.setAttribute("aria-pressed", this.zoom > 0 ? "true" : "false"); this.fit(); this.toast(["whole picture", "one screen pixel for each pixel", "two screen pixels for each pixel"][this.zoom]); }
    else this.draw();
    if (what === "swipe" && this.swipe) this.focusDivider();
    this.onLook();
  }

  /* Keys. `current` tells the picture that keys mean while the large view is closed. */
  key(event) {
    if (!this.sheet.hidden) {
      if (event.key === "Escape") { event.preventDefault(); this.closeSheet(); }
      else if (event.key === "Tab") this.keepFocus(event, this.sheet);
      return;
    }
    if (event.altKey || event.target.matches("input, select, textarea")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if ((event.ctrlKey || event.metaKey) && key === "z") { event.preventDefault(); this.undo(); return; }
    if (event.ctrlKey || event.metaKey) return;
    if (key === "?") { event.preventDefault(); this.help(); return; }
    if (!this.isOpen) this.item = this.current ? this.current() : null;
    const decide = !this.decides ? {} : { a: () => this.say("approved"), x: () => this.say("rejected"), w: () => this.say("withdrawn"), r: () => this.askReason() };
    const anywhere = !this.decides ? {} : { u: () => this.undo(), n: () => this.nextUndecided() };
    const inside = {
      ArrowRight: () => this.step(1), ArrowLeft: () => this.step(-1), j: () => this.step(1), k: () => this.step(-1), Escape: () => this.close(),
      z: () => this.toggle("zoom"), c: () => this.source.reference(this.item) && this.toggle("compare"), v: () => this.source.reference(this.item) && this.toggle("swipe"), f: () => this.toggle("face"),
      s: () => this.source.hasSkin && this.toggle("skin"), d: () => this.group(this.item) ? this.toggle("alike") : this.toast("no other picture is nearly the same"),
    };
    let action = anywhere[key] || (this.item ? decide[key] : null) || (this.isOpen ? inside[key] : null);
    if (this.isOpen && this.mode === "alike" && /^[1-9]$/.test(key)) action = () => this.keep(Number(key));
    if (!this.isOpen && key === "d" && this.item && this.group(this.item)) action = () => { this.go(this.item); this.toggle("alike"); };
    if (this.isOpen && key === "Tab") { this.keepFocus(event, this.root); return; }
    if (this.isOpen && this.zoom && key.startsWith("Arrow") && document.activeElement.classList.contains("sight")) return; // scrolls
    if (!action) return;
    event.preventDefault();
    action();
  }

  keepFocus(event, inside) {
    const stops = [...inside.querySelectorAll("button, textarea, a[href], [tabindex='0']")].filter(each => !each.disabled && each.offsetParent !== null);
    const [first, last] = [stops[0], stops[stops.length - 1]];
    if (event.shiftKey && (document.activeElement === first || document.activeElement === inside)) { event.preventDefault(); last.focus(); }
    else if (!event.shiftKey && document.activeElement === last) { event.preventDefault(); first.focus(); }
  }
}
