"""Tables of drawn studies whose truth is known: what is claimed to hold in 95 of 100 does."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from fer_ablate.study.statistics import holm, image_difference, image_mean, usual_spread

TABLES, ROWS, IMAGES = 700, 8, 300
DIFFICULTY, TASTE, SHIFT = 2.0, 0.8, 0.1
"""Spread of what makes an image hard for all rows, hard for one row, and a seed good at all images; what makes one run right
about one image by chance has spread 1. On so few images the runs of a row then have a standard deviation of 2.3 points, of
which the seed by itself makes 1.6."""

EASE = 0.9


def accuracy(ease):
    """True mean over all images and seeds that might have been drawn."""
    return norm.cdf(ease / np.sqrt(1 + DIFFICULTY**2 + TASTE**2 + SHIFT**2))


def drawn_table(generator, seeds, ease):
    """(seeds, images) whether right, for each row; `ease` has an entry for each."""
    rows = len(ease)
    difficulty = DIFFICULTY * generator.standard_normal(IMAGES, dtype=np.float32)
    taste = TASTE * generator.standard_normal((rows, 1, IMAGES), dtype=np.float32)
    shift = SHIFT * generator.standard_normal((rows, seeds, 1), dtype=np.float32)
    chance = generator.standard_normal((rows, seeds, IMAGES), dtype=np.float32)
    return np.array(ease, np.float32)[:, None, None] + difficulty + taste + shift + chance > 0


def holds(estimate, truth):
    low, high = estimate.interval()
    return low <= truth <= high


@pytest.fixture(scope="module", params=[2, 3, 5, 10])
def without_difference(request):
    """Coverage of means, of differences, and the share of tables with any row called different."""
    generator = np.random.default_rng(request.param)
    truth = accuracy(EASE)
    means, differences, called = [], [], []
    for _ in range(TABLES):
        baseline, *rows = drawn_table(generator, request.param, [EASE] * (ROWS + 1))
        usual = usual_spread([row.mean(axis=1) for row in (baseline, *rows)])
        means += [holds(image_mean(row, usual), truth) for row in rows[:3]]
        found = [image_difference(row, baseline, usual) for row in rows]
        differences += [holds(one, 0) for one in found]
        called.append(min(holm([one.p for one in found])) < 0.05)
    return np.mean(means), np.mean(differences), sum(called)


def test_intervals_of_means_cover(without_difference):
    assert 0.93 <= without_difference[0] <= 0.98


def test_intervals_of_differences_cover(without_difference):
    assert 0.93 <= without_difference[1] <= 0.98


def test_at_most_one_table_in_twenty_calls_any_of_eight_equal_rows_different(without_difference):
    assert without_difference[2] <= binom.isf(0.01, TABLES, 0.05)


def test_one_row_alone_and_unequal_numbers_of_seeds_cover():
    generator = np.random.default_rng(0)
    held = []
    for _ in range(600):
        baseline, row = drawn_table(generator, 6, [EASE, EASE + 0.5])
        held.append(holds(image_difference(row[:3], baseline), accuracy(EASE + 0.5) - accuracy(EASE)))
    assert 0.93 <= np.mean(held) <= 0.98


def test_a_true_difference_is_found_and_the_others_are_left():
    generator = np.random.default_rng(0)
    found = others = 0
    for _ in range(100):
        baseline, *rows = drawn_table(generator, 5, [EASE] * ROWS + [EASE + 0.6])  # 8.9 points better
        usual = usual_spread([row.mean(axis=1) for row in (baseline, *rows)])
        p = holm([image_difference(row, baseline, usual).p for row in rows])
        found += p[-1] < 0.05
        others += min(p[:-1]) < 0.05
    assert found >= 90
    assert others <= 10
