"""Contrasts of several rows, such as an average over some minus an average over others: the arithmetic of effects.

A contrast is the sum of w_r m_r over rows r with means m_r and weights w_r. All rows are tested on the same images, so that the
draw of the images enters by the contrast of each image; seeds are drawn row by row, so that their parts add up with the squares
of the weights. For weights 1 and -1 this is the difference of two rows, see `statistics`.

Letters: S seeds, N images, J folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer_ablate.judgement.evidence import Evidence, FoldEvidence, SeedEvidence
from fer_ablate.judgement.statistics import (
    BONETT_PRICE,
    Array,
    Estimate,
    Part,
    SeedSpread,
    estimate_of,
    fold_mean,
    image_part,
    seed_part,
    variance_of,
)
from fer_ablate.judgement.verdicts import Comparison


@dataclass(frozen=True)
class RowParts:
    """What a row brings to a contrast.

    Args:
        images: (N,) mean score of each image over the seeds.
        seeds: variance of the mean from the draw of the seeds.
        n: number of seeds.
    """

    images: Array
    seeds: Part
    n: int

    @classmethod
    def of(cls, scores: Array, usual: SeedSpread | None = None) -> "RowParts":
        """The parts of a row.

        Args:
            scores: (S, N).
            usual: lower bound for the spread between seeds.
        """
        return cls(scores.mean(axis=0), seed_part(scores, usual), len(scores))


def image_contrast(rows: Sequence[RowParts], weights: Sequence[float], share: float = 1.0) -> Estimate:
    """A contrast over test images, which are the same for all rows, and seeds, which are each row's own.

    Args:
        rows: at least one.
        weights: one for each row.
        share: what an image counts, if the scores are those of persons.
    """
    images = np.sum([weight * row.images for row, weight in zip(rows, weights, strict=True)], axis=0)
    # Half of the weights is what one image can change the contrast by: 1 for a difference, 2 for a difference of differences.
    most = float(np.abs(weights).sum()) / 2
    parts = [image_part(images, tuple(share * most * one for one in BONETT_PRICE))]
    parts += [_weighed(row.seeds, weight) for row, weight in zip(rows, weights, strict=True)]
    return estimate_of(float(images.mean()), parts, min(row.n for row in rows) - 1)


def seed_contrast(values: Sequence[Array], weights: Sequence[float]) -> Estimate:
    """A contrast over seeds alone, after Welch.

    Args:
        values: (S,) one of each run, for each row; S at least 2.
        weights: one for each row.
    """
    value = float(sum(weight * one.mean() for one, weight in zip(values, weights, strict=True)))
    spreads = [variance_of(one) / len(one) for one in values]
    parts = [
        _weighed(Part(spread, spread, len(one) - 1), weight) for one, spread, weight in zip(values, spreads, weights, strict=True)
    ]
    return estimate_of(value, parts, min(map(len, values)) - 1)


class RowContrasts:
    """Contrasts of the rows of one column, whatever their scores are known of: images and seeds, seeds alone, or folds.

    Args:
        evidence: label -> scores; all with the same protocol on the same images.
        runs: label -> keys of the runs. Rows with the same runs are one configuration, whose weights add up.
        usual: see `statistics.usual_spread`.
    """

    def __init__(self, evidence: dict[str, Evidence], runs: dict[str, frozenset[str]], usual: SeedSpread | None) -> None:
        self._evidence, self._runs, self._usual = evidence, runs, usual
        seeds = {label: one for label, one in evidence.items() if isinstance(one, SeedEvidence)}
        drawn = {label: found for label, one in seeds.items() if (found := one.drawn) is not None}
        self._parts = {label: RowParts.of(scores, usual) for label, (scores, _) in drawn.items()}
        self._share = next((share for _, share in drawn.values()), 1.0)

    def mean(self, label: str) -> float:
        """Mean score of a row."""
        return float(self._evidence[label].values.mean())

    def contrast(self, weights: dict[str, float]) -> Comparison:
        """A contrast as a comparison that is not corrected yet.

        Args:
            weights: label -> weight.
        """
        weights = self._merged(weights)
        if not weights:
            return Comparison(np.nan, np.nan, None, "the same runs")
        rows = {label: self._evidence[label] for label in weights}
        folds = [one for one in rows.values() if isinstance(one, FoldEvidence)]
        if folds:
            return _over_folds(folds, list(weights.values()))
        value = sum(weight * self.mean(label) for label, weight in weights.items())
        fewest = min(one.n for one in rows.values())
        if all(label in self._parts for label in weights) and (fewest > 1 or self._usual is not None):
            estimate = image_contrast([self._parts[label] for label in weights], list(weights.values()), self._share)
        elif fewest > 1:
            estimate = seed_contrast([one.values for one in rows.values()], list(weights.values()))
        else:
            return Comparison(value, np.nan, None, "n=1: these networks only")
        return Comparison(value, estimate.p, estimate, seeds=fewest)

    def _merged(self, weights: dict[str, float]) -> dict[str, float]:
        """Weights of one row for each set of runs, without those that cancel."""
        first: dict[frozenset[str], str] = {}
        merged: dict[str, float] = {}
        for label, weight in weights.items():
            same = first.setdefault(self._runs[label], label)
            merged[same] = merged.get(same, 0.0) + weight
        return {label: weight for label, weight in merged.items() if abs(weight) > 1e-12}


def _over_folds(rows: Sequence[FoldEvidence], weights: Sequence[float]) -> Comparison:
    """Fold by fold over the folds that all rows have."""
    common = [fold for fold in rows[0].parts if all(fold in row.parts for row in rows)]
    if not common:
        return Comparison(np.nan, np.nan, None, "no fold in common")
    values = np.asarray(weights) @ np.stack([row.of(common).values for row in rows])
    # The largest ratio gives the widest interval, if rows trained on different numbers of images.
    estimate = fold_mean(values, max(row.ratio for row in rows))
    if np.isnan(estimate.variance):
        return Comparison(estimate.value, np.nan, None, "n=1: this fold only" if len(common) == 1 else "no test over these folds")
    return Comparison(estimate.value, estimate.p, estimate)


def _weighed(part: Part, weight: float) -> Part:
    return Part(weight**2 * part.size, weight**2 * part.estimate, part.df)
