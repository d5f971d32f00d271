// One chart: lines in SVG, a legend with the newest values, and what a pointer is at.

import { clock, formatted, niceStep } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 168;
const MARGIN = { top: 8, right: 10, bottom: 20, left: 58 };
const COLOURS = 8;
// What has a meaning keeps its colour; the rest take theirs in the order in which they come, on charts of the same kind alike.
const MEANING = { running: "var(--c0)", succeeded: "var(--c2)", failed: "var(--critical)", budget: "var(--muted)" };
const slots = new Map();

function styleOf(name, legend) {
  const meaning = MEANING[name.split(" ")[0]];
  if (meaning) return { colour: meaning, dashed: name === "budget" };
  if (!slots.has(legend)) slots.set(legend, new Map());
  const taken = slots.get(legend);
  if (!taken.has(name)) taken.set(name, taken.size);
  const slot = taken.get(name);
  return { colour: `var(--c${slot % COLOURS})`, dashed: Math.floor(slot / COLOURS) % 2 === 1 };
}

/** An element; `attributes` are set, `children` are appended, strings as text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function svg(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export class Chart {
  /** A figure for `definition`; `draw` fills it. */
  constructor(definition, unitName) {
    this.definition = definition;
    this.body = element("div");
    this.figure = element(
      "figure",
      {},
      element("figcaption", {}, element("h3", {}, definition.title), element("span", { class: "unit" }, unitName)),
      this.body,
    );
    this.data = null;
    new ResizeObserver(() => this.data && this.width() !== this.drawnAt && this.redraw()).observe(this.figure);
  }

  width() {
    return Math.max(200, this.body.clientWidth);
  }

  /** Draw `series` ([{name, points: [[time, value]]}]) over `range` ({start, end, step}). */
  draw(series, range) {
    this.data = { series: series.map((one) => ({ ...one, ...styleOf(one.name, this.definition.legend) })), range };
    this.redraw();
  }

  /** Say `text` in place of lines. */
  say(text) {
    this.data = null;
    this.figure.dataset.series = "0";
    this.body.replaceChildren(element("div", { class: "empty" }, text));
  }

  redraw() {
    const { series, range } = this.data;
    this.drawnAt = this.width();
    this.figure.dataset.series = String(series.length);
    const scale = scaleOf(series, range, this.drawnAt, this.definition.unit);
    const latest = series.map((one) => `${one.name} ${formatted(one.points.at(-1)[1], this.definition.unit)}`);
    const drawing = svg("svg", { role: "img", "aria-label": `${this.definition.title}: ${latest.join(", ")}` });
    drawing.append(...axes(scale, range, this.definition.unit));
    for (const one of series) drawing.append(...lines(one, scale, range.step));
    this.body.replaceChildren(drawing, legend(series, this.definition.unit, range));
    this.follow(drawing, scale);
  }

  follow(drawing, scale) {
    const tip = element("div", { class: "tip" });
    const cursor = svg("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom });
    const leave = () => {
      tip.remove();
      cursor.remove();
    };
    drawing.addEventListener("pointerleave", leave);
    drawing.addEventListener("pointermove", (event) => {
      const at = scale.timeAt(event.clientX - drawing.getBoundingClientRect().left);
      const found = nearest(this.data.series, at, this.data.range.step);
      if (!found) return leave();
      cursor.setAttribute("x1", scale.x(found.at));
      cursor.setAttribute("x2", scale.x(found.at));
      drawing.append(cursor);
      tip.replaceChildren(element("div", { class: "at" }, clock(found.at, true)), ...found.rows.map((row) => this.tipRow(row)));
      this.figure.append(tip);
      const left = Math.min(scale.x(found.at) + 24, this.figure.clientWidth - tip.offsetWidth - 8);
      tip.style.left = `${Math.max(8, left)}px`;
      tip.style.top = "44px";
    });
  }

  tipRow({ one, value }) {
    const amount = element("span", { class: "value" }, formatted(value, this.definition.unit));
    return element("div", {}, key(one), element("span", {}, one.name), amount);
  }
}

