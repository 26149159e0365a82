// The top of the page: the connection, the banner, and everything in a few numbers.

import { byId, icon, list, make, mark, say, setIcon, show } from "./dom.js";
import { announce } from "./notices.js";
import { urgency } from "./state.js";
import { count, span } from "./text.js";

const MODES = {
  connecting: ["Connecting", "starting"],
  live: ["Live", "up"],
  polling: ["Every 5 s", "info"],
  lost: ["Connection lost", "down"],
  locked: ["Token needed", "warning"],
};
const BACK = 4_000; // How long the good news stays.

let before = "connecting";
let wasLost = false;
let backUntil = 0;

export function paintHeader(state) {
  paintConnection(state);
  say(byId("version"), state.status?.version ?? "");
  paintSummary(state);
  const troubled = [...state.environments].filter(([name, one]) => urgency(name, one) < 2).length;
  const title = troubled ? `(${troubled}) queuewarden` : "queuewarden";
  if (document.title !== title) document.title = title;
}

export function paintConnection({ connection: { mode, about } }) {
  const pill = byId("connection");
  const [word, shape] = MODES[mode];
  if (pill.dataset.mode !== mode) {
    pill.dataset.mode = mode;
    pill.replaceChildren(icon(shape), document.createTextNode(word));
  }
  if (mode !== before) turned(mode);
  paintBanner(mode, about);
}

function turned(mode) {
  if (mode === "lost" && !wasLost) announce("Connection to the daemon lost; trying again.");
  if ((mode === "live" || mode === "polling") && wasLost) {
    backUntil = Date.now() + BACK;
    announce("The daemon is back.");
  }
  if (mode === "lost") wasLost = true;
  else if (mode !== "connecting") wasLost = false;
  before = mode;
}

function paintBanner(mode, about) {
  const banner = byId("banner");
  const act = byId("banner-act");
  let text = null;
  let label = null;
  if (mode === "lost" || (wasLost && mode === "connecting")) {
    const left = Math.ceil(((about.until ?? 0) - Date.now()) / 1000);
    const next = left > 0 ? `Trying again in ${span(left)}.` : "Trying now …";
    text = `Connection lost. ${about.why ?? ""} ${next} What you see is as it was then.`;
    label = "Try now";
  } else if (mode === "locked") {
    text = `Reading needs a token. ${about.why ?? ""}`;
    label = "Enter token";
  } else if (Date.now() < backUntil) {
    text = "The daemon is back.";
  } else if (mode === "polling") {
    text = about.why;
  }
  mark(banner, "data-mode", Date.now() < backUntil && mode !== "lost" ? "back" : mode);
  say(byId("banner-text"), text ?? "");
  say(act, label ?? "");
  show(act, label !== null);
  show(banner, text !== null);
}

function paintSummary(state) {
  const known = [...state.environments.values()];
  const up = known.filter((one) => one.state === "up").length;
  const down = known.filter((one) => one.state === "down").length;
  const firing = state.alerts?.filter((alert) => !alert.muted) ?? null;
  const loud = firing?.some((alert) => alert.severity === "critical");
  const told = (field) => total(known, field);
  const items = [
    {
      key: "up",
      name: "Environments up",
      value: known.length ? `${up}/${known.length}` : count(null),
      note: down ? `${count(down)} down` : "",
      kind: down ? "down" : null,
      to: "#environments",
    },
    {
      key: "alerts",
      name: "Alerts",
      value: count(firing?.length),
      note: loud ? "critical" : "",
      kind: firing?.length ? (loud ? "critical" : "warning") : null,
      to: "#alerts",
    },
    { key: "waiting", name: "Waiting", ...told("waiting_jobs") },
    { key: "running", name: "Running", ...told("running_jobs") },
    { key: "failed", name: "Failed", ...told("failed_jobs") },
    { key: "workers", name: "Workers alive", ...told("active_workers") },
  ];
  list(byId("summary"), items, ({ key }) => key, createItem, updateItem);
}

// A sum over what is known; where something is not, it says so.
function total(environments, field) {
  const values = environments.map((one) => one[field]).filter(Number.isFinite);
  const unknown = environments.length - values.length;
  const sum = values.length ? values.reduce((one, other) => one + other, 0) : null;
  return { value: count(sum), note: values.length && unknown ? `of ${values.length} environments` : "" };
}

function createItem({ name, to }) {
  const inside = [
    make("span", { class: "name", text: name }),
    make("span", { class: "figure" }, icon("info"), make("b", { class: "num" })),
    make("span", { class: "note" }),
  ];
  return make("li", {}, make(to ? "a" : "div", { href: to }, ...inside));
}

function updateItem(element, { value, note, kind }) {
  const shape = element.querySelector(".icon");
  shape.classList.toggle("gone", !kind);
  if (kind) setIcon(shape, kind);
  mark(element, "data-kind", kind);
  say(element.querySelector("b"), value);
  say(element.querySelector(".note"), note);
}
