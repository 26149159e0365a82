-- The ids end in the numbers below. Process 1 is alive, 2 silent, 3 without a row.
CREATE FUNCTION pg_temp.uuid(n integer) RETURNS uuid LANGUAGE sql AS $$
    SELECT CAST('00000000-0000-0000-0000-00000000000' || n AS uuid)
$$;

INSERT INTO good_job_processes (id, created_at, updated_at)
SELECT pg_temp.uuid(n), at - interval '1 day', at - CAST(silent AS interval)
  FROM (VALUES (1, '10 seconds'), (2, '30 minutes')) AS process (n, silent), timezone('UTC', now()) AS at;

INSERT INTO good_jobs (id, active_job_id, job_class, created_at, updated_at, scheduled_at, performed_at,
                       locked_at, locked_by_id, lock_type, executions_count, finished_at, error)
SELECT pg_temp.uuid(n), pg_temp.uuid(n), 'MailJob', at - interval '1 day', at, at,
       CASE WHEN process IS NOT NULL OR over THEN at - interval '30 minutes' END,
       CASE WHEN process IS NOT NULL THEN at - interval '30 minutes' END,
       pg_temp.uuid(process), CASE WHEN process IS NOT NULL THEN 1 END, 1, CASE WHEN over THEN at END, error
  FROM (VALUES (1, NULL, false, NULL),
               (2, 1,    false, NULL),
               (3, 2,    false, NULL),
               (4, 3,    false, 'E: before'),
               (5, 2,    false, NULL),
               (6, NULL, true,  NULL),
               (7, NULL, true,  'E: no')) AS job (n, process, over, error), timezone('UTC', now()) AS at;
