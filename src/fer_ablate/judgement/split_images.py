"""The images that a finished run was tested on and whether it was right about each, from its stored predictions.

Letters: N images of a split, K classes.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ablate.errors import UserError
from fer_ablate.judgement.old_predictions import guess_split
from fer_ablate.judgement.row_runs import ScoredRun
from fer_ablate.tracking.disk.predictions import Flags
from fer_ablate.tracking.disk.run_folder import PredictedLabels, StoredPredictions

Integers = NDArray[np.integer[Any]]

PER_IMAGE = ("acc", "top2")
"""Metrics that are means over images of right or wrong."""

PREDICTED = ("val", "test", "public", "private")
"""Splits of a result whose images were predicted once each, by the finished weights."""


@dataclass(frozen=True)
class SplitImages:
    """A run on the images of one split.

    Args:
        rows: (N,) rows of the whole set.
        right: `acc`, `top2` -> (N,) whether the image counts as right; only the metrics that were requested.
    """

    rows: Integers
    right: dict[str, Flags]


def split_images(run: ScoredRun, splits: Collection[str], metrics: Collection[str]) -> dict[str, SplitImages]:
    """Predictions of a run image by image, for each of some splits; splits it was not scored on are absent.

    Args:
        run: finished.
        splits: among `PREDICTED`.
        metrics: among `PER_IMAGE`.

    Raises:
        UserError: the predictions are missing, damaged, or not those that the result was computed from.
    """
    stored = run.folder.read_predicted()
    right = {"acc": stored.predicted == stored.labels} if "acc" in metrics else {}
    # The probabilities, most of the file, are unpacked for this metric alone.
    if "top2" in metrics:
        right["top2"] = _among_two_likeliest(run.folder.predictions.probabilities, stored.labels)
    found = {}
    for split in splits:
        if split in run.result.splits:
            inside = _split_mask(stored, run, split)
            found[split] = SplitImages(stored.rows[inside], {name: flags[inside] for name, flags in right.items()})
    return found


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
    return StoredPredictions(stored.rows[inside], stored.usage[inside], stored.labels[inside], stored.probabilities[inside], mask)


def _among_two_likeliest(probabilities: NDArray[np.float32], labels: Integers) -> Flags:
    """Whether the true class is one of the two likeliest; equal ones in torch's order, as in the metric itself."""
    true = probabilities[np.arange(len(labels)), labels][:, None]
    above, tied = (probabilities > true).sum(axis=1), (probabilities == true).sum(axis=1) - 1
    right = np.asarray((above + tied < 2) & (tied >= 0))  # NaN does not even tie with itself
    # Only where equal probabilities compete for the second place does the order of torch decide, which is imported for them.
    undecided = np.flatnonzero(~right & (above < 2))
    if len(undecided):
        import torch

        likeliest = torch.from_numpy(probabilities[undecided]).topk(2, dim=1).indices.numpy()
        right[undecided] = (likeliest == labels[undecided, None]).any(axis=1)
    return right


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
    if mask is None or not fits(mask):
        problem = f"does not fit the scores of {split} in {run.folder.result_file.name} beside it."
        raise UserError(f"{run.folder.predictions_file} {problem}")
    return mask
