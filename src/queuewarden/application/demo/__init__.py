"""``queuewarden demo``: a private PostgreSQL, a fleet that fails, and the daemon that guards it."""
