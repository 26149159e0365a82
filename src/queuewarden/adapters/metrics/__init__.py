"""Metrics in the text format that Prometheus reads; imported only where they are asked for."""
