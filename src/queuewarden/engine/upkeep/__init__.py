"""Upkeep: what is done to queue tables and to our own by the clock, and how it is recorded."""
