"""What each test image contributes to a metric, so that any metric is judged over images and seeds as accuracy is.

Accuracy and the loss are means over images. Every other metric is written as one: an image contributes the metric itself plus
N - 1 times what it falls by without the image, which are the pseudo-values of the jackknife (Efron and Tibshirani 1993, An
Introduction to the Bootstrap, chapter 11), moved so that their mean is the metric. For the area under a ROC curve they are the
structural components of DeLong, DeLong and Clarke-Pearson (1988, Biometrics 44:837-845).

Letters: N images, K classes, B bins.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ablate.metrics import CLASS_SCORES, SUPPORT, agreement_scores, counted_scores

Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]

COUNTED = tuple(name for name in (*counted_scores([[1]]), *agreement_scores([[1]])) if name != "acc")
"""Metrics that are computed from counts of (true, predicted) pairs."""

BINS = 15
"""Of the calibration error, as in `metrics.scores.build_metrics`."""

SMALLEST_PROBABILITY = 1e-12
"""As in `metrics.scores`, which is not imported, since it loads torch."""


def has_image_scores(metric: str) -> bool:
    """Whether the contributions of images to a metric are known: not for metrics of the user's own and numbers of images."""
    by_class = _is_of_class(metric) and _class_score(metric) != SUPPORT
    return metric == "acc" or metric in COUNTED or metric in PROBABLE or by_class


def needs_probabilities(metric: str) -> bool:
    """Whether predicted classes alone do not give the metric."""
    return metric in PROBABLE


def from_labels(metric: str, labels: Integers, predicted: Integers, classes: Sequence[str]) -> NDArray[Any] | None:
    """(N,) contributions of the images, whose mean is the metric; boolean where each is right or wrong.

    Args:
        metric: one that needs no probabilities. The images of a recall are those of its class, see `of_class`.
        labels: (N,) true class indices.
        predicted: (N,) class indices.
        classes: K names.

    Returns:
        None if there is no such class, or the metric is not defined for these images.
    """
    if metric == "acc":
        return np.asarray(predicted == labels)
    if _is_of_class(metric):
        score, _, name = metric.partition("/")
        if name not in classes:
            return None
        if score == "recall":
            return np.asarray(predicted == labels)  # over the images of the class, see `of_class`
    return _without_each(metric, labels, predicted, classes)


def of_class(metric: str, labels: Integers, classes: Sequence[str]) -> NDArray[np.bool_] | None:
    """(N,) the images that a recall is the mean over, those of its class; None for other metrics and classes."""
    score, _, name = metric.partition("/")
    return np.asarray(labels == list(classes).index(name)) if score == "recall" and name in classes else None


def from_probabilities(metric: str, labels: Integers, probabilities: NDArray[np.float32]) -> Floats | None:
    """(N,) contributions of the images, whose mean is the metric.

    Args:
        metric: `loss`, `ece` or `auc`.
        labels: (N,) true class indices.
        probabilities: (N, K).

    Returns:
        None if the metric is not defined for these images.
    """
    return PROBABLE[metric](labels, probabilities)


def _is_of_class(metric: str) -> bool:
    return _class_score(metric) in CLASS_SCORES and "/" in metric


def _class_score(metric: str) -> str:
    return metric.partition("/")[0]


def _without_each(metric: str, labels: Integers, predicted: Integers, classes: Sequence[str]) -> Floats | None:
    """Pseudo-values of a metric of counts. Images with the same true and predicted class contribute the same."""
    size, pairs = len(classes), labels.astype(np.int64) * len(classes) + predicted
    counts = np.bincount(pairs, minlength=size**2)
    present = np.flatnonzero(counts)
    less = np.tile(counts, (len(present) + 1, 1))  # the first one whole, the others without one image of a pair
    less[np.arange(1, len(less)), present] -= 1
    score, _, name = metric.partition("/")
    with np.errstate(invalid="ignore", divide="ignore"):  # what is not defined becomes NaN
        whole, *without = _counted(score, list(classes).index(name) if name else None, less.reshape(-1, size, size))
    differences = np.zeros(size**2)
    differences[present] = whole - np.array(without)
    return pseudo_values(float(whole), differences[pairs])


