// What the checks found in a queue, by lane; a look now, and a repair.

import { ago, icon, list, make, mark, say, setAgo, show } from "./dom.js";
import { announce } from "./notices.js";
import { count, plain, plural } from "./text.js";

const SHOWN = 50;

export function createFindings(environment, queue, actions) {
  const of = `${plain(environment)}/${plain(queue)}`;
  const result = make("div", { class: "result" });
  return make(
    "div",
    { class: "findings" },
    make(
      "div",
      { class: "bar" },
      make("h4", { text: "Findings" }),
      make("button", {
        type: "button",
        text: "Check now",
        "aria-label": `Check ${of} now`,
        on: { click: (event) => actions.check({ environment, queue }, result, event.currentTarget) },
      }),
      make("button", {
        type: "button",
        text: "Repair…",
        "aria-label": `Repair ${of}`,
        on: {
          click: (event) => actions.repair({ environment, queue, lane: null }, result, event.currentTarget),
        },
      }),
    ),
    make("p", { class: "none muted" }),
    make(
      "div",
      { class: "scroll", tabindex: "0", role: "group", "aria-label": `Findings in ${of}` },
      make(
        "table",
        {},
        make("caption", { class: "unseen", text: `Findings in ${of}` }),
        make("thead", {}, make("tr", {}, ...HEADS.map((text) => make("th", { scope: "col", text })))),
        make("tbody"),
      ),
    ),
    result,
  );
}

const HEADS = ["Check", "Lane", "Found", "Left", "Why, and which", "When", "Act"];

// `findings`: rows as `rowsOf` (data.js) makes them; null: unknown.
export function updateFindings(element, { environment, queue, findings, actions }) {
  const none = element.querySelector(".none");
  say(none, findings === null ? "Nothing known yet." : "The last sweep found nothing.");
  const rows = (findings ?? []).slice(0, SHOWN);
  show(none, rows.length === 0);
  show(element.querySelector(".scroll"), rows.length > 0);
  const keyOf = (row) => `${row.check} ${row.code} ${row.lane ?? ""}`;
  const act = (lane, button) =>
    actions.repair({ environment, queue, lane }, element.querySelector(".result"), button);
  list(element.querySelector("tbody"), rows, keyOf, (row) => createRow(row, queue, act), updateRow);
}

function createRow(row, queue, repair) {
  const act =
    row.lane === null
      ? count(null)
      : make("button", {
          type: "button",
          text: "Repair lane…",
          "aria-label": `Repair lane ${plain(row.lane)} of ${plain(queue)}`,
          on: { click: (event) => repair(row.lane, event.currentTarget) },
        });
  return make(
    "tr",
    {},
    make("th", { scope: "row", text: row.check }),
    make("td", { text: row.lane ?? count(null) }),
    make("td", { class: "num found" }),
    make("td", { class: "num left" }),
    make("td", { class: "which" }),
    make("td", {}, ago(row.at)),
    make("td", {}, act),
  );
}

function updateRow(tr, row) {
  say(tr.querySelector(".found"), figure(row.found, row));
  say(tr.querySelector(".left"), figure(row.left, row));
  mark(tr.querySelector(".left"), "data-some", row.left > 0 ? "" : null);
  say(tr.querySelector(".which"), [row.why, row.which].filter(Boolean).join(": ") || count(null));
  setAgo(tr.querySelector("time"), row.at);
}

const figure = (value, { atLeast }) => (atLeast ? `≥ ${count(value)}` : count(value));

// Shows what a look or a repair brought.
export function showResult(result, answer, { environment, queue, lane }, actions) {
  const place = `${plain(environment)}/${plain(queue)}${lane ? `, lane ${plain(lane)}` : ""}`;
  const issues = answer.issues ?? [];
  const lanes = new Map();
  for (const issue of issues) lanes.set(issue.lane ?? null, (lanes.get(issue.lane ?? null) ?? 0) + 1);
  const left = plural(answer.left ?? issues.length, "issue");
  const words = answer.message ?? `fixed ${count(answer.fixed)}, ${left}`;
  const buttons = [...lanes.keys()]
    .filter((name) => name !== null && name !== lane)
    .slice(0, 12)
    .map((name) =>
      make("button", {
        type: "button",
        text: `Repair lane ${plain(name)} (${count(lanes.get(name))})…`,
        on: {
          click: (event) => actions.repair({ environment, queue, lane: name }, result, event.currentTarget),
        },
      }),
    );
  const verdict = answer.isValid ? "Consistent" : "Not consistent";
  announce(`${verdict} ${place}: ${words}.`);
  result.replaceChildren(
    make(
      "p",
      { class: answer.isValid ? "verdict good" : "verdict bad" },
      icon(answer.isValid ? "up" : "warning"),
      make("b", { text: verdict }),
      make("span", { class: "num", text: ` ${place}: ${words}.` }),
    ),
    ...(answer.errors ?? []).slice(0, 5).map((error) => make("p", { class: "wrong", text: told(error) })),
    ...(issues.length ? [issueList(issues)] : []),
    ...(buttons.length ? [make("div", { class: "buttons" }, ...buttons)] : []),
  );
}

const told = (error) => (typeof error === "string" ? error : Object.values(error).filter(Boolean).join(": "));

function issueList(issues) {
  const items = issues.slice(0, SHOWN).map((issue) => {
    const facts = Object.entries(issue.facts ?? {}).filter(([, value]) => value !== null && value !== "");
    const rest = facts.map(([name, value]) => `${name} ${value}`).join(", ");
    return make("li", {
      text: `${issue.check}: ${issue.id}${issue.lane ? ` in lane ${issue.lane}` : ""}${rest ? ` (${rest})` : ""}`,
    });
  });
  if (issues.length > SHOWN) items.push(make("li", { text: `and ${count(issues.length - SHOWN)} more` }));
  return make("ul", { class: "issues num", tabindex: "0", "aria-label": "Issues" }, ...items);
}

export function showFailure(result, text) {
  announce(text);
  result.replaceChildren(make("p", { class: "verdict bad" }, icon("down"), make("span", { text })));
}

export function showBusy(result, text) {
  result.replaceChildren(make("p", { class: "muted", text }));
}