function nearest(series, at, step) {
  const times = series.flatMap((one) => one.points.map((point) => point[0]));
  const time = times.reduce((best, one) => (Math.abs(one - at) < Math.abs(best - at) ? one : best), Infinity);
  if (Math.abs(time - at) > step * 3) return null;
  const rows = series.map((one) => ({ one, value: one.points.find((point) => point[0] === time)?.[1] }));
  return { at: time, rows: rows.filter((row) => row.value !== undefined).sort((a, b) => b.value - a.value).slice(0, 12) };
}

function scaleOf(series, range, width, unit) {
  const values = series.flatMap((one) => one.points.map((point) => point[1]));
  const highest = Math.max(...values, 0);
  const lowest = Math.min(...values, 0);
  const step = niceStep((highest - lowest || 1) * 1.02, 4, unit);
  const top = Math.ceil((highest * 1.02) / step - 1e-9) * step || step;
  const bottom = Math.floor(lowest / step) * step;
  const inside = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  return {
    step, top, bottom, width,
    x: (time) => MARGIN.left + ((time - range.start) / (range.end - range.start)) * inside.width,
    y: (value) => MARGIN.top + (1 - (value - bottom) / (top - bottom)) * inside.height,
    timeAt: (x) => range.start + ((x - MARGIN.left) / inside.width) * (range.end - range.start),
  };
}

function* axes(scale, range, unit) {
  const right = scale.width - MARGIN.right;
  for (let value = scale.bottom; value <= scale.top + scale.step / 2; value += scale.step) {
    const y = scale.y(value);
    yield svg("line", { class: Math.abs(value) < scale.step / 2 ? "base" : "grid", x1: MARGIN.left, x2: right, y1: y, y2: y });
    yield svg("text", { x: MARGIN.left - 8, y: y + 4, "text-anchor": "end" }, formatted(value, unit));
  }
  const most = Math.max(2, Math.floor((right - MARGIN.left) / 80));
  const parts = [60, 120, 180, 300, 600, 900, 1800, 3600, 7200];
  const every = parts.find((one) => (range.end - range.start) / one <= most) ?? parts.at(-1);
  for (let time = Math.ceil(range.start / every) * every; time <= range.end; time += every) {
    yield svg("text", { x: scale.x(time), y: HEIGHT - 4, "text-anchor": "middle" }, clock(time, false));
  }
}

function* lines(one, scale, step) {
  let run = [];
  const runs = [run];
  for (const [index, point] of one.points.entries()) {
    if (index && point[0] - one.points[index - 1][0] > step * 1.5) runs.push((run = []));
    run.push(point);
  }
  for (const points of runs) {
    const where = points.map(([time, value]) => `${scale.x(time).toFixed(1)},${scale.y(value).toFixed(1)}`);
    if (points.length === 1) {
      const [cx, cy] = where[0].split(",");
      yield svg("circle", { cx, cy, r: 2.2, style: `fill: ${one.colour}` });
      continue;
    }
    const line = svg("polyline", { class: "series", points: where.join(" "), style: `stroke: ${one.colour}` });
    if (one.dashed) line.setAttribute("stroke-dasharray", "5 4");
    yield line;
  }
}

function key(one) {
  return element("span", { class: one.dashed ? "key dashed" : "key", style: `color: ${one.colour}` });
}

// A series that has ended has no newest value.
function legend(series, unit, range) {
  const rows = series.map((one) => {
    const [time, newest] = one.points.at(-1);
    const value = range.end - time <= range.step * 3 ? formatted(newest, unit) : "ended";
    const name = element("span", { class: "name", title: one.name }, one.name);
    return element("li", {}, key(one), name, element("span", { class: "value" }, value));
  });
  return element("ul", { class: "legend" }, ...rows);
}
