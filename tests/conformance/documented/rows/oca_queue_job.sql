-- Job 9 was put back by the library itself, which leaves date_started, and enqueued anew.
INSERT INTO queue_job (id, uuid, state, retry, max_retries, date_created, date_enqueued, date_started, date_done,
                       worker_pid, exc_info)
SELECT id, 'uuid-' || id, state, retry, most, at - interval '1 day', at - CAST(enqueued AS interval),
       at - CAST(started AS interval), CASE state WHEN 'done' THEN at END, CASE WHEN started IS NOT NULL THEN 42 END,
       CASE state WHEN 'failed' THEN 'Traceback' END
  FROM (VALUES (1,  'pending',           0, 5, NULL,         NULL),
               (2,  'wait_dependencies', 0, 5, NULL,         NULL),
               (3,  'started',           0, 5, '2 hours',    '2 hours'),
               (4,  'started',           0, 5, '2 hours',    '2 hours'),
               (5,  'started',           1, 5, '2 hours',    '2 hours'),
               (6,  'started',           4, 5, '2 hours',    '2 hours'),
               (7,  'started',           9, 0, '2 hours',    '2 hours'),
               (8,  'enqueued',          2, 5, '30 minutes', NULL),
               (9,  'enqueued',          2, 5, '5 seconds',  '2 hours'),
               (10, 'done',              0, 5, '2 hours',    '2 hours'),
               (11, 'failed',            5, 5, '2 hours',    '2 hours'))
       AS job (id, state, retry, most, enqueued, started),
       timezone('UTC', now()) AS at;

INSERT INTO queue_job_lock (id, queue_job_id) SELECT n, n FROM generate_series(3, 7) AS n;
