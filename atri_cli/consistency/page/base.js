"use strict";
// The parts of this script are joined in the order of html.py; each may use those before it.

const data = JSON.parse(document.getElementById("data").textContent);
const report = data.report;
const known = report.ground_truth;
const byId = (id) => document.getElementById(id);
const SVG = byId("plot").namespaceURI;
const NOTHING = "–";
const FAR = 0.05; // how much less like the others a text must be for that to be the reason

/** An element with attributes (a function listens to the event it is named by) and children. */
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const forms = new Map();

/** `1,234.50`; a dash where there is no number. */
function number(value, digits = 2) {
  if (value === null || value === undefined) return NOTHING;
  if (!forms.has(digits)) {
    const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    forms.set(digits, new Intl.NumberFormat("en", options));
  }
  return forms.get(digits).format(value).replace("-", "−");
}

/** Three figures that count: `123`, `12.3`, `1.23`. */
function figures(value) {
  if (value === null || value === undefined) return NOTHING;
  return number(value, Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);
}

/** Three digits; what is not quite nothing does not look like nothing. */
function small(value) {
  return value > 0 && value < 0.0005 ? "<0.001" : number(value, 3);
}

function percent(value) {
  return `${number(100 * value, value > 0 && value < 0.01 ? 1 : 0)}\u00a0%`;
}

function interval(bounds, show = number) {
  return bounds && bounds[0] !== null ? `[${show(bounds[0])}, ${show(bounds[1])}]` : "";
}

function counted(count, noun) {
  return `${number(count, 0)} ${noun}${count === 1 ? "" : "s"}`;
}

/** `0:03.5`, `1:02:03.5`, as atri writes times elsewhere. */
function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const minutes = Math.floor(tenths / 600);
  const rest = (tenths % 600) / 10;
  const tail = rest.toFixed(1).padStart(4, "0");
  if (minutes < 60) return `${minutes}:${tail}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${tail}`;
}

const names = new Map(report.languages.map((tag) => [tag, nameOf(tag)]));

/** A language's name in English, or its tag where the browser knows none. */
function nameOf(tag) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(tag) ?? tag;
  } catch {
    return tag;
  }
}

/** A text of the query file: it may run from right to left, and asks for its language's letters. */
function quoted(text, tag) {
  return make("span", { dir: "auto", lang: tag, class: "text" }, text);
}

function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** A bar from `low` to `high`: the interval and, as a stroke, the value. */
function bar(value, bounds, [low, high]) {
  const whole = draw("svg", { class: "bar", viewBox: "0 0 100 10", "aria-hidden": "true" });
  whole.setAttribute("preserveAspectRatio", "none");
  const place = (at) => 100 * Math.min(1, Math.max(0, (at - low) / (high - low)));
  whole.append(draw("rect", { class: "track", x: 0, y: 4, width: 100, height: 2 }));
  if (bounds && bounds[0] !== null) {
    const [from, to] = bounds.map(place);
    const width = Math.max(0.5, to - from);
    whole.append(draw("rect", { class: "band", x: from, y: 2, width, height: 6 }));
  }
  if (value !== null && value !== undefined) {
    whole.append(draw("rect", { class: "value", x: 0.988 * place(value), y: 0, width: 1.2, height: 10 }));
  }
  return whole;
}
