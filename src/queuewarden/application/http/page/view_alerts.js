// Alerts that fire, those that are over, and what is suppressed.

import { ago, byId, icon, list, make, mark, say, sayWithCode, setAgo, setIcon, show } from "./dom.js";
import { announce } from "./notices.js";
import { changed } from "./state.js";
import { absolute, count, moment, plain, reading } from "./text.js";

let fired = null;

// Args: `actions`: what the buttons do.
export function alertsView(actions) {
  byId("ended").addEventListener("input", changed);
  return ({ alerts, ended, suppressions }) => {
    if (alerts !== null) tellChanges(alerts);
    const shown = [...(alerts ?? []), ...(byId("ended").checked ? ended : [])];
    say(byId("no-alerts"), alerts === null ? "Nothing known yet." : "No alert fires.");
    show(byId("no-alerts"), shown.length === 0);
    list(byId("alert-list"), shown, keyOf, (alert) => create(alert, actions), update);
    show(byId("suppressed"), suppressions.length > 0);
    list(
      byId("suppression-list"),
      suppressions,
      ({ id }) => id,
      (one) => createSuppression(one, actions),
    );
  };
}

const keyOf = (alert) => `${alert.id} ${alert.resolved ?? ""}`;

function tellChanges(alerts) {
  const now = new Map(alerts.filter(({ muted }) => !muted).map((alert) => [alert.id, alert]));
  if (fired !== null) {
    for (const [id, alert] of now)
      if (!fired.has(id)) announce(`Alert, ${alert.severity}: ${alert.summary}.`);
    for (const [id, alert] of fired) if (!now.has(id)) announce(`Over or quiet: ${alert.summary}.`);
  }
  fired = now;
}

function place({ environment, queue, subject }) {
  return [[environment, queue].filter(Boolean).join("/"), subject].filter(Boolean).join(" ") || "the daemon";
}

function create(alert, actions) {
  const buttons = alert.resolved
    ? null
    : make(
        "div",
        { class: "buttons" },
        make("button", {
          type: "button",
          class: "ack",
          text: "Acknowledge",
          "aria-label": `Acknowledge: ${plain(alert.summary)}`,
          on: { click: (event) => actions.acknowledge(alert, event.currentTarget) },
        }),
        make("button", {
          type: "button",
          text: "Suppress…",
          "aria-label": `Suppress: ${plain(alert.summary)}`,
          on: { click: () => actions.suppress(alert, scopes(alert)) },
        }),
      );
  return make(
    "li",
    { class: "alert" },
    icon(alert.severity),
    make(
      "p",
      { class: "summary-line" },
      make("b", { class: "severity" }),
      " ",
      make("span", { class: "what" }),
    ),
    make(
      "p",
      { class: "muted" },
      make("span", { class: "place" }),
      " · since ",
      ago(alert.since),
      make("span", { class: "over" }),
      " ",
      make("span", { class: "num value" }),
    ),
    make("p", { class: "hint" }),
    make("p", { class: "tags" }),
    buttons,
  );
}

function update(element, alert) {
  mark(element, "data-severity", alert.severity);
  mark(element, "data-ended", alert.resolved ? "" : null);
  setIcon(element.querySelector(".icon"), alert.resolved ? "up" : alert.severity);
  say(
    element.querySelector(".severity"),
    alert.resolved ? `Resolved (${alert.severity})` : capital(alert.severity),
  );
  say(element.querySelector(".what"), alert.summary);
  say(element.querySelector(".place"), `${alert.rule} · ${place(alert)}`);
  setAgo(element.querySelector("time"), alert.since);
  say(
    element.querySelector(".over"),
    alert.resolved ? `, over since ${absolute(moment(alert.resolved))}` : "",
  );
  // What is either so or not has no figure worth telling.
  const figures = alert.threshold !== 0 || alert.value !== 1;
  say(
    element.querySelector(".value"),
    figures ? `is ${reading(alert.value)}, limit ${reading(alert.threshold)}` : "",
  );
  const hint = element.querySelector(".hint");
  sayWithCode(hint, alert.resolved ? "" : alert.hint);
  show(hint, Boolean(alert.hint) && !alert.resolved);
  const tags = [
    alert.acked_by ? `acknowledged by ${alert.acked_by}` : null,
    alert.escalated && !alert.resolved ? "escalated" : null,
    alert.muted ? `quiet: ${alert.muted}` : null,
  ].filter(Boolean);
  say(element.querySelector(".tags"), tags.join(" · "));
  show(element.querySelector(".tags"), tags.length > 0);
  const ack = element.querySelector(".ack");
  // It stays in its place, so that the focus does.
  if (ack) {
    mark(ack, "aria-disabled", alert.acked_by ? "true" : null);
    say(ack, alert.acked_by ? "Acknowledged" : "Acknowledge");
    mark(ack, "aria-label", `${alert.acked_by ? "Acknowledged" : "Acknowledge"}: ${plain(alert.summary)}`);
  }
}

const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1);

// What of an alert could be suppressed, from narrow to wide.
function scopes({ rule, environment, queue }) {
  const all = [];
  if (queue) all.push({ label: `${rule} of ${environment}/${queue}`, rule, environment, queue });
  if (environment) all.push({ label: `${rule} of ${environment}`, rule, environment, queue: null });
  all.push({ label: `${rule} everywhere`, rule, environment: null, queue: null });
  if (queue)
    all.push({
      label: `All alerts of ${environment}/${queue}`,
      rule: null,
      environment: environment || null,
      queue,
    });
  if (environment) all.push({ label: `All alerts of ${environment}`, rule: null, environment, queue: null });
  return all;
}

function createSuppression(one, actions) {
  const what = [
    one.rule ?? "all rules",
    one.environment || one.queue
      ? `of ${one.environment ?? "*"}${one.queue ? `/${one.queue}` : ""}`
      : "everywhere",
  ].join(" ");
  return make(
    "li",
    { class: "suppression" },
    icon("brake"),
    make("p", {}, make("b", { text: what }), " ends ", ago(one.until)),
    make("p", { class: "muted", text: `${one.reason || count(null)} · ${one.by}` }),
    make(
      "div",
      { class: "buttons" },
      make("button", {
        type: "button",
        text: "Lift",
        "aria-label": `Lift the suppression of ${plain(what)}`,
        on: { click: () => actions.lift(one) },
      }),
    ),
  );
}
