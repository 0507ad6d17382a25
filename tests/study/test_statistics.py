import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from fer_ablate.judgement.statistics import (
    Estimate,
    chi2_median,
    fold_mean,
    holm,
    image_difference,
    image_mean,
    mcnemar,
    prediction_interval,
    seed_difference,
    seed_mean,
    t_quantile,
    t_tail,
    usual_spread,
)


@pytest.mark.parametrize("df", [0.5, 1, 2, 2.7, 14, 3588, 1e9])
def test_quantiles_are_those_of_scipy_stats(df):
    tails = [1e-300, 1e-12, 1e-3, 0.025, 0.3]
    assert [t_quantile(tail, df) for tail in tails] == list(stats.t.isf(tails, df))
    assert [t_tail(value, df) for value in (0.0, 0.1, 2.0, 40.0)] == list(stats.t.sf([0.0, 0.1, 2.0, 40.0], df))
    assert chi2_median(df) == stats.chi2.median(df)


def test_folds_use_the_corrected_resampled_t_test():
    # Mean 0.02 with S^2 = 1e-4 over three folds that test on half as many images as they train on: (1/3 + 1/2) S^2.
    estimate = fold_mean(np.array([0.01, 0.02, 0.03]), ratio=0.5)
    assert estimate.value == pytest.approx(0.02)
    assert estimate.variance == pytest.approx((1 / 3 + 1 / 2) * 1e-4)
    assert estimate.df == 2
    half = stats.t.ppf(0.975, 2) * math.sqrt(5e-4 / 6)
    assert estimate.interval() == pytest.approx((0.02 - half, 0.02 + half))
    assert estimate.p == pytest.approx(2 * stats.t.sf(0.02 / math.sqrt(5e-4 / 6), 2))


def test_without_shared_images_it_is_students_test():
    draw = np.random.default_rng(0).normal(0.1, 1, 12)
    assert fold_mean(draw, ratio=0.0).p == pytest.approx(stats.ttest_1samp(draw, 0).pvalue)


@pytest.mark.parametrize("values", [[0.1], [0.1, 0.1 + 1e-9, 0.1], [0.0, 0.0]], ids=["one", "equal", "none"])
def test_one_fold_or_equal_ones_give_no_spread(values):
    estimate = fold_mean(np.array(values), ratio=0.5)
    assert math.isnan(estimate.p)
    assert all(map(math.isnan, estimate.interval()))


def right(*runs):
    """`1100` -> right about the first two of four images."""
    return np.array([[letter == "1" for letter in run] for run in runs])


def test_equal_runs_have_the_variance_of_images():
    # Means by image 1, .5, 0, .5, and two right and two wrong ones added: squares about 1/2 sum to 1.5.
    estimate = image_mean(right("1100", "1001"))
    assert estimate.value == 0.5
    assert estimate.variance == pytest.approx(1.5 / 7 / 4)
    assert estimate.df == pytest.approx(3)


def test_unequal_runs_add_the_variance_of_seeds():
    # Run means 1 and 0 have variance 1/2; disagreement of 1/2 at each of 4 images makes 1/8 of that; two seeds halve the rest.
    estimate = image_mean(right("1111", "0000"))
    images, seeds = 1 / 7 / 4, (1 / 2 - 1 / 8) / 2
    assert estimate.variance == pytest.approx(images + seeds)
    assert estimate.df == 1  # Satterthwaite gives 0.79, but two seeds are not less than one degree of freedom


def test_differences_pair_images_and_add_seeds():
    row, baseline = right("1111", "1100"), right("1010", "1000", "0000")
    images = np.append(row.mean(axis=0) - baseline.mean(axis=0), [-1, 1]).var(ddof=1) / 4
    of_row = (1 / 8 - (1 / 4) / 4) / 2  # means 1, 1/2; the runs disagree about two of four images
    of_baseline = 0.0625 - (2 / 12) / 4  # means 1/2, 1/4, 0; they disagree about two of four images, by 1/3 each
    estimate = image_difference(row, baseline)
    assert estimate.value == pytest.approx(0.75 - 0.25)
    assert estimate.variance == pytest.approx(images + of_row + of_baseline / 3)
    uncertainty = images**2 / 3 + (1 / 8 / 2) ** 2 / 1 + (0.0625 / 3) ** 2 / 2
    assert estimate.df == pytest.approx(estimate.variance**2 / uncertainty)


def test_one_seed_leaves_the_interval_of_images():
    scores = right("1" * 60 + "0" * 40)
    shares = np.append(scores[0], [1, 1, 0, 0])
    low, high = image_mean(scores).interval()
    half = stats.t.isf(0.025, 99) * math.sqrt(shares.var(ddof=1) / 100)
    assert (low, high) == (pytest.approx(0.6 - half), pytest.approx(0.6 + half))


