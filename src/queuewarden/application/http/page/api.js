// The JSON API: tokens, errors, and asking a person for a token where the daemon wants one.

import { recall, remember } from "./dom.js";

const KEYS = { read: "queuewarden.read", write: "queuewarden.write" };
const WITHIN = 20_000;
const ACTING = 120_000;

// What the daemon answered instead of what was asked for; `status` 0: it did not answer at all.
export class ApiError extends Error {
  constructor(status, message, after = null) {
    super(message);
    this.status = status;
    this.after = after;
  }
}

export const tokens = {
  get: (kind) => recall(sessionStorage, KEYS[kind]),
  set: (kind, value) => remember(sessionStorage, KEYS[kind], value),
  forget: () => Object.keys(KEYS).forEach((kind) => tokens.set(kind, null)),
  known: () => Object.keys(KEYS).some((kind) => tokens.get(kind) !== null),
};

let ask = async () => null;
let asking = null;
let declined = false;

// How a person is asked: `(kind, why) → token or null`.
export function askWith(how) {
  ask = how;
}

// Whoever has declined to give a token for reading is asked again only when they say so.
export function askAgain() {
  declined = false;
}

async function askedToRead(why) {
  if (declined) return null;
  const token = await asked("read", why);
  declined = token === null;
  return token;
}

// Several requests that are refused at once ask once.
function asked(kind, why) {
  asking ??= { kind, answer: ask(kind, why).finally(() => (asking = null)) };
  return asking.kind === kind ? asking.answer : asking.answer.then(() => asked(kind, why));
}

export function address(path, query = {}) {
  const url = new URL(`api/${path}`, document.baseURI);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  return url;
}

// Args: `within`: until the answer begins, for a request with a `signal` of its own; else until it is complete.
async function send(url, { within, ...options }, token) {
  const headers = { Accept: "application/json", ...options.headers };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  const settings = { ...options, headers, cache: "no-store", redirect: "error", credentials: "same-origin" };
  let late = null;
  try {
    if (options.signal === undefined)
      return await fetch(url, { ...settings, signal: AbortSignal.timeout(within) });
    const over = new Promise((_, reject) => {
      late = setTimeout(reject, within, new DOMException("", "TimeoutError"));
    });
    return await Promise.race([fetch(url, settings), over]);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(
      0,
      error.name === "TimeoutError" ? "The daemon did not answer in time." : "The daemon cannot be reached.",
    );
  } finally {
    clearTimeout(late);
  }
}

async function refusal(response) {
  let message = `The daemon answered ${response.status}.`;
  try {
    const { error, detail } = await response.json();
    if (typeof error?.message === "string")
      message = error.id ? `${error.message} (error ${error.id})` : error.message;
    else if (typeof detail === "string") message = detail;
  } catch {
    // Not JSON: a proxy's page, say.
  }
  const after = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  return new ApiError(response.status, message, Number.isFinite(after) ? after : null);
}

// The answer to a request that reads; a person is asked for a token where one is missing or refused.
export async function open(url, options = {}) {
  for (;;) {
    const used = ["read", "write"].find((kind) => tokens.get(kind) !== null);
    const token = used === undefined ? null : tokens.get(used);
    const response = await send(url, options, token);
    if (response.ok) return response;
    const refused = await refusal(response);
    if (response.status !== 401) throw refused;
    if (used !== undefined && tokens.get(used) === token) tokens.set(used, null);
    const now = tokens.get("read") ?? tokens.get("write");
    if (now !== null && now !== token) continue;
    const why = token === null ? refused.message : "The daemon refuses this token.";
    if ((await askedToRead(why)) === null) throw refused;
  }
}

export async function get(path, query = {}) {
  const response = await open(address(path, query), { within: WITHIN });
  try {
    return await response.json();
  } catch {
    throw new ApiError(0, "The daemon's answer broke off.");
  }
}

// A request that changes something.
export async function act(method, path, { query = {}, body = null } = {}) {
  const options = { method, within: ACTING };
  if (body !== null) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  for (;;) {
    const written = tokens.get("write");
    const token = written ?? tokens.get("read");
    const response = await send(address(path, query), options, token);
    if (response.ok) return response.status === 204 ? null : response.json().catch(() => null);
    const refused = await refusal(response);
    if (response.status !== 401 && response.status !== 403) throw refused;
    if (written !== null && tokens.get("write") === written) tokens.set("write", null);
    const why = written === null ? refused.message : `The daemon refuses this token: ${refused.message}`;
    if ((await asked("write", why)) === null) throw refused;
  }
}
