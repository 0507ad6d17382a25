"""Choosing the images that explain a network, on a table made by hand."""

import numpy as np

from fer_ablate.explain.choose import common_confusions, confusion_counts, spread_right, surest_right
from fer_ablate.training.evaluation import Predictions

#            truth, prediction, probability of the prediction
IMAGES = (
    (0, 0, 0.6),
    (0, 0, 0.9),
    (0, 1, 0.7),
    (0, 0, 0.9),
    (1, 0, 0.5),
    (1, 0, 0.8),
    (2, 1, 0.9),
    (0, 0, 0.4),
)
ROWS = np.arange(100, 108)


def predictions():
    shares = np.zeros((len(IMAGES), 3), np.float32)
    for line, (_, predicted, sure) in zip(shares, IMAGES, strict=True):
        line[:] = (1 - sure) / 2
        line[predicted] = sure
    return Predictions(ROWS, np.array([truth for truth, _, _ in IMAGES]), shares)


def test_correct_images_come_surest_first():
    assert [rows.tolist() for rows in surest_right(predictions(), 3)] == [[101, 103, 100], [], []]


def test_those_for_means_are_spread_over_the_set():
    assert [rows.tolist() for rows in spread_right(predictions(), 2)] == [[100, 107], [], []]
    assert spread_right(predictions(), 9)[0].tolist() == [100, 101, 103, 107]


def test_confusions_count_both_directions():
    first, second = common_confusions(predictions(), pairs=5, examples=1)
    assert (first.count, second.count) == (3, 1)
    assert [(one.truth, one.predicted, one.count, one.rows.tolist()) for one in first.directions] == [
        (1, 0, 2, [105]),
        (0, 1, 1, [102]),
    ]
    assert [(one.truth, one.predicted, one.count) for one in second.directions] == [(2, 1, 1), (1, 2, 0)]
    assert len(common_confusions(predictions(), pairs=1, examples=1)) == 1


def test_counts_have_the_truth_in_rows():
    assert confusion_counts(predictions()).tolist() == [[4, 1, 0], [2, 0, 0], [0, 1, 0]]