def test_a_perfect_score_is_not_certain():
    low, high = image_mean(np.ones((3, 1000), bool)).interval()
    assert 1 - low == pytest.approx(3 / 1000, rel=0.1)  # the rule of three
    assert high > 1


def test_a_row_does_not_differ_from_itself():
    scores = np.random.default_rng(0).random((3, 200)) < 0.7
    estimate = image_difference(scores, scores)
    assert estimate.value == 0
    assert estimate.p == 1
    assert estimate.interval()[0] == -estimate.interval()[1]


def test_equal_seeds_leave_the_images():
    scores = right("1101") * np.ones((5, 1), bool)
    assert image_mean(scores).variance == pytest.approx(np.append([1, 1, 0, 1], [1, 1, 0, 0]).var(ddof=1) / 4)


@pytest.mark.parametrize(("row", "baseline"), [((5, 2), (1, 3, 4)), ((0.61, 0.65, 0.66), (0.60, 0.59, 0.63, 0.62))])
def test_difference_over_seeds_is_welchs(row, baseline):
    row, baseline = np.array(row), np.array(baseline)
    reference = stats.ttest_ind(row, baseline, equal_var=False)
    estimate = seed_difference(row, baseline)
    assert estimate.p == pytest.approx(reference.pvalue)
    if reference.df >= 1.5:  # below the fewest seeds less one ours stops
        assert estimate.df == pytest.approx(reference.df)
    assert estimate.interval() == pytest.approx(tuple(reference.confidence_interval()))


def test_mean_over_seeds_is_students():
    values = np.array([0.6, 0.62, 0.67])
    assert seed_mean(values).interval() == pytest.approx(tuple(stats.ttest_1samp(values, 0).confidence_interval()))
    assert math.isnan(seed_mean(values[:1]).interval()[0])


def test_equal_seeds_give_certainty_about_seeds():
    same = np.full(3, 0.6121482253074646)
    assert seed_mean(same).interval() == (pytest.approx(same[0]), pytest.approx(same[0]))
    assert seed_difference(same, same[:2]).p == 1
    assert seed_difference(same, same[:2] - 0.01).p == 0


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (1, 0), (12, 3), (40, 41), (300, 200)])
def test_mcnemar_is_the_exact_one(won, lost):
    row, baseline = np.repeat([True, False, True], [won, lost, 50]), np.repeat([False, True, True], [won, lost, 50])
    reference = reference_mcnemar([[50, won], [lost, 0]], exact=True).pvalue if won + lost else 1
    assert mcnemar(row, baseline) == pytest.approx(reference)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([]) == []


def test_holm_agrees_with_statsmodels_and_skips_nan():
    p = np.random.default_rng(0).random(20) ** 4
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([0.02, math.nan, 0.5]) == pytest.approx([0.04, math.nan, 0.5], nan_ok=True)


def test_prediction_interval_by_hand():
    # mean 0.62, sd 0.02, t(2) = 4.302653
    half = 4.302653 * 0.02 * math.sqrt(1 + 1 / 3)
    assert prediction_interval(np.array([0.60, 0.62, 0.64])) == pytest.approx((0.62 - half, 0.62 + half), abs=1e-6)


@pytest.mark.parametrize("p", [0.04, 0.06])
def test_interval_and_p_agree_about_zero(p):
    estimate = Estimate(value=stats.t.isf(p / 2, 7) * 0.3, variance=0.09, df=7)
    assert estimate.p == pytest.approx(p)
    assert (estimate.interval()[0] > 0) == (p < 0.05)
    assert estimate.interval(1 - p)[0] == pytest.approx(0)


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_a_diverged_row_leaves_the_usual_spread(seeds):
    runs = list(np.random.default_rng(0).normal(0.6, 0.01, (999, seeds, 1)))
    spread = usual_spread(runs)
    assert spread.variance == pytest.approx(0.01**2, rel=0.1)
    assert spread.df == 999 * (seeds - 1) / 2
    runs[0] = np.linspace(0.1, 0.9, seeds)[:, None]
    assert usual_spread(runs).variance == pytest.approx(spread.variance, rel=0.01)


def test_usual_spread_needs_three_rows_of_several_seeds():
    two, one = np.array([[0.6], [0.7]]), np.array([[0.6]])
    assert usual_spread([two, two, one, one]) is None
    assert usual_spread([two, two, two, one]) is not None


def test_a_lucky_row_gets_the_usual_spread():
    generator = np.random.default_rng(0)
    row, baseline = generator.random((2, 400)) < 0.6, generator.random((2, 400)) < 0.6
    usual = usual_spread([np.array([[0.5], [0.6]])] * 8)
    assert image_difference(row, baseline, usual).variance > 0.8 * 2 * usual.variance / 2
    assert image_mean(row, usual).variance > image_mean(row).variance
