// The queues of the chosen environment: their numbers, charts, findings.

import { Chart } from "./chart.js";
import { byId, list, make, say, show } from "./dom.js";
import { createFindings, updateFindings } from "./view_findings.js";
import { count, plain, span } from "./text.js";

const JOBS = [
  { name: "waiting", field: "waiting", line: "one" },
  { name: "running", field: "running", line: "two" },
  { name: "failed", field: "failed", line: "three" },
];
const WORKERS = [
  { name: "alive", field: "workers", line: "one" },
  { name: "silent", field: "silent", line: "three" },
];

const charts = new WeakMap();

// Args: `actions`: what the buttons do.
export function queuesView(actions) {
  return ({ environments, selected, trends, findings }) => {
    const known = environments.get(selected);
    const points = trends.get(selected);
    const names = [...new Set([...Object.keys(known?.queues ?? {}), ...(points?.keys() ?? [])])];
    names.sort((one, other) => one.localeCompare(other, "en", { numeric: true }));
    say(byId("queues-title"), selected === null ? "Queues" : `Queues of ${selected}`);
    say(
      byId("queues-note"),
      known?.state === "down" ? `down: ${known.reason ?? "for an unknown reason"}` : "",
    );
    show(byId("sweep-one"), selected !== null);
    say(byId("no-queues"), emptiness(selected, known));
    show(byId("no-queues"), names.length === 0);
    const items = names.map((queue) => ({
      environment: selected,
      queue,
      counts: known?.queues?.[queue] ?? {},
      points: points?.get(queue) ?? NONE,
      findings: findings.get(selected)?.filter((one) => one.queue === queue) ?? null,
    }));
    list(
      byId("queue-list"),
      items,
      keyOf,
      (item) => create(item, actions),
      (element, item) => update(element, item, actions),
    );
  };
}

const NONE = [];
const keyOf = ({ environment, queue }) => `${environment}/${queue}`;

function emptiness(selected, known) {
  if (selected === null || known === undefined) return "Nothing known yet.";
  return known.state === "down"
    ? "Nothing is known of its queues while it is down."
    : "Nothing known of its queues yet.";
}

function create({ environment, queue }, actions) {
  const of = `of ${plain(environment)}/${plain(queue)}`;
  const jobs = new Chart(`Jobs by state, ${of}`, JOBS);
  const workers = new Chart(`Workers, ${of}`, WORKERS);
  const element = make(
    "article",
    { class: "queue" },
    make("h3", { text: queue }),
    make("p", { class: "hold" }),
    make("p", { class: "muted num more" }),
    make("div", { class: "charts" }, jobs.element, workers.element),
    createFindings(environment, queue, actions),
  );
  charts.set(element, [jobs, workers]);
  return element;
}

function update(element, { environment, queue, counts, points, findings }, actions) {
  const hold = element.querySelector(".hold");
  say(hold, counts.observed_only ? `Only observed: ${counts.observed_only}` : "");
  show(hold, Boolean(counts.observed_only));
  const more = [
    `oldest waiting ${span(counts.oldest_waiting_seconds)}`,
    `failed in the last hour ${count(counts.failed_last_hour)}`,
  ];
  say(element.querySelector(".more"), more.join(" · "));
  const current = {
    waiting: counts.waiting_jobs,
    running: counts.running_jobs,
    failed: counts.failed_jobs,
    workers: counts.active_workers,
    silent: counts.silent_workers,
  };
  for (const chart of charts.get(element)) chart.update(points, current);
  updateFindings(element.querySelector(".findings"), { environment, queue, findings, actions });
}
