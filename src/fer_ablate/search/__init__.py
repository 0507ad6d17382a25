"""Hyperparameter searches, kept by Optuna."""
