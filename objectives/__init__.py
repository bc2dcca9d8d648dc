"""Objectives of the built-in tasks, a package each, and what they share: data, losses, metrics and a training loop."""
