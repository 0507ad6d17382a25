"""Cross-validated rows of real classifiers on drawn images whose truth is known: scores are as dependent as folds make them."""

from dataclasses import dataclass

import numpy as np

CLASSES = 3
SHARED, OWN = 4, 6
"""Features that all rows see, which make an image hard for all of them, and features of one row."""


@dataclass(frozen=True)
class Draw:
    """One data set, cross-validated by every row.

    Args:
        right: (rows, seeds, images) whether each image was read rightly by the network that had not seen its fold.
        fold: (images,) of each.
        ratio: images of a fold over those of the others.
    """

    right: np.ndarray
    fold: np.ndarray
    ratio: float

    def values(self):
        """(rows, folds) accuracy, mean over the seeds of each fold."""
        return np.stack([self.right[:, :, self.fold == fold].mean(axis=(1, 2)) for fold in np.unique(self.fold)], axis=1)


def draw(generator, gains, folds, seeds=1, images=120, persons=0, learner="neighbour"):
    """Draw a data set and cross-validate rows on it.

    All rows see the same images through features of their own, so that two of the same gain are equally good in truth and
    unlike on every single image. A seed is a draw of four fifths of the training images, as batches and early stopping are.

    Args:
        gains: how far the classes are apart for each row.
        folds: of the cross-validation.
        seeds: of every row and fold.
        images: of the data set.
        persons: whose images are alike and stay in one fold; 0: every image is of another person.
        learner: `neighbour` (nearest training image) or `linear` (least squares).
    """
    labels = generator.permutation(np.arange(images) % CLASSES)
    person = generator.permutation(np.arange(images) % persons) if persons else np.arange(images)
    fold = generator.permutation(np.arange(person.max() + 1) % folds)[person]
    features = _features(generator, np.array(gains), labels, person)
    rest = generator.random((len(gains), seeds, folds, images)) < 0.8  # drawn for training by each network
    rest &= fold != np.arange(folds)[:, None]
    read = {"neighbour": _neighbours, "linear": _linear}[learner](features, labels, rest, fold)
    return Draw(read == labels, fold, 1 / (folds - 1))


def _features(generator, gains, labels, person):
    """(rows, images, features)."""
    rows, images = len(gains), len(labels)
    shared = generator.standard_normal((images, SHARED)) + generator.standard_normal((images, SHARED))[person]
    own = generator.standard_normal((rows, images, OWN)) + generator.standard_normal((rows, images, OWN))[:, person]
    signal = np.eye(CLASSES)[labels]
    shared[:, :CLASSES] += 1.5 * signal
    own[..., :CLASSES] += gains[:, None, None] * signal
    return np.concatenate([np.broadcast_to(shared, (rows, images, SHARED)), own], axis=-1)


def _neighbours(features, labels, rest, fold):
    squares = (features**2).sum(axis=-1)
    distance = (squares[:, :, None] + squares[:, None] - 2 * features @ features.swapaxes(1, 2))[:, None]
    nearest = np.where(rest[:, :, fold], distance, np.inf).argmin(axis=-1)
    return labels[nearest]


def _linear(features, labels, rest, fold):
    full = np.concatenate([features, np.ones((*features.shape[:2], 1))], axis=-1)
    weighted = rest[..., None] * full[:, None, None]  # (rows, seeds, folds, images, features)
    gram = weighted.swapaxes(-1, -2) @ full[:, None, None] + 0.1 * np.eye(full.shape[-1])
    weights = np.linalg.solve(gram, weighted.swapaxes(-1, -2) @ np.eye(CLASSES)[labels])
    scores = np.einsum("rif,rsifc->rsic", full, weights[:, :, fold])
    return scores.argmax(axis=-1)
