"""Metrics of the built-in tasks, one file each."""
