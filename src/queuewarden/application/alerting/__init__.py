"""Alerts of a running daemon: decided, told, remembered, answered."""
