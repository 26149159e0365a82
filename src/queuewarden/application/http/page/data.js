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
    trends.set(environment, Object.entries(known.queues ?? {}).map(([queue, one]) => ({ queue, points: one.points })));
    for (const repair of known.repairs ?? []) repairs.push({ environment, ...repair });
  }
  return { trends, repairs };
}

export async function loadFindings(env) {
  const { findings } = await get("findings", { env });
  return findings.flatMap(rowsOf);
}

// One row for each lane that a check's findings are in.
function rowsOf(finding) {
  const lanes = new Map();
  for (const row of finding.rows ?? []) {
    const lane = row.lane ?? row.facts?.lane ?? null;
    lanes.set(lane, [...(lanes.get(lane) ?? []), row]);
  }
  const { queue, check, code, at, reason } = finding;
  if (lanes.size === 0) lanes.set(null, []);
  return [...lanes].map(([lane, rows]) => ({
    queue, check, code, at, lane, why: reason,
    found: lanes.size > 1 ? rows.length : finding.found,
    left: lanes.size > 1 ? null : finding.left,
    which: rows.slice(0, 5).map((row) => row.id ?? row.key).join(", "),
  }));
}
