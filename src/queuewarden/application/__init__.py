"""Composition: the guard of one environment, the daemon, the commands."""
