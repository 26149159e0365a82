"""Presets proven against the real queue libraries."""
