// The page: asks Prometheus, whose address is this page's own, and draws what it answers.

import { overall, row, sorted } from "./alerts.js";
import { Chart, element } from "./chart.js";
import { UNIT_NAMES, clock, named } from "./format.js";

const RANGES = [
  { name: "15 min", seconds: 900, step: 5 },
  { name: "1 h", seconds: 3600, step: 15 },
  { name: "6 h", seconds: 21600, step: 90 },
];
const EVERY_MS = 10000;
const ANSWER_MS = 8000;
const $ = (id) => document.getElementById(id);

let definition;
let charts = [];
let chosen = RANGES.find((range) => `#${range.seconds}` === location.hash) ?? RANGES[0];
let asked = 0;

async function json(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(ANSWER_MS) });
  const body = await answer.json();
  if (body.status === "error") throw new Error(body.error);
  return body;
}

async function series(chart, range) {
  // A window that is shorter than a step would leave out what happened between two points.
  const window = `${Math.max(definition.rate_window_s, range.step)}s`;
  const query = chart.query.replaceAll("${rate_window}", window);
  const words = new URLSearchParams({ query, start: range.start, end: range.end, step: range.step });
  const { data } = await json(`../api/v1/query_range?${words}`);
  const found = data.result.map(({ metric, values }) => ({
    name: named(chart.legend, metric),
    points: values.map(([time, value]) => [time, Number(value)]).filter(([, value]) => Number.isFinite(value)),
  }));
  return found.filter((one) => one.points.length).sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
}

async function show(chart, range) {
  const found = await series(chart.definition, range);
  if (found.length) chart.draw(found, range);
  else chart.say(chart.definition.empty || "Nothing in this time.");
  return found.length;
}

async function showAlerts() {
  const { data } = await json("../api/v1/rules?type=alert");
  const rules = sorted(data.groups.flatMap((group) => group.rules));
  $("alert-list").replaceChildren(...rules.map((rule) => row(rule, Date.now())));
  const [colour, text] = overall(rules);
  $("state").className = `pill ${colour}`;
  $("state").textContent = text;
  document.title = text === "no alert" ? "f1-training" : `${text} - f1-training`;
}

async function refresh() {
  const own = (asked += 1);
  const end = Math.floor(Date.now() / 1000 / chosen.step) * chosen.step;
  const range = { start: end - chosen.seconds, end, step: chosen.step };
  try {
    const [, ...drawn] = await Promise.all([showAlerts(), ...charts.map((chart) => show(chart, range))]);
    if (own !== asked) return;
    notice(drawn.some(Boolean) ? [] : nothingYet());
    $("updated").textContent = clock(Date.now() / 1000, true);
    document.body.dataset.ready = "true";
  } catch (error) {
    if (own !== asked) return;
    $("state").className = "pill critical";
    $("state").textContent = "no answer";
    notice([`Prometheus did not answer (${error.message}); this page tries again.`]);
  }
}

function notice(parts) {
  $("notice").hidden = !parts.length;
  $("notice").replaceChildren(...parts);
}

function nothingYet() {
  const address = definition.links["Trigger a run"];
  const what = address ? element("a", { href: address }, "f1_training") : "f1_training";
  return [`No run has trained in the last ${chosen.name}: trigger `, what, ", and watch it here."];
}

function choose(range) {
  chosen = range;
  history.replaceState(null, "", `#${range.seconds}`);
  for (const button of $("ranges").children) button.setAttribute("aria-pressed", button.textContent === range.name);
  refresh();
}

function build() {
  for (const range of RANGES) {
    const button = element("button", { type: "button" }, range.name);
    button.addEventListener("click", () => choose(range));
    $("ranges").append(button);
  }
  for (const [name, address] of Object.entries(definition.links)) $("links").append(element("a", { href: address }, name));
  for (const section of definition.sections) {
    const made = section.charts.map((chart) => new Chart(chart, UNIT_NAMES[chart.unit]));
    charts.push(...made);
    const grid = element("div", { class: "charts" }, ...made.map((chart) => chart.figure));
    $("sections").append(element("section", {}, element("h2", {}, section.title), grid));
  }
}

definition = await json("dashboard.json");
build();
choose(chosen);
setInterval(() => document.hidden || refresh(), EVERY_MS);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
