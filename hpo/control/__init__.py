"""Requests of `hpo pause`, `stop`, `kill` and `extend` to the driver of a study."""
