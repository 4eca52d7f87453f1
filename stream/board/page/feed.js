// What people say: newest first, held still while somebody reads. Comment text is only ever text.

import { $, dot, make } from "./dom.js";
import { view } from "./state.js";
import { clock, EMOTIONS, moment, percent, words } from "./words.js";

const KEPT = 60;
const MOVE_MS = 2000; // the list moves no more often than this
let comments = []; // shown, newest first
let waiting = []; // arrived while the reader was reading
let seen = new Set();
let movedAt = -MOVE_MS;

export function start(filterBy) {
  $("filters").addEventListener("click", ({ target }) => target.closest("button") && filterBy(target.closest("button").value || null));
  $("fresh").addEventListener("click", release);
  $("reading").addEventListener("pointerleave", () => isHeld() || release());
  $("reading").addEventListener("focusout", () => setTimeout(() => isHeld() || release()));
}

export function drawFilters() {
  const button = (value, label, mark) => make("button", { type: "button", value, "aria-pressed": String((view.emotion ?? "") === value) }, mark ?? null, label);
  $("filters").setAttribute("aria-label", words.filter);
  $("filters").replaceChildren(
    button("", words.any), button("negative", words.anyNegative),
    ...EMOTIONS.map((emotion) => button(emotion, words.emotions[emotion], dot(emotion))));
}

export function empty() {
  comments = [];
  waiting = [];
  movedAt = -MOVE_MS;
  seen = new Set();
  draw();
}

/** Newest first. */
export function receive(arrived) {
  const unseen = arrived.filter(({ key }) => !seen.has(key));
  for (const { key } of unseen) seen.add(key);
  waiting = [...unseen, ...waiting].slice(0, KEPT);
  if (isHeld()) announce();
  else if (performance.now() - movedAt > MOVE_MS) release();
}

/** Comments of a time gone by, whole. */
export function showPast(found) {
  empty();
  comments = found;
  draw();
}

export function draw(arrived = new Set()) {
  $("comments").replaceChildren(...comments.map((comment) => element(comment, arrived.has(comment.key))));
  announce();
}

function release() {
  if (!waiting.length) return;
  const arrived = new Set(waiting.map(({ key }) => key));
  comments = [...waiting, ...comments].slice(0, KEPT);
  waiting = [];
  movedAt = performance.now();
  seen = new Set(comments.map(({ key }) => key));
  draw(arrived);
}

const isHeld = () => $("reading").matches(":hover") || $("reading").contains(document.activeElement);

function announce() {
  $("fresh").hidden = !waiting.length;
  $("fresh").textContent = words.fresh(waiting.length);
}

function element(comment, arrived) {
  const said = make("bdi", { class: "said", dir: "auto" }, comment.text ?? words.noText);
  return make("li", { class: arrived && "arrived" },
    said,
    comment.cut ? make("button", { type: "button", class: "more", onclick: (event) => whole(comment, said, event.target) }, words.wholeText) : null,
    make("p", { class: "meta" },
      make("time", { datetime: new Date(comment.at * 1000).toISOString() }, view.from ? moment(comment.at) : clock(comment.at)),
      ...comment.labels.map((label) => make("span", {}, dot(label), words.emotions[label] ?? label)),
      comment.negative ? make("span", { class: "negative" }, `${words.negative} ${percent(comment.negativity)}`) : null,
      view.community === comment.community ? null : make("bdi", {}, comment.community),
      comment.author && make("span", {}, `@${comment.author}`),
      comment.post && make("span", {}, words.post(""), make("bdi", {}, comment.post))));
}

async function whole(comment, said, button) {
  const answer = await fetch(`comment?${new URLSearchParams({ key: comment.key })}`);
  if (!answer.ok) return;
  said.textContent = (await answer.json()).text;
  said.classList.add("whole");
  said.tabIndex = 0;
  button.remove();
}