def _counted(score: str, place: int | None, counts: Integers) -> Floats:
    """(M,) a metric of each of (M, K, K) counts; `metrics.counted_scores` has it one by one.

    Args:
        score: name of the metric, or of the score of a class.
        place: of that class; None for a metric of all classes.
        counts: row = truth, column = prediction.
    """
    hits, present, predicted = counts.diagonal(axis1=1, axis2=2), counts.sum(axis=2), counts.sum(axis=1)
    total = counts.sum(axis=(1, 2))
    if score == "kappa":
        by_chance = (present * predicted).sum(axis=1) / total**2
        return np.asarray((hits.sum(axis=1) / total - by_chance) / (1 - by_chance))
    average, _, kind = score.rpartition("_") if place is None else ("", "", score)
    parts = {
        "precision": (hits, predicted),
        "recall": (hits, present),
        "acc": (hits, present),
        "f1": (2 * hits, present + predicted),
    }
    over, under = parts[kind]
    by_class = over / under.clip(min=1)
    if place is not None:
        return np.asarray(by_class[:, place])
    weights = {"macro": present + predicted > 0, "balanced": present > 0, "weighted": present}[average]
    return np.asarray((by_class * weights).sum(axis=1) / weights.sum(axis=1))


def pseudo_values(whole: float, differences: Floats) -> Floats | None:
    """Pseudo-values with the metric as their mean; their own mean is another estimate of it. None if one is not finite.

    Args:
        whole: the metric.
        differences: (N,) how much less it is without each image, or each block of images.
    """
    if not (np.isfinite(whole) and np.isfinite(differences).all()):
        return None
    return np.asarray(whole + (len(differences) - 1) * (differences - differences.mean()))


def _top2(labels: Integers, probabilities: NDArray[np.float32]) -> NDArray[Any]:
    """Whether the true class is one of the two likeliest; equal ones in torch's order, as in the metric itself."""
    true = probabilities[np.arange(len(labels)), labels][:, None]
    above, tied = (probabilities > true).sum(axis=1), (probabilities == true).sum(axis=1) - 1
    right = np.asarray((above + tied < 2) & (tied >= 0))  # NaN does not even tie with itself
    # Only where equal probabilities compete for the second place does the order of torch decide, which is imported for them.
    undecided = np.flatnonzero(~right & (above < 2))
    if len(undecided):
        import torch

        likeliest = torch.from_numpy(probabilities[undecided]).topk(2, dim=1).indices.numpy()
        right[undecided] = (likeliest == labels[undecided, None]).any(axis=1)
    return right


def _loss(labels: Integers, probabilities: NDArray[np.float32]) -> Floats:
    """Cross entropy of each image, in nats."""
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(true.clip(min=SMALLEST_PROBABILITY)))


def _calibration(labels: Integers, probabilities: NDArray[np.float32]) -> Floats | None:
    """Expected calibration error: N times it is the sum over bins of |images right - sum of their confidences|."""
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    edges = np.linspace(0, 1, BINS + 1, dtype=np.float32)
    bins = np.searchsorted(edges, confidence, side="right") - 1  # 1 itself has a bin of its own, as in torchmetrics
    excess = (predicted == labels) - confidence.astype(np.float64)
    total = np.bincount(bins, excess, minlength=BINS + 1)
    n, whole = len(labels), np.abs(total).sum()
    without = (whole - np.abs(total[bins]) + np.abs(total[bins] - excess)) / max(n - 1, 1)
    return pseudo_values(whole / n, whole / n - without)


def _area(labels: Integers, probabilities: NDArray[np.float32]) -> Floats | None:
    """Area under the ROC curve, each class against all others, mean over the classes (macro)."""
    present = np.bincount(labels, minlength=probabilities.shape[1])
    if (present == 0).any() or len(present) < 2:
        return None  # as scikit-learn, which defines no area for a class without images
    areas = [_placements(labels == each, probabilities[:, each]) for each in range(len(present))]
    return np.asarray(np.mean(areas, axis=0))


def _placements(positive: NDArray[np.bool_], scores: NDArray[np.float32]) -> Floats:
    """(N,) contributions to the area of one class: how many of the other kind each image is on the right side of."""
    # Counted at each different score, so that each class is sorted once.
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    up = np.bincount(place, positive, minlength=len(count))
    down, n = count - up, len(scores)
    others_below = (np.cumsum(down) - down / 2)[place] / down.sum()  # share of the others below an image of the class, ties half
    class_above = 1 - (np.cumsum(up) - up / 2)[place] / up.sum()
    placement = np.where(positive, others_below, class_above)
    area = float(others_below[positive].mean())
    return np.asarray(area + (placement - area) * n / np.where(positive, up.sum(), down.sum()))


PROBABLE: dict[str, Callable[[Integers, NDArray[np.float32]], NDArray[Any] | None]] = {
    "top2": _top2,
    "loss": _loss,
    "ece": _calibration,
    "auc": _area,
}
"""Metrics that are computed from probabilities."""
