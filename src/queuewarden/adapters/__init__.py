"""The outside world: database, log, systemd. Plain arguments, independent of each other."""
