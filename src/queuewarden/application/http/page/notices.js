// Short messages: seen for a while, and said once to whoever listens to a screen reader.

import { byId, make } from "./dom.js";
import { plain } from "./text.js";

const SEEN = 8_000;
const CALM = 2_500;

let waiting = [];
let last = 0;
let timer = null;

// Says what has changed; what comes within a few seconds is said together.
export function announce(text) {
  waiting.push(plain(text));
  timer ??= setTimeout(speak, Math.max(50, last + CALM - performance.now()));
}

function speak() {
  timer = null;
  last = performance.now();
  const shown = waiting.slice(0, 3).join(" ");
  byId("said").textContent = waiting.length > 3 ? `${shown} And ${waiting.length - 3} more changes.` : shown;
  waiting = [];
}

// A message in the corner. A failure stays until it is closed.
export function notice(text, { wrong = false } = {}) {
  const close = make("button", { type: "button", text: "Close", on: { click: () => box.remove() } });
  const box = make("div", { class: wrong ? "notice bad" : "notice" }, make("p", { text }), close);
  byId("notices").append(box);
  while (byId("notices").children.length > 4) byId("notices").firstElementChild.remove();
  announce(text);
  if (!wrong) setTimeout(() => box.contains(document.activeElement) || box.remove(), SEEN);
}
