"""Trackers: write-only sinks that the Oracle tells how a study goes."""
