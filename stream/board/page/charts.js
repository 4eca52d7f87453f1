// Negativity, volume and emotions over time. Dragging picks a stretch of time; hovering reads all three at once.

import { echarts } from "../vendor/echarts/index.js";
import { $, dot, make } from "./dom.js";
import { EMOTIONS, language, moment, number, percent, words } from "./words.js";

const NAMES = ["negativity", "volume", "emotions"];
export const SMOOTHED = 5; // minutes: the share at a minute is that of the five up to it, like the five-minute window
const MARGIN = { left: 40, right: 8, top: 8, bottom: 20 };
const LEAST_DRAG = 6; // pixels
const NEAR = 8; // pixels
const REDRAWN_MS = 1000; // charts that only grow are drawn no more often than this
let charts = null;
let shown = null; // { step, since, until, picked, points: Map<second, point>, usual, alerts }
let onPick = () => {};
let onAlert = () => {};
let reading = null; // second under the pointer, null at rest
let drawnAt = -REDRAWN_MS;
let drawing = 0;

export function start(pick, openAlert) {
  onPick = pick;
  onAlert = openAlert;
  charts = Object.fromEntries(NAMES.map((name) => [name, echarts.init($(`chart-${name}`))]));
  for (const chart of Object.values(charts)) {
    chart.group = "time";
    followDrag(chart);
    chart.on("updateAxisPointer", ({ axesInfo }) => read(axesInfo?.[0]?.value));
    chart.getZr().on("globalout", () => read(null));
    new ResizeObserver(() => chart.resize()).observe(chart.getDom());
  }
  echarts.connect("time");
}

/** A point is [second, comments, negative comments, comments by emotion…]. */
export function show(series) {
  shown = { ...series, points: new Map(series.points.map((point) => [point[0], point])) };
  draw();
}

export function extend(points, now) {
  if (!shown || shown.picked) return;
  const width = shown.until - shown.since;
  for (const point of points) shown.points.set(point[0], point);
  shown.until = Math.max(now, shown.until);
  shown.since = shown.until - width;
  for (const second of shown.points.keys()) if (second < shown.since - SMOOTHED * shown.step) shown.points.delete(second);
  if (performance.now() - drawnAt >= REDRAWN_MS) draw();
}

export function markAlerts(alerts) {
  if (!shown) return;
  shown.alerts = alerts;
  draw();
}

/** Sums of what lies within [since, until): comments, negative ones, and each emotion. */
export function sums(since, until) {
  const total = [0, 0, ...EMOTIONS.map(() => 0)];
  for (const [second, ...counts] of shown?.points.values() ?? []) {
    if (second + shown.step > since && second < until) counts.forEach((count, i) => (total[i] += count));
  }
  const [n, negative, ...emotions] = total;
  return { n, negative, emotions };
}

export function clear() {
  shown = null;
  drawing++;
  for (const chart of Object.values(charts)) chart.clear();
  for (const name of NAMES) $(`read-${name}`).textContent = "";
}

export function draw() {
  if (!shown) return;
  drawnAt = performance.now();
  const grid = complete();
  const smooth = smoothed(grid);
  const colour = palette();
  const frame = base(colour);
  inTurn([() => drawNegativity(smooth, colour, frame), () => drawVolume(grid, colour, frame), () => drawEmotions(smooth, colour, frame)]);
  say(grid, smooth);
}

/** One chart a frame, so that no frame waits for all three. A newer drawing takes the place of an unfinished one. */
function inTurn([first, ...others]) {
  const mine = ++drawing;
  first();
  requestAnimationFrame(function next() {
    if (mine !== drawing || !others.length) return;
    others.shift()();
    requestAnimationFrame(next);
  });
}

const time = ([second]) => second * 1000;

function drawNegativity(smooth, colour, frame) {
  charts.negativity.setOption({
    ...frame,
    yAxis: { ...frame.yAxis, ...shareScale(smooth), axisLabel: { ...frame.yAxis.axisLabel, formatter: percent } },
    series: [{
      type: "line", showSymbol: false, connectNulls: false, silent: true, emphasis: { disabled: true }, animation: false, lineStyle: { width: 2, color: colour("accent") },
      areaStyle: { color: colour("accent"), opacity: 0.08 },
      data: smooth.map((point) => [time(point), point[1] ? point[2] / point[1] : null]),
      markArea: { silent: true, animation: false, data: [...usualBand(colour), ...pickedBand(colour)] },
    }, alertMarks(colour)],
  }, { notMerge: true });
}

