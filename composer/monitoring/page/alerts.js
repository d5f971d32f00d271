// The list of alerts: what fires first, then what is pending, then the rest.

import { element } from "./chart.js";

const ORDER = ["firing", "pending", "inactive"];

/** The rules of `/api/v1/rules`, the most urgent first. */
export function sorted(rules) {
  const urgency = (rule) => ORDER.indexOf(rule.state) * 2 + (rule.labels.severity === "critical" ? 0 : 1);
  return [...rules].sort((a, b) => urgency(a) - urgency(b));
}

/** What the page's head says of `rules`: [class, text]. */
export function overall(rules) {
  const count = (state) => rules.filter((rule) => rule.state === state).length;
  const critical = rules.some((rule) => rule.state === "firing" && rule.labels.severity === "critical");
  if (count("firing")) return [critical ? "critical" : "warning", `${plural(count("firing"), "alert")} firing`];
  if (count("pending")) return ["warning", `${plural(count("pending"), "alert")} pending`];
  return ["good", "no alert"];
}

const plural = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;

/** A list item for `rule`, with a line for each of its series that is not quiet. */
export function row(rule, now) {
  const colour = rule.state === "firing" ? (rule.labels.severity === "critical" ? "critical" : "warning") : "";
  const active = rule.alerts.filter((alert) => alert.activeAt);
  const begun = active.map((alert) => Date.parse(alert.activeAt)).sort((a, b) => a - b)[0];
  const what = element("span", { class: "what" }, `${rule.name} `);
  what.append(element("span", { class: "summary" }, `${rule.annotations.summary} · `), runbook(rule.annotations.runbook_url));
  const hold = rule.duration ? `fires after ${duration(rule.duration)}` : "fires at once";
  return element(
    "li",
    { class: rule.state, "data-alert": rule.name, "data-state": rule.state },
    element("span", { class: `pill ${colour || (rule.state === "pending" ? "warning" : "")}` }, rule.state),
    what,
    element("span", { class: "since" }, begun ? `for ${duration((now - begun) / 1000)}` : hold),
    ...active.map(instance),
  );
}

function instance(alert) {
  const labels = Object.entries(alert.labels).filter(([name]) => name !== "alertname");
  const text = labels.map(([name, value]) => `${name} ${value}`).join(" · ");
  const value = Number(alert.value);
  return element("span", { class: "instance" }, `${text} · ${alert.state} at ${Number(value.toPrecision(4))}`);
}

// The runbook is beside this page; any other address is left as it is.
function runbook(url) {
  return element("a", { href: url.replace(/^docs\/runbook\.md/, "runbook.html") }, "runbook");
}

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) return `${whole} s`;
  return whole < 7200 ? `${Math.floor(whole / 60)} min` : `${Math.floor(whole / 3600)} h`;
}
