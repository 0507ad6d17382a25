"""Chooses the images that explain a network; the same predictions always give the same images.

Letters: K classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_ablate.data.faces import Rows
from fer_ablate.training.evaluation import Predictions


@dataclass(frozen=True)
class ConfusionDirection:
    """Images of one class that were taken for another.

    Args:
        truth: index of the true class.
        predicted: index of the predicted class.
        count: number of such images.
        rows: rows of those that the network was surest of, surest first.
    """

    truth: int
    predicted: int
    count: int
    rows: Rows


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that are taken for each other, the more common direction first."""

    directions: tuple[ConfusionDirection, ConfusionDirection]

    @property
    def count(self) -> int:
        """Number of images of either class that were taken for the other."""
        return sum(direction.count for direction in self.directions)


def confusion_counts(predictions: Predictions) -> NDArray[np.int64]:
    """Count predictions by true class (row) and predicted class (column): (K, K)."""
    k = predictions.probabilities.shape[1]
    # One number for each pair of true and predicted class, so that a single count gives the whole matrix.
    pairs = predictions.labels * k + predictions.probabilities.argmax(axis=1)
    return np.bincount(pairs, minlength=k * k).reshape(k, k)


def surest_right(predictions: Predictions, number: int) -> list[Rows]:
    """Choose for every class up to `number` images that were predicted correctly, and give their rows, surest first."""
    return [_surest(predictions, label, label)[:number] for label in range(predictions.probabilities.shape[1])]


def spread_right(predictions: Predictions, number: int) -> list[Rows]:
    """Choose for every class up to `number` correct images, evenly spread over the set however sure the network was."""
    chosen = []
    for label in range(predictions.probabilities.shape[1]):
        rows = np.sort(_surest(predictions, label, label))
        places = np.linspace(0, len(rows) - 1, min(number, len(rows))).round().astype(np.int64)
        chosen.append(rows[places])
    return chosen


def common_confusions(predictions: Predictions, pairs: int, examples: int) -> list[ConfusedPair]:
    """Find the pairs of classes that are taken for each other most often, most often first.

    Args:
        predictions: predictions of a split.
        pairs: most pairs to give; fewer if fewer were confused.
        examples: most images to give for each direction.
    """
    counts = confusion_counts(predictions)
    both = counts + counts.T  # a pair is confused in both directions
    ranked = sorted((-int(both[a, b]), a, b) for a in range(len(counts)) for b in range(a + 1, len(counts)) if both[a, b])
    found = []
    for _, a, b in ranked[:pairs]:
        first, second = ((a, b), (b, a)) if counts[a, b] >= counts[b, a] else ((b, a), (a, b))
        found.append(ConfusedPair((_direction(predictions, *first, examples), _direction(predictions, *second, examples))))
    return found


def _direction(predictions: Predictions, truth: int, predicted: int, examples: int) -> ConfusionDirection:
    rows = _surest(predictions, truth, predicted)
    return ConfusionDirection(truth, predicted, len(rows), rows[:examples])


def _surest(predictions: Predictions, truth: int, predicted: int) -> Rows:
    """Rows of one class that were predicted as another or as itself, surest first; equally sure ones keep their order."""
    chosen = (predictions.labels == truth) & (predictions.probabilities.argmax(axis=1) == predicted)
    # A stable sort, since the choice must be the same on every machine.
    order = np.argsort(-predictions.probabilities[chosen, predicted], kind="stable")
    rows: Rows = predictions.rows[chosen][order]
    return rows
