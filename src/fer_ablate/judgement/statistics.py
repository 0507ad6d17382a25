"""Intervals and tests over test images and seeds, or over folds. Pure arithmetic; `judge` decides where it applies.

Letters: S seeds, N test images, P persons, J folds. `scores` is (S, N), one row per run, and its means are the scores of the
runs: for accuracy, whether run s was right about image i; for other metrics see `image_scores`. Two kinds of chance make the
mean of such a matrix: which images were drawn and which seeds were used. The images of two rows are the same ones, their seeds
are not paired. Where images come in groups, such as those of a person, the persons were drawn: see `by_group`.

The folds of a cross-validation test on other images, but train on many of the same ones, so that their scores are not
independent. No unbiased estimate of the variance of their mean exists (Bengio and Grandvalet 2004, JMLR 5:1089-1105).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from fer_ablate.judgement.judged_table import LEVEL

Array = NDArray[Any]

FEWEST_ROWS = 3
"""Rows from which their median shows what the spread between seeds of a row usually is."""

_AGRESTI_COULL = (0.0, 0.0, 1.0, 1.0)
BONETT_PRICE = (-1.0, 1.0)
"""Images added before the variance between images is taken, so that it is never zero: two right and two wrong ones for a mean
(Agresti and Coull 1998), one won and one lost for a difference (Bonett and Price 2012). Among thousands they do not show."""

_ROUNDING = 1e-12
"""Means of equal numbers may differ by this much."""

_SINGLE_ROUNDING = 1e-6
"""Stored metrics are 32-bit floats: folds that differ by less are equal."""


@dataclass(frozen=True)
class Estimate:
    """A mean or a difference with its uncertainty.

    Args:
        value: the mean or difference itself.
        variance: squared standard error of the value; NaN where it cannot be known.
        df: degrees of freedom of the variance.
    """

    value: float
    variance: float
    df: float

    @property
    def p(self) -> float:
        """Two-sided p of the t test that the true value is 0."""
        # Without any spread t would be infinite, or 0 / 0.
        if self.variance == 0:
            return 1.0 if abs(self.value) < _ROUNDING else 0.0
        return 2 * t_tail(abs(self.value) / np.sqrt(self.variance), self.df)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The t interval; it excludes 0 exactly if `p` is below 1 - level."""
        if self.variance == 0:
            return self.value, self.value
        half = float(t_quantile((1 - level) / 2, self.df) * np.sqrt(self.variance))
        return self.value - half, self.value + half


@dataclass(frozen=True)
class SeedSpread:
    """Variance between seeds of the score of single runs.

    Args:
        variance: itself.
        df: its degrees of freedom.
        disagreement: the part of it that the disagreement of the runs image by image explains; see `seed_part`.
    """

    variance: float
    df: float
    disagreement: float = 0.0


@dataclass(frozen=True)
class DifferenceParts:
    """What makes a difference of two rows vary, as far as their runs show it.

    Args:
        images: variance of the difference between images, which has in it that the runs disagree about single ones.
        row_spread, baseline_spread: variance between the scores of single runs.
        row_disagreement, baseline_disagreement: the part of it that this disagreement explains.
    """

    images: float
    row_spread: float
    baseline_spread: float
    row_disagreement: float
    baseline_disagreement: float


@dataclass(frozen=True)
class Part:
    """A part of a variance: its size, and the estimate it was computed from, which decides how uncertain it is."""

    size: float
    estimate: float
    df: float


# `scipy.stats` computes these three by the same functions. It takes seconds to import, which every table would wait for.


def t_tail(value: float, df: float) -> float:
    """Probability that Student's t exceeds a value."""
    return float(special.stdtr(df, -value))


def t_quantile(tail: float, df: float) -> float:
    """The value that Student's t exceeds with a probability; exact for tiny ones, where the quantile of 1 - tail rounds."""
    return float(-special.stdtrit(df, tail))


def chi2_median(df: float) -> float:
    """The median of a chi-square distribution."""
    return float(2 * special.gammaincinv(df / 2, 0.5))


def usual_spread(runs: Sequence[Array]) -> SeedSpread | None:
    """The usual spread between seeds in a table: the median over its rows.

    Two or three seeds hardly show the spread of their row, and among eight rows some have almost none by luck. The median over
    rows keeps such rows from being called different, and a diverged row does not move it.

    Args:
        runs: for each row the (S, N) scores of its runs; rows of one run do not count.

    Returns:
        None for fewer than `FEWEST_ROWS` rows.
    """
    rows = [row for row in runs if len(row) > 1]
    if len(rows) < FEWEST_ROWS:
        return None
    df = np.array([len(row) - 1 for row in rows])
    # The median of a chi-square is below its mean, at 2 seeds by more than half.
    unbiased = [variance_of(row.mean(axis=1)) * count / chi2_median(count) for row, count in zip(rows, df, strict=True)]
    disagreement = float(np.median([_disagreement(row) for row in rows]))
    return SeedSpread(float(np.median(unbiased)), float(df.sum()) / 2, disagreement)  # a median knows half of what a mean knows


