"use strict";
/* A sweep: the curve and the heat map of the measure that is chosen, the pictures of what is chosen in them, and the large view beside the chosen one's. */
(() => {
  const told = JSON.parse(document.getElementById("told").textContent), items = told.pictures;
  const at = id => document.getElementById(id), grid = at("grid"), cards = [...grid.children];
  const cell = at("cell"), prompt = at("prompt"), verdict = at("verdict"), trait = at("trait");
  const configsOf = key => (told.groups.find(group => group.key === key) || { configs: [] }).configs;
  const title = item => `${item.config}, prompt ${item.prompt}, seed ${item.seed}`;

  const fits = item => (!cell.value || configsOf(cell.value).includes(item.config)) && (!prompt.value || String(item.prompt) === prompt.value)
    && (!verdict.value || (verdict.value === "approved") === item.approved);
  const draw = () => {
    let count = 0;
    cards.forEach((card, place) => { card.hidden = !fits(items[place]); count += !card.hidden; });
    at("shown").textContent = counted(count);
    at("empty").hidden = count > 0;
  };
  const showPictures = key => {
    if (![...cell.options].some(option => option.value === key)) return;
    cell.value = key; draw(); state.keep(); at("pictures").scrollIntoView({ block: "start" });
  };

  /* The charts. A measure of a point that is not judged has a mean without an interval, and says why. */
  const chosenTrait = () => trait ? trait.value : "";
  const named = () => told.curve.traits.find(each => each.key === chosenTrait()).title;
  const valueOf = point => point.values[chosenTrait()] || { mean: null, low: null, high: null };
  const noteOf = point => point.unjudged || counted(point.pictures);
  const drawCurve = () => {
    const strengths = [...new Set(told.curve.points.map(point => point.strength))].sort((a, b) => a - b);
    new LineChart(at("curve"), {
      title: `${named()} by training step`, x: { title: "step", kind: "number" }, y: { title: named().toLowerCase() },
      series: strengths.map(strength => ({
        name: `strength ${strength.toFixed(2)}`,
        points: told.curve.points.filter(point => point.strength === strength).map(point => {
          const value = valueOf(point);
          return { x: point.step, y: value.mean, low: value.low, high: value.high, note: noteOf(point), config: point.config };
        }),
      })),
      choose: point => showPictures(point.config),
    });
  };
  const heatCells = () => told.heat.cells || told.heat.configs.map(row => row.map(([config]) => {
    const point = told.curve.points.find(each => each.config === config);
    if (!point) return null;
    const value = valueOf(point);
    return { value: value.mean, low: value.low, high: value.high, note: noteOf(point), mark: config === told.chosen ? "chosen" : null };
  }));
  const keyOf = (row, column) => { const inside = told.heat.configs[row][column]; return inside.length === 1 ? inside[0] : `${row},${column}`; };
  const drawCharts = () => {
    if (told.curve) drawCurve();
    if (told.heat) new HeatMap(at("heat"), {
      title: told.curve ? `${named()} of each checkpoint at each strength` : "Mean score; the cell of the chosen configuration is marked",
      rows: told.heat.rows, columns: told.heat.columns, cells: heatCells(), choose: (_, row, column) => showPictures(keyOf(row, column)),
    });
  };

  const viewer = new Viewer({
    source: { all: () => items, picture: item => item.url, reference: item => item.beside ? items[item.beside - 1].url : "", hasSkin: false },
    gates: () => [], items: () => items.filter((item, place) => !cards[place].hidden && item.url),
    names: item => [item.config, item.beside ? told.chosen : ""],
    onMove: item => state.keep({ view: item.index }),
    onClose: () => { if (history.state && history.state.opened) history.back(); else { state.keep(); state.recall(); } }, onChange: () => {},
    tell: item => [
      h("p", {}, item.text), h("p", { class: "soft" }, title(item)),
      h("p", { class: "soft" }, Object.entries(item.scores).map(([name, value]) => `${name === "memorised" ? "copying" : name} ${score(value)}`).join(" · ")),
    ],
  });
  viewer.current = () => { const card = document.activeElement.closest && document.activeElement.closest(".pic"); return card && items[cards.indexOf(card)]; };
  for (const item of items) item.name = title(item);

  const state = new PageState({
    fields: [cell, prompt, verdict, ...(trait ? [trait] : [])], panels: [...document.querySelectorAll("details.panel")], places: ["view"],
    taken: now => {
      draw(); drawCharts();
      const item = items[Number(now.get("view")) - 1];
      if (item && item.url) { if (viewer.item !== item || !viewer.isOpen) viewer.open(item); return; }
      const last = viewer.isOpen ? viewer.item : null;
      viewer.hide();
      const card = last && cards[items.indexOf(last)];
      if (card && !card.hidden) { card.scrollIntoView({ block: "nearest" }); card.querySelector("a").focus({ preventScroll: true }); }
    },
  });
  for (const field of [cell, prompt, verdict]) field.addEventListener("change", () => { draw(); state.keep(); });
  if (trait) trait.addEventListener("change", () => { drawCharts(); state.keep(); });
  grid.addEventListener("click", event => {
    const frame = event.target.closest("a.frame");
    if (!frame || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const item = items[cards.indexOf(frame.closest(".pic"))];
    if (!item.url) return;
    event.preventDefault(); state.keepHere(); state.keep({ view: item.index }, true); viewer.open(item);
  });
  state.recall();
})();
