"""Tables of drawn studies whose truth is known: what is claimed to hold in 95 of 100 does."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from fer_ablate.judgement.statistics import fold_mean, holm, image_difference, image_mean, usual_spread

from .drawn_folds import draw

TABLES, ROWS, IMAGES = 700, 8, 300
DIFFICULTY, TASTE, SHIFT = 2.0, 0.8, 0.1
"""Spread of what makes an image hard for all rows, hard for one row, and a seed good at all images; what makes one run right
about one image by chance has spread 1. On so few images the runs of a row then have a standard deviation of 2.3 points, of
which the seed by itself makes 1.6."""

EASE = 0.9


def accuracy(ease):
    """True mean over all images and seeds that might have been drawn."""
    return norm.cdf(ease / np.sqrt(1 + DIFFICULTY**2 + TASTE**2 + SHIFT**2))


def drawn_table(generator, seeds, ease, images=IMAGES):
    """(seeds, images) whether right, for each row; `ease` has an entry for each."""
    rows = len(ease)
    difficulty = DIFFICULTY * generator.standard_normal(images, dtype=np.float32)
    taste = TASTE * generator.standard_normal((rows, 1, images), dtype=np.float32)
    shift = SHIFT * generator.standard_normal((rows, seeds, 1), dtype=np.float32)
    chance = generator.standard_normal((rows, seeds, images), dtype=np.float32)
    return np.array(ease, np.float32)[:, None, None] + difficulty + taste + shift + chance > 0


def holds(estimate, truth):
    low, high = estimate.interval()
    return low <= truth <= high


@pytest.fixture(scope="module", params=[3, *(pytest.param(seeds, marks=pytest.mark.slow) for seeds in (2, 5, 10))])
def without_difference(request):
    """Coverage of means, of differences, and the share of tables with any row called different."""
    generator = np.random.default_rng(request.param)
    truth = accuracy(EASE)
    means, differences, called = [], [], []
    for _ in range(TABLES):
        baseline, *rows = drawn_table(generator, request.param, [EASE] * (ROWS + 1))
        usual = usual_spread([baseline, *rows])
        means += [holds(image_mean(row, usual), truth) for row in rows[:3]]
        found = [image_difference(row, baseline, usual) for row in rows]
        differences += [holds(one, 0) for one in found]
        called.append(min(holm([one.p for one in found])) < 0.05)
    return np.mean(means), np.mean(differences), sum(called)


@pytest.mark.slow
def test_intervals_of_means_cover(without_difference):
    assert 0.93 <= without_difference[0] <= 0.98


@pytest.mark.long
def test_intervals_of_differences_cover(without_difference):
    assert 0.93 <= without_difference[1] <= 0.98


def test_few_tables_call_equal_rows_different(without_difference):
    assert without_difference[2] <= binom.isf(0.01, TABLES, 0.05)


def test_unequal_numbers_of_seeds_cover():
    generator = np.random.default_rng(0)
    held = []
    for _ in range(600):
        baseline, row = drawn_table(generator, 6, [EASE, EASE + 0.5])
        held.append(holds(image_difference(row[:3], baseline), accuracy(EASE + 0.5) - accuracy(EASE)))
    assert 0.93 <= np.mean(held) <= 0.98


def test_one_seed_is_weighed_by_the_usual_spread():
    """One run beside rows of five: its interval covers seeds that it does not show."""
    generator = np.random.default_rng(0)
    held = {"mean": [], "difference": [], "without": []}
    for _ in range(600):
        baseline, single, *rows = drawn_table(generator, 5, [EASE] * 6)
        usual = usual_spread([baseline, *rows])
        held["mean"].append(holds(image_mean(single[:1], usual), accuracy(EASE)))
        held["difference"].append(holds(image_difference(single[:1], baseline, usual), 0))
        held["without"].append(holds(image_difference(single[:1], baseline[:1]), 0))
    assert 0.93 <= np.mean(held["mean"]) <= 0.98
    assert 0.93 <= np.mean(held["difference"]) <= 0.99
    assert np.mean(held["without"]) < 0.93


def test_only_a_true_difference_is_found():
    generator = np.random.default_rng(0)
    found = others = 0
    for _ in range(100):
        baseline, *rows = drawn_table(generator, 5, [EASE] * ROWS + [EASE + 0.6])  # 8.9 points better
        usual = usual_spread([baseline, *rows])
        p = holm([image_difference(row, baseline, usual).p for row in rows])
        found += p[-1] < 0.05
        others += min(p[:-1]) < 0.05
    assert found >= 90
    assert others <= 10


FOLD_TABLES = 250
FOLDS = {
    "three folds": {"folds": 3},
    "ten folds": {"folds": 10},
    "five folds of three seeds": {"folds": 5, "seeds": 3},
    "ten folds by person": {"folds": 10, "persons": 20},
    "five folds, linear": {"folds": 5, "learner": "linear"},
}
QUICK = ("three folds",)
"""Those of the default tests; the others take longer."""


def over_folds(generator, gains, **scheme):
    """Estimates of the mean and of the difference to the first row, row by row."""
    drawn = draw(generator, gains, **scheme)
    baseline, *rows = values = drawn.values()
    return [fold_mean(one, drawn.ratio) for one in values], [fold_mean(row - baseline, drawn.ratio) for row in rows]


@pytest.fixture(
    scope="module",
    params=[pytest.param(scheme, id=name, marks=[] if name in QUICK else [pytest.mark.slow]) for name, scheme in FOLDS.items()],
)
def folds_without_difference(request):
    """Coverage of means and of differences of equally good rows, and how many tables called any of these different."""
    generator = np.random.default_rng(0)
    means, differences, called = [], [], 0
    for _ in range(FOLD_TABLES):
        mean, difference = over_folds(generator, [1.0] * (ROWS + 1), **request.param)
        means += mean
        differences += [one for one in difference if not np.isnan(one.p)]
        called += np.nanmin(holm([one.p for one in difference])) < 0.05
    truth = np.mean([one.value for one in means])
    return np.mean([holds(one, truth) for one in means]), np.mean([holds(one, 0) for one in differences]), called


def test_intervals_over_folds_cover(folds_without_difference):
    means, differences, called = folds_without_difference
    # Cautious: the correction was made for test sets that overlap, and folds do not.
    assert 0.93 <= means <= 0.99
    assert 0.95 <= differences <= 0.99
    assert called <= binom.isf(0.01, FOLD_TABLES, 0.05)


def test_a_true_difference_is_found_over_folds():
    generator = np.random.default_rng(0)
    found = others = 0
    for _ in range(60):
        _, differences = over_folds(generator, [1.0] * ROWS + [3.0], folds=10, images=210)  # 29 points better
        p = holm([one.p for one in differences])
        found += p[-1] < 0.05
        others += min(p[:-1]) < 0.05
    assert found >= 48
    assert others <= 6
