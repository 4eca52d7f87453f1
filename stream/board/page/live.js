// One stream of frames from the server; opened anew when the reader looks at something else, closed while hidden.

const RETRY_MS = 2000;
let source = null;
let wanted = null;
let retry = null;
let onFrame = () => {};
let onLost = () => {};

export function start(receive, lost) {
  onFrame = receive;
  onLost = lost;
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : connect()));
}

export function open(what) {
  wanted = new URLSearchParams(Object.entries(what).filter(([, value]) => value != null));
  if (!document.hidden) connect();
}

function close() {
  source?.close();
  source = null;
  clearTimeout(retry);
}

function connect() {
  close();
  if (!wanted) return;
  source = new EventSource(`frames?${wanted}`);
  source.addEventListener("message", ({ data }) => onFrame(JSON.parse(data)));
  source.addEventListener("error", () => {
    close();
    onLost();
    retry = setTimeout(connect, RETRY_MS);
  });
}
