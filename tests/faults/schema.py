"""The shop that the campaign guards: three queues, and records from which the invariants are computed.

The application writes what it did in the transaction that does it; triggers write down whatever the guard
changes, and whoever changes a job that is finished. So no invariant rests on the word of what it judges.
"""

from __future__ import annotations

DEAD_AFTER = 2.0
STUCK_AFTER = 10.0
LOCK_TIMEOUT = 0.1
LEASE_TTL = 4.0
INTERVAL = 0.5
LANES = 5

GUARD = "queuewarden/%"
"""How the guard's connections call themselves, as a pattern."""

_TABLES = f"""
CREATE TABLE workers (
    id text PRIMARY KEY, status text NOT NULL DEFAULT 'idle', heartbeat timestamptz NOT NULL DEFAULT now(),
    current_job bigint, pid int,
    born_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE jobs (
    id bigserial PRIMARY KEY, worker text, started_at timestamptz, finished_at timestamptz,
    status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'running', 'done', 'failed')),
    attempts int NOT NULL DEFAULT 0, max_attempts int NOT NULL DEFAULT 4,
    enqueued_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON jobs (id) WHERE status = 'waiting';
CREATE INDEX ON jobs (started_at, id) WHERE status = 'running';
CREATE INDEX ON jobs (worker) WHERE status = 'running';
CREATE TABLE interviews (
    id bigserial PRIMARY KEY, lane int NOT NULL, position int, status text NOT NULL DEFAULT 'waiting',
    joined_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX ON interviews (lane) WHERE status = 'waiting';
INSERT INTO interviews (lane, position)
SELECT lane, position FROM generate_series(0, {LANES - 1}) AS lane, generate_series(1, 6) AS position
 ORDER BY lane, position;
CREATE TABLE letters (
    id bigserial PRIMARY KEY, status text NOT NULL DEFAULT 'waiting', started_at timestamptz, text text);
"""
_RECORDS = """
CREATE SCHEMA campaign;
CREATE TABLE campaign.enqueued (job bigint PRIMARY KEY);
CREATE TABLE campaign.executions (
    nr bigserial PRIMARY KEY, job bigint NOT NULL, worker text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE campaign.finishes (
    nr bigserial PRIMARY KEY, job bigint NOT NULL, worker text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE campaign.audit (
    nr bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT statement_timestamp(),
    who text NOT NULL DEFAULT current_setting('application_name'), part text NOT NULL, key text NOT NULL,
    old jsonb, new jsonb, worker text, beat timestamptz);

CREATE FUNCTION campaign.note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    becomes jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    holder public.workers;
BEGIN
    SELECT * INTO holder FROM public.workers AS w WHERE w.id = was ->> 'worker';
    INSERT INTO campaign.audit (part, key, old, new, worker, beat)
    VALUES (TG_TABLE_NAME, coalesce(was, becomes) ->> 'id', was, becomes, holder.id, holder.heartbeat);
    RETURN NULL;
END $$;
"""
SCHEMA = _TABLES + _RECORDS
for _table in ("workers", "jobs", "interviews", "letters"):
    SCHEMA += f"""
CREATE TRIGGER guard AFTER INSERT OR UPDATE OR DELETE ON {_table} FOR EACH ROW
  WHEN (current_setting('application_name') LIKE '{GUARD}') EXECUTE FUNCTION campaign.note();"""
SCHEMA += f"""
CREATE TRIGGER final AFTER UPDATE OR DELETE ON jobs FOR EACH ROW
  WHEN (OLD.status IN ('done', 'failed') AND current_setting('application_name') NOT LIKE '{GUARD}')
  EXECUTE FUNCTION campaign.note();
"""

_MAPPINGS = {
    "MAIL": {
        "JOBS__TABLE": "jobs",
        "JOBS__ID": "id",
        "JOBS__STATUS": "status",
        "JOBS__WORKER": "worker",
        "JOBS__STARTED_AT": "started_at",
        "JOBS__FINISHED_AT": "finished_at",
        "JOBS__ENQUEUED_AT": "enqueued_at",
        "JOBS__ATTEMPTS": "attempts",
        "JOBS__MAX_ATTEMPTS": "max_attempts",
        "STATES__WAITING": "waiting",
        "STATES__RUNNING": "running",
        "STATES__DONE": "done",
        "STATES__FAILED": "failed",
        "WORKERS__TABLE": "workers",
        "WORKERS__ID": "id",
        "WORKERS__HEARTBEAT": "heartbeat",
        "WORKERS__STATUS": "status",
        "WORKERS__OFFLINE_VALUE": "offline",
        "WORKERS__CURRENT_JOB": "current_job",
    },
    "INTERVIEWS": {
        "JOBS__TABLE": "interviews",
        "JOBS__ID": "id",
        "JOBS__STATUS": "status",
        "STATES__WAITING": "waiting",
        "STATES__RUNNING": "running",
        "STATES__DONE": "done",
        "POSITIONS__COLUMN": "position",
        "POSITIONS__LANE": "lane",
        "POSITIONS__ORDER_BY": "joined_at",
    },
    "LETTERS": {
        "JOBS__TABLE": "letters",
        "JOBS__ID": "id",
        "JOBS__STATUS": "status",
        "JOBS__STARTED_AT": "started_at",
        "STATES__WAITING": "waiting",
        "STATES__RUNNING": "running",
        "STUCK_AFTER": "1s",
    },
}

SETTINGS = {
    f"QUEUE__{queue}__{name}": value
    for queue, mapping in _MAPPINGS.items()
    for name, value in mapping.items()
} | {
    "LOG_FORMAT": "json",
    "INTERVAL": f"{INTERVAL * 1000:.0f}ms",
    "DEAD_AFTER": f"{DEAD_AFTER:.0f}s",
    "STUCK_AFTER": f"{STUCK_AFTER:.0f}s",
    "LOCK_TIMEOUT": f"{LOCK_TIMEOUT * 1000:.0f}ms",
    "LEASE_TTL": f"{LEASE_TTL:.0f}s",
    "CONNECT_TIMEOUT": "1s",
    "STATEMENT_TIMEOUT": "2s",
    "STATUS_EVERY": "5s",
    # A campaign in which a whole table of letters is stuck is no mass repair to wonder about.
    "BRAKE_ROWS": "100000",
}
"""The daemon's variables without their prefix; its environment and DSN are added by whoever starts it."""
