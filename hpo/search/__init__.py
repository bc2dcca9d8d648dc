"""Samplers and pruners."""
