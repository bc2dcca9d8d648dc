"""Tests of `hpo ui`."""
