-- Solid Queue 1.7 under Rails 7: the tables that a claim stands between.
CREATE TABLE solid_queue_jobs (
    id              bigserial PRIMARY KEY,
    queue_name      varchar NOT NULL,
    class_name      varchar NOT NULL,
    arguments       text,
    priority        integer NOT NULL DEFAULT 0,
    active_job_id   varchar,
    scheduled_at    timestamp(6),
    finished_at     timestamp(6),
    concurrency_key varchar,
    created_at      timestamp(6) NOT NULL,
    updated_at      timestamp(6) NOT NULL,
    batch_id        bigint);

CREATE TABLE solid_queue_ready_executions (
    id         bigserial PRIMARY KEY,
    job_id     bigint NOT NULL REFERENCES solid_queue_jobs ON DELETE CASCADE,
    queue_name varchar NOT NULL,
    priority   integer NOT NULL DEFAULT 0,
    created_at timestamp(6) NOT NULL);
CREATE UNIQUE INDEX index_solid_queue_ready_executions_on_job_id ON solid_queue_ready_executions (job_id);

CREATE TABLE solid_queue_claimed_executions (
    id         bigserial PRIMARY KEY,
    job_id     bigint NOT NULL REFERENCES solid_queue_jobs ON DELETE CASCADE,
    process_id bigint,
    created_at timestamp(6) NOT NULL);
CREATE UNIQUE INDEX index_solid_queue_claimed_executions_on_job_id ON solid_queue_claimed_executions (job_id);
CREATE INDEX index_solid_queue_claimed_executions_on_process_id_and_job_id
    ON solid_queue_claimed_executions (process_id, job_id);

CREATE TABLE solid_queue_failed_executions (
    id         bigserial PRIMARY KEY,
    job_id     bigint NOT NULL REFERENCES solid_queue_jobs ON DELETE CASCADE,
    error      text,
    created_at timestamp(6) NOT NULL);
CREATE UNIQUE INDEX index_solid_queue_failed_executions_on_job_id ON solid_queue_failed_executions (job_id);

CREATE TABLE solid_queue_processes (
    id                bigserial PRIMARY KEY,
    kind              varchar NOT NULL,
    last_heartbeat_at timestamp(6) NOT NULL,
    supervisor_id     bigint,
    pid               integer NOT NULL,
    hostname          varchar,
    metadata          text,
    created_at        timestamp(6) NOT NULL,
    name              varchar NOT NULL);
CREATE UNIQUE INDEX index_solid_queue_processes_on_name_and_supervisor_id
    ON solid_queue_processes (name, supervisor_id);
