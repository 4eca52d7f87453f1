// A consumer that knows nothing but the contract (docs/asyncapi.yaml, docs/schemas): it reads emotion events of
// all partitions in a consumer group and prints one line for each; Node 20 or later, no dependencies.
//
//   node docs/examples/consumer.mjs 127.0.0.1:6379 my-group [how many, then stop]

import { readFileSync } from "node:fs";
import { connect } from "node:net";

const [address = "127.0.0.1:6379", group = "example", limit = "Infinity"] = process.argv.slice(2);
const required = JSON.parse(readFileSync(new URL("../schemas/event.json", import.meta.url))).required;

/** One connection that speaks RESP2: `await call("GET", "key")`. */
function redis(host, port) {
  const socket = connect(port, host);
  const waiting = [];
  let received = Buffer.alloc(0);

  // Reads one reply at `at`; answers [value, end], or null while it is not all there.
  function parse(at) {
    const end = received.indexOf("\r\n", at);
    if (end < 0) return null;
    const line = received.toString("utf8", at + 1, end);
    let next = end + 2;
    switch (String.fromCharCode(received[at])) {
      case "+": return [line, next];
      case "-": return [new Error(line), next];
      case ":": return [Number(line), next];
      case "$": {
        const length = Number(line);
        if (length < 0) return [null, next];
        if (received.length < next + length + 2) return null;
        return [received.toString("utf8", next, next + length), next + length + 2];
      }
      case "*": {
        if (Number(line) < 0) return [null, next];
        const items = [];
        for (let i = 0; i < Number(line); i += 1) {
          const item = parse(next);
          if (item === null) return null;
          items.push(item[0]);
          next = item[1];
        }
        return [items, next];
      }
      default: throw new Error(`not RESP: ${line}`);
    }
  }

  socket.on("data", (chunk) => {
    received = Buffer.concat([received, chunk]);
    for (let reply = parse(0); reply !== null; reply = received.length ? parse(0) : null) {
      received = received.subarray(reply[1]);
      const { resolve, reject } = waiting.shift();
      if (reply[0] instanceof Error) reject(reply[0]);
      else resolve(reply[0]);
    }
  });
  socket.on("error", (error) => waiting.splice(0).forEach(({ reject }) => reject(error)));

  function call(...words) {
    const parts = words.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`);
    return new Promise((resolve, reject) => {
      waiting.push({ resolve, reject });
      socket.write(`*${parts.length}\r\n${parts.join("")}`);
    });
  }
  return { call, close: () => socket.end() };
}

/** Streams of the partitions that have a fence; none in 64 in a row means there are no more. */
async function partitions({ call }) {
  const found = [];
  for (let first = 0; ; first += 64) {
    const numbers = Array.from({ length: 64 }, (_, i) => first + i);
    const fences = await Promise.all(numbers.map((n) => call("HGET", `fp:{comments:${n}}:fence`, "next")));
    const there = numbers.filter((_, i) => fences[i] !== null);
    if (there.length === 0) return found;
    found.push(...there.map((n) => `fp:{comments:${n}}:events`));
  }
}

async function join({ call }, stream) {
  try {
    await call("XGROUP", "CREATE", stream, group, "0", "MKSTREAM");
  } catch (error) {
    if (!error.message.startsWith("BUSYGROUP")) throw error;
  }
}

const [host, port] = address.split(":");
const connection = redis(host, Number(port));
let handled = 0;
while (handled < Number(limit)) {
  const streams = await partitions(connection);
  let taken = 0;
  for (const stream of streams) {
    await join(connection, stream);
    const room = Math.min(100, Number(limit) - handled);
    if (room === 0) break;
    const answer = await connection.call("XREADGROUP", "GROUP", group, `node-${process.pid}`, "COUNT", room, "STREAMS", stream, ">");
    for (const [id, [, json]] of answer?.[0][1] ?? []) {
      const event = JSON.parse(json);
      const missing = required.filter((name) => !(name in event));
      if (event.schema !== 1 || missing.length) throw new Error(`${stream} ${id} is no event of schema 1`);
      console.log(JSON.stringify({ id: event.id, community: event.community, negative: event.negative, labels: event.labels }));
      await connection.call("XACK", stream, group, id);
      handled += 1;
      taken += 1;
    }
  }
  if (taken === 0) await new Promise((resolve) => setTimeout(resolve, 200));
}
connection.close();
