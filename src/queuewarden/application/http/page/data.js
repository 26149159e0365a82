// Answers of the API as the state keeps them.

import { get } from "./api.js";

export const loadStatus = () => get("status");

export async function loadAlerts() {
  const { alerts, suppressions } = await get("alerts", { limit: 300 });
  return { alerts, suppressions };
}

// Trends and last repairs of one environment, or of all.
export async function loadStats(env) {
  const { environments } = await get("stats", { env });
  const trends = new Map();
  const repairs = [];
  for (const [environment, known] of Object.entries(environments)) {
    trends.set(
      environment,
      Object.entries(known.queues ?? {}).map(([queue, one]) => ({ queue, points: one.points })),
    );
    for (const repair of known.repairs ?? []) repairs.push({ environment, ...repair });
  }
  return { trends, repairs };
}

export async function loadFindings(env) {
  const { findings } = await get("findings", { env });
  return findings.flatMap(rowsOf);
}

// One row for each lane that a check's findings are in; of at most 20 rows that the daemon keeps of a rule.
function rowsOf(finding) {
  const lanes = new Map();
  for (const row of finding.rows) lanes.set(row.lane, [...(lanes.get(row.lane) ?? []), row]);
  if (lanes.size === 0) lanes.set(null, []);
  const { queue, check, code, at } = finding;
  return [...lanes].map(([lane, rows]) => {
    const whole = lanes.size === 1 || finding.rows.length === finding.found;
    const left = rows.filter(({ mended }) => !mended).length;
    return {
      queue,
      check,
      code,
      at,
      lane,
      why: why(finding),
      found: lanes.size === 1 ? finding.found : rows.length,
      left: lanes.size === 1 ? finding.left : left,
      atLeast: !whole,
      which: rows.slice(0, 5).map(named).join("; ") + (rows.length > 5 ? " …" : ""),
    };
  });
}

function why({ error, failure, held, reason, set_aside: aside }) {
  if (error) return `failed, ${[error, failure].filter(Boolean).join(": ")}`;
  return [reason, held ? `held back: ${held}` : null, aside ? `${aside} set aside` : null]
    .filter(Boolean)
    .join(", ");
}

const TOLD = ["fault", "worker", "reference", "refused", "set_aside"];

function named({ key, label, facts }) {
  const told = TOLD.filter((fact) => facts[fact]).map((fact) => `${fact.replace("_", " ")} ${facts[fact]}`);
  return [key.join(","), label, told.length ? `(${told.join(", ")})` : null].filter(Boolean).join(" ");
}
