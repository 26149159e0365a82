CREATE SCHEMA IF NOT EXISTS queuewarden;
COMMENT ON SCHEMA queuewarden IS 'queuewarden: what was changed, who may change, what is to be left alone';

CREATE TABLE queuewarden.schema_version (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    since timestamptz NOT NULL DEFAULT now());
COMMENT ON TABLE queuewarden.schema_version IS 'One row: the version of this schema';
INSERT INTO queuewarden.schema_version (version) VALUES (1);

CREATE TABLE queuewarden.lease (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    holder text,
    epoch bigint NOT NULL DEFAULT 0,
    until timestamptz NOT NULL DEFAULT '-infinity',
    since timestamptz);
COMMENT ON TABLE queuewarden.lease IS 'One row: the daemon that may repair this database, and until when';
INSERT INTO queuewarden.lease DEFAULT VALUES;

CREATE TABLE queuewarden.counter (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    last_id bigint NOT NULL DEFAULT 0,
    undos bigint NOT NULL DEFAULT 0);
COMMENT ON TABLE queuewarden.counter IS
    'One row: the last change id that was given, and how often rows were put back';
INSERT INTO queuewarden.counter DEFAULT VALUES;

CREATE TABLE queuewarden.changes (
    first_id bigint PRIMARY KEY,
    last_id bigint NOT NULL CHECK (last_id >= first_id),
    at timestamptz NOT NULL DEFAULT statement_timestamp(),
    environment text NOT NULL,
    queue text NOT NULL,
    check_name text NOT NULL,
    rule text NOT NULL,
    event text NOT NULL,
    reason text NOT NULL,
    sweep text NOT NULL,
    actor text NOT NULL,
    epoch bigint,
    part text NOT NULL CHECK (part IN ('jobs', 'workers')),
    table_schema text NOT NULL,
    table_name text NOT NULL,
    key_columns text[] NOT NULL,
    columns text[] NOT NULL,
    estimated text[] NOT NULL DEFAULT '{}',
    keys text[] NOT NULL,
    before text[] NOT NULL,
    after text[] NOT NULL,
    undoes bigint[]);
COMMENT ON TABLE queuewarden.changes IS
    'The ledger: a row a batch, ids first_id to last_id in the order of keys, before and after (row by row)';
CREATE INDEX ON queuewarden.changes (at);
CREATE INDEX ON queuewarden.changes (sweep);
CREATE INDEX ON queuewarden.changes (table_schema, table_name, queue, event, at);
CREATE INDEX ON queuewarden.changes (at) WHERE undoes IS NOT NULL;

CREATE TABLE queuewarden.left_alone (
    table_schema text NOT NULL,
    table_name text NOT NULL,
    key text[] NOT NULL,
    version text NOT NULL,
    at timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (table_schema, table_name, key));
COMMENT ON TABLE queuewarden.left_alone IS
    'Rows that were put back, each left alone for as long as its xmin is this version';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['keys', 'before', 'after'] LOOP
        EXECUTE format('ALTER TABLE queuewarden.changes ALTER COLUMN %I SET COMPRESSION lz4', name);
    END LOOP;
EXCEPTION WHEN feature_not_supported OR syntax_error THEN
    NULL;  -- a server built without lz4, or older than 14, compresses in its own way
END $$;
