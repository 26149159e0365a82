// What the buttons do.

import { act, ApiError, get } from "./api.js";
import { loadAlerts, loadFindings } from "./data.js";
import { askSuppression, askSure } from "./dialogs.js";
import { now } from "./dom.js";
import { notice } from "./notices.js";
import { takeAlerts, takeFindings, takeRepairs } from "./state.js";
import { plain } from "./text.js";
import { showBusy, showFailure, showResult } from "./view_findings.js";

const busy = new WeakSet();

// Runs one thing at a time for each button, and tells what went wrong.
async function once(button, run, failed = (text) => notice(text, { wrong: true })) {
  if (button !== null && (busy.has(button) || button.getAttribute("aria-disabled") === "true")) return;
  if (button !== null) busy.add(button);
  try {
    await run();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    failed(error.message);
  } finally {
    if (button !== null) busy.delete(button);
  }
}

const query = ({ environment, queue, lane }) => ({ env: environment, queue, lane });

async function refreshAlerts() {
  takeAlerts(await loadAlerts());
}

// The daemon tells of its own sweeps alone; this repair stands among them for whoever made it here.
function byHand({ environment, queue, lane }, fixed) {
  const at = new Date(now()).toISOString();
  const check = lane === null ? "by hand" : `by hand, lane ${lane}`;
  return { environment, queue, check, event: "by hand", reason: "", count: fixed, sweep: at, at };
}

export const actions = {
  acknowledge: (alert, button) =>
    once(button, async () => {
      await act("POST", "alerts/ack", { body: { id: alert.id } });
      notice(`Acknowledged: ${plain(alert.summary)}`);
      await refreshAlerts();
    }),

  suppress: (alert, scopes) =>
    once(null, async () => {
      const wanted = await askSuppression(alert.summary, scopes);
      if (wanted === null) return;
      const body = Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== null));
      await act("POST", "alerts/suppress", { body });
      notice(`Suppressed for ${wanted.for}.`);
      await refreshAlerts();
    }),

  lift: (suppression) =>
    once(null, async () => {
      await act("DELETE", `alerts/suppress/${encodeURIComponent(suppression.id)}`);
      notice("The suppression is lifted.");
      await refreshAlerts();
    }),

  check: (place, result, button) =>
    once(
      button,
      async () => {
        showBusy(result, "Looking …");
        showResult(result, await get("consistency", query(place)), { ...place, lane: null }, actions);
      },
      (text) => showFailure(result, text),
    ),

  repair: (place, result, button) =>
    once(
      button,
      async () => {
        const where = `${plain(place.environment)}/${plain(place.queue)}`;
        const what = place.lane === null ? where : `lane ${plain(place.lane)} of ${where}`;
        const sure = await askSure(
          `Repair ${what}?`,
          "All checks run now, by the daemon's own rules, brakes and limits. What is at fault is put right, " +
            "and recorded in the ledger where there is one.",
          "Repair",
        );
        if (!sure) return;
        showBusy(result, "Repairing …");
        const answer = await act("POST", "consistency", { query: query(place) });
        showResult(result, answer, place, actions);
        if (answer.fixed > 0) takeRepairs([byHand(place, answer.fixed)]);
        takeFindings(place.environment, await loadFindings(place.environment));
      },
      (text) => showFailure(result, text),
    ),
};

export const sweep = (environment) =>
  once(null, async () => {
    await act("POST", "sweep", { query: { env: environment } });
    notice(environment === null ? "All environments are swept now." : `${plain(environment)} is swept now.`);
  });
