"""Copies of runs and studies in MLflow."""
