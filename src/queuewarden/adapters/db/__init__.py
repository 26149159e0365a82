"""PostgreSQL: connecting, sessions, deadlines. Plain arguments; knows nothing of queues."""
