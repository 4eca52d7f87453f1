// What the reader is looking at: kept in the address, so that a reload or a link shows the same.

const KEYS = ["community", "range", "from", "to", "emotion", "feed", "alert"];
const listeners = [];

function read() {
  const given = new URLSearchParams(location.search);
  const view = Object.fromEntries(KEYS.map((key) => [key, given.get(key)]));
  const [from, to] = [Number(view.from), Number(view.to)];
  const past = from > 0 && to > from;
  return { ...view, range: ["24h", "7d"].includes(view.range) ? view.range : "3h", from: past ? from : null, to: past ? to : null };
}

export let view = read();

/** Look at something else; `null` takes a part away. What counts as a step can be taken back in the browser. */
export function look(change, { step = true } = {}) {
  const before = view;
  view = { ...view, ...change };
  const address = new URL(location.href);
  for (const key of KEYS) {
    if (view[key] == null || (key === "range" && view[key] === "3h")) address.searchParams.delete(key);
    else address.searchParams.set(key, view[key]);
  }
  history[step ? "pushState" : "replaceState"](null, "", address);
  for (const listener of listeners) listener(view, before);
}

export const onLook = (listener) => listeners.push(listener);

addEventListener("popstate", () => {
  const before = view;
  view = read();
  for (const listener of listeners) listener(view, before);
});
