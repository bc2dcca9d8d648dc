"""Configurations of earlier studies for a new one: where they come from, which are taken, and whether they help."""