def by_group(scores: Array, groups: Array) -> tuple[Array, float]:
    """Scores of persons in place of those of their images: the same mean, and the spread that drawing persons gives.

    Linearised as for the ratio of two totals in a sample of clusters (Cochran 1977, Sampling Techniques, chapter 11).

    Args:
        scores: (S, N).
        groups: (N,) number of the person on each image.

    Returns:
        (S, P) scores of the persons, and P/N, what an image counts among them.
    """
    _, places, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    means = scores.mean(axis=1, keepdims=True)
    totals = np.stack([np.bincount(places, row, minlength=len(sizes)) for row in scores - means])
    share = len(sizes) / len(groups)
    return means + share * totals, share


def image_mean(scores: Array, usual: SeedSpread | None = None, share: float = 1.0) -> Estimate:
    """Mean score of a row over test images and seeds.

    Args:
        scores: (S, N). With one seed the interval covers the draw of the images alone, unless there is a usual spread.
        usual: lower bound for the spread between seeds.
        share: what an image counts, if the scores are those of persons.
    """
    images = scores.mean(axis=0)
    mean = float(images.mean())
    added = tuple(mean + share * (one - mean) for one in _AGRESTI_COULL)
    return estimate_of(mean, [image_part(images, added), seed_part(scores, usual)], len(scores) - 1)


def image_difference(row: Array, baseline: Array, usual: SeedSpread | None = None, share: float = 1.0) -> Estimate:
    """Row minus baseline over test images, which are paired, and seeds, which are not.

    Args:
        row: (S, N). With one seed on both sides the interval covers the draw of the images alone, unless there is a usual spread.
        baseline: (S', N), over the same images in the same order.
        usual: lower bound for the spread between seeds.
        share: what an image counts, if the scores are those of persons.
    """
    images = row.mean(axis=0) - baseline.mean(axis=0)
    added = tuple(share * one for one in BONETT_PRICE)
    parts = [image_part(images, added), seed_part(row, usual), seed_part(baseline, usual)]
    return estimate_of(float(images.mean()), parts, min(len(row), len(baseline)) - 1)


def difference_parts(row: Array, baseline: Array, usual: SeedSpread | None = None, share: float = 1.0) -> DifferenceParts:
    """The parts of the variance of `image_difference`, with the same arguments; a row of one run has the usual spread."""
    images = row.mean(axis=0) - baseline.mean(axis=0)
    part = image_part(images, tuple(share * one for one in BONETT_PRICE)).size
    one, other = _likely_spread(row, usual), _likely_spread(baseline, usual)
    return DifferenceParts(part, one.variance, other.variance, one.disagreement, other.disagreement)


def seed_mean(values: Array) -> Estimate:
    """Mean over seeds alone, for metrics that are not means over images.

    Args:
        values: (S,) one of each run. The variance of a single run is not known.
    """
    variance = variance_of(values) / len(values) if len(values) > 1 else np.nan
    return Estimate(float(values.mean()), variance, len(values) - 1)


def seed_difference(row: Array, baseline: Array) -> Estimate:
    """Row minus baseline over seeds alone, after Welch.

    Args:
        row: (S,), S at least 2.
        baseline: (S',), S' at least 2.
    """
    parts = [Part(part, part, len(values) - 1) for values in (row, baseline) for part in [variance_of(values) / len(values)]]
    return estimate_of(float(row.mean() - baseline.mean()), parts, min(len(row), len(baseline)) - 1)


def fold_mean(values: Array, ratio: float) -> Estimate:
    """Mean over folds, of the scores of a row or of its differences to another, by the corrected resampled t test.

    If S^2 is the variance between the folds, the variance of their mean is taken as (1/J + n_test/n_train) S^2 with J - 1
    degrees of freedom (Nadeau and Bengio 2003, Machine Learning 52:239-281; for folds Bouckaert and Frank 2004, PAKDD, LNCS
    3056:3-12).

    Args:
        values: (J,) score of each fold, or difference. The variance of one fold is not known, nor that of equal
            ones: few and small folds come out equal by luck.
        ratio: n_test/n_train, images tested in a fold over images trained on; NaN where no test is possible.
    """
    folds, known = len(values), np.ptp(values) > _SINGLE_ROUNDING
    variance = float(values.var(ddof=1)) * (1 / folds + ratio) if known else np.nan
    return Estimate(float(values.mean()), variance, folds - 1)


