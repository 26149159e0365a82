// pg-boss, one verb a process; the database by the variables of libpq (PGHOST and so on).
//
//   migrate                     its schema, and a queue of each kind
//   enqueue QUEUE SECONDS...    a job for each, that sleeps so long (below zero: that fails at once); prints ids
//   work                        work until killed
//   exhaust QUEUE ID            a waiting job may run once more and no further
//   cancel QUEUE ID             prints how many it cancelled
//   retry QUEUE ID              a failed job waits again
//   supervise                   its own rescue, run to the end

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { PgBoss } from "pg-boss";

// Only one job of `stately` may run, and only one may wait for its next attempt, which comes in an hour.
const QUEUES = { plain: {}, stately: { policy: "stately", retryDelay: 3600 } };

// Less than what `send` takes, so that a test need not wait for ten seconds; `insert` takes it.
const HEARTBEAT_SECONDS = 4;

async function task(boss, queue, [{ id, data }]) {
  if (data.seconds < 0) throw new Error("it was to fail");
  await sleep(data.seconds * 1000);
  const note = "INSERT INTO conformance_done (id, pid) VALUES ($1, $2)";
  await boss.getDb().executeSql(note, [`${queue},${id}`, process.pid]);
}

const verbs = {
  async migrate(boss) {
    for (const [queue, options] of Object.entries(QUEUES)) await boss.createQueue(queue, options);
  },
  async enqueue(boss, queue, ...seconds) {
    const jobs = seconds.map((one) => ({
      id: randomUUID(),
      data: { seconds: Number(one) },
      heartbeatSeconds: HEARTBEAT_SECONDS,
    }));
    await boss.insert(queue, jobs);
    for (const { id } of jobs) console.log(id);
  },
  async work(boss) {
    const options = { localConcurrency: 10, pollingIntervalSeconds: 0.5 };
    for (const queue of Object.keys(QUEUES)) await boss.work(queue, options, (jobs) => task(boss, queue, jobs));
    return new Promise(() => {});
  },
  exhaust: (boss, queue, id) => boss.update(queue, undefined, { id, retryLimit: 0 }),
  cancel: async (boss, queue, id) => console.log((await boss.cancel(queue, id)).affected),
  retry: (boss, queue, id) => boss.retry(queue, id),
  supervise: (boss) => boss.supervise(),
};

const [verb, ...words] = process.argv.slice(2);
const boss = new PgBoss({ schedule: false, migrate: verb === "migrate", registerInstance: verb === "work" });
boss.on("error", console.error);
await boss.start();
await verbs[verb](boss, ...words);
await boss.stop({ graceful: false });
