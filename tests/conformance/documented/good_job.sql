-- GoodJob 4 under Rails 7: what a guard of good_jobs meets.
CREATE TABLE good_jobs (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    queue_name          text,
    priority            integer,
    serialized_params   jsonb,
    scheduled_at        timestamp(6),
    performed_at        timestamp(6),
    finished_at         timestamp(6),
    error               text,
    created_at          timestamp(6) NOT NULL,
    updated_at          timestamp(6) NOT NULL,
    active_job_id       uuid,
    concurrency_key     text,
    cron_key            text,
    retried_good_job_id uuid,
    cron_at             timestamp(6),
    batch_id            uuid,
    batch_callback_id   uuid,
    is_discrete         boolean,
    executions_count    integer,
    job_class           text,
    error_event         smallint,
    labels              text[],
    locked_by_id        uuid,
    locked_at           timestamp(6),
    lock_type           smallint);

CREATE UNIQUE INDEX index_good_jobs_on_cron_key_and_cron_at_cond ON good_jobs (cron_key, cron_at DESC NULLS LAST)
    WHERE cron_key IS NOT NULL;
CREATE INDEX index_good_jobs_on_locked_by_id ON good_jobs (locked_by_id) WHERE locked_by_id IS NOT NULL;
CREATE INDEX index_good_jobs_for_candidate_dequeue_unlocked ON good_jobs (priority, scheduled_at, id)
    WHERE finished_at IS NULL AND locked_by_id IS NULL;

CREATE TABLE good_job_processes (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at timestamp(6) NOT NULL,
    updated_at timestamp(6) NOT NULL,
    state      jsonb,
    lock_type  smallint);
