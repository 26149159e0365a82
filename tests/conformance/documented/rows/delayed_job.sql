-- Locked so long ago: in hand, due to be taken over, forgotten; a failed job keeps its lock.
INSERT INTO delayed_jobs (id, handler, attempts, last_error, run_at, locked_at, locked_by, failed_at,
                          created_at, updated_at)
SELECT id, '', attempts, error, at + CAST(ahead AS interval), at - CAST(ago AS interval),
       CASE WHEN ago IS NOT NULL THEN 'host:a pid:1' END, CASE WHEN over THEN at END,
       at - interval '2 days', at - interval '2 days'
  FROM (VALUES (1, 0,  NULL,        '0',      NULL,        false),
               (2, 1,  'E: before', '1 hour', NULL,        false),
               (3, 0,  NULL,        '-1 day', '1 hour',    false),
               (4, 0,  NULL,        '-1 day', '270 minutes', false),
               (5, 1,  'E: before', '-1 day', '6 hours',   false),
               (6, 24, NULL,        '-1 day', '6 hours',   false),
               (7, 0,  NULL,        '-1 day', '6 hours',   false),
               (8, 25, 'E: last',   '-1 day', '6 hours',   true)) AS job (id, attempts, error, ahead, ago, over),
       timezone('UTC', now()) AS at;
