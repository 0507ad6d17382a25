"""Scores of predictions, computed from probabilities; all but the loss are fractions in [0, 1]. Letters: N images, K emotions."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from fer_ablate.metrics.split_result import SplitResult, class_scores, counted_scores

SMALLEST_PROBABILITY = 1e-12
"""Smaller probabilities count as this one in `loss`, so that a single certain mistake does not make the mean infinite."""


def epoch_metrics(num_classes: int, prefix: str = "") -> MetricCollection:
    """Build the few fast metrics that are measured in every epoch: `acc`, `top2`, `macro_f1`.

    Args:
        num_classes: K.
        prefix: prefix of every name, such as `val/`.
    """
    return MetricCollection(
        {
            # Without validation, which would wait for the device in every batch.
            "acc": MulticlassAccuracy(num_classes, average="micro", validate_args=False),
            "top2": MulticlassAccuracy(num_classes, top_k=min(2, num_classes), average="micro", validate_args=False),
            "macro_f1": MulticlassF1Score(num_classes, average="macro", validate_args=False),
        },
        prefix=prefix,
    )


def build_metrics(num_classes: int, prefix: str = "") -> MetricCollection:
    """Build all metrics of a split; update them with (N, K) probabilities and (N,) labels, `clone(prefix=...)` for each split.

    Everything but `confusion`, (K, K) counts, is a single number. As in scikit-learn, a class that is neither present nor
    predicted is left out of macro means; a class that is only present or only predicted counts as 0.
    """
    averages: tuple[Literal["macro"], Literal["weighted"]] = ("macro", "weighted")
    return MetricCollection(
        {
            "acc": MulticlassAccuracy(num_classes, average="micro"),
            "top2": MulticlassAccuracy(num_classes, top_k=min(2, num_classes), average="micro"),
            **{f"{average}_precision": MulticlassPrecision(num_classes, average=average) for average in averages},
            **{f"{average}_recall": MulticlassRecall(num_classes, average=average) for average in averages},
            **{f"{average}_f1": MulticlassF1Score(num_classes, average=average) for average in averages},
            "ece": MulticlassCalibrationError(num_classes, n_bins=15, norm="l1"),
            "confusion": MulticlassConfusionMatrix(num_classes),
        },
        prefix=prefix,
    )


def score(probabilities: Tensor, labels: Tensor, classes: Sequence[str]) -> SplitResult:
    """Compute the scores of the predictions of a split.

    Args:
        probabilities: (N, K), with rows that sum to 1.
        labels: (N,) int64 class indices.
        classes: K names in the order of the columns.
    """
    collection = build_metrics(len(classes)).to(probabilities.device)
    collection.update(probabilities, labels)
    values = collection.compute()
    confusion = values.pop("confusion").tolist()
    metrics = {name: float(value) for name, value in values.items()}
    metrics["loss"] = mean_loss(probabilities, labels)
    return SplitResult(n=len(labels), metrics=metrics, per_class=class_scores(confusion, classes), confusion=confusion)


def mean_loss(probabilities: Tensor, labels: Tensor) -> float:
    """Return the mean cross entropy of (N, K) probabilities and (N,) class indices, in nats."""
    chosen = probabilities.double().gather(1, labels[:, None]).clamp(min=SMALLEST_PROBABILITY)
    return float(-torch.log(chosen).mean())


def from_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str], extra: Mapping[str, float]) -> SplitResult:
    """Compute scores from counts of predictions, with the conventions of `build_metrics`.

    Args:
        confusion: (K, K) counts; row = truth, column = prediction.
        classes: K names in this order.
        extra: metrics that cannot be computed from counts, such as `top2` and `loss`; added unchanged.
    """
    metrics = {**counted_scores(confusion), **extra}
    n = sum(map(sum, confusion))
    return SplitResult(
        n=n, metrics=metrics, per_class=class_scores(confusion, classes), confusion=[list(row) for row in confusion]
    )
