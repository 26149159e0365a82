-- Delayed::Job 4.1, migrated by Rails 7: what a guard of delayed_jobs meets.
CREATE TABLE delayed_jobs (
    id         bigserial PRIMARY KEY,
    priority   integer NOT NULL DEFAULT 0,
    attempts   integer NOT NULL DEFAULT 0,
    handler    text NOT NULL,
    last_error text,
    run_at     timestamp(6),
    locked_at  timestamp(6),
    failed_at  timestamp(6),
    locked_by  varchar,
    queue      varchar,
    created_at timestamp(6),
    updated_at timestamp(6));
CREATE INDEX delayed_jobs_priority ON delayed_jobs (priority, run_at);
