-- Que 2.4, schema 7: what a guard of que_jobs meets.
CREATE FUNCTION que_validate_tags(tags jsonb) RETURNS boolean LANGUAGE sql AS $$
    SELECT bool_and(jsonb_typeof(value) = 'string' AND char_length(value::text) <= 100)
      FROM jsonb_array_elements(tags)
$$;

CREATE TABLE que_jobs (
    priority             smallint NOT NULL DEFAULT 100,
    run_at               timestamptz NOT NULL DEFAULT now(),
    id                   bigserial PRIMARY KEY,
    job_class            text NOT NULL,
    error_count          integer NOT NULL DEFAULT 0,
    last_error_message   text,
    queue                text NOT NULL DEFAULT 'default',
    last_error_backtrace text,
    finished_at          timestamptz,
    expired_at           timestamptz,
    args                 jsonb NOT NULL DEFAULT '[]',
    data                 jsonb NOT NULL DEFAULT '{}',
    job_schema_version   integer NOT NULL,
    kwargs               jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT error_length
        CHECK (char_length(last_error_message) <= 500 AND char_length(last_error_backtrace) <= 10000),
    CONSTRAINT job_class_length CHECK (char_length(
        CASE job_class WHEN 'ActiveJob::QueueAdapters::QueAdapter::JobWrapper' THEN args->0->>'job_class'
                       ELSE job_class END) <= 200),
    CONSTRAINT queue_length CHECK (char_length(queue) <= 100),
    CONSTRAINT valid_args CHECK (jsonb_typeof(args) = 'array'),
    CONSTRAINT valid_data CHECK (jsonb_typeof(data) = 'object' AND (NOT data ? 'tags' OR (
        jsonb_typeof(data->'tags') = 'array' AND jsonb_array_length(data->'tags') <= 5
        AND que_validate_tags(data->'tags')))));
COMMENT ON TABLE que_jobs IS '7';
CREATE INDEX que_poll_idx ON que_jobs (job_schema_version, queue, priority, run_at, id)
    WHERE finished_at IS NULL AND expired_at IS NULL;

CREATE UNLOGGED TABLE que_lockers (
    pid                integer PRIMARY KEY,
    worker_count       integer NOT NULL,
    worker_priorities  integer[] NOT NULL,
    ruby_pid           integer NOT NULL,
    ruby_hostname      text NOT NULL,
    queues             text[] NOT NULL,
    listening          boolean NOT NULL,
    job_schema_version integer DEFAULT 1);

CREATE FUNCTION que_determine_job_state(job que_jobs) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN job.expired_at IS NOT NULL THEN 'expired'
                WHEN job.finished_at IS NOT NULL THEN 'finished'
                WHEN job.error_count > 0 THEN 'errored'
                WHEN job.run_at > current_timestamp THEN 'scheduled'
                ELSE 'ready' END
$$;

-- The library tells who listens of each change of state; here, of the change alone.
CREATE FUNCTION que_state_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND que_determine_job_state(OLD) IS DISTINCT FROM que_determine_job_state(NEW) THEN
        PERFORM pg_notify('que_state', json_build_object('id', NEW.id)::text);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER que_state_notify AFTER INSERT OR UPDATE OR DELETE ON que_jobs FOR EACH ROW
    WHEN (coalesce(current_setting('que.skip_notify', true), '') <> 'true')
    EXECUTE FUNCTION que_state_notify();
