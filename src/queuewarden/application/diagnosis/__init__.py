"""Diagnosing: what a guard finds in an environment, and what to do about each thing that is wrong."""
