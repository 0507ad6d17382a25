"""Scores of predictions; `scores` computes them with torch, which what only shows them does not load."""

from fer_ablate.metrics.split_result import PERCENT, SplitResult, class_scores

__all__ = ["PERCENT", "SplitResult", "class_scores"]
