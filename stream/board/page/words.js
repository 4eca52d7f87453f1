// Everything the page says, in English and Chinese. Numbers and times follow the chosen language too.

export const EMOTIONS = ["anger", "hate", "anxiety", "sorrow", "neutral", "surprise", "expect", "joy", "love"];

const ENGLISH = {
  otherLanguage: "中文",
  theme: { system: "Theme: system", light: "Theme: light", dark: "Theme: dark" },
  skip: "Skip to the figures",
  communities: "Communities",
  mostUnusualFirst: "most unusual first",
  search: "Find a community",
  noneFound: "No community has this in its name.",
  noneYet: "No community has been heard from yet.",
  allCommunities: "All communities",
  live: (time) => `Live, figures of ${time}`,
  connecting: "Connecting…",
  lost: (time) => (time ? `The board does not answer. Figures are of ${time}; trying again…` : "The board does not answer; trying again…"),
  redisAway: (time) => `Redis is away. Figures have not changed since ${time}; they will catch up by themselves.`,
  redisNever: "Redis is away and has not been reached yet; trying again.",
  silent: (time) => `No new figures since ${time}: is the pipeline running?`,
  past: (from, to) => `${from} to ${to}`,
  levels: { very: "Very unusual", unusual: "Unusual", usual: "As usual" },
  basis: { "5m": "last 5 minutes", "1h": "last hour" },
  negative: "negative",
  usually: (share) => `usually ${share}`,
  before: (number) => `before: ${number}`,
  noUsual: "no usual yet",
  perMinute: "a minute",
  commentsPerMinute: "Comments a minute",
  comments: "Comments",
  strongest: "Strongest emotion",
  ofComments: (share) => `in ${share} of comments`,
  ranges: { "3h": "3 hours", "24h": "24 hours", "7d": "7 days" },
  span: "Time shown",
  from: "From", to: "to", show: "Show",
  backToNow: "Back to now",
  dragHint: "Drag across a chart to look at that time and what was said then.",
  negativeShare: "Negative comments",
  volume: "Comments",
  emotionShares: "Emotions",
  usual: "usual",
  smoothing: { 60: "over 5 minutes", 3600: "by the hour" },
  anotherTime: "Another time…",
  alarm: "alert",
  noComments: "no comments",
  perStep: { 60: "per minute", 3600: "per hour" },
  alerts: "Alerts",
  noAlerts: "None in the last 24 hours.",
  states: { firing: "firing", resolved: "resolved" },
  severities: { critical: "critical", warning: "warning", info: "note" },
  since: (time) => `since ${time}`,
  until: (from, to) => `${from} to ${to}`,
  close: "Close",
  why: "Why",
  words: "Words that set this hour apart",
  posts: "Posts that drew it",
  said: "What people said",
  concentration: "Who said it",
  topAuthors: (share) => `The five busiest authors wrote ${share} of the negative comments.`,
  copies: (share) => `${share} of the negative comments repeat one text.`,
  lookedAt: (comments, negative) => `From the newest ${comments} comments, ${negative} of them negative.`,
  negativeOf: (negative, comments) => `${negative} of ${comments} negative`,
  theFigures: "the figures",
  times: (n) => `said ${n} times`,
  feed: "Comments now",
  feedPast: "Comments then",
  everyCommunity: "every community",
  filter: "Show",
  any: "all",
  anyNegative: "negative",
  sampled: (rate) => `A sample of ${rate} comments a second.`,
  held: "Held still while you read.",
  fresh: (n) => (n === 1 ? "1 new comment" : `${n} new comments`),
  noneSuch: "Nothing like this lately.",
  noneThen: "No comments of that time are kept.",
  noText: "(the text is not kept)",
  wholeText: "whole comment",
  post: (id) => `post ${id}`,
  loading: "Loading…",
  failed: "This could not be loaded.",
  chart: (what, from, to, least, most, last) => `${what}, ${from} to ${to}: between ${least} and ${most}, ${last} at the end.`,
  emotions: {
    anger: "anger", hate: "hate", anxiety: "anxiety", sorrow: "sorrow", neutral: "neutral",
    surprise: "surprise", expect: "hope", joy: "joy", love: "love",
  },
};

