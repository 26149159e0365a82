-- Reserved so many seconds ago: in hand, due to be taken anew, forgotten.
INSERT INTO jobs (id, queue, payload, attempts, reserved_at, available_at, created_at)
SELECT id, 'default', '{}', attempts, at - ago, at + ahead, at - 86400
  FROM (VALUES (1, 0,   NULL, 0),
               (2, 1,   NULL, 60),
               (3, 1,   30,   -60),
               (4, 1,   120,  -600),
               (5, 1,   1200, -3600),
               (6, 255, 1200, -3600)) AS job (id, attempts, ago, ahead),
       CAST(extract(epoch FROM now()) AS integer) AS at;
