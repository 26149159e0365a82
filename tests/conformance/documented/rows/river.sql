INSERT INTO river_job (id, state, attempt, scheduled_at, attempted_at, attempted_by, finalized_at,
                       kind, args, unique_key, unique_states)
SELECT id, CAST(state AS river_job_state), attempt, now() + CAST(due AS interval), now() - CAST(tried AS interval),
       CAST(clients AS text[]), CASE WHEN state IN ('completed', 'discarded', 'cancelled') THEN now() END,
       'mail', '{}', CAST(key AS bytea), CASE WHEN key IS NOT NULL THEN B'11110101' END
  FROM (VALUES (1, 'available', 0,  '0 s',      NULL,         NULL,           NULL),
               (2, 'scheduled', 0,  '1 day',    NULL,         NULL,           NULL),
               (3, 'pending',   0,  '-1 day',   NULL,         NULL,           NULL),
               (4, 'running',   1,  '-2 hours', '70 minutes', '{alive}',      NULL),
               (5, 'running',   2,  '-4 hours', '3 hours',    '{first,dead}', '\x01'),
               (6, 'running',   25, '-4 hours', '3 hours',    '{dead}',       '\x02'),
               (7, 'completed', 1,  '-4 hours', '3 hours',    '{done}',       '\x03'),
               (8, 'discarded', 25, '-4 hours', '3 hours',    '{done}',       NULL),
               (9, 'cancelled', 1,  '-4 hours', '3 hours',    '{done}',       NULL))
       AS job (id, state, attempt, due, tried, clients, key);
