"""Engines: they place jobs on processes, here or on a cluster, and decide nothing."""
