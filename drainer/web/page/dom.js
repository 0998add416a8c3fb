// dom.js: elements, and how the page shows names, times and amounts. Text from records is only ever
// set as text, never as HTML.
import { compare, group, isNegative, isZero, round, signed } from "/decimal.js";

export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

const isAbsent = (value) => value === null || value === undefined || value === "";

// A name that people chose: isolated, so that right-to-left text does not turn its neighbours.
export const name = (text) => (isAbsent(text) ? h("span", { class: "dim" }, "–") : h("bdi", { title: text }, text));

export function card(title, place, aside, ...body) {
  return h("section", { class: "card " + place, "aria-label": title }, h("h2", null, title, aside && h("span", null, aside)), ...body);
}

export const scroll = (size, ...body) => h("div", { class: "scroll " + size, tabindex: 0 }, ...body);

// --- times ---

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });
const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minutes = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "2-digit" });
const inUtc = (text) => text.replace("T", " ").replace("+00:00", " UTC");

// In the viewer's zone; the title has UTC, with every digit that was stored.
export function time(text, format = clock) {
  if (isAbsent(text)) return "–";
  const at = new Date(text);
  const today = new Date().toDateString() === at.toDateString();
  return h("time", { datetime: text, title: inUtc(text) }, (today ? "" : day.format(at) + " ") + format.format(at));
}
export const shortTime = (text) => time(text, seconds);
export const hourTime = (text) => time(text, minutes);

export function age(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 10) return Math.max(0, seconds).toFixed(1) + " s";
  if (seconds < 60) return Math.floor(seconds) + " s";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min";
  if (seconds < 86400) return Math.floor(seconds / 3600) + " h " + Math.floor((seconds % 3600) / 60) + " min";
  return Math.floor(seconds / 86400) + " d";
}

// [figure, unit]
export const milliseconds = (ms) => (ms >= 10000 ? [(ms / 1000).toFixed(0), "s"] : ms >= 1000 ? [(ms / 1000).toFixed(1), "s"] : ms >= 100 ? [ms.toFixed(0), "ms"] : [ms.toFixed(1), "ms"]);

const secondsSince = (text) => (Date.now() - Date.parse(text)) / 1000;

// How long ago; it goes on by itself.
export const ago = (text) => (isAbsent(text) ? h("span", { class: "dim" }, "–") : h("time", { class: "ago dim", datetime: text, title: inUtc(text) }, age(secondsSince(text))));

setInterval(() => {
  for (const element of document.querySelectorAll("time.ago")) {
    const text = age(secondsSince(element.dateTime));
    if (element.textContent !== text) element.textContent = text;
  }
}, 1000);

// --- amounts ---

export const tone = (text) => (isAbsent(text) || isZero(text) ? "" : isNegative(text) ? "down" : "up");
// A gain or a loss: with its sign, rounded for the eye, but a small one is not rounded to nothing.
export function money(text, places = 2) {
  if (isAbsent(text)) return h("span", { class: "dim", title: "not known: a price or a contract is missing" }, "–");
  let shown = round(text, places);
  for (let more = places + 2; isZero(shown) && !isZero(text) && more <= 8; more += 2) shown = round(text, more);
  return h("span", { class: tone(text), title: group(text) }, signed(shown));
}
// A computed price may have many digits: two more than the prices beside it are shown, all are in the title.
export function computed(text, like) {
  if (isAbsent(text)) return "–";
  const digits = (of) => (of?.split(".")[1] ?? "").length;
  const places = Math.max(2, digits(like)) + 2;
  return h("span", { title: group(text) }, group(digits(text) > places ? round(text, places) : text));
}
export const amount = (text) => (isAbsent(text) ? h("span", { class: "dim" }, "–") : group(text));
export const count = (value) => (isAbsent(value) ? h("span", { class: "dim" }, "–") : group(String(value)));
export const sided = (side) => h("span", { class: side === "buy" || side === "long" ? "up" : side === "sell" || side === "short" ? "down" : "dim" }, side || "–");
export const plural = (n, one, many = one + "s") => `${group(String(n))} ${n === 1 ? one : many}`;
export const byMagnitude = (a, b) => compare((b ?? "0").replace("-", ""), (a ?? "0").replace("-", ""));

// --- small pictures; their figures stand beside them as text ---

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// A line of [x, y] points, 92 by 18.
export function spark(points) {
  if (points === undefined || points.length < 2) return "";
  const xs = points.map((p) => p[0]), ys = points.map((p) => Number(p[1]));
  const x0 = Math.min(...xs), x1 = Math.max(...xs), y0 = Math.min(...ys, 0), y1 = Math.max(...ys, 0);
  const at = (p) => [1 + (90 * (p[0] - x0)) / (x1 - x0 || 1), 17 - (16 * (Number(p[1]) - y0)) / (y1 - y0 || 1)].map((v) => v.toFixed(1)).join(" ");
  return svg("svg", { viewBox: "0 0 92 18", class: "spark " + (ys.at(-1) < 0 ? "down" : "up"), "aria-hidden": "true" }, svg("path", { d: "M" + points.map(at).join("L") }));
}

// How full something is: a bar, and the figure beside it.
export function fullness(part, whole) {
  if (isAbsent(part) || isAbsent(whole) || whole === 0) return h("span", { class: "dim" }, "–");
  const share = Math.min(1, part / whole), level = share > 0.8 ? "down" : share > 0.5 ? "warn" : "";
  return h("span", { class: "fullness " + level, title: group(String(part)) + " of " + group(String(whole)) },
    svg("svg", { viewBox: "0 0 60 6", class: "bar", "aria-hidden": "true" }, svg("rect", { width: 60, height: 6, rx: 3, class: "whole" }), svg("rect", { width: Math.max(2, 60 * share), height: 6, rx: 3, class: "part" })),
    " " + Math.round(100 * share) + " %");
}

export function factsOf(object) {
  return h("dl", { class: "facts" }, Object.entries(object).filter(([, value]) => !isAbsent(value)).map(([key, value]) =>
    h("div", null, h("dt", null, key.replaceAll("_", " ")), h("dd", null, /(_at|_time)$/.test(key) ? time(value) : name(typeof value === "object" ? JSON.stringify(value) : String(value))))));
}
