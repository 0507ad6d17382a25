"""Names of scores: which splits and metrics a column such as `test/acc` or `test/recall/fear` may name."""

from collections.abc import Iterable, Mapping

from fer_ablate.metrics.split_result import AVERAGES, PERCENT, SUPPORT

SPLITS = ("train", "val", "test", "public", "private", "train_eval", "train_pooled", "test_pooled")
"""Splits of a result, as columns name them."""

METRICS = (*PERCENT, "kappa", "auc", "loss")
"""Metrics of all classes together. `kappa` and `balanced_acc` are computed from counts, `auc` from the stored probabilities."""

LESS_IS_BETTER = ("loss", "ece")
"""Metrics of which less is better."""

OFFERED = ("num_classes", "task")
"""What a metric of the user's own gets if it takes it: the number of classes, and `multiclass`."""


def is_of_class(metric: str) -> bool:
    """Whether a metric is the score of one class, such as `recall/fear`, or a number of images, such as `support/fear`."""
    return "/" in metric


def in_percent(metric: str) -> bool:
    """Whether a metric is a fraction of one, which is shown in percent."""
    return metric in PERCENT or (is_of_class(metric) and not metric.startswith(f"{SUPPORT}/"))


def higher_is_better(metric: str, own: Iterable[Mapping[str, bool | None]] = ()) -> bool | None:
    """Whether more of a metric is better; None if neither more nor less is, as far as is known.

    Args:
        metric: such as `acc` or `recall/fear`.
        own: for each of some runs, metric of the user's own -> what its class says.
    """
    return next((ways[metric] for ways in own if metric in ways), metric not in LESS_IS_BETTER)


def report_metric(line: str, score: str) -> str:
    """The metric of a cell in a classification report as scikit-learn prints it.

    Args:
        line: a class, `accuracy`, `macro avg` or `weighted avg`.
        score: `precision`, `recall`, `f1`, `support`, or `accuracy` in the line of that name.
    """
    if score == "accuracy":
        return "acc"
    if line in AVERAGES and score != SUPPORT:
        return f"{AVERAGES[line]}_{score}"
    return f"{score}/{line}"