const CHINESE = {
  otherLanguage: "English",
  theme: { system: "主题：随系统", light: "主题：浅色", dark: "主题：深色" },
  skip: "跳到数据",
  communities: "社区",
  mostUnusualFirst: "最异常的在前",
  search: "查找社区",
  noneFound: "没有名称含此字样的社区。",
  noneYet: "尚未收到任何社区的评论。",
  allCommunities: "全部社区",
  live: (time) => `实时，数据截至 ${time}`,
  connecting: "正在连接…",
  lost: (time) => (time ? `看板没有响应。数据停留在 ${time}，正在重试…` : "看板没有响应，正在重试…"),
  redisAway: (time) => `Redis 不可用。数据自 ${time} 起未更新，恢复后会自动补上。`,
  redisNever: "Redis 不可用，尚未连上；正在重试。",
  silent: (time) => `自 ${time} 起没有新数据：处理程序在运行吗？`,
  past: (from, to) => `${from} 至 ${to}`,
  levels: { very: "非常异常", unusual: "异常", usual: "平常" },
  basis: { "5m": "最近 5 分钟", "1h": "最近 1 小时" },
  negative: "负面",
  usually: (share) => `平时 ${share}`,
  before: (number) => `此前 ${number}`,
  noUsual: "尚无平时值",
  perMinute: "条/分",
  commentsPerMinute: "每分钟评论",
  comments: "评论数",
  strongest: "最强情绪",
  ofComments: (share) => `占评论的 ${share}`,
  ranges: { "3h": "3 小时", "24h": "24 小时", "7d": "7 天" },
  span: "显示的时间",
  from: "从", to: "到", show: "查看",
  backToNow: "回到现在",
  dragHint: "在图上横向拖动，即可查看那段时间以及当时的评论。",
  negativeShare: "负面评论占比",
  volume: "评论量",
  emotionShares: "情绪占比",
  usual: "平时",
  smoothing: { 60: "5 分钟平均", 3600: "按小时" },
  anotherTime: "其他时间…",
  alarm: "告警",
  noComments: "没有评论",
  perStep: { 60: "每分钟", 3600: "每小时" },
  alerts: "告警",
  noAlerts: "过去 24 小时内没有告警。",
  states: { firing: "进行中", resolved: "已恢复" },
  severities: { critical: "严重", warning: "警告", info: "提示" },
  since: (time) => `自 ${time}`,
  until: (from, to) => `${from} 至 ${to}`,
  close: "关闭",
  why: "原因",
  words: "这一小时突出的词",
  posts: "引发的帖子",
  said: "大家说了什么",
  concentration: "谁在说",
  topAuthors: (share) => `最活跃的五位作者写了 ${share} 的负面评论。`,
  copies: (share) => `${share} 的负面评论重复同一段文字。`,
  lookedAt: (comments, negative) => `根据最新的 ${comments} 条评论，其中 ${negative} 条负面。`,
  negativeOf: (negative, comments) => `${comments} 条中 ${negative} 条负面`,
  theFigures: "数据本身",
  times: (n) => `出现 ${n} 次`,
  feed: "当前评论",
  feedPast: "当时的评论",
  everyCommunity: "所有社区",
  filter: "显示",
  any: "全部",
  anyNegative: "负面",
  sampled: (rate) => `从每秒 ${rate} 条评论中取样。`,
  held: "阅读时暂停滚动。",
  fresh: (n) => `${n} 条新评论`,
  noneSuch: "最近没有这样的评论。",
  noneThen: "没有保留那段时间的评论。",
  noText: "（未保留原文）",
  wholeText: "全文",
  post: (id) => `帖子 ${id}`,
  loading: "加载中…",
  failed: "加载失败。",
  chart: (what, from, to, least, most, last) => `${what}，${from} 至 ${to}：介于 ${least} 与 ${most} 之间，末尾为 ${last}。`,
  emotions: {
    anger: "愤怒", hate: "厌恶", anxiety: "焦虑", sorrow: "悲伤", neutral: "平静",
    surprise: "惊讶", expect: "期待", joy: "喜悦", love: "喜爱",
  },
};

const LANGUAGES = { en: ENGLISH, zh: CHINESE };
let tag = localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
export let words = LANGUAGES[tag];
export const language = () => tag;

export function switchLanguage() {
  tag = tag === "en" ? "zh" : "en";
  words = LANGUAGES[tag];
  localStorage.setItem("language", tag);
}

/** Write the words into every element that names one. */
export function sayAll() {
  document.documentElement.lang = tag === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = words[element.dataset.word];
}

const formats = new Map();
function format(kind, options) {
  const key = `${tag}${kind}${JSON.stringify(options)}`;
  if (!formats.has(key)) formats.set(key, new Intl[kind](tag === "zh" ? "zh-CN" : "en-GB", options));
  return formats.get(key);
}

export const percent = (share) => (share == null ? "–" : format("NumberFormat", { style: "percent", maximumFractionDigits: 0 }).format(share));
export const number = (value) => (value == null ? "–" : format("NumberFormat", { maximumFractionDigits: value < 10 ? 1 : 0 }).format(value));
export const clock = (seconds) => format("DateTimeFormat", { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(seconds * 1000);

/** Hour and minute, and the day where it is not today. */
export function moment(seconds) {
  const sameDay = new Date(seconds * 1000).toDateString() === new Date().toDateString();
  const time = { hour: "2-digit", minute: "2-digit" };
  return format("DateTimeFormat", sameDay ? time : { month: "short", day: "numeric", ...time }).format(seconds * 1000);
}
