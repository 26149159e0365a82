INSERT INTO que_jobs (id, job_class, job_schema_version, run_at, error_count, last_error_message,
                      finished_at, expired_at)
VALUES (1, 'Mail', 2, now(), 0, NULL, NULL, NULL),
       (2, 'Mail', 2, now() - interval '1 day', 0, NULL, NULL, NULL),
       (3, 'Mail', 2, now() + interval '1 minute', 3, 'no', NULL, NULL),
       (4, 'Mail', 2, now(), 0, NULL, now(), NULL),
       (5, 'Mail', 2, now(), 15, 'no', NULL, now());
