"""Which images explain a network. The choice is the same every time.

Letters: K classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_ablate.data.faces import Rows
from fer_ablate.training.evaluation import Predictions


@dataclass(frozen=True)
class Direction:
    """Images of one class taken for another.

    Args:
        truth: class index.
        said: class index.
        count: of such images.
        rows: of those of which the network was surest, surest first.
    """

    truth: int
    said: int
    count: int
    rows: Rows


@dataclass(frozen=True)
class Confusion:
    """Two classes taken for each other, the more common direction first."""

    directions: tuple[Direction, Direction]

    @property
    def count(self) -> int:
        """Images taken wrongly, both ways."""
        return sum(direction.count for direction in self.directions)


def confusion_counts(predictions: Predictions) -> NDArray[np.int64]:
    """(K, K) counts; row = truth, column = prediction."""
    k = predictions.probabilities.shape[1]
    pairs = predictions.labels * k + predictions.probabilities.argmax(axis=1)
    return np.bincount(pairs, minlength=k * k).reshape(k, k)


def surest_right(predictions: Predictions, number: int) -> list[Rows]:
    """For every class, rows of up to `number` images taken for it rightly, surest first."""
    return [_surest(predictions, label, label)[:number] for label in range(predictions.probabilities.shape[1])]


def spread_right(predictions: Predictions, number: int) -> list[Rows]:
    """For every class, rows of up to `number` images taken for it rightly, evenly spread over the set, sure or not."""
    chosen = []
    for label in range(predictions.probabilities.shape[1]):
        rows = np.sort(_surest(predictions, label, label))
        places = np.linspace(0, len(rows) - 1, min(number, len(rows))).round().astype(np.int64)
        chosen.append(rows[places])
    return chosen


def common_confusions(predictions: Predictions, pairs: int, examples: int) -> list[Confusion]:
    """The most common pairs of classes that are taken for each other, most common first.

    Args:
        predictions: of a split.
        pairs: at most so many; fewer if fewer were confused.
        examples: at most so many images of each direction.
    """
    counts = confusion_counts(predictions)
    both = counts + counts.T
    ranked = sorted((-int(both[a, b]), a, b) for a in range(len(counts)) for b in range(a + 1, len(counts)) if both[a, b])
    found = []
    for _, a, b in ranked[:pairs]:
        first, second = ((a, b), (b, a)) if counts[a, b] >= counts[b, a] else ((b, a), (a, b))
        found.append(Confusion((_direction(predictions, *first, examples), _direction(predictions, *second, examples))))
    return found


def _direction(predictions: Predictions, truth: int, said: int, examples: int) -> Direction:
    rows = _surest(predictions, truth, said)
    return Direction(truth, said, len(rows), rows[:examples])


def _surest(predictions: Predictions, truth: int, said: int) -> Rows:
    """Rows of one class taken for another or itself, surest first, equally sure ones in their order."""
    chosen = (predictions.labels == truth) & (predictions.probabilities.argmax(axis=1) == said)
    order = np.argsort(-predictions.probabilities[chosen, said], kind="stable")
    rows: Rows = predictions.rows[chosen][order]
    return rows
