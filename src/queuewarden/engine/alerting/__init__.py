"""Alerting: anomalies that sweeps find, rules that make alerts of readings, and when to tell of them."""
