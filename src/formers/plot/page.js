"use strict";
// The page is complete without this file. It adds: names and values under the pointer, arms on and off, copying.

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

// Every legend names the same arms, so an arm is on or off in all charts at once.
const items = [...document.querySelectorAll(".legend li")];
const box = (item) => item.querySelector("input");

function toggle(arm, on) {
  for (const item of items) if (arm === null || item.dataset.arm === arm) box(item).checked = on;
  for (const one of series) if (arm === null || one.dataset.arm === arm) one.classList.toggle("off", !on);
}

for (const item of items) {
  const arm = item.dataset.arm;
  item.addEventListener("pointerenter", () => focus(arm));
  item.addEventListener("pointerleave", () => focus(null));
  box(item).addEventListener("change", (event) => toggle(arm, event.target.checked));
}

for (const legend of document.querySelectorAll(".legend")) {
  const place = document.createElement("li");
  place.className = "all";
  for (const [word, on] of [["all", true], ["none", false]]) {
    const button = place.appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = word;
    button.addEventListener("click", () => toggle(null, on));
  }
  legend.append(place);
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
