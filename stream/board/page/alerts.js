// Alerts of the last day, those still firing above all, and why each was raised.

import { $, dot, make } from "./dom.js";
import { look, view } from "./state.js";
import { language, moment, number, percent, words } from "./words.js";

const SHOWN = 8;
const FIRING_SHOWN = 3;
const DAY_S = 86_400;
const known = new Map();
let opened = null;

/** Take alerts that changed; `whole`: these are all there are. */
export function receive(changed, whole) {
  if (whole) known.clear();
  for (const alert of changed) known.set(alert.id, alert);
  if (whole || changed.length) draw();
}

export const of = (community) => [...known.values()].filter((alert) => alert.community === community);
export const firingIn = (community) => of(community).filter(({ state }) => state === "firing").length;

export function open(id) {
  if (id === opened) return;
  opened = id;
  drawOpened();
  if (id && known.has(id)) $("alert").focus();
}

export function draw() {
  const newest = [...known.values()].sort((a, b) => b.at - a.at);
  const firing = newest.filter(({ state }) => state === "firing");
  $("firing").hidden = !firing.length;
  $("firing").setAttribute("aria-label", words.alerts);
  $("firing").replaceChildren(
    ...firing.slice(0, FIRING_SHOWN).map((alert) => make("button", { type: "button", onclick: () => show(alert) }, `${moment(alert.at)} · ${summary(alert)}`)),
    firing.length > FIRING_SHOWN ? make("span", {}, `+${firing.length - FIRING_SHOWN}`) : "");

  const recent = newest.filter((alert) => alert.state === "firing" || alert.at > Date.now() / 1000 - DAY_S);
  $("alerts").replaceChildren(...(recent.length ? recent.slice(0, SHOWN).map(item) : [make("li", { class: "empty" }, words.noAlerts)]));
  drawOpened();
}

function item(alert) {
  return make("li", { "data-state": alert.state }, make("button", { type: "button", onclick: () => show(alert) },
    make("span", {}, make("bdi", {}, alert.community || words.theFigures), ` · ${alert.rule}`),
    make("span", { class: "state" }, `${words.states[alert.state]} ${moment(alert.at)}`)));
}

const show = (alert) => look({ alert: alert.id, community: alert.community || view.community });
const summary = (alert) => alert.summary[language()];
const span = (alert) => (alert.until ? words.until(moment(alert.at), moment(alert.until)) : words.since(moment(alert.at)));

function drawOpened() {
  const alert = known.get(opened);
  $("alert").hidden = !alert;
  if (!alert) return $("alert").replaceChildren();
  const close = make("button", { type: "button", onclick: () => look({ alert: null }) }, words.close);
  $("alert").replaceChildren(
    make("div", { class: "head" },
      make("h2", { id: "alert-title" }, `${words.severities[alert.severity]} · ${words.states[alert.state]}`), close),
    make("p", { class: "hint" }, `${alert.rule} · ${span(alert)}`),
    make("p", { class: "why" }, summary(alert)),
    ...(alert.explanation ? reasons(alert.explanation) : []));
}

function reasons({ negative, comments, terms, posts, representatives, by_few_authors, by_one_text }) {
  const part = (title, content, some) => (some ? [make("h3", {}, title), content] : []);
  return [
    ...part(words.words, make("ul", { class: "terms" }, ...terms.map(({ term, comments: n }) => make("li", {}, make("bdi", {}, term), " ", make("small", {}, number(n))))), terms.length),
    ...part(words.said, make("div", {}, ...representatives.map(quote)), representatives.length),
    ...part(words.posts, make("ul", {}, ...posts.map((post) => make("li", {}, make("bdi", {}, post.post_id), ` · ${words.negativeOf(number(post.negative), number(post.comments))}`))), posts.length),
    make("h3", {}, words.concentration),
    make("p", {}, words.topAuthors(percent(by_few_authors))),
    make("p", {}, words.copies(percent(by_one_text))),
    make("p", { class: "hint" }, words.lookedAt(number(comments), number(negative))),
  ];
}

function quote({ text, labels, copies }) {
  return make("blockquote", {}, make("bdi", { class: "said", dir: "auto" }, text),
    make("p", { class: "meta" }, ...labels.map((label) => make("span", {}, dot(label), words.emotions[label] ?? label)), copies > 1 ? make("span", {}, words.times(copies)) : null));
}
