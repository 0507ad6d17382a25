"""The images that a finished run was tested on and what each contributes to its scores, from its stored predictions.

Letters: N images of a split, K classes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ablate.errors import UserError
from fer_ablate.judgement.image_scores import from_labels, from_probabilities, needs_probabilities, of_class, pseudo_values
from fer_ablate.judgement.old_predictions import guess_split
from fer_ablate.judgement.row_runs import ScoredRun
from fer_ablate.tracking.disk.predictions import Flags
from fer_ablate.tracking.disk.run_folder import PredictedLabels, StoredPredictions
from fer_ablate.training.result import RunResult

Integers = NDArray[np.integer[Any]]

PREDICTED = ("val", "test", "public", "private")
"""Splits of a result whose images were predicted once each, by the finished weights."""


@dataclass(frozen=True)
class SplitImages:
    """What the images of a split contribute to a metric of a run.

    Args:
        rows: (N,) rows of the whole set; for the recall of a class those of its images.
        scores: (N,) whose mean is the metric; boolean where each image is right or wrong. Fewer for a metric of the user's own,
            which is known without each block of images only.
        groups: (N,) number of the person on each image; None if that is not known.
    """

    rows: Integers
    scores: NDArray[Any]
    groups: Integers | None = None


def split_images(run: ScoredRun, columns: Collection[tuple[str, str]]) -> dict[tuple[str, str], SplitImages]:
    """Predictions of a run image by image, for each of some columns; those that it has no score in are absent.

    Args:
        run: finished.
        columns: split, among `PREDICTED`, and metric, one that `has_image_scores` or has values without blocks of images.

    Raises:
        UserError: the predictions are missing, damaged, or not those that the result was computed from.
    """
    # The probabilities, most of the file, are unpacked for the metrics that need them.
    whole = run.folder.predictions if any(needs_probabilities(metric) for _, metric in columns) else None
    stored = run.folder.read_predicted() if whole is None else whole.likeliest()
    probabilities = whole.probabilities if whole is not None else None
    masks = {split: _split_mask(stored, run, split) for split, _ in columns if split in run.result.splits}
    found = {}
    for split, metric in columns:
        if split in masks and metric in run.result.without_blocks.get(split, {}):
            images = _of_blocks(metric, stored, masks[split], run.result, split)
        elif split in masks:
            images = _images(metric, stored, masks[split], probabilities, run.result.classes)
        else:
            continue
        if images is not None:
            found[split, metric] = images
    return found


def _of_blocks(metric: str, stored: PredictedLabels, inside: Flags, result: RunResult, split: str) -> SplitImages | None:
    """What blocks of images contribute to a metric of the user's own."""
    whole, without = result.splits[split].metrics[metric], np.array(result.without_blocks[split][metric])
    scores = pseudo_values(whole, whole - without)
    return None if scores is None else SplitImages(stored.rows[inside], scores)


def _images(
    metric: str, stored: PredictedLabels, inside: Flags, probabilities: NDArray[np.float32] | None, classes: Sequence[str]
) -> SplitImages | None:
    if (of_one := of_class(metric, stored.labels, classes)) is not None:
        inside = inside & of_one
    labels = stored.labels[inside]
    if needs_probabilities(metric):
        assert probabilities is not None, "read for metrics that need them"
        scores = from_probabilities(metric, labels, probabilities[inside])
    else:
        scores = from_labels(metric, labels, stored.predicted[inside], classes)
    if scores is None or not len(scores):
        return None
    return SplitImages(stored.rows[inside], scores, None if stored.groups is None else stored.groups[inside])


def split_predictions(run: ScoredRun, split: str) -> StoredPredictions:
    """Predictions of a run for every image of one split, with probabilities.

    Args:
        run: finished.
        split: among `PREDICTED`.

    Raises:
        UserError: the run was not scored on it, or the predictions are missing, damaged, or not those of the result.
    """
    if split not in run.result.splits:
        raise UserError(f"Run {run.folder.path} was not scored on {split}. Train it again with force=true.")
    stored = run.folder.predictions
    inside = _split_mask(run.folder.read_predicted(), run, split)
    mask = {split: np.ones(int(inside.sum()), dtype=bool)}
    arrays = (stored.rows[inside], stored.usage[inside], stored.labels[inside], stored.probabilities[inside])
    return StoredPredictions(*arrays, mask, None if stored.groups is None else stored.groups[inside])


def _split_mask(stored: PredictedLabels, run: ScoredRun, split: str) -> Flags:
    """Whether each stored image is in a split, as the file says.

    The images must give the confusion matrix of the result: a file copied from another run would be judged otherwise.
    """
    confusion = np.array(run.result.splits[split].confusion)
    # Labels are stored as bytes, which the product would overflow with more than 16 classes.
    pairs = stored.labels.astype(np.int64) * len(confusion) + stored.predicted

    def fits(mask: Flags) -> bool:
        return np.array_equal(np.bincount(pairs[mask], minlength=confusion.size), confusion.ravel())

    mask = stored.splits.get(split)
    if mask is None:
        mask = guess_split(stored, run.result.protocol.get("roles", ""), split, fits)
    if mask is None:
        kept = ", ".join(stored.splits) or "no split"
        raise UserError(f"{run.folder.predictions_file} has predictions of {kept} alone, so none that can be shown for {split}.")
    if not fits(mask):
        problem = f"does not fit the scores of {split} in {run.folder.result_file.name} beside it."
        raise UserError(f"{run.folder.predictions_file} {problem}")
    return mask
