-- Delivered so long ago: in hand, due to be fetched anew, forgotten; the last two belong to the failure transport.
INSERT INTO messenger_messages (id, body, headers, queue_name, created_at, available_at, delivered_at)
SELECT id, '', '[]', queue, at - interval '2 days', at + CAST(ahead AS interval), at - CAST(ago AS interval)
  FROM (VALUES (1, 'default', '0',        NULL),
               (2, 'default', '1 minute', NULL),
               (3, 'default', '-1 day',   '10 minutes'),
               (4, 'default', '-1 day',   '70 minutes'),
               (5, 'default', '-1 day',   '3 hours'),
               (6, 'failed',  '-1 day',   NULL),
               (7, 'failed',  '-1 day',   '3 hours')) AS message (id, queue, ahead, ago),
       timezone('UTC', now()) AS at;
