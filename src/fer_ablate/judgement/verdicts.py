"""Differences to the baseline: compared, and judged; `wording` has the words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fer_ablate.judgement.evidence import Evidence, FoldEvidence, SeedEvidence
from fer_ablate.judgement.judged_table import LEVEL, Difference, Verdict
from fer_ablate.judgement.margins import ALPHA, UNTESTED, MarginTest, margin_tests, p_not_worse, p_same
from fer_ablate.judgement.power import MOST_SEEDS, Noise, noise_of, seeds_needed, smallest_told
from fer_ablate.judgement.statistics import Estimate, SeedSpread, fold_mean, holm, image_difference, mcnemar, seed_difference
from fer_ablate.judgement.wording import Judging, p_text


@dataclass(frozen=True)
class Comparison:
    """A row compared with the baseline, before the correction for the number of rows.

    Args:
        value: row minus baseline.
        p: two-sided; NaN where nothing can be tested.
        estimate: None where the comparison holds for these networks only.
        without_estimate: the verdict in that case.
        noise: what makes the difference vary, where more seeds would show more; None elsewhere.
        seeds: the fewest of both rows.
    """

    value: float
    p: float
    estimate: Estimate | None
    without_estimate: str = "n=1: these two networks only"
    noise: Noise | None = None
    seeds: int = 1


def compared(row: Evidence, baseline: Evidence, usual: SeedSpread | None, rows: int = 0) -> Comparison:
    """Compare two rows that used the same protocol on the same images.

    Cross-validated rows are compared fold by fold, over the folds that both have. If one of two other rows has a single seed and
    the table shows no usual spread between seeds, only two networks are compared: those of the first seed that both have, or the
    first of each. The value is the difference of the two means all the same, since the table shows these.

    Args:
        row: scores of the row.
        baseline: scores of the baseline.
        usual: see `statistics.usual_spread`.
        rows: number of rows that it was taken from.
    """
    if isinstance(row, FoldEvidence) and isinstance(baseline, FoldEvidence):
        return _fold_by_fold(row, baseline)
    assert isinstance(row, SeedEvidence), "the baseline of a cross-validated row is cross-validated as well"
    assert isinstance(baseline, SeedEvidence), "only rows with the same protocol are compared"
    value, seeds = float(row.values.mean() - baseline.values.mean()), min(row.n, baseline.n)
    if np.isnan(value):
        return Comparison(value, np.nan, None, "no number in some run")
    one, other = row.drawn, baseline.drawn
    if row.only or baseline.only:
        usual = None
    if one is not None and other is not None and (seeds > 1 or usual is not None):
        (scores, share), (others, _) = one, other
        estimate = image_difference(scores, others, usual, share)
        return Comparison(value, estimate.p, estimate, noise=noise_of(scores, others, usual, rows, share), seeds=seeds)
    if seeds == 1:
        return Comparison(value, _two_networks(row, baseline), None)
    estimate = seed_difference(row.values, baseline.values)
    noise = Noise(0.0, 1.0, float(row.values.var(ddof=1)), float(baseline.values.var(ddof=1)))
    return Comparison(value, estimate.p, estimate, noise=noise, seeds=seeds)


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
    if row.drawn is None or baseline.drawn is None or row.scores is None or baseline.scores is None:
        return np.nan
    common = [seed for seed in row.seeds if seed in baseline.seeds]
    # The same seed starts both networks from comparable weights; without a common one any pair will do.
    one, other = (evidence.seeds.index(common[0]) if common else 0 for evidence in (row, baseline))
    if row.scores.dtype == np.bool_ and row.groups is None:
        return mcnemar(row.scores[one], baseline.scores[other])
    (scores, share), (others, _) = row.drawn, baseline.drawn
    return image_difference(scores[[one]], others[[other]], share=share).p


def judged_differences(judging: Judging, comparisons: Sequence[Comparison]) -> list[Difference]:
    """Differences of a column, with verdicts that are corrected for their number (Holm).

    That rows are the same, and that they are no worse, are claims of their own: each kind is wrong in at most 5 % of tables.
    """
    corrected = holm([comparison.p for comparison in comparisons])
    tested = sum(not np.isnan(p) for p in corrected)
    estimates = [comparison.estimate for comparison in comparisons]
    same = margin_tests(judging, estimates, p_same)
    safe = margin_tests(judging, estimates, p_not_worse)
    return [
        _judged(judging, comparison, p, tested, one, other)
        for comparison, p, one, other in zip(comparisons, corrected, same, safe, strict=True)
    ]


def judged_difference(metric: str, comparison: Comparison, p_holm: float) -> Difference:
    """A difference with a p that is corrected already, and its verdict in words."""
    return _judged(Judging(metric), comparison, p_holm, 1, UNTESTED, UNTESTED)


def near_best(judging: Judging, rows: Mapping[str, Evidence], usual: SeedSpread | None) -> dict[str, bool]:
    """Label -> whether a row is the best one, or is not shown to be worse than it.

    The rows that are not shown to be worse contain the truly best one in 95 % of tables at least: whichever row looks best, each
    other one is compared with it at a level that is divided by their number (subset selection after Gupta 1965, Technometrics
    7:225-245).

    Args:
        judging: of the column.
        rows: scores of the rows that may be compared with each other.
        usual: see `statistics.usual_spread`.
    """
    if judging.higher_is_better is None or len(rows) < 2:
        return {}
    sign = 1 if judging.higher_is_better else -1
    best = max(rows, key=lambda label: sign * float(rows[label].values.mean()))
    found = {best: True}
    for label, row in rows.items():
        if label != best and (estimate := compared(row, rows[best], usual).estimate) is not None:
            # One-sided: only whether it is worse is asked.
            found[label] = estimate.p / 2 >= ALPHA / (len(rows) - 1)
    return found if len(found) > 1 else {}


def same_runs(label: str) -> Difference:
    """What stands in place of the difference of a row that has the runs of the baseline."""
    return Difference(np.nan, np.nan, np.nan, np.nan, np.nan, f"the same runs as {label}", Verdict.same_runs)


def widened(difference: Difference) -> bool:
    """Whether the interval excludes 0 while the verdict, which is corrected for the number of rows, does not."""
    return difference.p < ALPHA <= difference.p_holm and not np.isnan(difference.low)


def _judged(
    judging: Judging, comparison: Comparison, p_holm: float, tested: int, same: MarginTest, safe: MarginTest
) -> Difference:
    estimate = comparison.estimate
    if estimate is None:
        return untested(comparison, p_holm)
    low, high = judging.clipped(estimate.interval())
    found = Difference(comparison.value, low, high, comparison.p, p_holm, "", within_margin=same.holds)
    # Holm only raises p, so an interval of the plain level leaves out 0 here as well.
    if p_holm < ALPHA:
        kind, words = judging.certain((low, high))
        return replace(found, kind=kind, verdict=f"{words}, {judging.same()}" if same.holds else words)
    if same.holds:
        return replace(found, kind=Verdict.same, verdict=f"{judging.same()} ({judging.could_be(same.interval)})")
    if safe.holds:
        return replace(found, kind=Verdict.not_worse, verdict=f"{judging.not_worse()} ({judging.could_be(safe.interval)})")
    needed, outlook = _outlook(judging, comparison, tested)
    words = f"within noise (could be {judging.could_be(with_zero(estimate, p_holm))}{outlook})"
    return replace(found, kind=Verdict.noise, verdict=words, seeds_needed=needed)


def untested(comparison: Comparison, p: float) -> Difference:
    """A difference that holds for these networks only."""
    verdict = comparison.without_estimate + ("" if np.isnan(p) else f" ({p_text(p)})")
    return Difference(comparison.value, np.nan, np.nan, comparison.p, p, verdict)


def _outlook(judging: Judging, comparison: Comparison, tested: int) -> tuple[int | None, str]:
    """With how many seeds a difference as large as the one seen would be told, and the words for it."""
    size, noise = abs(comparison.value), comparison.noise
    amount = judging.amount(size)
    if noise is None or not float(amount):
        return None, ""
    if size <= smallest_told(noise, tested):
        return None, f"; no number of seeds would show {amount} on these images"
    needed = seeds_needed(noise, size, tested)
    if needed is None:
        return None, f"; more than {MOST_SEEDS} seeds would show {amount}"
    needed = max(needed, comparison.seeds + 1)
    return needed, f"; about {needed} seeds would show {amount}"


def with_zero(estimate: Estimate, p_holm: float) -> tuple[float, float]:
    """Interval for a verdict within noise: it contains 0, since it is as wide as the correction of p requires."""
    # Holm multiplied p by p_holm / p; an interval at alpha divided by the same number agrees with p_holm about 0.
    corrected = LEVEL if estimate.p >= ALPHA else 1 - ALPHA * estimate.p / p_holm
    return estimate.interval(corrected)
