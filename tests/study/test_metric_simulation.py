"""Drawn predictions of several classes: intervals of any metric hold as accuracy's do, over images and over persons."""

import numpy as np
import pytest
from scipy.stats import binom

from fer_ablate.judgement.image_scores import from_labels, from_probabilities, needs_probabilities, of_class
from fer_ablate.judgement.statistics import by_group, holm, image_difference, image_mean, usual_spread

METRICS = ("macro_f1", "balanced_acc", "kappa", "auc", "ece", "loss", "top2", "recall/b", "f1/b")
CLASSES, PRIORS = ("a", "b", "c", "d"), (0.4, 0.1, 0.2, 0.3)
ROWS, SEEDS, IMAGES = 8, 3, 400
DIFFICULTY, TASTE, SHIFT = 1.0, 0.5, 0.15
"""Spread of what is hard for all rows, for one row, and of a seed; each run has a spread of 1 for itself. All for each class."""


def drawn(generator, rows, seeds, images=IMAGES, persons=None):
    """(images,) labels, (rows, seeds, images, classes) probabilities, and (images,) persons, who share what is hard."""
    labels, person = generator.choice(len(CLASSES), images, p=PRIORS), np.arange(images) % (persons or images)
    hard = DIFFICULTY * generator.standard_normal((images, len(CLASSES)))
    if persons:
        hard = DIFFICULTY * generator.standard_normal((persons, len(CLASSES)))[person] + 0.3 * hard
    taste = TASTE * generator.standard_normal((rows, 1, images, len(CLASSES)))
    shift = SHIFT * generator.standard_normal((rows, seeds, 1, len(CLASSES)))
    chance = generator.standard_normal((rows, seeds, images, len(CLASSES)))
    logits = (1.5 * np.eye(len(CLASSES))[labels] + hard + taste + shift + chance).astype(np.float32)
    shares = np.exp(logits)
    return labels, shares / shares.sum(axis=-1, keepdims=True), person


def scored(metric, labels, probabilities):
    """(rows, seeds, images) contributions; of a recall those of its class."""
    inside = of_class(metric, labels, CLASSES)
    every = slice(None) if inside is None else inside

    def of_run(run):
        if needs_probabilities(metric):
            return from_probabilities(metric, labels[every], run[every])
        return from_labels(metric, labels[every], run[every].argmax(axis=1), CLASSES)

    return np.array([[of_run(run) for run in row] for row in probabilities])


def holds(estimate, truth):
    low, high = estimate.interval()
    return low <= truth <= high


def simulated(metric, tables, persons=None):
    """Coverage of means and differences, and how many tables called any of equal rows different."""
    generator = np.random.default_rng(0)
    truth = np.mean([scored(metric, *drawn(generator, 1, 30, 20_000)[:2]).mean() for _ in range(2)])
    means, differences, called = [], [], 0
    for _ in range(tables):
        labels, probabilities, person = drawn(generator, ROWS, SEEDS, persons=persons)
        rows, share = scored(metric, labels, probabilities), 1.0
        if persons:
            (rows, share) = np.array([by_group(row, person)[0] for row in rows]), persons / IMAGES
        baseline, *others = rows
        usual = usual_spread(rows)
        found = [image_difference(row, baseline, usual, share) for row in others]
        means += [holds(image_mean(row, usual, share), truth) for row in others[:2]]
        differences += [holds(one, 0) for one in found]
        called += min(holm([one.p for one in found])) < 0.05
    return np.mean(means), np.mean(differences), called


QUICK = ("balanced_acc",)


@pytest.mark.long
@pytest.mark.parametrize("metric", [pytest.param(one, marks=[] if one in QUICK else [pytest.mark.slow]) for one in METRICS])
def test_intervals_of_any_metric_hold(metric):
    tables = 60 if metric in QUICK else 400
    means, differences, called = simulated(metric, tables)
    print(f"{metric}: means {means:.3f}, differences {differences:.3f}, tables with a false verdict {called} of {tables}")
    # The error of calibration is larger on few images than on many, so that its means say something else.
    assert metric == "ece" or 0.92 <= means <= (1 if metric in QUICK else 0.99)
    assert 0.93 <= differences <= 0.99
    assert called <= binom.isf(0.01, tables, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("persons", [20, 80])
def test_intervals_over_persons_hold(persons):
    """Images of a person are alike: counting each as a draw of its own would claim too much."""
    means, differences, called = simulated("macro_f1", 300, persons)
    print(f"{persons} persons: means {means:.3f}, differences {differences:.3f}, tables with a false verdict {called} of 300")
    assert 0.92 <= means <= 0.99
    assert 0.93 <= differences <= 0.995
    assert called <= binom.isf(0.01, 300, 0.05)
