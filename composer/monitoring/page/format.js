// Numbers, times and names as people read them. Nothing here touches the page.

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB"];
// Seconds that are a step on an axis of time.
const TIMES = [10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400];

function digits(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6) return `${plain(value / 1e6)} M`;
  if (size >= 1e4) return `${plain(value / 1e3)} k`;
  return plain(value);
}

function plain(value) {
  const size = Math.abs(value);
  const places = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.01 ? 3 : 5;
  return String(Number(value.toFixed(places)));
}

function bytes(value) {
  let power = 0;
  while (Math.abs(value) >= 1024 && power < BYTES.length - 1) {
    value /= 1024;
    power += 1;
  }
  return `${plain(value)} ${BYTES[power]}`;
}

function seconds(value) {
  const size = Math.abs(value);
  if (size >= 7200) return `${plain(value / 3600)} h`;
  if (size >= 120) return `${plain(value / 60)} min`;
  if (size >= 1 || size === 0) return `${plain(value)} s`;
  return size >= 0.001 ? `${plain(value * 1000)} ms` : `${plain(value * 1e6)} µs`;
}

/** `value` with its UCUM unit. */
export function formatted(value, unit) {
  if (unit === "By") return bytes(value);
  if (unit === "By/s") return `${bytes(value)}/s`;
  if (unit === "s") return seconds(value);
  if (unit === "%") return `${plain(value)} %`;
  if (unit === "{USD}") return `$ ${digits(value)}`;
  return unit === "1/s" ? `${digits(value)}/s` : digits(value);
}

/** What a chart's heading says of its unit; numbers without one say nothing. */
export const UNIT_NAMES = { "1": "", "1/s": "a second", s: "time", "%": "percent", By: "bytes", "By/s": "bytes a second", "{USD}": "USD" };

/** A time of day; with seconds where `fine`. */
export function clock(at, fine) {
  const options = { hour: "2-digit", minute: "2-digit", hour12: false };
  return new Date(at * 1000).toLocaleTimeString("en-GB", fine ? { ...options, second: "2-digit" } : options);
}

/** A step that people count in, and that cuts `span` into at most `most` parts. */
export function niceStep(span, most, unit) {
  const least = span / most;
  if (unit.startsWith("By")) return Math.max(1, 2 ** Math.ceil(Math.log2(least)));
  if (unit === "s" && least > 5) return TIMES.find((time) => time >= least) ?? Math.ceil(least / 86400) * 86400;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= least * 0.999);
  // Things that are counted have no halves.
  return unit === "1" ? Math.max(1, step) : step;
}

/** The legend's text for a series: `{label}` stands for the label's value, and for nothing where that is `none`. */
export function named(legend, labels) {
  const value = (label) => (labels[label] === "none" ? "" : (labels[label] ?? "-"));
  return legend.replace(/{(\w+)}/g, (_, label) => value(label)).trim();
}
