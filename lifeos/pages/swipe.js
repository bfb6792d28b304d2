"use strict";
/* Two pictures in one frame: left of a divider the first, right of it the second. The divider is dragged, moved with the arrow keys, and by touch.

   divide(sight, { address, names: [of the first, of the second], at, moved }): `sight` is that of the first picture, as the Viewer draws it;
   `at`: where the divider stands, in percent from the left; moved(at) is called when it is moved. */

const divide = (sight, { address, names, at, moved }) => {
  const mat = sight.querySelector(".mat");
  if (!mat) return;
  const second = h("img", { src: address, alt: names[1], class: "second", draggable: "false" });
  const divider = h("div", { class: "divider", role: "slider", tabindex: "0", "aria-label": `Divider between ${names[0]} and ${names[1]}`, "aria-valuemin": "0", "aria-valuemax": "100" });
  const place = share => {
    at = Math.max(0, Math.min(100, share));
    mat.style.setProperty("--at", `${at}%`);
    divider.setAttribute("aria-valuenow", Math.round(at));
    divider.setAttribute("aria-valuetext", `${Math.round(at)} % ${names[0]}, ${Math.round(100 - at)} % ${names[1]}`);
    moved(at);
  };
  const follow = event => { const box = mat.getBoundingClientRect(); place(100 * (event.clientX - box.left) / box.width); };
  let held = null;
  const hold = event => {
    if (event.button > 0 || (event.currentTarget === mat && sight.classList.contains("zoomed"))) return; /* zoomed: the picture is moved, not the divider */
    held = event.pointerId;
    mat.setPointerCapture(held);
    event.preventDefault(); event.stopPropagation();
    divider.focus({ preventScroll: true });
    follow(event);
  };
  mat.addEventListener("pointerdown", hold);
  divider.addEventListener("pointerdown", hold);
  mat.addEventListener("pointermove", event => { if (held === event.pointerId) { event.stopPropagation(); follow(event); } });
  for (const end of ["pointerup", "pointercancel"]) mat.addEventListener(end, event => { if (held === event.pointerId) { held = null; event.stopPropagation(); } });
  divider.addEventListener("keydown", event => {
    const by = { ArrowLeft: -2, ArrowRight: 2, PageDown: -10, PageUp: 10 }[event.key] * (event.shiftKey ? 5 : 1);
    const to = event.key === "Home" ? 0 : event.key === "End" ? 100 : at + by;
    if (Number.isNaN(to)) return;
    event.preventDefault(); event.stopPropagation();
    place(to);
  });
  sight.classList.add("divided");
  mat.append(second, h("span", { class: "of-first", "aria-hidden": "true" }, names[0]), h("span", { class: "of-second", "aria-hidden": "true" }, names[1]), divider);
  place(at);
};
