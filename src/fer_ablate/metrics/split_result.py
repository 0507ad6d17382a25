"""What scores of predictions are stored as, and how they are shown. Letter: K emotions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENT = (
    "acc",
    "top2",
    "ece",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "weighted_precision",
    "weighted_recall",
    "weighted_f1",
    "balanced_acc",
)
"""Metrics that are fractions of one and are shown in percent; differences of them are percentage points."""

Counts = Sequence[Sequence[int]] | NDArray[np.integer[Any]]
"""(K, K) counts of predictions; row = truth, column = prediction."""

SUPPORT = "support"
"""Number of images of a class."""

CLASS_SCORES = ("precision", "recall", "f1", SUPPORT)
"""Scores of each class."""

ACCURACY = "accuracy"
AVERAGES = {"macro avg": "macro", "weighted avg": "weighted"}
"""Lines of a classification report below the classes, by the names of scikit-learn -> beginning of the metrics."""


@dataclass(kw_only=True)
class SplitResult:
    """Scores of predictions on one split.

    Args:
        n: number of predictions; one for each image, except for scores of training steps or of several epochs together.
        metrics: `acc`, `top2`, `macro_f1`, ... as fractions in [0, 1]; `loss` in nats.
        per_class: class name -> precision, recall, f1 and support.
        confusion: (K, K) counts; row = truth, column = prediction.
    """

    n: int
    metrics: dict[str, float]
    per_class: dict[str, dict[str, float]]
    confusion: list[list[int]]

    def value(self, metric: str) -> float | None:
        """The value of a metric; None if it was not measured and cannot be computed from the counts.

        Args:
            metric: such as `acc` or `macro_f1`; or `recall/fear`; or `support/accuracy`, the number of all predictions, which
                a classification report prints beside the accuracy and both averages.
        """
        if metric in self.metrics:
            return self.metrics[metric]
        score, _, name = metric.partition("/")
        if name:
            if score == SUPPORT and name in (ACCURACY, *AVERAGES):
                return float(self.n)
            return self.per_class.get(name, {}).get(score)
        if not self.confusion:
            return None
        return {**counted_scores(self.confusion), **agreement_scores(self.confusion)}.get(metric)


def counted_scores(confusion: Counts) -> dict[str, float]:
    """Compute accuracy and the averages over classes from (K, K) counts; row = truth, column = prediction.

    Macro means leave out classes that are neither present nor predicted, as torchmetrics does.
    """
    counts, columns = np.array(confusion), class_columns(confusion)
    present = columns[SUPPORT]
    seen = present + counts.sum(axis=0) > 0
    scores = {"acc": float(counts.trace() / max(counts.sum(), 1))}
    for name in ("precision", "recall", "f1"):
        scores[f"macro_{name}"] = float(columns[name][seen].mean())
        scores[f"weighted_{name}"] = float(columns[name] @ present / max(counts.sum(), 1))
    return scores


def agreement_scores(confusion: Counts) -> dict[str, float]:
    """Compute `kappa` (Cohen 1960) and `balanced_acc`, the mean recall of the classes that are present, as in scikit-learn.

    Both are computed whenever they are shown, since results store the counts alone. NaN where they are not defined.
    """
    counts = np.array(confusion, np.float64)
    present, predicted, total = counts.sum(axis=1), counts.sum(axis=0), max(counts.sum(), 1)
    by_chance = float(present @ predicted) / total**2
    recalls = counts.diagonal()[present > 0] / present[present > 0]
    return {
        "kappa": (float(counts.trace()) / total - by_chance) / (1 - by_chance) if by_chance < 1 else math.nan,
        "balanced_acc": float(recalls.mean()) if len(recalls) else math.nan,
    }


def class_scores(confusion: Counts, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Compute the scores of each class: class name -> precision, recall, f1 and support.

    Args:
        confusion: (K, K) counts; row = truth, column = prediction.
        classes: K names in this order.
    """
    columns = class_columns(confusion)
    return {name: {column: float(values[index]) for column, values in columns.items()} for index, name in enumerate(classes)}


def class_columns(confusion: Counts) -> dict[str, NDArray[np.float64]]:
    """Precision, recall, F1 and support of each class, (K,) each; 0 if the class was not predicted or not present."""
    counts = np.array(confusion, np.float64)
    hits, predicted, present = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    return {
        "precision": hits / predicted.clip(min=1),
        "recall": hits / present.clip(min=1),
        "f1": 2 * hits / (predicted + present).clip(min=1),
        "support": present,
    }
