"use strict";
/* Charts of the cost report. */
(() => {
  const told = JSON.parse(document.getElementById("told").textContent), box = id => document.getElementById(id);
  const cents = value => `$${value.toFixed(2)}`, fine = value => value === null ? "–" : `$${value.toFixed(4)}`;
  const time = told.over_time;
  if (time.steps.length) new LineChart(box("over-time"), {
    title: `Cost by ${time.unit} (UTC)`, x: { title: time.unit, kind: "number", text: place => time.steps[Math.round(place)] || "" }, y: { title: "US dollars", low: 0, text: cents },
    series: time.series.map(one => ({ name: one.name, points: one.values.map((value, place) => ({ x: place, y: value })) })),
  });
  if (box("per-picture")) new LineChart(box("per-picture"), {
    title: "Cost of a picture, batch by batch", x: { title: "batch", kind: "category" }, y: { title: "US dollars", low: 0, text: fine }, joined: false,
    series: ["approved", "generated"].map(kind => ({ name: `per ${kind} picture`, points: told.per_picture.map(batch => ({ x: `${batch.number}. ${batch.name}`, y: batch[kind], note: batch.note })) })),
  });
  if (box("by-card")) new HeatMap(box("by-card"), {
    title: "Cost by activity and GPU", rows: { title: "activity", names: told.by_card.rows }, columns: { title: "GPU", names: told.by_card.columns }, cells: told.by_card.cells, low: 0, text: cents,
  });
})();
