// Puts the page together: what the server pushes, what the reader looks at, and the parts that show it.

import * as alerts from "./alerts.js";
import * as charts from "./charts.js";
import { $, make } from "./dom.js";
import * as feed from "./feed.js";
import * as live from "./live.js";
import * as ranking from "./ranking.js";
import { look, onLook, view } from "./state.js";
import { clock, EMOTIONS, moment, number, percent, sayAll, switchLanguage, words } from "./words.js";

const RANGES = { "3h": 3 * 3600, "24h": 86400, "7d": 7 * 86400 };
const MINUTES_KEPT_S = 3 * 3600;
const narrow = matchMedia("(max-width: 720px)");
const system = matchMedia("(prefers-color-scheme: dark)");
let status = { at: null };
let usual = null;

function chooseTheme(choice) {
  localStorage.setItem("theme", choice);
  document.documentElement.dataset.theme = choice === "system" ? (system.matches ? "dark" : "light") : choice;
  $("theme").textContent = words.theme[choice];
}
const theme = () => localStorage.getItem("theme") ?? "system";

function relabel() {
  sayAll();
  $("language").textContent = words.otherLanguage;
  $("language").lang = words.otherLanguage === "English" ? "en" : "zh";
  chooseTheme(theme());
  $("search").placeholder = words.search;
  $("search").setAttribute("aria-label", words.search);
  $("ranges").setAttribute("aria-label", words.span);
  $("ranges").replaceChildren(...Object.keys(RANGES).map((range) => make("button", {
    type: "button", value: range, "aria-pressed": String(!view.from && view.range === range),
    onclick: () => look({ range, from: null, to: null }),
  }, words.ranges[range])));
  feed.drawFilters();
  feed.draw();
  ranking.draw();
  alerts.draw();
  charts.draw();
  drawStatus();
  drawDetail();
}

function drawStatus() {
  const away = status.redis_away_since !== undefined;
  const never = away && status.redis_away_since === null;
  $("status").dataset.live = String(Boolean(status.at && !status.lost && !away && !status.silent));
  $("status").textContent = status.lost || away ? "" : status.at ? words.live(clock(status.figures_at ?? status.at)) : words.connecting;
  const trouble = status.lost ? words.lost(status.at && clock(status.at))
    : never ? words.redisNever
      : away ? words.redisAway(clock(status.redis_away_since))
        : status.silent ? words.silent(moment(status.figures_at)) : "";
  if ($("old").textContent !== trouble) $("old").textContent = trouble;
  $("old").hidden = !trouble;
  document.body.classList.toggle("stale", Boolean(trouble));
}

function figure(name, value, beside, level) {
  return make("div", { "data-level": level }, make("dt", {}, name), make("dd", {}, value), make("dd", {}, beside));
}

function drawDetail() {
  const { community, from, to } = view;
  document.title = community ? `${community} · fanpulse` : "fanpulse";
  $("community").textContent = community ?? "";
  $("now").hidden = !from;
  $("feed-title").textContent = from ? words.feedPast : words.feed;
  $("everyone").checked = view.feed === "all";
  const row = ranking.figuresOf(community);
  const level = from ? null : row?.level;
  $("verdict").dataset.level = level ?? "";
  $("verdict").textContent = from ? words.past(moment(from), moment(to)) : row ? words.levels[row.level] : "";
  if (!row && !from) return $("figures").replaceChildren();
  const [since, until] = from ? [from, to] : [status.at - (row.basis === "1h" ? 3600 : 300), status.at];
  const { n, negative, emotions } = charts.sums(since, until);
  const strongest = Math.max(...emotions);
  const emotion = strongest ? words.emotions[EMOTIONS[emotions.indexOf(strongest)]] : "–";
  const usually = row?.usual == null ? words.noUsual : words.usually(percent(row.usual));
  const basis = from ? "" : ` · ${words.basis[row.basis]}`;
  $("figures").replaceChildren(
    figure(words.negativeShare, percent(from ? (n ? negative / n : null) : row.share), `${usually}${basis}`, row?.level_of_share && level ? row.level_of_share : null),
    from ? figure(words.comments, number(n), `${number(n / ((to - from) / 60))} ${words.perMinute}`)
      : figure(words.commentsPerMinute, number(row.per_minute), words.before(number(row.per_minute_before)), row.level_of_volume),
    figure(words.strongest, emotion, strongest ? words.ofComments(percent(strongest / n)) : ""));
}

