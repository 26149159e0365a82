CREATE TABLE queuewarden.pauses (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    environment text NOT NULL,
    reason text NOT NULL,
    set_by text NOT NULL,
    set_at timestamptz NOT NULL DEFAULT now(),
    until timestamptz,
    cron text,
    zone text,
    lasts interval,
    ended_by text,
    ended_at timestamptz,
    CHECK (CASE WHEN cron IS NULL THEN until IS NOT NULL ELSE zone IS NOT NULL AND lasts IS NOT NULL END));
COMMENT ON TABLE queuewarden.pauses IS
    'Pauses (until a moment) and maintenance windows (by cron): no daemon repairs this database meanwhile';

UPDATE queuewarden.schema_version SET version = 2, since = now();
