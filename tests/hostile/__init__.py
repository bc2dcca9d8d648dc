"""Objectives that do what no objective should, damaged files and random kills: all records are compared afterwards."""
