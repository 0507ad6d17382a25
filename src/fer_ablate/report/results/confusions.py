"""Which classes the measured networks take for which others, as sentences for the page of results."""

from collections.abc import Sequence

import numpy as np

from fer_ablate.report.results.export import ExportedRun
from fer_ablate.report.results.table import StudyResults

SHOWN = 5
"""Confusions in a sentence; with seven classes there are 42."""


def confusions_in_words(results: StudyResults, split: str = "test") -> list[str]:
    """For each row with counts of predictions, the wrong predictions that the largest shares of a class get.

    Args:
        results: exported runs, whose counts are summed over seeds and folds.
        split: whose counts are taken.

    Returns:
        Such as `FER_KD takes on test most often: disgust for angry (40 % of 56), fear for sad (22 % of 496).`, a sentence for
        each row; none for rows that were exported without counts, or whose predictions are all right.
    """
    found = {label: _most_frequent(results.runs_of(label), split) for label in results.labels}
    return [f"{label} takes on {split} most often: {', '.join(words)}." for label, words in found.items() if words]


def _most_frequent(runs: Sequence[ExportedRun], split: str) -> list[str]:
    counted = [run for run in runs if split in run.confusions]
    # Runs of two sets of classes have no sum.
    if len({run.classes for run in counted}) != 1:
        return []
    classes = counted[0].classes
    counts = np.sum([run.confusions[split] for run in counted], axis=0)
    images = counts.sum(axis=1)
    shares = counts / np.maximum(images, 1)[:, None]
    np.fill_diagonal(shares, 0)
    order = np.argsort(-shares, axis=None, kind="stable")[:SHOWN]
    cells = [divmod(int(cell), len(classes)) for cell in order]
    return [
        f"{classes[truth]} for {classes[predicted]} ({100 * shares[truth, predicted]:.0f} % of {images[truth]:,})"
        for truth, predicted in cells
        if shares[truth, predicted] > 0
    ]
