CREATE TABLE queuewarden.upkeep_runs (
    number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    environment text NOT NULL,
    task text NOT NULL,
    trigger text NOT NULL CHECK (trigger IN ('schedule', 'hand')),
    actor text NOT NULL,
    slot timestamptz,
    schedule text,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    alive_until timestamptz NOT NULL,
    finished_at timestamptz,
    result text NOT NULL DEFAULT 'running'
        CHECK (result IN ('running', 'done', 'failed', 'skipped', 'killed')),
    summary text NOT NULL DEFAULT '',
    did jsonb NOT NULL DEFAULT '[]');
COMMENT ON TABLE queuewarden.upkeep_runs IS
    'Upkeep: each run of a task, and what it did; slot is the moment at which the schedule wanted it';
CREATE INDEX ON queuewarden.upkeep_runs (environment, task, number);
CREATE INDEX ON queuewarden.upkeep_runs (started_at);
CREATE UNIQUE INDEX upkeep_one_at_a_time ON queuewarden.upkeep_runs (result) WHERE result = 'running';

CREATE TABLE queuewarden.samples (
    environment text NOT NULL,
    queue text NOT NULL,
    at timestamptz NOT NULL,
    span text NOT NULL CHECK (span IN ('5m', '1h', '1d')),
    readings jsonb NOT NULL,
    PRIMARY KEY (environment, queue, span, at));
COMMENT ON TABLE queuewarden.samples IS
    'Readings of each queue for reports: of five minutes, of an hour, of a day; the finer ones are kept less long';
CREATE INDEX ON queuewarden.samples (span, at);

UPDATE queuewarden.schema_version SET version = 4, since = now();
