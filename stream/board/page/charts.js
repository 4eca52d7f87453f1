// Negativity, volume and emotions over time. Dragging picks a stretch of time; hovering reads all three at once.

import { echarts } from "../vendor/echarts/index.js";
import { $, dot, make } from "./dom.js";
import { EMOTIONS, language, moment, number, percent, words } from "./words.js";

const NAMES = ["negativity", "volume", "emotions"];
let charts = null;
let shown = null; // { step, since, until, picked, points: Map<second, point>, usual, alerts }
let onPick = () => {};
let onAlert = () => {};
let reading = null; // second under the pointer, null at rest

export function start(pick, openAlert) {
  onPick = pick;
  onAlert = openAlert;
  charts = Object.fromEntries(NAMES.map((name) => [name, echarts.init($(`chart-${name}`))]));
  for (const chart of Object.values(charts)) {
    chart.group = "time";
    chart.on("brushEnd", ({ areas }) => picked(chart, areas));
    chart.on("updateAxisPointer", ({ axesInfo }) => read(axesInfo?.[0]?.value));
    chart.getZr().on("globalout", () => read(null));
    new ResizeObserver(() => chart.resize()).observe(chart.getDom());
  }
  charts.negativity.on("click", ({ data }) => data?.alert && onAlert(data.alert));
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
  for (const second of shown.points.keys()) if (second < shown.since - shown.step) shown.points.delete(second);
  draw();
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
  for (const chart of Object.values(charts)) chart.clear();
  for (const name of NAMES) $(`read-${name}`).textContent = "";
}

export function draw() {
  if (!shown) return;
  const grid = complete();
  const colour = palette();
  const frame = base(colour);
  const time = ([second]) => second * 1000;
  const last = grid.at(-1)?.[0];

  charts.negativity.setOption({
    ...frame,
    yAxis: { ...frame.yAxis, min: 0, max: ({ max }) => Math.min(1, Math.max(0.2, Math.ceil(max * 11) / 10)), axisLabel: { ...frame.yAxis.axisLabel, formatter: percent } },
    series: [{
      type: "line", showSymbol: false, connectNulls: false, silent: true, animation: false, lineStyle: { width: 2, color: colour("accent") },
      areaStyle: { color: colour("accent"), opacity: 0.08 },
      data: grid.map((point) => [time(point), point[1] ? point[2] / point[1] : null]),
      markArea: { silent: true, animation: false, data: [...usualBand(colour), ...pickedBand(colour)] },
    }, alertMarks(colour)],
  }, { notMerge: true });

  charts.volume.setOption({
    ...frame,
    series: [{
      type: "bar", silent: true, animation: false, barCategoryGap: "15%", itemStyle: { color: colour("volume") },
      data: grid.map((point) => ({ value: [time(point), point[1]], itemStyle: { opacity: point[0] === last && !shown.picked ? 0.45 : 1 } })),
      markArea: { silent: true, animation: false, data: pickedBand(colour) },
    }],
  }, { notMerge: true });

  charts.emotions.setOption({
    ...frame,
    yAxis: { ...frame.yAxis, min: 0, max: 1, axisLabel: { ...frame.yAxis.axisLabel, formatter: percent } },
    series: EMOTIONS.map((emotion, i) => ({
      type: "line", stack: "all", silent: true, showSymbol: false, animation: false, lineStyle: { width: 0 }, areaStyle: { color: colour(emotion), opacity: 0.92 },
      data: grid.map((point) => { const all = labelled(point); return [time(point), all ? point[3 + i] / all : 0]; }),
    })),
  }, { notMerge: true });

  for (const chart of Object.values(charts)) {
    chart.dispatchAction({ type: "takeGlobalCursor", key: "brush", brushOption: { brushType: "lineX", brushMode: "single" } });
  }
  say(grid);
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
    grid: { left: 40, right: 8, top: 8, bottom: 20 },
    xAxis: {
      type: "time", min: shown.since * 1000, max: shown.until * 1000, axisLine: { lineStyle: { color: colour("line") } }, axisTick: { show: false },
      axisLabel: { ...label, hideOverlap: true, formatter: (ms) => tick(ms / 1000) },
      axisPointer: { show: true, snap: false, label: { show: false }, lineStyle: { color: colour("soft"), type: "solid" } },
    },
    yAxis: { type: "value", splitNumber: 3, axisLabel: label, splitLine: { lineStyle: { color: colour("line"), opacity: 0.6 } } },
    brush: { xAxisIndex: 0, brushType: "lineX", brushMode: "single", transformable: false, brushStyle: { color: colour("accent-soft"), borderColor: colour("accent") }, outOfBrush: { colorAlpha: 1 } },
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
  const { mean, spread } = shown.usual;
  const label = { show: true, position: "insideTopLeft", color: colour("soft"), fontSize: 11, formatter: words.usual };
  return [[{ yAxis: Math.max(0, mean - 2 * spread), itemStyle: { color: colour("band") }, label }, { yAxis: Math.min(1, mean + 2 * spread) }]];
}

function pickedBand(colour) {
  if (!shown.picked) return [];
  const [from, to] = shown.picked;
  return [[{ xAxis: from * 1000, itemStyle: { color: colour("accent-soft") } }, { xAxis: to * 1000 }]];
}

function alertMarks(colour) {
  const data = (shown.alerts ?? []).filter(({ at }) => at >= shown.since && at <= shown.until).map(({ id, at, severity }) => ({
    value: [at * 1000, 0], alert: id, itemStyle: { color: severity === "info" ? colour("unusual") : colour("very") },
  }));
  return {
    type: "scatter", symbol: "triangle", symbolSize: 13, symbolOffset: [0, -6], data, cursor: "pointer", z: 5,
    markLine: { symbol: "none", silent: true, animation: false, label: { show: false }, data: data.map(({ value, itemStyle }) => ({ xAxis: value[0], lineStyle: { ...itemStyle, type: "dashed", width: 1.5 } })) },
  };
}

function picked(chart, areas) {
  const range = areas?.[0]?.coordRange;
  for (const each of Object.values(charts)) each.dispatchAction({ type: "brush", areas: [] });
  if (!range || !shown) return;
  const [from, to] = range.map((ms) => Math.round(ms / 1000));
  if (to - from >= shown.step / 2) onPick(Math.floor(from / 60) * 60, Math.ceil(to / 60) * 60);
}

function read(ms) {
  reading = ms == null ? null : ms / 1000;
  if (shown) say(complete());
}

/** The figures under the pointer, or the newest, in words; and each chart described for those who cannot see it. */
function say(grid) {
  const { step } = shown;
  const at = reading == null ? grid.findLast((point) => point[1]) : grid.find(([second]) => second <= reading && reading < second + step);
  const when = at ? `${moment(at[0])} · ` : "";
  const share = at?.[1] ? at[2] / at[1] : null;
  $("read-negativity").replaceChildren(when, make("b", {}, percent(share)));
  $("read-volume").replaceChildren(when, make("b", {}, number(at?.[1])), ` ${words.perStep[step]}`);
  const all = at ? labelled(at) : 0;
  const strongest = EMOTIONS.map((emotion, i) => [emotion, all ? at[3 + i] / all : 0]).sort((a, b) => b[1] - a[1]).slice(0, 4);
  $("read-emotions").replaceChildren(when, ...strongest.flatMap(([emotion, part]) => [dot(emotion), `${words.emotions[emotion]} `, make("b", {}, percent(part)), "  "]));

  const some = grid.filter((point) => point[1]);
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
