"use strict";
// The page is complete without this file. It adds: names and values under the pointer, curves on and off, copying.

const root = document.documentElement;
root.classList.add("js");
const series = [...document.querySelectorAll(".series")];
const tip = document.body.appendChild(document.createElement("div"));
tip.className = "tip";
tip.hidden = true;

function focus(arm) {
  root.classList.toggle("focused", arm !== null);
  for (const one of series) one.classList.toggle("focus", one.dataset.arm === arm);
}

function show(event, name, text) {
  const bold = document.createElement("b");
  bold.textContent = name;
  tip.replaceChildren(bold, text);
  tip.hidden = false;
  const right = window.innerWidth - tip.offsetWidth - 8;
  tip.style.left = Math.max(8, Math.min(event.clientX + 14, right)) + "px";
  tip.style.top = Math.max(8, event.clientY - tip.offsetHeight - 12) + "px";
}

function nearest(chart, event) {
  const matrix = chart.getScreenCTM().inverse();
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
  let best = null;
  for (const one of chart.querySelectorAll(".series:not(.off)")) {
    one.points ??= JSON.parse(one.dataset.places);
    one.points.forEach(([x, y], index) => {
      const distance = Math.hypot(x - at.x, y - at.y);
      if (distance < (best ? best.distance : 28)) best = { one, index, distance };
    });
  }
  return best;
}

for (const chart of document.querySelectorAll(".chart")) {
  const point = (event) => {
    const best = nearest(chart, event);
    focus(best ? best.one.dataset.arm : null);
    if (best) show(event, best.one.dataset.arm, JSON.parse(best.one.dataset.tips)[best.index]);
    else tip.hidden = true;
  };
  chart.addEventListener("pointermove", point);
  chart.addEventListener("pointerdown", point);
  chart.addEventListener("pointerleave", () => { focus(null); tip.hidden = true; });
}

for (const item of document.querySelectorAll(".legend li")) {
  const arm = item.dataset.arm;
  item.addEventListener("pointerenter", () => focus(arm));
  item.addEventListener("pointerleave", () => focus(null));
  item.querySelector("input").addEventListener("change", (event) => {
    for (const one of series) if (one.dataset.arm === arm) one.classList.toggle("off", !event.target.checked);
  });
}

function copy(code) {
  getSelection().selectAllChildren(code);
  return navigator.clipboard ? navigator.clipboard.writeText(code.textContent) : Promise.resolve(document.execCommand("copy"));
}

for (const place of document.querySelectorAll(".command")) {
  const button = place.appendChild(document.createElement("button"));
  button.type = "button";
  button.textContent = "copy";
}
document.addEventListener("click", (event) => {
  const button = event.target.closest(".command button");
  if (!button) return;
  copy(button.parentNode.querySelector("code")).then(
    () => { button.textContent = "copied"; },
    () => { button.textContent = "selected"; },
  );
  setTimeout(() => { button.textContent = "copy"; }, 1500);
});
