"""Scores of a row in one column, as they are judged: a number for each run, and image by image where that is known.

Letters: S runs, N images, J folds.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ablate.config.columns import column_problem
from fer_ablate.errors import UserError
from fer_ablate.judgement.image_scores import has_image_scores
from fer_ablate.judgement.row_runs import RowRuns, ScoredRun
from fer_ablate.judgement.split_images import Integers, SplitImages, split_images
from fer_ablate.judgement.statistics import (
    Estimate,
    SeedSpread,
    by_group,
    fold_mean,
    image_mean,
    prediction_interval,
    seed_mean,
)

_POOLED = "every image counts once per epoch, so images are not independent"
NOT_BY_IMAGE = {
    "train": "measured while training",
    "train_eval": "its images were trained on",
    "train_pooled": _POOLED,
    "test_pooled": _POOLED,
}
"""Split of a result -> why it has no scores image by image."""

COPIES = "some of its test images are copies of each other"
"""Why a balanced test role is not judged image by image: copies are not independent."""

INHERENT = (*dict.fromkeys(NOT_BY_IMAGE.values()), COPIES)
"""Problems that come from the meaning of a column; all others come from the files of a row."""

TRAINED_ON = ("train", "train_eval", "train_pooled")
"""Splits whose images the folds share for the most part, so that scores of several folds are not repetitions."""


@dataclass(frozen=True)
class SeedEvidence:
    """Scores of a row in one column, whose runs differ by their seeds alone.

    Args:
        seeds: (S,) of the runs, ascending.
        values: (S,) the metric of each run.
        count: number of images of each run.
        images: (N,) rows of the whole set, the same for all runs; None if they are not known or not the same. For the recall of
            a class those of its images.
        scores: (S, N) what each image contributes to the metric, whose mean is that of the run; boolean where each is right or
            wrong. None without `images`, and for metrics whose contributions are not known.
        problem: why `scores` is missing although contributions to the metric can be known; may be empty.
        groups: (N,) number of the person on each image; None if images were drawn one by one, or that is not known.
        only: whether there is no other seed of it, since it is an average over all seeds.
    """

    seeds: tuple[int, ...]
    values: NDArray[np.float64]
    count: int
    images: Integers | None
    scores: NDArray[Any] | None
    problem: str
    groups: Integers | None = None
    only: bool = False

    @property
    def n(self) -> int:
        """Number of runs."""
        return len(self.seeds)

    @property
    def drawn(self) -> tuple[NDArray[Any], float] | None:
        """Scores of what was drawn, images or persons, and what an image counts among these; None without `scores`."""
        if self.scores is None:
            return None
        if self.groups is not None:
            return by_group(self.scores, self.groups)
        # Metrics of the user's own have contributions of blocks of images.
        return self.scores, self.scores.shape[1] / len(self.images) if self.images is not None else 1.0

    def first(self, seeds: int) -> "SeedEvidence":
        """The scores of its first seeds alone."""
        scores = None if self.scores is None else self.scores[:seeds]
        return replace(self, seeds=self.seeds[:seeds], values=self.values[:seeds], scores=scores)

    @property
    def over_images(self) -> bool:
        """Whether an interval covers the draw of the images; otherwise it covers the seeds alone."""
        return self.scores is not None

    def estimate(self, usual: SeedSpread | None) -> Estimate:
        """The mean over runs and its uncertainty; `usual` as in `statistics.usual_spread`."""
        if (drawn := self.drawn) is None:
            return seed_mean(self.values)
        scores, share = drawn
        return image_mean(scores, None if self.only else usual, share)

    def another(self) -> tuple[float, float] | None:
        """Prediction interval of one more run; None for one seed."""
        return prediction_interval(self.values) if self.n > 1 else None

    def same_images(self, other: "Evidence") -> bool:
        """Whether both were tested on the same images, as far as that is known."""
        if not isinstance(other, SeedEvidence) or self.count != other.count:
            return False
        # Without row numbers equal counts have to do; a note below the table says why they are not known.
        return self.images is None or other.images is None or np.array_equal(self.images, other.images)


@dataclass(frozen=True)
class FoldEvidence:
    """Scores of a cross-validated row in one column.

    The seeds of a fold share its images, and with them everything that makes folds differ. They do not repeat the whole
    cross-validation, so their mean counts as one score.

    Args:
        parts: fold -> scores of its seeds, by fold, ascending.
        ratio: number of images tested in a fold over that of images trained on; NaN for scores on the latter.
    """

    parts: dict[int, SeedEvidence]
    ratio: float

    @property
    def n(self) -> int:
        """Number of folds."""
        return len(self.parts)

    @property
    def values(self) -> NDArray[np.float64]:
        """(J,) the metric of each fold, mean over its seeds."""
        return np.array([part.values.mean() for part in self.parts.values()])

    @property
    def count(self) -> int:
        """Number of images tested in all folds together."""
        return sum(part.count for part in self.parts.values())

    @property
    def problem(self) -> str:
        """Problem of the first fold that has one."""
        return next((part.problem for part in self.parts.values() if part.problem), "")

    @property
    def over_images(self) -> bool:
        """Whether an interval covers the draw of the images; each fold tests on other images, so every interval does."""
        return not np.isnan(self.ratio)

    def of(self, folds: Sequence[int]) -> "FoldEvidence":
        """The scores of these folds alone."""
        return replace(self, parts={fold: self.parts[fold] for fold in folds})

    def common(self, other: "FoldEvidence") -> list[int]:
        """Folds that both have."""
        return [fold for fold in self.parts if fold in other.parts]

    def estimate(self, usual: SeedSpread | None) -> Estimate:
        """The mean over folds and its uncertainty; the usual spread between seeds of a table does not apply to folds."""
        return fold_mean(self.values, self.ratio)

    def another(self) -> None:
        """None: one draw of the folds does not show how much another draw would change the mean."""

    def same_images(self, other: "Evidence") -> bool:
        """Whether both were tested on the same images in every fold that both have, as far as that is known."""
        return isinstance(other, FoldEvidence) and all(
            self.parts[fold].same_images(other.parts[fold]) for fold in self.common(other)
        )


Evidence = SeedEvidence | FoldEvidence


def check_columns(columns: Sequence[str], own: Collection[str] = ()) -> None:
    """Check the names of columns, with `own` as the names of metrics of the user's own.

    Raises:
        UserError: there is no such split or metric.
    """
    for column in columns:
        if problem := column_problem(column, own):
            raise UserError(f"study.columns: {problem}")


def split_and_metric(column: str) -> tuple[str, str]:
    """Take a column's name apart."""
    split, _, metric = column.partition("/")
    return split, metric


