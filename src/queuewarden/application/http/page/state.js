// All that the page knows, and how answers and events change it. Views are told when it has changed.

import { moment } from "./text.js";

const EVERY = 30_000; // As far apart as the daemon keeps the points of a trend.
const POINTS = 240;
const REPAIRS = 60;
const TOGETHER = 120; // Changes within so many milliseconds are painted at once.

export const state = {
  status: null,
  environments: new Map(),
  trends: new Map(), // environment → queue → points
  findings: new Map(), // environment → what each check found
  repairs: [],
  alerts: null, // null: unknown
  ended: [],
  suppressions: [],
  connection: { mode: "connecting", about: {} },
  selected: null,
};

const listeners = [];
let painting = null;

export function watch(listener) {
  listeners.push(listener);
}

export function changed() {
  painting ??= setTimeout(paint, TOGETHER);
}

function paint() {
  clearTimeout(painting);
  painting = null;
  for (const listener of listeners) listener(state);
}

export function takeStatus(status) {
  state.status = status;
  state.environments = new Map(Object.entries(status.environments ?? {}));
  for (const known of [state.trends, state.findings]) {
    for (const name of [...known.keys()]) if (!state.environments.has(name)) known.delete(name);
  }
  if (!state.environments.has(state.selected)) state.selected = null;
  for (const [name, document] of state.environments) extend(name, document);
  changed();
}

// An environment has been swept, or went down or up.
export function takeEnvironment({ environment, ...document }) {
  // What only the full status tells stays until the next one.
  state.environments.set(environment, { ...state.environments.get(environment), ...document });
  extend(environment, document);
  changed();
}

function extend(environment, document) {
  const trends = state.trends.get(environment);
  if (trends === undefined || document.state !== "up" || !document.last_sweep) return;
  for (const [queue, counts] of Object.entries(document.queues ?? {})) {
    const points = trends.get(queue) ?? [];
    const point = {
      at: document.last_sweep,
      waiting: counts.waiting_jobs ?? null,
      running: counts.running_jobs ?? null,
      failed: counts.failed_jobs ?? null,
      workers: counts.active_workers ?? null,
      silent: counts.silent_workers ?? null,
    };
    trends.set(queue, added(points, point));
  }
}

// The last point is always the latest; those before it are as far apart as they should be.
function added(points, point) {
  const time = moment(point.at);
  const last = points.at(-1);
  if (time === null || (last !== undefined && moment(last.at) >= time)) return points;
  const kept = points.length > 1 && time - moment(points.at(-2).at) < EVERY ? points.slice(0, -1) : points;
  return [...kept, point].slice(-POINTS);
}

export function takeTrends(environment, queues) {
  state.trends.set(environment, new Map(queues.map(({ queue, points }) => [queue, points ?? []])));
  const known = state.environments.get(environment);
  if (known !== undefined) extend(environment, known);
  changed();
}

export function takeFindings(environment, findings) {
  state.findings.set(environment, findings);
  changed();
}

const identity = (repair) =>
  [repair.sweep, repair.environment, repair.queue, repair.check, repair.event, repair.reason].join("\n");

export function takeRepairs(repairs) {
  const known = new Map([...state.repairs, ...repairs].map((repair) => [identity(repair), repair]));
  state.repairs = [...known.values()]
    .sort((one, other) => (moment(other.at) ?? 0) - (moment(one.at) ?? 0))
    .slice(0, REPAIRS);
  changed();
}

export function takeAlerts({ alerts, suppressions }) {
  state.alerts = alerts.filter((alert) => !alert.resolved);
  state.ended = alerts.filter((alert) => alert.resolved);
  state.suppressions = suppressions;
  changed();
}

export function takeConnection(mode, about = {}) {
  state.connection = { mode, about };
  changed();
}

export function select(environment) {
  state.selected = environment;
  paint(); // Whoever clicks sees it at once.
}

export const repairKey = identity;

// How much an environment needs a look: 0 down, 1 something is wrong, 2 starting, 3 well.
export function urgency(name, environment) {
  if (environment.state === "down") return 0;
  const firing = (state.alerts ?? []).some(
    (alert) => alert.environment === name && alert.severity !== "info" && !alert.muted,
  );
  if (firing || environment.brakes?.length || environment.anomalies?.length) return 1;
  return environment.state === "up" ? 3 : 2;
}
