"""Which networks an ensemble is made of, and their average. Pure arithmetic on what they said about some images.

Letters: M networks, N images, K classes. `votes` is (M, N, K): probabilities in [0, 1] that sum to 1 over the classes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ablate.errors import UserError, choices

AVERAGES = ("probabilities", "logits")
SELECTIONS = ("all", "greedy", "best:N")

ROUNDS = 50
"""Additions that the forward selection tries; weights finer than a fiftieth would follow chance among a few thousand images."""

Array = NDArray[Any]
Quality = tuple[int, float]
"""Right images, then minus the cross entropy: the larger, the better."""


def average_of(votes: Array, weights: Array, average: str) -> NDArray[np.float32]:
    """The weighted mean of several networks as (N, K) probabilities.

    The mean of the logits needs no logits: log p differs from them by a constant in each image, which the softmax takes out
    again. A probability that was rounded to 0 counts as the smallest that a 32-bit float can be.

    Args:
        votes: (M, N, K).
        weights: (M,) counts.
        average: one of `AVERAGES`.
    """
    mean = np.tensordot(weights / weights.sum(), _summands(votes, average), axes=1)
    return np.asarray(_shares(mean, average), dtype=np.float32)


def check_selection(select: str, candidates: int) -> None:
    """Refuse a selection that means nothing.

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
        raise UserError(f"select={select}: give a number of networks from 2 to {candidates}, which is how many there are.")


def chosen(select: str, votes: Array, labels: Array, average: str) -> NDArray[np.int64]:
    """How often each candidate enters the average.

    Args:
        select: free of faults, see `check_selection`.
        votes: (M, N, K) about the images that may be chosen by, which are those of val.
        labels: (N,) their true classes.
        average: one of `AVERAGES`.

    Returns:
        (M,) counts; all 1 or 0 but for `greedy`, which may take a candidate several times.
    """
    if select == "greedy":
        return greedy(votes, labels, average)
    number = len(votes) if select == "all" else int(select.partition(":")[2])
    weights = np.zeros(len(votes), np.int64)
    weights[ranked(votes, labels)[:number]] = 1
    return weights


def ranked(votes: Array, labels: Array) -> list[int]:
    """Candidates from the best to the worst by accuracy, equal ones by cross entropy, then in their order."""
    qualities = [_quality(vote.astype(np.float64), labels) for vote in votes]
    return sorted(range(len(votes)), key=lambda index: qualities[index], reverse=True)


def greedy(votes: Array, labels: Array, average: str) -> NDArray[np.int64]:
    """Forward selection with replacement (Caruana et al., 2004, Ensemble selection from libraries of models).

    Begins with the best candidate and adds, one at a time, whichever makes the average best; of all the averages on that way
    the best is kept.

    Args:
        votes: (M, N, K).
        labels: (N,).
        average: one of `AVERAGES`.

    Returns:
        (M,) counts.
    """
    parts = _summands(votes, average)
    total, counts = np.zeros(parts.shape[1:]), np.zeros(len(parts), np.int64)
    best, kept = (-1, -np.inf), counts
    for size in range(1, ROUNDS + 1):
        qualities = [_quality(_shares((total + part) / size, average), labels) for part in parts]
        added = max(range(len(parts)), key=qualities.__getitem__)
        total += parts[added]
        counts[added] += 1
        if qualities[added] > best:
            best, kept = qualities[added], counts.copy()
    return kept


def _summands(votes: Array, average: str) -> Array:
    """What is averaged, in 64 bits."""
    shares = votes.astype(np.float64)
    return np.log(np.maximum(shares, np.finfo(np.float32).tiny)) if average == "logits" else shares


def _shares(mean: Array, average: str) -> Array:
    """Probabilities of an average of summands."""
    if average != "logits":
        return mean
    powers = np.exp(mean - mean.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _quality(shares: Array, labels: Array) -> Quality:
    right = int(np.count_nonzero(shares.argmax(axis=1) == labels))
    of_truth = np.maximum(shares[np.arange(len(labels)), labels], np.finfo(np.float32).tiny)
    return right, float(np.log(of_truth).mean())
