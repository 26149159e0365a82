// The page: loads what the daemon knows, listens to what happens, and paints it.

import { actions, sweep } from "./actions.js";
import { ApiError, askAgain, askWith, tokens } from "./api.js";
import { loadAlerts, loadFindings, loadStats, loadStatus } from "./data.js";
import { askToken } from "./dialogs.js";
import { byId, recall, remember, setSkew, show, tick } from "./dom.js";
import { notice } from "./notices.js";
import {
  changed,
  state,
  takeAlerts,
  takeConnection,
  takeEnvironment,
  takeFindings,
  takeRepairs,
  takeStatus,
  takeTrends,
  watch,
} from "./state.js";
import { Live } from "./stream.js";
import { moment } from "./text.js";
import { alertsView } from "./view_alerts.js";
import { paintEnvironments, prepareEnvironments } from "./view_environments.js";
import { paintConnection, paintHeader } from "./view_header.js";
import { queuesView } from "./view_queues.js";
import { paintRepairs } from "./view_repairs.js";

const FEW = 20; // Environments whose repairs are worth loading at once; of more, only the chosen one's.
const FINDINGS_EVERY = 3_000;
const SOON = 250;

let version = null;

function take(status) {
  version ??= status.version;
  if (status.version !== version)
    notice(`The daemon is version ${(version = status.version)} now: load this page anew.`);
  const started = moment(status.started);
  if (started !== null && Number.isFinite(status.uptime_seconds)) {
    setSkew(started + status.uptime_seconds * 1000 - Date.now());
  }
  takeStatus(status);
}

// Runs something soon, once for all who asked meanwhile; `least`: milliseconds between two runs.
function gathered(run, least = SOON) {
  let timer = null;
  let last = -Infinity;
  return () => {
    timer ??= setTimeout(
      async () => {
        last = performance.now();
        try {
          await run();
        } catch (error) {
          if (!(error instanceof ApiError)) throw error; // What the daemon refuses, the connection tells.
        } finally {
          timer = null;
        }
      },
      Math.max(SOON, last + least - performance.now()),
    );
  };
}

let shown = null;

// What the chosen environment's queues need.
async function loadChosen() {
  const env = state.selected;
  if (env === null) return;
  shown = env;
  const [{ trends, repairs }, findings] = await Promise.all([loadStats(env), loadFindings(env)]);
  for (const [environment, queues] of trends) takeTrends(environment, queues);
  takeRepairs(repairs);
  takeFindings(env, findings);
}

const lookAtAlerts = gathered(async () => takeAlerts(await loadAlerts()));
const lookAtChosen = gathered(loadChosen);
const lookAtFindings = gathered(async () => {
  const env = state.selected;
  if (env !== null) takeFindings(env, await loadFindings(env));
}, FINDINGS_EVERY);
// What no event tells: recommendations, and what others suppressed.
const lookAround = gathered(async () => {
  take(await loadStatus());
  takeAlerts(await loadAlerts());
}, 30_000);

async function look(greeted = false) {
  const [status, alerts] = await Promise.all([greeted ? null : loadStatus(), loadAlerts()]);
  if (status !== null) take(status);
  takeAlerts(alerts);
  state.selected ??= [...state.environments].find(([, one]) => one.state === "up")?.[0] ?? null;
  const several = state.environments.size > 1 && state.environments.size <= FEW;
  const [everywhere] = await Promise.all([several ? loadStats() : null, loadChosen()]);
  if (everywhere !== null) takeRepairs(everywhere.repairs);
}

function happened(kind, data) {
  if (kind === "hello") take(data);
  else if (kind === "environment") {
    takeEnvironment(data);
    lookAround();
    if (data.environment === state.selected) lookAtFindings();
  } else if (kind === "repair") {
    takeRepairs([data]);
    if (data.environment === state.selected) lookAtFindings();
  } else if (kind === "alert") lookAtAlerts();
}

const live = new Live({ event: happened, look, turn: takeConnection });

function prepareTools() {
  byId("theme").addEventListener("click", turnColours);
  nameColours();
  byId("forget").addEventListener("click", () => {
    tokens.forget();
    location.reload(); // What the tokens let us see is forgotten with them.
  });
  byId("sweep-all").addEventListener("click", () => sweep(null));
  byId("sweep-one").addEventListener("click", () => sweep(state.selected));
  byId("banner-act").addEventListener("click", () => {
    askAgain();
    live.retry();
  });
  window.addEventListener("online", () => live.retry());
  document.addEventListener("visibilitychange", () => document.hidden || live.retry());
}

const COLOURS = ["automatic", "light", "dark"];
const colours = () => document.documentElement.dataset.theme ?? "automatic";

function nameColours() {
  byId("theme").textContent = `Colours: ${colours()}`;
}

function turnColours() {
  const next = COLOURS[(COLOURS.indexOf(colours()) + 1) % COLOURS.length];
  if (next === "automatic") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  remember(localStorage, "queuewarden.colours", next === "automatic" ? null : next);
  nameColours();
}

askWith(async (kind, why) => {
  const token = await askToken(kind, why);
  if (token !== null) tokens.set(kind, token);
  changed();
  return token;
});

prepareTools();
prepareEnvironments();
state.selected = recall(sessionStorage, "queuewarden.chosen");
watch(paintHeader);
watch(paintEnvironments);
watch(alertsView(actions));
watch(queuesView(actions));
watch(paintRepairs);
watch(({ selected }) => {
  show(byId("forget"), tokens.known());
  if (selected === shown || selected === null) return;
  shown = selected;
  remember(sessionStorage, "queuewarden.chosen", selected);
  lookAtChosen();
});
setInterval(() => {
  tick();
  paintConnection(state);
}, 1000);
try {
  take(await loadStatus()); // Alone, so that a token that is wrong is refused once.
} catch (error) {
  if (!(error instanceof ApiError)) throw error;
}
live.run();
