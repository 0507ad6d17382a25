"""Chooses the members of an ensemble and averages their predictions. Pure arithmetic.

Letters: M networks, N images, K classes. `probabilities` is (M, N, K), in [0, 1], and sums to 1 over the classes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ablate.errors import UserError, choices

AVERAGES = ("probabilities", "logits")
SELECTIONS = ("all", "greedy", "best:N")

ROUNDS = 50
"""Steps of the forward selection; with a few thousand images, weights finer than a fiftieth would fit noise."""

Array = NDArray[Any]
Quality = tuple[int, float]
"""Number of right images, then minus the cross entropy; larger is better."""


def average_of(probabilities: Array, weights: Array, average: str) -> NDArray[np.float32]:
    """The weighted mean of several networks as (N, K) probabilities.

    The mean of the logits is computed from log p, which differs from the logits by a constant for each image that the softmax
    removes. A probability that was rounded to 0 counts as the smallest 32-bit float.

    Args:
        probabilities: (M, N, K).
        weights: (M,) counts.
        average: one of `AVERAGES`.
    """
    mean = np.tensordot(weights / weights.sum(), _summands(probabilities, average), axes=1)
    return np.asarray(_shares(mean, average), dtype=np.float32)


def check_selection(select: str, candidates: int) -> None:
    """Refuse a selection that does not exist.

    Args:
        select: `all`, `greedy` or `best:N`.
        candidates: M.

    Raises:
        UserError: it is none of these, or N is not between 2 and M.
    """
    if select in ("all", "greedy"):
        return
    name, colon, number = select.partition(":")
    if name != "best" or not colon:
        raise UserError(f"select={select}: there is no such selection. {choices(select, SELECTIONS)}")
    if not number.isdecimal() or not 2 <= int(number) <= candidates:
        raise UserError(f"select={select}: N must be a whole number from 2 to {candidates}, the number of networks.")


def chosen(select: str, probabilities: Array, labels: Array, average: str) -> NDArray[np.int64]:
    """How often each candidate enters the average.

    Args:
        select: valid, see `check_selection`.
        probabilities: (M, N, K) on val, the only images that may decide the choice.
        labels: (N,) their true classes.
        average: one of `AVERAGES`.

    Returns:
        (M,) counts: 0 or 1, except for `greedy`, which may add a candidate several times.
    """
    if select == "greedy":
        return greedy(probabilities, labels, average)
    number = len(probabilities) if select == "all" else int(select.partition(":")[2])
    weights = np.zeros(len(probabilities), np.int64)
    weights[ranked(probabilities, labels)[:number]] = 1
    return weights


def ranked(probabilities: Array, labels: Array) -> list[int]:
    """Indices of the candidates, best first, by accuracy; ties are broken by cross entropy, then by order."""
    qualities = [_quality(one.astype(np.float64), labels) for one in probabilities]
    # With `reverse=True`, too, equal ones keep their order.
    return sorted(range(len(probabilities)), key=lambda index: qualities[index], reverse=True)


def greedy(probabilities: Array, labels: Array, average: str) -> NDArray[np.int64]:
    """Forward selection with replacement (Caruana et al., 2004, Ensemble selection from libraries of models).

    Starts with the best candidate and adds, one at a time, the candidate that makes the average best. The best of all these
    averages is kept.

    Args:
        probabilities: (M, N, K).
        labels: (N,).
        average: one of `AVERAGES`.

    Returns:
        (M,) counts.
    """
    parts = _summands(probabilities, average)
    total, counts = np.zeros(parts.shape[1:]), np.zeros(len(parts), np.int64)
    # All steps are tried, since the quality may fall and rise again on the way.
    best, kept = (-1, -np.inf), counts
    for size in range(1, ROUNDS + 1):
        qualities = [_quality(_shares((total + part) / size, average), labels) for part in parts]
        added = max(range(len(parts)), key=qualities.__getitem__)
        total += parts[added]
        counts[added] += 1
        if qualities[added] > best:
            best, kept = qualities[added], counts.copy()
    return kept


def _summands(probabilities: Array, average: str) -> Array:
    """The terms of the mean, in 64 bits: probabilities or their logarithms."""
    shares = probabilities.astype(np.float64)
    return np.log(np.maximum(shares, np.finfo(np.float32).tiny)) if average == "logits" else shares


def _shares(mean: Array, average: str) -> Array:
    """Probabilities that belong to a mean of `_summands`."""
    if average != "logits":
        return mean
    # Minus the largest, so that the exponential does not overflow.
    powers = np.exp(mean - mean.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _quality(shares: Array, labels: Array) -> Quality:
    right = int(np.count_nonzero(shares.argmax(axis=1) == labels))
    # Probabilities of 0 would make the mean infinite and so hide all other images.
    of_truth = np.maximum(shares[np.arange(len(labels)), labels], np.finfo(np.float32).tiny)
    return right, float(np.log(of_truth).mean())
