// Graphile Worker, one verb a process; the database by the variables of libpq (PGHOST and so on).
//
//   migrate                 its schema
//   enqueue SECONDS...      a job for each, that sleeps so long; prints their ids
//   lane SECONDS...         the same in one named queue, which runs them one by one
//   work                    work until killed

import { setTimeout as sleep } from "node:timers/promises";
import { Logger, makeWorkerUtils, run, runMigrations } from "graphile-worker";

const logger = new Logger(() => (level, message) => level === "error" && console.error(message));
const options = { logger, noHandleSignals: true };

async function task({ seconds }, { job, query }) {
  await sleep(seconds * 1000);
  await query("INSERT INTO conformance_done (id, pid) VALUES ($1, $2)", [job.id, process.pid]);
}

// One by one: `addJobs` promises no order.
async function enqueue(seconds, queueName) {
  const utils = await makeWorkerUtils(options);
  for (const one of seconds) {
    const job = await utils.addJob("sleep", { seconds: Number(one) }, { queueName });
    console.log(job.id);
  }
  await utils.release();
}

const verbs = {
  migrate: () => runMigrations(options),
  enqueue: (...seconds) => enqueue(seconds),
  lane: (...seconds) => enqueue(seconds, "lane"),
  async work() {
    const runner = await run({ ...options, concurrency: 10, pollInterval: 500, taskList: { sleep: task } });
    return runner.promise;
  },
};

const [verb, ...words] = process.argv.slice(2);
await verbs[verb](...words);
