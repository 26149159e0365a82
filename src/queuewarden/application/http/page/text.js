// Words for people: numbers, spans, moments. What is unknown is a dash, never a zero.

export const UNKNOWN = "–";

const NUMBER = new Intl.NumberFormat("en");
const ABSOLUTE = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

// Signs that would break lines or turn the direction of what stands around them.
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

export function plain(value, most = 300) {
  const text = String(value ?? "").replace(UNSAFE, "\ufffd");
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

export function count(value) {
  return Number.isFinite(value) ? NUMBER.format(value) : UNKNOWN;
}

export function plural(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

// A span in one unit, as the daemon's own log says it.
export function span(seconds) {
  if (!Number.isFinite(seconds)) return UNKNOWN;
  const whole = Math.max(0, Math.floor(seconds));
  for (const [size, unit] of [
    [86400, "d"],
    [3600, "h"],
    [60, "m"],
  ]) {
    if (whole >= size) return `${Math.floor(whole / size)} ${unit}`;
  }
  return `${whole} s`;
}

// How long something took; finer than `span`.
export function took(seconds) {
  if (!Number.isFinite(seconds)) return UNKNOWN;
  if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  return seconds < 10 ? `${seconds.toFixed(1)} s` : span(seconds);
}

export function moment(value) {
  const time = Date.parse(value ?? "");
  return Number.isNaN(time) ? null : time;
}

export function absolute(time) {
  return time === null ? UNKNOWN : ABSOLUTE.format(time);
}

export function clock(time) {
  return CLOCK.format(time);
}

export function relative(time, now) {
  if (time === null) return UNKNOWN;
  const seconds = (now - time) / 1000;
  if (seconds < -1) return `in ${span(-seconds)}`;
  return seconds < 1 ? "just now" : `${span(seconds)} ago`;
}

// How long something has lasted.
export function lasting(time, now) {
  return time === null ? UNKNOWN : `for ${span((now - time) / 1000)}`;
}

export function reading(value) {
  if (!Number.isFinite(value)) return UNKNOWN;
  return Number.isInteger(value) ? count(value) : String(Number(value.toPrecision(3)));
}
