"""Adopting a database: which tables are queues, which variables guard them, and into which file they go."""
