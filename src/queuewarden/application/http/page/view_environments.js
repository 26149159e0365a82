// A card for each environment: what is wrong first, the rest by name.

import { ago, byId, icon, list, make, mark, say, setAgo, setIcon, show } from "./dom.js";
import { announce } from "./notices.js";
import { changed, select, state, urgency } from "./state.js";
import { absolute, count, moment, plain, plural, took } from "./text.js";

const AT_ONCE = 30; // Cards that are shown before somebody asks for all.
const WORDS = { up: "Up", down: "Down", starting: "Starting" };

let all = false;
let states = null;

export function prepareEnvironments() {
  for (const id of ["filter", "problems"]) byId(id).addEventListener("input", changed);
  byId("more-cards").addEventListener("click", () => {
    all = true;
    changed();
    byId("filter").focus();
  });
}

export function paintEnvironments({ environments }) {
  tellTurns(environments);
  const wanted = byId("filter").value.trim().toLowerCase();
  const troubled = byId("problems").checked;
  const matching = [...environments]
    .map(([name, one]) => ({ name, one, urgency: urgency(name, one) }))
    .filter(
      ({ name, one, urgency: how }) =>
        (!troubled || how < 3) && (wanted === "" || about(name, one).includes(wanted)),
    )
    .sort(
      (first, second) =>
        first.urgency - second.urgency || first.name.localeCompare(second.name, "en", { numeric: true }),
    );
  const shown = all ? matching : matching.slice(0, AT_ONCE);
  state.selected ??= (matching.find(({ one }) => one.state === "up") ?? matching[0])?.name ?? null;
  document.body.classList.toggle("many", environments.size > 12);
  list(byId("cards"), shown, ({ name }) => name, createCard, updateCard);
  const rest = matching.length - shown.length;
  say(byId("shown"), environments.size ? `${count(shown.length)} of ${count(environments.size)}` : "");
  say(byId("more-cards"), rest ? `Show ${count(rest)} more` : "");
  show(byId("more-cards"), rest > 0);
  say(byId("no-cards"), environments.size ? "No environment is like that." : "Nothing known yet.");
  show(byId("no-cards"), matching.length === 0);
}

function about(name, one) {
  const brakes = (one.brakes ?? []).map(({ kind, why }) => `${kind} ${why}`);
  const anomalies = (one.anomalies ?? []).map(({ kind }) => kind);
  return [name, one.state, one.reason, one.status, ...Object.keys(one.queues ?? {}), ...brakes, ...anomalies]
    .join(" ")
    .toLowerCase();
}

// Up and down are said aloud; everything else is there to be read.
function tellTurns(environments) {
  const now = new Map([...environments].map(([name, one]) => [name, one.state]));
  for (const [name, one] of now) {
    const was = states?.get(name);
    if (was === undefined || was === one || one === "starting") continue;
    announce(`${name} is ${one}.`);
  }
  if (now.size) states = now;
}

function createCard({ name }) {
  const pick = make("button", {
    type: "button",
    class: "pick",
    text: name,
    on: { click: () => choose(name) },
  });
  const figures = ["waiting", "running", "failed", "workers"].map((word) =>
    make("div", {}, make("dt", { text: word }), make("dd", { class: "num", "data-of": word })),
  );
  return make(
    "li",
    { class: "card" },
    make("h3", {}, icon("starting"), pick),
    make(
      "p",
      { class: "state" },
      make("b", { class: "word" }),
      make("span", { class: "since" }, ago(null, { lasts: true })),
    ),
    make("p", { class: "why" }),
    make("dl", { class: "figures" }, ...figures),
    make("p", { class: "facts" }, make("span", { class: "lease" }), make("span", { class: "mode" })),
    make(
      "p",
      { class: "facts" },
      make("span", {}, "Last sweep ", ago(null), make("span", { class: "took num" })),
    ),
    make("ul", { class: "troubles" }),
  );
}

function choose(name) {
  select(name);
  announce(`Queues of ${name} are shown.`);
}

function updateCard(card, { name, one, urgency: how }) {
  mark(card, "data-urgency", how);
  setIcon(card.querySelector(".icon"), how === 1 ? "warning" : one.state);
  mark(card.querySelector(".pick"), "aria-pressed", String(state.selected === name));
  say(card.querySelector(".word"), WORDS[one.state] ?? one.state);
  setAgo(card.querySelector(".since time"), one.since);
  const why = card.querySelector(".why");
  say(why, one.reason ?? "");
  show(why, Boolean(one.reason));
  const figures = {
    waiting: one.waiting_jobs,
    running: one.running_jobs,
    failed: one.failed_jobs,
    workers: one.active_workers,
  };
  for (const cell of card.querySelectorAll("dd")) say(cell, count(figures[cell.dataset.of]));
  const lease = card.querySelector(".lease");
  say(lease, leased(one));
  mark(
    lease,
    "title",
    one.lease?.holder ? `held by ${plain(one.lease.holder)}, epoch ${one.lease.epoch}` : null,
  );
  say(card.querySelector(".mode"), mode(one));
  const [, swept] = card.querySelectorAll("time");
  setAgo(swept, one.last_sweep);
  say(card.querySelector(".took"), Number.isFinite(one.sweep_seconds) ? ` · ${took(one.sweep_seconds)}` : "");
  list(
    card.querySelector(".troubles"),
    troubles(one),
    ({ key }) => key,
    createTrouble,
    (item, { text, title }) => {
      say(item.querySelector("span"), text);
      mark(item, "title", title);
    },
  );
}

function leased({ state: how, lease }) {
  if (how !== "up") return `Lease ${count(null)}`;
  if (!lease) return "No lease";
  if (lease.ours) return "Lease ours";
  return lease.holder ? `Lease: ${lease.holder}` : "Lease free";
}

function mode(one) {
  const held = Object.values(one.queues ?? {}).filter((queue) => queue.observed_only).length;
  const known = `Mode ${one.mode ?? count(null)}`;
  return held && one.mode !== "observe" ? `${known}, ${plural(held, "queue")} only observed` : known;
}

function troubles(one) {
  const place = ({ queue }) => (queue ? `${queue}: ` : "");
  const brakes = (one.brakes ?? []).map((brake) => ({
    key: `brake ${brake.queue} ${brake.kind} ${brake.why}`,
    shape: "brake",
    text: `${place(brake)}brake ${brake.kind}: ${brake.why}`,
    title: brake.until ? `until ${absolute(moment(brake.until))}` : null,
  }));
  const anomalies = (one.anomalies ?? []).map((anomaly) => ({
    key: `anomaly ${anomaly.queue} ${anomaly.kind} ${anomaly.subject}`,
    shape: "warning",
    text: `${place(anomaly)}${[anomaly.kind.replaceAll("_", " "), anomaly.subject].filter(Boolean).join(" ")}`,
    title: plain(anomaly.hint),
  }));
  const both = [...brakes, ...anomalies];
  if (both.length <= 4) return both;
  return [
    ...both.slice(0, 3),
    { key: "more", shape: "info", text: `and ${count(both.length - 3)} more`, title: null },
  ];
}

function createTrouble({ shape }) {
  return make("li", {}, icon(shape), make("span"));
}
