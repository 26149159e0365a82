"""Anomalies: found from what was observed, raised and cleared once each, reminded now and then."""