def row_evidence(row: RowRuns, columns: Sequence[str]) -> dict[str, Evidence]:
    """Column -> scores of the row; columns that the runs were not scored in are absent."""
    runs = sorted(row.runs, key=lambda run: run.header.repeat.place)
    parts = [split_and_metric(column) for column in columns]
    inherent = {split: reason for split, _ in parts if (reason := _not_by_image(runs, split))}
    by_image = [
        (split, metric)
        for split, metric in parts
        if split not in inherent and (has_image_scores(metric) or _has_blocks(runs, split, metric))
    ]
    found: list[dict[tuple[str, str], SplitImages]] = []
    problem = ""
    for run in runs if by_image else ():
        try:
            found.append(split_images(run, by_image))
        except UserError as error:
            problem = problem or str(error)
    # Row numbers identify images only within the same data.
    if not problem and len({run.header.data_digest for run in runs}) > 1:
        problem = "Its runs were trained on different data."
    known: dict[str, Evidence] = {}
    for column, (split, metric) in zip(columns, parts, strict=True):
        # One unreadable run makes the whole row be judged over seeds: mixed rows would hide which runs lack images.
        images = [] if problem else [images[split, metric] for images in found if (split, metric) in images]
        if len(images) < len(runs):
            images = []
        # A mean over those seeds alone that have a score would not be a mean of the row.
        if not runs or not (images or all(value_of(run, split, metric) is not None for run in runs)):
            continue
        why = inherent.get(split, problem) if has_image_scores(metric) else ""
        if row.folds is None:
            only = row.average is not None and row.average.over_seeds
            known[column] = replace(_evidence(runs, split, metric, images, why), only=only)
        else:
            known[column] = _fold_evidence(runs, split, metric, images, why, row.folds)
    return known


def _has_blocks(runs: Sequence[ScoredRun], split: str, metric: str) -> bool:
    """Whether a metric of the user's own is known without each block of images in every run."""
    return all(metric in run.result.without_blocks.get(split, {}) for run in runs)


def value_of(run: ScoredRun, split: str, metric: str) -> float | None:
    """The stored score of a run; None if it was not measured, or there is no such class."""
    result = run.result.splits.get(split)
    return result.value(metric) if result is not None else None


def _not_by_image(runs: Sequence[ScoredRun], split: str) -> str:
    """Why a split cannot be judged image by image, whatever was stored; empty if it can."""
    if split == "test" and any(run.result.protocol.get("balance", "none") != "none" for run in runs):
        return COPIES
    return NOT_BY_IMAGE.get(split, "")


def _evidence(runs: Sequence[ScoredRun], split: str, metric: str, found: Sequence[SplitImages], problem: str) -> SeedEvidence:
    same = bool(found) and all(np.array_equal(found[0].rows, images.rows) for images in found[1:])
    if found and not same:
        problem = f"Its runs were tested on different images of {split}."
    scores = np.stack([images.scores for images in found]) if same else None
    # Stored metrics are 32-bit floats, and some are not stored; the mean of the contributions is exact.
    values = [images.scores.mean() for images in found] or [value_of(run, split, metric) for run in runs]
    return SeedEvidence(
        seeds=tuple(run.header.seed for run in runs),
        values=np.array(values, dtype=np.float64),
        count=runs[0].result.splits[split].n,
        images=found[0].rows if same else None,
        scores=scores,
        problem=problem,
        groups=found[0].groups if same else None,
    )


def _fold_evidence(
    runs: Sequence[ScoredRun], split: str, metric: str, found: Sequence[SplitImages], problem: str, folds: int
) -> FoldEvidence:
    places: dict[int, list[int]] = {}
    for place, run in enumerate(runs):
        assert run.header.repeat.fold is not None, "a plan finds runs of a fold by that fold"
        places.setdefault(run.header.repeat.fold, []).append(place)
    parts = {
        fold: _evidence([runs[at] for at in places[fold]], split, metric, [found[at] for at in places[fold] if found], problem)
        for fold in sorted(places)
    }
    return FoldEvidence(parts, _tested_per_trained(runs, split, folds))


def _tested_per_trained(runs: Sequence[ScoredRun], split: str, folds: int) -> float:
    """n_test/n_train of the corrected resampled t test, at least as large as if a run trained on all other folds."""
    if split in TRAINED_ON:
        return np.nan
    tested = split.removesuffix("_pooled")  # a pooled split counts an image once per epoch
    ratios = [run.result.splits[tested].n / trained for run in runs if (trained := run.header.dataset.get("train"))]
    # The copies that balance classes are trained on as well, but carry no new information.
    return max(float(np.mean(ratios)) if ratios else 0.0, 1 / (folds - 1))
