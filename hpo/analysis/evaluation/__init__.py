"""Kept weights on held-out data: scores with intervals, curves, thresholds and calibration, from plain predictions."""
