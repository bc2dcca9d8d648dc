"""Objectives that do what no objective should, and one suite that runs each of them and compares all records of it."""
