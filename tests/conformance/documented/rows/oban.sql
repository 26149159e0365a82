INSERT INTO oban_jobs (id, state, worker, attempt, max_attempts, attempted_at, attempted_by, scheduled_at,
                       completed_at, discarded_at, cancelled_at)
OVERRIDING SYSTEM VALUE
SELECT id, CAST(state AS oban_job_state), 'Mail', attempt, 20, at - CAST(tried AS interval), '{node,uuid}',
       at - interval '4 hours', CASE state WHEN 'completed' THEN at END, CASE state WHEN 'discarded' THEN at END,
       CASE state WHEN 'cancelled' THEN at END
  FROM (VALUES (1, 'available', 0,  NULL),
               (2, 'scheduled', 0,  NULL),
               (3, 'suspended', 0,  NULL),
               (4, 'executing', 1,  '70 minutes'),
               (5, 'executing', 1,  '3 hours'),
               (6, 'executing', 20, '3 hours'),
               (7, 'completed', 1,  '3 hours'),
               (8, 'discarded', 20, '3 hours'),
               (9, 'cancelled', 1,  '3 hours')) AS job (id, state, attempt, tried),
       timezone('UTC', now()) AS at;
