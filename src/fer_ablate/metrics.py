"""Scores of predictions. Shapes: `N` images, `K` emotions. Probabilities go in, fractions in [0, 1] come out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

SMALLEST_PROBABILITY = 1e-12
"""Below it a probability counts as this in `loss`, so that one certain mistake does not make the mean infinite."""


@dataclass(kw_only=True)
class SplitResult:
    """Scores of finished predictions on one split.

    Args:
        n: number of predictions: of images, each counted once, but for what was measured while training or over several epochs.
        metrics: `acc`, `top2`, `macro_f1`, ... as fractions in [0, 1]; `loss` in nats.
        per_class: class name -> precision, recall, f1 and support.
        confusion: (K, K) counts; row = truth, column = prediction.
    """

    n: int
    metrics: dict[str, float]
    per_class: dict[str, dict[str, float]]
    confusion: list[list[int]]


def epoch_metrics(num_classes: int, prefix: str = "") -> MetricCollection:
    """The few cheap metrics watched while training: `acc`, `top2`, `macro_f1`.

    Args:
        num_classes: K.
        prefix: put before every name, such as `val/`.
    """
    return MetricCollection(
        {
            # Checking every batch's values would wait for the device each time.
            "acc": MulticlassAccuracy(num_classes, average="micro", validate_args=False),
            "top2": MulticlassAccuracy(num_classes, top_k=min(2, num_classes), average="micro", validate_args=False),
            "macro_f1": MulticlassF1Score(num_classes, average="macro", validate_args=False),
        },
        prefix=prefix,
    )


def build_metrics(num_classes: int, prefix: str = "") -> MetricCollection:
    """All metrics of a split; update with (N, K) probabilities and (N,) labels, `clone(prefix=...)` for each split.

    Everything but `confusion` (a (K, K) count) is a single number. As in scikit-learn, a class that is neither present nor
    predicted is left out of macro means; one that is only one of the two counts as 0 there.
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
    """Score the finished predictions of a split.

    Args:
        probabilities: (N, K), rows summing to 1.
        labels: (N,) int64 class indices.
        classes: K names in the order of the columns.
    """
    collection = build_metrics(len(classes)).to(probabilities.device)
    collection.update(probabilities, labels)
    values = collection.compute()
    confusion = values.pop("confusion")
    metrics = {name: float(value) for name, value in values.items()}
    metrics["loss"] = mean_loss(probabilities, labels)
    return SplitResult(n=len(labels), metrics=metrics, per_class=_per_class(confusion, classes), confusion=confusion.tolist())


def mean_loss(probabilities: Tensor, labels: Tensor) -> float:
    """Cross entropy in nats of (N, K) probabilities and (N,) class indices."""
    chosen = probabilities.double().gather(1, labels[:, None]).clamp(min=SMALLEST_PROBABILITY)
    return float(-torch.log(chosen).mean())


def from_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str], extra: Mapping[str, float]) -> SplitResult:
    """Scores of predictions of which only the counts are left, by the conventions of `build_metrics`.

    Args:
        confusion: (K, K) counts; row = truth, column = prediction.
        classes: K names in this order.
        extra: metrics that counts cannot tell, such as `top2` and `loss`; taken over as they are.
    """
    counts = torch.tensor(confusion)
    columns, n = _class_columns(counts), int(counts.sum())
    present = columns["support"]
    seen = present + counts.sum(dim=0) > 0
    metrics = {"acc": float(counts.diagonal().sum() / n)}
    for name in ("precision", "recall", "f1"):
        metrics[f"macro_{name}"] = float(columns[name][seen].mean())
        metrics[f"weighted_{name}"] = float((columns[name] * present).sum() / n)
    per_class = _per_class(counts, classes)
    return SplitResult(n=n, metrics={**metrics, **extra}, per_class=per_class, confusion=counts.tolist())


def _per_class(confusion: Tensor, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Class name -> its part of `_class_columns`."""
    columns = _class_columns(confusion)
    return {name: {column: float(values[index]) for column, values in columns.items()} for index, name in enumerate(classes)}


def _class_columns(confusion: Tensor) -> dict[str, Tensor]:
    """Precision, recall and F1 of each class, (K,), 0 where nothing was predicted or present; support is a count."""
    counts = confusion.double()
    hits, predicted, present = counts.diagonal(), counts.sum(dim=0), counts.sum(dim=1)
    return {
        "precision": hits / predicted.clamp(min=1),
        "recall": hits / present.clamp(min=1),
        "f1": 2 * hits / (predicted + present).clamp(min=1),
        "support": present,
    }
