"""What the finished runs of a row tell about one column: a number of each run, and image by image where that is known.

Letters: S runs, N images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_ablate.errors import UserError, choices
from fer_ablate.study.images import PER_IMAGE, PREDICTED, Flags, Integers, SplitImages, split_images
from fer_ablate.study.records import PERCENT, FinishedRun, RowRuns

METRICS = (*PERCENT, "loss")

_POOLED = "every image counts once per epoch, so images are not independent"
NOT_BY_IMAGE = {"train": "measured while training", "train_pooled": _POOLED, "test_pooled": _POOLED}
"""Split of a result -> why nothing is known image by image."""

COPIES = "its test images are copies of each other in part"
"""Why a balanced test role is not judged image by image."""

INHERENT = (*dict.fromkeys(NOT_BY_IMAGE.values()), COPIES)
"""Problems that lie in what a column is, not in the files of a row."""

SPLITS = ("train", *PREDICTED, "train_pooled", "test_pooled")
"""Of a result, as columns name them."""


@dataclass(frozen=True)
class Evidence:
    """A row in one column.

    Args:
        seeds: (S,) of the runs, ascending.
        values: (S,) the metric of each run.
        count: N of each run.
        images: (N,) rows of the whole set, the same for all runs; None if they are not known or not the same.
        right: (S, N) whether each image counts as right; None for metrics that are no mean over images, or without `images`.
        problem: why `right` is missing although the metric is a mean over images; may be empty.
    """

    seeds: tuple[int, ...]
    values: NDArray[np.float64]
    count: int
    images: Integers | None
    right: Flags | None
    problem: str

    @property
    def n(self) -> int:
        """Runs."""
        return len(self.seeds)


def split_and_metric(column: str) -> tuple[str, str]:
    """Take a column's name apart.

    Raises:
        UserError: there is no such split or metric.
    """
    split, _, metric = column.partition("/")
    if split not in SPLITS:
        raise UserError(f"study.columns: {column} does not begin with a split. {choices(split, SPLITS)} Such as test/acc.")
    if metric not in METRICS:
        raise UserError(f"study.columns: {column} does not end with a metric. {choices(metric, METRICS)} Such as test/acc.")
    return split, metric


def row_evidence(row: RowRuns, columns: Sequence[str]) -> dict[str, Evidence]:
    """What a row's runs tell, by column; columns that they were not scored in are absent."""
    runs = sorted(row.runs, key=lambda run: run.header.seed)
    parts = [split_and_metric(column) for column in columns]
    inherent = {split: reason for split, _ in parts if (reason := _not_by_image(runs, split))}
    by_image = [(split, metric) for split, metric in parts if split not in inherent]
    found: list[dict[str, SplitImages]] = []
    problem = ""
    for run in runs if by_image else ():
        try:
            found.append(split_images(run, {split for split, _ in by_image}, {metric for _, metric in by_image} & set(PER_IMAGE)))
        except UserError as error:
            problem = problem or str(error)
    if not problem and len({run.header.data_digest for run in runs}) > 1:
        problem = "Its runs were trained on unlike data."
    return {
        column: _evidence(
            runs,
            split,
            metric,
            [] if problem or split in inherent else [images[split] for images in found],
            inherent.get(split, problem),
        )
        for column, (split, metric) in zip(columns, parts, strict=True)
        if runs and all(split in run.result.splits and metric in run.result.splits[split].metrics for run in runs)
    }


def _not_by_image(runs: Sequence[FinishedRun], split: str) -> str:
    """Why a split says nothing image by image, whatever was stored; empty if it may."""
    if split == "test" and any(run.result.protocol.get("balance", "none") != "none" for run in runs):
        return COPIES
    return NOT_BY_IMAGE.get(split, "")


def _evidence(runs: Sequence[FinishedRun], split: str, metric: str, found: Sequence[SplitImages], problem: str) -> Evidence:
    same = bool(found) and all(np.array_equal(found[0].rows, images.rows) for images in found[1:])
    if found and not same:
        problem = f"Its runs were tested on unlike images of {split}."
    right = np.stack([images.right[metric] for images in found]) if same and metric in PER_IMAGE else None
    # Stored metrics are 32-bit floats; the share of right images is exact.
    stored = [run.result.splits[split].metrics[metric] for run in runs]
    return Evidence(
        seeds=tuple(run.header.seed for run in runs),
        values=np.array(stored if right is None else right.mean(axis=1), dtype=np.float64),
        count=runs[0].result.splits[split].n,
        images=found[0].rows if same else None,
        right=right,
        problem=problem if metric in PER_IMAGE else "",
    )
