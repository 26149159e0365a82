-- Oban 0.7 (Python): the same table in other types, and a table of the processes that fetch.
CREATE TYPE oban_job_state AS ENUM (
    'available', 'scheduled', 'suspended', 'executing', 'retryable', 'completed', 'discarded', 'cancelled');

CREATE TABLE oban_jobs (
    id           bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    state        oban_job_state NOT NULL DEFAULT 'available',
    queue        text NOT NULL DEFAULT 'default',
    worker       text NOT NULL,
    attempt      smallint NOT NULL DEFAULT 0,
    max_attempts smallint NOT NULL DEFAULT 20,
    priority     smallint NOT NULL DEFAULT 0,
    args         jsonb NOT NULL DEFAULT '{}',
    meta         jsonb NOT NULL DEFAULT '{}',
    tags         text[] NOT NULL DEFAULT '{}',
    errors       jsonb NOT NULL DEFAULT '[]',
    attempted_by text[] NOT NULL DEFAULT '{}',
    inserted_at  timestamp NOT NULL DEFAULT timezone('UTC', now()),
    scheduled_at timestamp NOT NULL DEFAULT timezone('UTC', now()),
    attempted_at timestamp,
    cancelled_at timestamp,
    completed_at timestamp,
    discarded_at timestamp,
    CONSTRAINT attempt_range CHECK (attempt BETWEEN 0 AND max_attempts),
    CONSTRAINT non_negative_priority CHECK (priority >= 0),
    CONSTRAINT positive_max_attempts CHECK (max_attempts > 0),
    CONSTRAINT queue_length CHECK (char_length(queue) > 0),
    CONSTRAINT worker_length CHECK (char_length(worker) > 0));

CREATE UNLOGGED TABLE oban_producers (
    uuid       uuid PRIMARY KEY,
    name       text NOT NULL DEFAULT 'oban',
    node       text NOT NULL,
    queue      text NOT NULL,
    meta       jsonb NOT NULL DEFAULT '{}',
    started_at timestamp NOT NULL DEFAULT timezone('UTC', now()),
    updated_at timestamp NOT NULL DEFAULT timezone('UTC', now()));
