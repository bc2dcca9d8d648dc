"""Losses for imbalanced data, one file each."""
