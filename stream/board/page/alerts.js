// Alerts and why they were raised.

import { $, make } from "./dom.js";
import { look, view } from "./state.js";
import { moment, percent, words } from "./words.js";

const known = new Map();
export function receive(changed, whole) { if (whole) known.clear(); for (const a of changed) known.set(a.id, a); draw(); return true; }
export const of = (community) => [...known.values()].filter((alert) => alert.community === community);
export const firingIn = (community) => of(community).filter((alert) => alert.state === "firing").length;
export function open() {}
export function draw() {}