function drawVolume(grid, colour, frame) {
  const last = grid.at(-1)?.[0];
  charts.volume.setOption({
    ...frame,
    series: [{
      type: "bar", silent: true, emphasis: { disabled: true }, animation: false, barCategoryGap: "15%", itemStyle: { color: colour("volume") },
      data: grid.map((point) => ({ value: [time(point), point[1]], itemStyle: { opacity: point[0] === last && !shown.picked ? 0.45 : 1 } })),
      markArea: { silent: true, animation: false, data: pickedBand(colour) },
    }],
  }, { notMerge: true });
}

function drawEmotions(smooth, colour, frame) {
  charts.emotions.setOption({
    ...frame,
    yAxis: { ...frame.yAxis, min: 0, max: 1, interval: 0.5, axisLabel: { ...frame.yAxis.axisLabel, formatter: percent } },
    series: EMOTIONS.map((emotion, i) => ({
      type: "line", stack: "all", silent: true, emphasis: { disabled: true }, showSymbol: false, animation: false, lineStyle: { width: 0 }, areaStyle: { color: colour(emotion), opacity: 1 },
      data: smooth.map((point) => { const all = labelled(point); return [time(point), all ? point[3 + i] / all : 0]; }),
    })),
  }, { notMerge: true });
}

function shareScale(points) {
  const top = Math.max(...points.map((point) => (point[1] ? point[2] / point[1] : 0)), shown.usual ? shown.usual.mean + 2 * shown.usual.spread : 0);
  const max = [0.2, 0.4, 0.6, 0.8].find((limit) => top < 0.95 * limit) ?? 1;
  return { min: 0, max, interval: max <= 0.4 ? 0.1 : 0.2 };
}

/** With minutes, each point's counts are those of the five minutes up to it. */
function smoothed(grid) {
  if (shown.step !== 60) return grid;
  const before = (second, back) => shown.points.get(second - back * shown.step);
  return grid.map(([second, ...counts]) => {
    for (let back = 1; back < SMOOTHED; back++) before(second, back)?.slice(1).forEach((count, i) => (counts[i] += count));
    return [second, ...counts];
  });
}

function complete() {
  const { step, since, until, points } = shown;
  const grid = [];
  for (let second = Math.ceil(since / step) * step; second < until; second += step) {
    grid.push(points.get(second) ?? [second, 0, 0, ...EMOTIONS.map(() => 0)]);
  }
  return grid;
}

const labelled = (point) => point.slice(3).reduce((sum, count) => sum + count, 0);

function palette() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

function base(colour) {
  const label = { color: colour("soft"), fontSize: 11, fontFamily: "inherit" };
  return {
    animation: false,
    grid: { ...MARGIN, outerBoundsMode: "none" },
    xAxis: {
      type: "time", min: shown.since * 1000, max: shown.until * 1000, axisLine: { lineStyle: { color: colour("line") } }, axisTick: { show: false },
      axisLabel: { ...label, hideOverlap: true, formatter: (ms) => tick(ms / 1000) },
      axisPointer: { show: true, snap: false, label: { show: false }, lineStyle: { color: colour("soft"), type: "solid" } },
    },
    yAxis: { type: "value", splitNumber: 3, axisLabel: label, splitLine: { lineStyle: { color: colour("line"), opacity: 0.6 } } },
  };
}

function tick(second) {
  const date = new Date(second * 1000);
  const midnight = date.getHours() === 0 && date.getMinutes() === 0;
  const options = midnight ? { month: "short", day: "numeric" } : { hour: "2-digit", minute: "2-digit" };
  return date.toLocaleString(language() === "zh" ? "zh-CN" : "en-GB", options);
}

function usualBand(colour) {
  if (!shown.usual) return [];
  const [low, high] = usualRange(shown.usual);
  return [[{ yAxis: low, itemStyle: { color: colour("band") } }, { yAxis: high }]];
}

const usualRange = ({ mean, spread }) => [Math.max(0, mean - 2 * spread), Math.min(1, mean + 2 * spread)];

function pickedBand(colour) {
  if (!shown.picked) return [];
  const [from, to] = shown.picked;
  return [[{ xAxis: from * 1000, itemStyle: { color: colour("accent-soft") } }, { xAxis: to * 1000 }]];
}

function alertMarks(colour) {
  const data = (shown.alerts ?? []).filter(({ at }) => at >= shown.since && at <= shown.until).map(({ at, severity }) => ({
    value: [at * 1000, 0], itemStyle: { color: severity === "info" ? colour("unusual") : colour("very") },
  }));
  return {
    type: "scatter", symbol: "triangle", symbolSize: 13, symbolOffset: [0, -6], data, silent: true, z: 5,
    markLine: { symbol: "none", silent: true, animation: false, label: { show: false }, data: data.map(({ value, itemStyle }) => ({ xAxis: value[0], lineStyle: { ...itemStyle, type: "dashed", width: 1.5 } })) },
  };
}

