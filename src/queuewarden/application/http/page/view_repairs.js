// What was repaired just now, the latest first.

import { ago, byId, icon, list, make, show } from "./dom.js";
import { repairKey } from "./state.js";
import { plain, plural } from "./text.js";

const DONE = {
  "jobs.reset": ["job put back", "jobs put back"],
  "jobs.failed": ["job sent to failed", "jobs sent to failed"],
  "jobs.retried": ["failed job retried", "failed jobs retried"],
  "orphans.cancelled": ["orphan cancelled", "orphans cancelled"],
  "timestamps.filled": ["time filled in", "times filled in"],
  "by hand": ["row repaired", "rows repaired"],
  "workers.offline": ["worker marked offline", "workers marked offline"],
  "positions.repaired": ["position renumbered", "positions renumbered"],
};

export function paintRepairs({ repairs }) {
  show(byId("no-repairs"), repairs.length === 0);
  list(byId("repair-list"), repairs, repairKey, create);
}

function create(repair) {
  const [one, many] = DONE[repair.event] ?? [`row: ${plain(repair.event)}`, `rows: ${plain(repair.event)}`];
  const place = make("span", { class: "place", text: `${repair.environment}/${repair.queue}` });
  return make(
    "li",
    { class: "repair" },
    icon("up"),
    make("p", {}, make("b", { class: "num", text: plural(repair.count, one, many) }), " ", ago(repair.at)),
    make(
      "p",
      { class: "muted" },
      place,
      make("span", { text: ` · ${repair.check}${repair.reason ? `, ${repair.reason}` : ""}` }),
    ),
  );
}