let asked = 0;
async function load() {
  const { community, range, from, to } = view;
  const mine = ++asked;
  if (!community) return charts.clear();
  const now = status.at ?? Date.now() / 1000;
  let [since, until, step] = [now - RANGES[range], now, range === "3h" ? 60 : 3600];
  if (from) {
    step = from > now - MINUTES_KEPT_S + 120 ? 60 : 3600;
    const margin = Math.max((to - from) / 2, 6 * step);
    [since, until] = [from - margin, Math.min(now, to + margin)];
  }
  const query = new URLSearchParams({ community, since: Math.floor(since) - charts.SMOOTHED * 60, until: Math.ceil(until), step });
  const answer = await fetch(`history?${query}`).catch(() => null);
  if (mine !== asked || !answer?.ok) return;
  const found = await answer.json();
  usual = found.usual;
  charts.show({ ...found, since, until, usual, picked: from ? [from, to] : null, alerts: alerts.of(community) });
  drawDetail();
}

async function loadPastComments() {
  const mine = asked;
  const { community, from, to, emotion, feed: scope } = view;
  $("feed-note").textContent = words.loading;
  const query = new URLSearchParams({ since: from, until: to, ...(scope !== "all" && { community }), ...(emotion && { emotion }) });
  const answer = await fetch(`comments?${query}`).catch(() => null);
  if (mine !== asked && view.from !== from) return;
  const found = answer?.ok ? await answer.json() : null;
  feed.showPast(found ?? []);
  $("feed-note").textContent = !found ? words.failed : found.length ? "" : words.noneThen;
}

function subscribe() {
  live.open({ community: view.community, step: view.range === "3h" ? 60 : 3600, feed: view.from ? "none" : view.feed ?? "one", emotion: view.emotion });
}

function receive(frame) {
  status = frame.status;
  ranking.receive(frame.rows, frame.whole);
  if (!view.community && !narrow.matches && ranking.mostUnusual()) return look({ community: ranking.mostUnusual() }, { step: false });
  alerts.receive(frame.alerts, frame.whole);
  if (frame.alerts.length) charts.markAlerts(alerts.of(view.community));
  if (frame.points && frame.points.community === view.community && !view.from) charts.extend(frame.points.points, status.at);
  if (!view.from) {
    feed.receive(frame.comments);
    $("feed-note").textContent = frame.rate > 20 ? words.sampled(number(frame.rate)) : $("comments").children.length ? "" : words.noneSuch;
  }
  if (frame.whole && !view.from) load(); // late comments change past minutes, an outage leaves a hole
  drawStatus();
  drawDetail();
}

function show(now, before) {
  document.body.dataset.view = now.community ? "one" : "list";
  const changed = (...keys) => !before || keys.some((key) => now[key] !== before[key]);
  for (const button of $("ranges").children) button.setAttribute("aria-pressed", String(!now.from && button.value === now.range));
  if (changed("community")) {
    ranking.markCurrent();
    if (before && narrow.matches) scrollTo(0, 0);
  }
  if (changed("emotion")) feed.drawFilters();
  if (changed("community", "range", "from", "to")) load();
  if (changed("community", "range", "from", "to", "emotion", "feed")) {
    feed.empty();
    if (now.from) loadPastComments();
    subscribe();
  }
  alerts.open(now.alert);
  drawDetail();
}

function shortcuts(event) {
  if (event.key === "Escape" && (view.from || view.alert)) look({ from: null, to: null, alert: null });
  if (event.key === "/" && !event.target.matches("input")) {
    $("search").focus();
    event.preventDefault();
  }
}

function start() {
  charts.start((from, to) => look({ from, to }), (alert) => look({ alert }));
  feed.start((emotion) => look({ emotion }));
  $("search").addEventListener("input", ranking.filter);
  document.querySelector(".ranking").addEventListener("keydown", ranking.moveFocus);
  $("back").addEventListener("click", () => look({ community: null, from: null, to: null, alert: null }));
  $("now").addEventListener("click", () => look({ from: null, to: null }));
  $("everyone").addEventListener("change", ({ target }) => look({ feed: target.checked ? "all" : null }));
  $("language").addEventListener("click", () => { switchLanguage(); relabel(); });
  $("theme").addEventListener("click", () => {
    const choices = ["system", "light", "dark"];
    chooseTheme(choices[(choices.indexOf(theme()) + 1) % 3]);
    charts.draw();
  });
  system.addEventListener("change", () => { chooseTheme(theme()); charts.draw(); });
  $("past").addEventListener("submit", (event) => {
    event.preventDefault();
    const [from, to] = ["from", "to"].map((name) => Date.parse(event.target.elements[name].value) / 1000);
    if (to > from) look({ from, to });
  });
  addEventListener("keydown", shortcuts);
  onLook(show);
  live.start(receive, () => { status = { ...status, lost: true }; drawStatus(); });
  relabel();
  show(view, null);
}

start();
