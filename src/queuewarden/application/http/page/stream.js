// What happens, as it happens: server-sent events read through fetch(), which can send a token.
// A browser (or a proxy) that hands out bodies only once they are complete is served by looking every 5 s.

import { address, ApiError, open } from "./api.js";

const SILENT = 40_000; // The daemon sends something every 15 s.
const FIRST = 8_000; // Its greeting comes at once, unless something on the way holds it back.
const POLL = 5_000;
const AGAIN = 60_000;
const SHORTEST = 1_000;
const LONGEST = 10_000;

// The events of a text, as it comes in: `feed` returns those that are complete.
export class Parser {
  #rest = "";
  #kind = "";
  #data = [];

  feed(text) {
    const events = [];
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (this.#data.length > 0)
          events.push({ kind: this.#kind || "message", data: this.#data.join("\n") });
        [this.#kind, this.#data] = ["", []];
        continue;
      }
      const colon = line.indexOf(":");
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "event") this.#kind = value;
      if (field === "data") this.#data.push(value);
    }
    return events;
  }
}

class Unstreamed extends Error {}

// Args: `event(kind, data)`; `look(greeted)` loads everything anew, but for the status where the greeting held it;
// `turn(mode, about)` tells what became of the connection:
// connecting, live, polling (about: why), lost (about: {until, why}) or locked (no token was given).
export class Live {
  #event;
  #look;
  #turn;
  #wake = () => {};

  constructor({ event, look, turn }) {
    this.#event = event;
    this.#look = look;
    this.#turn = turn;
  }

  // Try now rather than when the wait is over.
  retry() {
    this.#wake();
  }

  async run() {
    let wait = SHORTEST;
    this.#turn("connecting");
    for (;;) {
      const begun = performance.now();
      let live = false;
      try {
        await this.#stream(() => {
          live = true;
          wait = SHORTEST;
        });
        throw new ApiError(0, "The daemon ended the stream.");
      } catch (error) {
        if (error instanceof Unstreamed || (error instanceof ApiError && error.status === 503)) {
          const why = error instanceof Unstreamed ? error.message : `${error.message} Looking every 5 s.`;
          if (await this.#poll(why)) continue;
        } else if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
          this.#turn("locked", { why: error.message });
          await this.#sleep(24 * 3_600_000);
          continue;
        }
        if (!(error instanceof ApiError || error instanceof Unstreamed)) reportError(error); // A mistake of ours.
        const next = Math.max(wait, (error.after ?? 0) * 1000) * (live ? 1 : 0.8 + 0.4 * Math.random());
        this.#turn("lost", { until: Date.now() + next, why: error.message });
        await this.#sleep(next);
        if (!live || performance.now() - begun < LONGEST) wait = Math.min(LONGEST, wait * 2);
      }
    }
  }

  async #stream(greeted) {
    const stop = new AbortController();
    let late = null;
    const expect = (within, error) => {
      clearTimeout(late);
      late = setTimeout(() => stop.abort(error), within);
    };
    try {
      const response = await open(address("events"), {
        signal: stop.signal,
        within: FIRST,
        headers: { Accept: "text/event-stream" },
      });
      if (typeof response.body?.getReader !== "function") {
        stop.abort();
        throw new Unstreamed("This browser cannot read a stream: looking every 5 s.");
      }
      expect(FIRST, new Unstreamed("Something on the way holds the stream back: looking every 5 s."));
      const reader = response.body.getReader();
      const parser = new Parser();
      const decoder = new TextDecoder();
      for (;;) {
        const { done, value } = await reader.read().catch(() => {
          throw stop.signal.reason ?? new ApiError(0, "The connection broke off.");
        });
        if (done) return;
        expect(SILENT, new ApiError(0, "The daemon has fallen silent."));
        for (const { kind, data } of parser.feed(decoder.decode(value, { stream: true }))) {
          if (kind === "hello") {
            greeted();
            this.#turn("live");
          }
          this.#event(kind, JSON.parse(data));
          // A stream that is open tells by itself when it breaks.
          if (kind === "resync" || kind === "hello") this.#look(kind === "hello").catch(() => {});
        }
      }
    } finally {
      clearTimeout(late);
      stop.abort();
    }
  }

  // Looks every 5 s; true once it is time to try the stream again, false when the daemon is gone.
  async #poll(note) {
    const until = Date.now() + AGAIN;
    while (Date.now() < until) {
      try {
        await this.#look();
      } catch (error) {
        if (error instanceof ApiError && (error.status === 0 || error.status >= 500)) return false;
      }
      this.#turn("polling", { why: note });
      await this.#sleep(POLL);
    }
    return true;
  }

  #sleep(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
