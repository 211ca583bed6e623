"use strict";
// The page is complete without this file. It adds: names and values under the pointer, arms on and off, one chart of
// several at a time, tables that sort, filters for many arms, charts as files, copying.

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
  for (const one of chart.querySelectorAll(".series:not(.off, .out)")) {
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

// One chart of several at a time, chosen by its horizontal axis.
for (const [number, group] of [...document.querySelectorAll(".choose")].entries()) {
  const figures = [...group.querySelectorAll("figure")];
  if (figures.length < 2) continue;
  const place = document.createElement("div");
  place.className = "choices";
  place.append(Object.assign(document.createElement("span"), { textContent: "against" }));
  figures.forEach((figure, index) => {
    const label = place.appendChild(document.createElement("label"));
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: `choice-${number}`, autocomplete: "off" });
    radio.checked = index === 0;
    figure.hidden = index !== 0;
    radio.addEventListener("change", () => figures.forEach((other) => { other.hidden = other !== figure; }));
    label.append(radio, figure.dataset.choice);
  });
  group.prepend(place);
}

// Rankings sort by any column; a second click turns the order round. Rows without a number come last.
const key = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.key === undefined ? cell.textContent.trim() : Number(cell.dataset.key);
};

function sort(table, column, sign) {
  const rows = [...table.tBodies[0].rows];
  const numeric = rows.some((row) => typeof key(row, column) === "number");
  rows.sort((one, other) => {
    const [a, b] = [key(one, column), key(other, column)];
    if (!numeric) return sign * a.localeCompare(b);
    return (typeof a !== "number") - (typeof b !== "number") || sign * (a - b) || 0;
  });
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.ranking")) {
  const heads = [...table.tHead.rows[0].cells];
  for (const [column, head] of heads.entries()) {
    if (head.classList.contains("strip")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      for (const one of heads) one.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      sort(table, column, order === "ascending" ? 1 : -1);
    });
  }
  const named = [...table.tBodies[0].rows].filter((row) => row.dataset.arm !== undefined);
  if (named.length > 12) addFilters(table, named);
}

// Many arms: a search, a list for each axis, and the best k. They decide which arms the whole page shows.
function addFilters(table, named) {
  const bar = document.createElement("div");
  bar.className = "filters";
  const find = bar.appendChild(Object.assign(document.createElement("input"), { className: "find", type: "search", placeholder: `find among ${named.length} arms` }));
  find.setAttribute("aria-label", "show only arms whose name has this text");
  const choose = (label, options) => {
    const place = bar.appendChild(document.createElement("label"));
    const select = document.createElement("select");
    for (const [value, text] of options) select.add(new Option(text, value));
    select.autocomplete = "off";
    place.append(label, select);
    return select;
  };
  const parts = (row) => JSON.parse(row.dataset.parts ?? "[]");
  const axes = JSON.parse(table.dataset.filters ?? "[]").map((axis, index) => {
    const names = [...new Set(named.map((row) => parts(row)[index]))].sort();
    return choose(axis, [["", "all"], ...names.map((name) => [name, name || "–"])]);
  });
  const steps = [10, 20, 50, 100, 200].filter((count) => count < named.length);
  const best = choose("best", [["", "all"], ...steps.map((count) => [count, count])]);
  if (named.length > 60) best.value = 50;
  const told = bar.appendChild(document.createElement("span"));
  told.setAttribute("role", "status");
  const rank = new Map(named.map((row) => [row, Number(row.cells[0].dataset.key ?? Infinity)]));
  const others = [...document.querySelectorAll("main [data-arm]")].filter((one) => !one.closest(".legend") && !named.includes(one));

  const apply = () => {
    const text = find.value.trim().toLowerCase();
    const wanted = (row) => row.dataset.arm.toLowerCase().includes(text)
      && axes.every((axis, index) => !axis.value || parts(row)[index] === axis.value)
      && (!best.value || rank.get(row) <= best.value || row.dataset.base !== undefined);
    const shown = new Set(named.filter(wanted).map((row) => row.dataset.arm));
    for (const one of [...named, ...others]) one.classList.toggle("out", !shown.has(one.dataset.arm));
    told.textContent = shown.size < named.length ? `${shown.size} of ${named.length} arms, here and in all charts and tables` : "";
  };
  find.addEventListener("input", apply);
  for (const list of [...axes, best]) list.addEventListener("change", apply);
  table.parentNode.before(bar);
  apply();
}

// Charts as files: the styles of the page are written into a copy.
const STYLES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity", "font-size", "font-family", "font-style", "text-anchor", "paint-order", "display"];

function standalone(chart) {
  const twin = chart.cloneNode(true);
  const twins = [twin, ...twin.querySelectorAll("*")];
  [chart, ...chart.querySelectorAll("*")].forEach((one, index) => {
    const style = getComputedStyle(one);
    for (const name of STYLES) twins[index].style.setProperty(name, style.getPropertyValue(name));
  });
  const { x, width, height } = chart.viewBox.baseVal;
  twin.setAttribute("width", width);
  twin.setAttribute("height", height);
  const paper = document.createElementNS(chart.namespaceURI, "rect");
  paper.setAttribute("x", x);
  paper.setAttribute("width", width);
  paper.setAttribute("height", height);
  paper.setAttribute("fill", getComputedStyle(document.body).backgroundColor);
  twin.prepend(paper);
  return new XMLSerializer().serializeToString(twin);
}

function download(address, name) {
  Object.assign(document.createElement("a"), { href: address, download: name }).click();
}

const encoded = (svg) => "data:image/svg+xml;charset=utf-8," + encodeURIComponent(svg);
const SAVERS = {
  SVG: (chart, name) => download(encoded(standalone(chart)), name + ".svg"),
  PNG: (chart, name) => {
    const picture = new Image();
    picture.onload = () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [3 * picture.width, 3 * picture.height];
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
      download(canvas.toDataURL("image/png"), name + ".png");
    };
    picture.src = encoded(standalone(chart));
  },
};

for (const caption of document.querySelectorAll("figure > figcaption")) {
  if (!caption.parentNode.querySelector(".chart") || caption.parentNode.matches(".small")) continue;
  const place = caption.appendChild(document.createElement("span"));
  place.className = "save";
  for (const [kind, save] of Object.entries(SAVERS)) {
    const button = place.appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = kind;
    button.title = `save this chart as ${kind}`;
    button.addEventListener("click", () => {
      const shown = [...caption.parentNode.querySelectorAll(".chart")].find((chart) => chart.getClientRects().length);
      save(shown, caption.firstChild.textContent.trim().toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "chart");
    });
  }
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
