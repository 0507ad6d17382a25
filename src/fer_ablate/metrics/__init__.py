"""Scores of predictions; `scores` computes them with torch, which what only shows them does not load."""

from fer_ablate.metrics.columns import LESS_IS_BETTER, METRICS, SPLITS, higher_is_better, in_percent, is_of_class, report_metric
from fer_ablate.metrics.split_result import (
    ACCURACY,
    AVERAGES,
    CLASS_SCORES,
    PERCENT,
    SUPPORT,
    SplitResult,
    agreement_scores,
    class_scores,
    counted_scores,
)

__all__ = [
    "ACCURACY",
    "AVERAGES",
    "CLASS_SCORES",
    "LESS_IS_BETTER",
    "METRICS",
    "PERCENT",
    "SPLITS",
    "SUPPORT",
    "SplitResult",
    "agreement_scores",
    "class_scores",
    "counted_scores",
    "higher_is_better",
    "in_percent",
    "is_of_class",
    "report_metric",
]
