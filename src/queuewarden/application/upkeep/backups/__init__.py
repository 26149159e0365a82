"""Backups that are proven: taken with a note of what they must hold, and restored to see whether they do."""
