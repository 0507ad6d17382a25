"""Which images a finished run was tested on and which of them it got right, from its stored predictions.

Letters: N images of a split, K classes.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fer_ablate.errors import UserError
from fer_ablate.judgement.records import FinishedRun
from fer_ablate.labels import PRIVATE, PUBLIC, TRAINING, USAGES
from fer_ablate.tracking.disk.predictions import Flags
from fer_ablate.tracking.disk.run_folder import PredictedLabels, StoredPredictions

Integers = NDArray[np.integer[Any]]
Parts = dict[str, tuple[str, ...]]

PER_IMAGE = ("acc", "top2")
"""Metrics that are means over images of right or wrong."""

PREDICTED = ("val", "test", "public", "private")
"""Splits of a result whose images were predicted once each, by the finished weights."""

_OFFICIAL: Parts = {"public": (PUBLIC,), "private": (PRIVATE,)}
_AS_OFFICIAL: Parts = {"val": (PUBLIC,), "test": (PRIVATE,), **_OFFICIAL}
_AS_SWAPPED: Parts = {"val": (PRIVATE,), "test": (PUBLIC,), **_OFFICIAL}
_USUAL: dict[str, Parts] = {
    "official": _AS_OFFICIAL,
    "combined": _AS_OFFICIAL,
    "auto": _AS_OFFICIAL,
    "swapped": _AS_SWAPPED,
    "combined_swapped": _AS_SWAPPED,
    "holdout": {"val": (TRAINING,), "test": (PUBLIC, PRIVATE), **_OFFICIAL},
}
"""`data.roles` -> split of a result -> official splits it consists of, in runs that did not store which images form a split."""


@dataclass(frozen=True)
class SplitImages:
    """A run on the images of one split.

    Args:
        rows: (N,) rows of the whole set.
        right: `acc`, `top2` -> (N,) whether the image counts as right; only what was asked for.
    """

    rows: Integers
    right: dict[str, Flags]


def split_images(run: FinishedRun, splits: Collection[str], metrics: Collection[str]) -> dict[str, SplitImages]:
    """What a run said about the images of some splits; splits it was not scored on are absent.

    Args:
        run: finished.
        splits: among `PREDICTED`.
        metrics: among `PER_IMAGE`.

    Raises:
        UserError: the predictions are missing, damaged, or not those that the result was computed from.
    """
    stored = run.folder.read_predicted()
    right = {"acc": stored.predicted == stored.labels} if "acc" in metrics else {}
    if "top2" in metrics:
        right["top2"] = _among_two(run.folder.predictions.probabilities, stored.labels)
    found = {}
    for split in splits:
        if split in run.result.splits:
            chosen = _chosen(stored, run, split)
            found[split] = SplitImages(stored.rows[chosen], {name: flags[chosen] for name, flags in right.items()})
    return found


def split_predictions(run: FinishedRun, split: str) -> StoredPredictions:
    """What a run said about every image of one split, with probabilities.

    Args:
        run: finished.
        split: among `PREDICTED`.

    Raises:
        UserError: the run was not scored on it, or the predictions are missing, damaged, or not those of the result.
    """
    if split not in run.result.splits:
        raise UserError(f"Run {run.folder.path} was not scored on {split}. Train it again with force=true.")
    stored = run.folder.predictions
    chosen = _chosen(run.folder.read_predicted(), run, split)
    inside = {split: np.ones(int(chosen.sum()), dtype=bool)}
    return StoredPredictions(
        stored.rows[chosen], stored.usage[chosen], stored.labels[chosen], stored.probabilities[chosen], inside
    )


def _among_two(probabilities: NDArray[np.float32], labels: Integers) -> Flags:
    """Whether the true class is one of the two likeliest; equal ones in torch's order, as in the metric itself."""
    likeliest = torch.from_numpy(probabilities).topk(min(2, probabilities.shape[1]), dim=1).indices.numpy()
    return np.asarray((likeliest == labels[:, None]).any(axis=1))


def _chosen(stored: PredictedLabels, run: FinishedRun, split: str) -> Flags:
    """Which stored images are the split; they must give the very confusion matrix of the result."""
    confusion = np.array(run.result.splits[split].confusion)
    pairs = stored.labels.astype(np.int64) * len(confusion) + stored.predicted
    known = [stored.splits[split]] if split in stored.splits else _guesses(stored, run.result.protocol.get("roles", ""), split)
    for guess in known:
        if np.array_equal(np.bincount(pairs[guess], minlength=confusion.size), confusion.ravel()):
            return guess
    raise UserError(
        f"{run.folder.predictions_file} does not fit the scores of {split} in {run.folder.result_file.name} beside it."
    )


def _guesses(stored: PredictedLabels, roles: str, split: str) -> Iterator[Flags]:
    """What a split may have been, for files of versions that did not store it; the first that fits is it."""
    usual = _USUAL.get(roles, {}).get(split)
    if usual is not None:
        yield np.isin(stored.usage, [USAGES.index(name) for name in usual])
    # Image folders number their splits in their own order, and `auto` may have meant a part of the training split.
    numbers = np.unique(stored.usage)
    for number in numbers:
        yield stored.usage == number
    for number in numbers:
        yield stored.usage != number
