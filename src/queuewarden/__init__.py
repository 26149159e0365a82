"""queuewarden: a guard for job queues kept in PostgreSQL tables."""

__version__ = "0.1.0"
