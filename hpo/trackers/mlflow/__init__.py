"""Tracking in MLflow, by a process that writes while a study runs and a command that makes the runs equal to it.

Only `client` imports mlflow.
"""