def mcnemar(row: Array, baseline: Array) -> float:
    """Two-sided p of McNemar's exact test that two networks are right equally often.

    Args:
        row: (N,) whether each image was scored.
        baseline: (N,) the same of the other network, over the same images.
    """
    won, lost = int((row > baseline).sum()), int((row < baseline).sum())
    if not won + lost:
        return 1.0
    from scipy import stats

    # Exact, since the chi-square approximation needs some 25 disagreements, which a small test set may not have.
    return float(stats.binomtest(won, won + lost).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """P values corrected for several comparisons after Holm; NaN stays NaN and does not count."""
    # The function of statsmodels runs a full garbage collection at each call, which takes a sixth of a second beside torch.
    corrected = np.array(p, dtype=float)
    # NaN is sorted to the end, so the slice has the known ones, smallest first.
    order = np.argsort(corrected)[: np.count_nonzero(~np.isnan(corrected))]
    multiplied = corrected[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(multiplied), 1.0)
    return [float(value) for value in corrected]


def prediction_interval(values: Array) -> tuple[float, float]:
    """95 % prediction interval of one more run on the same images.

    Args:
        values: (S,) scores of the runs so far, S at least 2.
    """
    # The spread of the new run itself, and on top of it the uncertainty of the mean that it scatters around.
    return Estimate(float(values.mean()), variance_of(values) * (1 + 1 / len(values)), len(values) - 1).interval()


def variance_of(values: Array) -> float:
    """Variance between seeds; exactly 0 for equal values, whose mean may be rounded."""
    return 0.0 if np.ptp(values) == 0 else float(values.var(ddof=1))


def image_part(images: Array, added: tuple[float, ...]) -> Part:
    """Variance from the draw of the images.

    Args:
        images: (N,) means over the seeds, or differences of two such means.
        added: further ones, see `_AGRESTI_COULL` and `BONETT_PRICE`.
    """
    # Divided by the number of real images: the added ones only keep the variance above 0.
    part = float(np.append(images, added).var(ddof=1)) / len(images)
    return Part(part, part, max(len(images) - 1, 1))


def seed_part(scores: Array, usual: SeedSpread | None) -> Part:
    """Variance from the draw of the seeds: how much more the runs differ than their disagreement image by image explains.

    That disagreement is part of the variance between images already, hence the subtraction.
    """
    seeds = len(scores)
    if seeds > 1:
        own = SeedSpread(variance_of(scores.mean(axis=1)), seeds - 1)
        # The usual spread only ever widens an interval: a row that really varies more keeps its own.
        spread = max(own, usual or own, key=lambda spread: spread.variance)
        disagreement = _disagreement(scores)
    elif usual is not None:  # one run shows no spread of its own, but it has one
        spread, disagreement = usual, usual.disagreement
    else:
        return Part(0.0, 0.0, 1)
    # Runs that differ less than their disagreement explains do so by chance: no variance is below 0.
    if spread.variance <= disagreement:
        return Part(0.0, 0.0, 1)
    return Part((spread.variance - disagreement) / seeds, spread.variance / seeds, spread.df)


def _likely_spread(scores: Array, usual: SeedSpread | None) -> SeedSpread:
    """The spread between the runs of a row: what they show, and what is usual, each by how well it is known."""
    if len(scores) == 1:
        return usual or SeedSpread(0.0, 0)
    own = SeedSpread(variance_of(scores.mean(axis=1)), len(scores) - 1)
    both = [own] if usual is None else [own, usual]
    df = sum(one.df for one in both)
    return SeedSpread(sum(one.df * one.variance for one in both) / df, df, _disagreement(scores))


def _disagreement(scores: Array) -> float:
    """Variance between the scores of runs that disagree image by image as these do, and have no other spread."""
    return float(scores.var(axis=0, ddof=1).mean() / scores.shape[1])


def estimate_of(value: float, parts: Sequence[Part], fewest: float) -> Estimate:
    """The sum of the parts. Degrees of freedom after Welch and Satterthwaite, never below those of the fewest seeds.

    Satterthwaite's formula for differences of mean squares takes each part's uncertainty from the mean square before the
    subtraction: subtracting does not make it better known.
    """
    variance = sum(part.size for part in parts)
    uncertainty = sum(part.estimate**2 / part.df for part in parts)
    # Welch's formula never gives less than the fewest; with parts after a subtraction it may.
    df = variance**2 / uncertainty if uncertainty > 0 else fewest
    return Estimate(value, variance, max(df, fewest))
