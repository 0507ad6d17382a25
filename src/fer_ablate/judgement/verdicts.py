"""Differences to the baseline: compared, judged, and put into words."""

from dataclasses import dataclass

import numpy as np

from fer_ablate.judgement.evidence import Evidence, FoldEvidence, SeedEvidence
from fer_ablate.judgement.judged_table import LEVEL, Difference
from fer_ablate.judgement.statistics import Estimate, SeedSpread, fold_mean, image_difference, mcnemar, seed_difference
from fer_ablate.metrics import in_percent

LESS_IS_BETTER = ("loss", "ece")

ALPHA = 1 - LEVEL


@dataclass(frozen=True)
class Comparison:
    """A row compared with the baseline, before the correction for the number of rows.

    Args:
        value: row minus baseline.
        p: two-sided; NaN where nothing can be tested.
        estimate: None where the comparison holds for these networks only.
        without_estimate: the verdict in that case.
    """

    value: float
    p: float
    estimate: Estimate | None
    without_estimate: str = "n=1: these two networks only"


def compared(row: Evidence, baseline: Evidence, usual: SeedSpread | None) -> Comparison:
    """Compare two rows that used the same protocol on the same images.

    Cross-validated rows are compared fold by fold, over the folds that both have. If one of two other rows has a single seed,
    only two networks are compared: those of the first seed that both have, or the first of each. The value is the difference
    of the two means all the same, since the table shows these.

    Args:
        row: scores of the row.
        baseline: scores of the baseline.
        usual: see `statistics.usual_spread`.
    """
    if isinstance(row, FoldEvidence) and isinstance(baseline, FoldEvidence):
        return _fold_by_fold(row, baseline)
    assert isinstance(row, SeedEvidence), "the baseline of a cross-validated row is cross-validated as well"
    assert isinstance(baseline, SeedEvidence), "only rows with the same protocol are compared"
    value = float(row.values.mean() - baseline.values.mean())
    if min(row.n, baseline.n) == 1:
        return Comparison(value, _two_networks(row, baseline), None)
    if row.right is not None and baseline.right is not None:
        estimate = image_difference(row.right, baseline.right, usual)
    else:
        estimate = seed_difference(row.values, baseline.values)
    return Comparison(value, estimate.p, estimate)


def _fold_by_fold(row: FoldEvidence, baseline: FoldEvidence) -> Comparison:
    common = row.common(baseline)
    if not common:
        return Comparison(np.nan, np.nan, None, "no fold in common")
    values = row.of(common).values - baseline.of(common).values
    # The larger ratio gives the wider interval, if the two rows trained on different numbers of images.
    estimate = fold_mean(values, max(row.ratio, baseline.ratio))
    if not np.isnan(estimate.variance):
        return Comparison(estimate.value, estimate.p, estimate)
    if len(common) == 1:
        instead = "n=1: this fold only"
    elif np.isnan(row.ratio):
        instead = "no test: folds share training images"
    else:
        instead = "no test: no spread between folds"
    return Comparison(estimate.value, np.nan, None, instead)


def _two_networks(row: SeedEvidence, baseline: SeedEvidence) -> float:
    if row.right is None or baseline.right is None:
        return np.nan
    common = [seed for seed in row.seeds if seed in baseline.seeds]
    # The same seed starts both networks from comparable weights; without a common one any pair will do.
    one, other = (evidence.seeds.index(common[0]) if common else 0 for evidence in (row, baseline))
    return mcnemar(row.right[one], baseline.right[other])


def judged_difference(metric: str, comparison: Comparison, p_holm: float, higher_is_better: bool | None = True) -> Difference:
    """The difference with its corrected p and its verdict in words.

    Args:
        metric: the one that the column shows.
        comparison: row against baseline, before the correction.
        p_holm: p of the comparison, corrected for the number of rows.
        higher_is_better: whether more of the metric is better; None: neither more nor less is.
    """
    estimate = comparison.estimate
    if estimate is None:
        verdict = comparison.without_estimate + ("" if np.isnan(p_holm) else f" ({p_text(p_holm)})")
        return Difference(comparison.value, np.nan, np.nan, comparison.p, p_holm, verdict)
    low, high = _clipped(metric, *estimate.interval())
    # Holm only raises p, so an interval of the plain level leaves out 0 here as well.
    if p_holm < ALPHA:
        verdict = _certain(metric, low, high, higher_is_better)
    else:
        verdict = f"within noise (could be {_signed(metric, *_clipped(metric, *_with_zero(estimate, p_holm)))})"
    return Difference(comparison.value, low, high, comparison.p, p_holm, verdict)


def widened(difference: Difference) -> bool:
    """Whether the interval excludes 0 while the verdict, which is corrected for the number of rows, does not."""
    return difference.p < ALPHA <= difference.p_holm and not np.isnan(difference.low)


def _with_zero(estimate: Estimate, p_holm: float) -> tuple[float, float]:
    """Interval for a verdict within noise: it contains 0, since it is as wide as the correction of p requires."""
    # Holm multiplied p by p_holm / p; an interval at alpha divided by the same number agrees with p_holm about 0.
    corrected = LEVEL if estimate.p >= ALPHA else 1 - ALPHA * estimate.p / p_holm
    return estimate.interval(corrected)


def _clipped(metric: str, low: float, high: float) -> tuple[float, float]:
    """The interval cut to what is possible: a fraction cannot change by more than 1, however little two seeds show."""
    return (max(low, -1.0), min(high, 1.0)) if in_percent(metric) else (low, high)


def _certain(metric: str, low: float, high: float, higher_is_better: bool | None) -> str:
    word = "better" if (low > 0) == higher_is_better else "worse"
    if higher_is_better is None:
        word = "higher" if low > 0 else "lower"
    near, far = sorted((abs(low), abs(high)))
    unit = " points" if in_percent(metric) else ""
    return f"{word} by {_amount(metric, near)} to {_amount(metric, far)}{unit}"


def _signed(metric: str, low: float, high: float) -> str:
    """An interval such as `-0.4 to +1.2`; a number that rounds to 0 has no sign."""
    amounts = [(_amount(metric, abs(value)), "-" if value < 0 else "+") for value in (low, high)]
    return " to ".join(amount if float(amount) == 0 else f"{sign}{amount}" for amount, sign in amounts)


def _amount(metric: str, value: float) -> str:
    return f"{100 * value:.1f}" if in_percent(metric) else f"{value:.3f}"


def p_text(p: float) -> str:
    """A p value as text, such as `p = 0.03`."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.01 else f"p = {p:.2f}"
