"""Losses for imbalanced data and for several tasks at once, one file each, and losses of the user's own."""
