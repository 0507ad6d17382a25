"""How many seeds tell a difference: promised, and met in tables that are drawn with as many."""

from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.power import TTestIndPower

from fer_ablate.judgement.power import MOST_SEEDS, Noise, noise_of, power_with, seeds_needed, smallest_told
from fer_ablate.judgement.statistics import holm, image_difference, usual_spread

from .test_simulation import EASE, accuracy, drawn_table

ROWS, IMAGES = 8, 1000


def seen(generator, seeds, gain, rows=ROWS, images=IMAGES):
    """Runs of rows of which the last is better, and what is usual among them."""
    baseline, *others = drawn_table(generator, seeds, [EASE] * rows + [EASE + gain], images)
    return baseline, others, usual_spread([baseline, *others])


def true_noise(gain, tables=12):
    """The noise of such tables, as many seeds show it."""
    generator, found = np.random.default_rng(0), []
    for _ in range(tables):
        baseline, others, usual = seen(generator, 40, gain, rows=3)
        found.append(noise_of(others[-1], baseline, usual, ROWS + 1))
    means = {name: float(np.mean([getattr(one, name) for one in found])) for name in ("images", "row", "baseline", "explained")}
    return Noise(**means, images_df=IMAGES - 1, rows=ROWS + 1)


@pytest.mark.parametrize(
    ("gain", "tables", "low", "high"),
    [(0.35, 150, 0.7, 0.9), *(pytest.param(gain, 1000, 0.75, 0.85, marks=pytest.mark.slow) for gain in (0.25, 0.3, 0.45))],
)
def test_the_promised_power_is_met(gain, tables, low, high):
    generator, difference = np.random.default_rng(1), accuracy(EASE + gain) - accuracy(EASE)
    seeds, found = seeds_needed(true_noise(gain), difference, ROWS), 0
    for _ in range(tables):
        baseline, others, usual = seen(generator, seeds, gain)
        found += holm([image_difference(row, baseline, usual).p for row in others])[-1] < 0.05
    assert low <= found / tables <= high, f"{seeds} seeds"


def test_three_seeds_promise_about_the_right_number():
    gain, generator = 0.35, np.random.default_rng(2)
    difference, noise = accuracy(EASE + gain) - accuracy(EASE), true_noise(gain)
    promised = []
    for _ in range(20):
        baseline, others, usual = seen(generator, 3, gain)
        promised.append(seeds_needed(noise_of(others[-1], baseline, usual, ROWS + 1), difference, ROWS))
    assert np.median(promised) == pytest.approx(seeds_needed(noise, difference, ROWS), rel=0.4)


def test_seeds_alone_are_the_t_tests_power():
    """Without images it is the two-sample t test, whose power statsmodels computes."""
    noise = Noise(images=0.0, images_df=1, row=0.01**2, baseline=0.01**2)
    for seeds in (8, 20):  # with fewer, Welch's test has less power
        reference = TTestIndPower().power(effect_size=1.2, nobs1=seeds, alpha=0.05)
        assert power_with(noise, 0.012, seeds) == pytest.approx(reference, abs=0.03)
    reference = TTestIndPower().solve_power(effect_size=1.2, power=0.8, alpha=0.05)
    assert seeds_needed(noise, 0.012) == pytest.approx(np.ceil(reference), abs=1)


def test_seeds_do_not_make_up_for_images():
    noise = Noise(images=0.01**2, images_df=500, row=0.01**2, baseline=0.01**2)
    assert smallest_told(noise) == pytest.approx(0.01 * (1.96 + 0.8416), rel=1e-3)
    assert seeds_needed(noise, 0.9 * smallest_told(noise)) is None
    assert power_with(noise, 0.9 * smallest_told(noise), MOST_SEEDS) < 0.8
    four_times_the_images = replace(noise, images=noise.images / 4)
    assert seeds_needed(four_times_the_images, 0.9 * smallest_told(noise)) is not None
    assert seeds_needed(noise, 1.2 * smallest_told(noise)) > seeds_needed(noise, 2 * smallest_told(noise))
