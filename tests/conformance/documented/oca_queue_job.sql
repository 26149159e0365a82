-- OCA queue_job 18.0.4.1 under Odoo 18: what a guard of queue_job meets.
CREATE TABLE queue_job (
    id                  serial PRIMARY KEY,
    user_id             integer,
    company_id          integer,
    priority            integer,
    retry               integer,
    max_retries         integer,
    job_function_id     integer,
    worker_pid          integer,
    uuid                varchar NOT NULL,
    graph_uuid          varchar,
    name                varchar,
    model_name          varchar,
    method_name         varchar,
    func_string         varchar,
    state               varchar NOT NULL,
    exc_name            varchar,
    exc_message         varchar,
    channel_method_name varchar,
    channel             varchar,
    identity_key        varchar,
    dependencies        text,
    exc_info            text,
    result              text,
    date_created        timestamp,
    date_started        timestamp,
    date_enqueued       timestamp,
    date_done           timestamp,
    date_cancelled      timestamp,
    eta                 timestamp,
    exec_time           double precision);
CREATE INDEX queue_job__state_index ON queue_job (state);
CREATE INDEX queue_job_identity_key_state_partial_index ON queue_job (identity_key)
    WHERE state IN ('pending', 'enqueued', 'wait_dependencies') AND identity_key IS NOT NULL;

CREATE TABLE queue_job_lock (
    id           serial PRIMARY KEY,
    queue_job_id integer NOT NULL REFERENCES queue_job ON DELETE CASCADE,
    create_uid   integer,
    write_uid    integer,
    create_date  timestamp,
    write_date   timestamp);
CREATE INDEX queue_job_lock__queue_job_id_index ON queue_job_lock (queue_job_id);

CREATE FUNCTION queue_job_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('queue_job', coalesce(NEW.uuid, OLD.uuid));
    RETURN NULL;
END $$;
CREATE TRIGGER queue_job_notify AFTER INSERT OR UPDATE OR DELETE ON queue_job
    FOR EACH ROW EXECUTE FUNCTION queue_job_notify();
