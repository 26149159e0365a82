"""Upkeep at work: when a task is due, who runs it, and what is recorded of it."""
