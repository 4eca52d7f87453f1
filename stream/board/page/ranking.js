// The list of communities, most unusual first. It re-sorts now and then, and never under the reader's hand.

import { firingIn } from "./alerts.js";
import { $, make } from "./dom.js";
import { look, view } from "./state.js";
import { number, percent, words } from "./words.js";

const RESORT_MS = 5000;
const rows = new Map(); // community → its latest figures
const items = new Map(); // community → its elements
let sortedAt = 0;
let order = [];

export const figuresOf = (community) => rows.get(community);
export const mostUnusual = () => [...rows.values()].sort(moreUnusual)[0]?.community;

export function receive(changed, whole) {
  if (whole) for (const known of rows.keys()) if (!changed.some((row) => row.community === known)) forget(known);
  for (const row of changed) rows.set(row.community, row);
  if (whole || changed.length || performance.now() - sortedAt > RESORT_MS) draw();
}

export function draw() {
  const list = $("communities");
  const held = list.matches(":hover") || list.contains(document.activeElement);
  const due = performance.now() - sortedAt > RESORT_MS && !held;
  if (due || order.length !== rows.size || sortedAt === 0) {
    order = [...rows.values()].sort(moreUnusual).map((row) => row.community);
    sortedAt = performance.now();
    for (const [i, community] of order.entries()) {
      const { item } = items.get(community) ?? create(community);
      if (list.children[i] !== item) list.insertBefore(item, list.children[i] ?? null);
    }
  }
  for (const row of rows.values()) fill(items.get(row.community), row);
  filter();
}

export function filter() {
  const wanted = $("search").value.trim().toLocaleLowerCase();
  let shown = 0;
  for (const [community, { item }] of items) {
    item.hidden = !community.toLocaleLowerCase().includes(wanted);
    shown += !item.hidden;
  }
  $("no-communities").hidden = shown > 0;
  $("no-communities").textContent = rows.size ? words.noneFound : words.noneYet;
}

export function markCurrent() {
  for (const [community, { button }] of items) button.setAttribute("aria-current", community === view.community);
}

function moreUnusual(a, b) {
  return firingIn(b.community) - firingIn(a.community) || b.unusual - a.unusual || b.n - a.n;
}

function forget(community) {
  items.get(community)?.item.remove();
  items.delete(community);
  rows.delete(community);
}

function create(community) {
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  const spark = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  spark.setAttribute("viewBox", "0 0 56 20");
  spark.setAttribute("aria-hidden", "true");
  spark.append(line);
  const parts = {
    line,
    aside: make("span", { class: "aside" }),
    share: make("span", { class: "share" }),
    usual: make("span", { class: "usual" }),
  };
  const name = make("bdi", { class: "name", title: community }, community);
  const button = make("button", { type: "button", onclick: () => look({ community, alert: null }) },
    make("span", { class: "tick" }), name, spark, parts.share, parts.aside, parts.usual);
  button.setAttribute("aria-current", community === view.community);
  const entry = { item: make("li", {}, button), button, ...parts };
  items.set(community, entry);
  return entry;
}

function fill(entry, row) {
  const aside = `${number(row.per_minute)} ${words.perMinute}`;
  const alarms = firingIn(row.community);
  const key = `${row.level}|${alarms}|${row.share}|${row.usual}|${aside}|${row.spark}`;
  if (entry.key === key) return;
  entry.key = key;
  entry.button.dataset.level = row.level;
  entry.share.textContent = percent(row.share);
  entry.usual.textContent = row.usual == null ? words.noUsual : words.usually(percent(row.usual));
  entry.aside.textContent = aside;
  if (alarms) entry.aside.prepend(make("span", { class: "alarm" }, `▲ ${words.alarm} · `));
  entry.line.setAttribute("points", points(row.spark));
}

function points(spark) {
  const top = Math.max(0.4, ...spark);
  const width = 56 / Math.max(1, spark.length - 1);
  return spark.map((share, i) => (share == null ? "" : `${(i * width).toFixed(1)},${(20 - (share / top) * 19).toFixed(1)}`)).join(" ");
}

/** Arrow keys move through the list. */
export function moveFocus(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const shown = [...$("communities").querySelectorAll("li:not([hidden]) > button")];
  const at = shown.indexOf(document.activeElement);
  const next = shown[at + step] ?? (step < 0 ? $("search") : null);
  next?.focus();
  event.preventDefault();
}
