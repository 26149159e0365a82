-- Process 1 is alive, 2 silent, 3 without a row.
INSERT INTO solid_queue_processes (id, kind, last_heartbeat_at, pid, name, created_at)
SELECT n, 'Worker', at - CAST(silent AS interval), n, 'worker-' || n, at - interval '1 day'
  FROM (VALUES (1, '30 seconds'), (2, '30 minutes')) AS process (n, silent), timezone('UTC', now()) AS at;

INSERT INTO solid_queue_jobs (id, queue_name, class_name, created_at, updated_at)
SELECT n, 'default', 'MailJob', at, at FROM generate_series(1, 4) AS n, timezone('UTC', now()) AS at;

INSERT INTO solid_queue_ready_executions (job_id, queue_name, created_at)
VALUES (4, 'default', timezone('UTC', now()));

INSERT INTO solid_queue_claimed_executions (id, job_id, process_id, created_at)
SELECT n, n, n, timezone('UTC', now()) - interval '30 minutes' FROM generate_series(1, 3) AS n;