/** Dragging sideways with mouse, pen or finger marks a stretch of time; letting go picks it. */
function followDrag(chart) {
  const element = chart.getDom();
  const mark = element.appendChild(make("div", { class: "drag-mark", hidden: true }));
  let from = null;
  const place = (event) => Math.min(Math.max(event.clientX - element.getBoundingClientRect().left, MARGIN.left), element.clientWidth - MARGIN.right);
  element.addEventListener("pointerdown", (event) => {
    if (event.button === 0 && shown) from = place(event);
  });
  element.addEventListener("pointermove", (event) => {
    if (from === null) return;
    const to = place(event);
    mark.hidden = Math.abs(to - from) < LEAST_DRAG;
    if (!mark.hidden && !element.hasPointerCapture(event.pointerId)) element.setPointerCapture(event.pointerId);
    mark.style.left = `${Math.min(from, to)}px`;
    mark.style.width = `${Math.abs(to - from)}px`;
  });
  element.addEventListener("pointerup", (event) => {
    if (!mark.hidden && from !== null) {
      const [since, until] = [from, place(event)].sort((a, b) => a - b).map((x) => chart.convertFromPixel({ xAxisIndex: 0 }, x) / 1000);
      onPick(Math.floor(since / 60) * 60, Math.ceil(until / 60) * 60);
    } else if (from !== null && chart === charts.negativity) openNear(chart, from);
    stop();
  });
  const stop = () => {
    from = null;
    mark.hidden = true;
  };
  element.addEventListener("pointercancel", stop);
}

/** A press on a mark, or on its line, opens the alert. ECharts' own clicks are lost when it redraws meanwhile. */
function openNear(chart, x) {
  const distance = ({ at }) => Math.abs(chart.convertToPixel({ xAxisIndex: 0 }, at * 1000) - x);
  const [nearest] = [...(shown?.alerts ?? [])].sort((a, b) => distance(a) - distance(b));
  if (nearest && distance(nearest) <= NEAR) onAlert(nearest.id);
}

function read(ms) {
  reading = ms == null ? null : ms / 1000;
  if (!shown) return;
  const grid = complete();
  say(grid, smoothed(grid));
}

/** The figures under the pointer, or the newest, in words; and each chart described for those who cannot see it. */
function say(grid, smooth) {
  const { step } = shown;
  const found = reading == null ? grid.findLastIndex((point) => point[1] && point[0] + step <= shown.until) : grid.findIndex(([second]) => second <= reading && reading < second + step);
  const at = smooth[found];
  const when = at ? `${moment(at[0])} · ` : "";
  const share = at?.[1] ? at[2] / at[1] : null;
  const usual = shown.usual ? [make("span", { class: "band", "aria-hidden": "true" }), `${words.usual} ${usualRange(shown.usual).map(percent).join("–")} · `] : [];
  $("read-negativity").replaceChildren(...usual, when, make("b", {}, percent(share)));
  $("read-volume").replaceChildren(when, make("b", {}, number(grid[found]?.[1])), ` ${words.perStep[step]}`);
  for (const name of ["negativity", "emotions"]) $(`basis-${name}`).textContent = words.smoothing[step];
  const all = at ? labelled(at) : 0;
  const strongest = EMOTIONS.map((emotion, i) => [emotion, all ? at[3 + i] / all : 0]).sort((a, b) => b[1] - a[1]).slice(0, 4);
  $("read-emotions").replaceChildren(when, ...strongest.flatMap(([emotion, part]) => [dot(emotion), `${words.emotions[emotion]} `, make("b", {}, percent(part)), "  "]));

  const some = smooth.filter((point) => point[1]);
  describe("negativity", words.negativeShare, some.map((point) => point[2] / point[1]), percent);
  describe("volume", words.volume, grid.map((point) => point[1]), number);
  const emotion = strongest[0]?.[0];
  describe("emotions", `${words.emotionShares} (${words.emotions[emotion]})`, some.map((point) => (labelled(point) ? point[3 + EMOTIONS.indexOf(emotion)] / labelled(point) : 0)), percent);
}

function describe(name, what, values, format) {
  const label = values.length
    ? words.chart(what, moment(shown.since), moment(shown.until), format(Math.min(...values)), format(Math.max(...values)), format(values.at(-1)))
    : `${what}: ${words.noComments}`;
  $(`chart-${name}`).setAttribute("aria-label", label);
}
