CREATE TABLE queuewarden.alerts (
    number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    environment text NOT NULL,
    id text NOT NULL,
    rule text NOT NULL,
    severity text NOT NULL,
    queue text NOT NULL,
    subject text NOT NULL,
    value double precision NOT NULL,
    threshold double precision NOT NULL,
    summary text NOT NULL,
    hint text NOT NULL,
    since timestamptz NOT NULL,
    announced_at timestamptz,
    escalated boolean NOT NULL DEFAULT false,
    acked_by text,
    resolved_at timestamptz);
COMMENT ON TABLE queuewarden.alerts IS 'Alerts: those that fire (resolved_at IS NULL), and those that ended';
CREATE UNIQUE INDEX ON queuewarden.alerts (environment, id) WHERE resolved_at IS NULL;
CREATE INDEX ON queuewarden.alerts (resolved_at);

CREATE TABLE queuewarden.suppressions (
    number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    rule text,
    environment text,
    queue text,
    until timestamptz NOT NULL,
    reason text NOT NULL,
    set_by text NOT NULL,
    set_at timestamptz NOT NULL DEFAULT now(),
    ended_by text,
    ended_at timestamptz);
COMMENT ON TABLE queuewarden.suppressions IS
    'Alerts that nobody wants to hear of until a moment: by rule, environment and queue (* at the end: any)';

UPDATE queuewarden.schema_version SET version = 3, since = now();
