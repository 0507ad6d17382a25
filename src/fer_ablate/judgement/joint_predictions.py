"""Predictions of several finished runs for the same images: whether they can be averaged, and their probabilities together.

Letters: M runs, N images, K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ablate.errors import UserError
from fer_ablate.judgement.protocols import CONFIG_KEYS, differing_protocols, first_labels
from fer_ablate.judgement.row_runs import RowRuns, ScoredRun
from fer_ablate.judgement.split_images import split_predictions


@dataclass(frozen=True)
class EnsembleCandidate:
    """A finished run that may become a member; `label` names its row and seed, and the fold if there is one."""

    label: str
    run: ScoredRun


@dataclass(frozen=True)
class JointPredictions:
    """Predictions of several runs for the images of one split.

    Args:
        rows: (N,) rows of the whole set.
        usage: (N,) official split of each image, as index into `labels.USAGES`.
        labels: (N,) true class indices.
        probabilities: (M, N, K).
        groups: (N,) number of the person on each image; None if that is not known.
    """

    rows: NDArray[np.int64]
    usage: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    groups: NDArray[np.int64] | None = None


def check_same_tests(candidates: Sequence[EnsembleCandidate]) -> None:
    """Refuse runs whose probabilities cannot be averaged.

    Raises:
        UserError: protocol, classes or data differ; the message names what differs between which runs.
    """
    differing = differing_protocols([RowRuns(one.label, (one.run.header.seed,), (one.run,)) for one in candidates])
    lines = [_line(CONFIG_KEYS.get(part, part), values) for part, values in differing.items()]
    lines += _difference_lines(candidates, "classes", lambda run: ", ".join(run.result.classes))
    lines += _difference_lines(candidates, "digest of the data", lambda run: run.header.data_digest[:10])
    folds = _difference_lines(candidates, "data.fold", lambda run: run.header.repeat.fold)
    if lines or folds:
        way_out = "Choose networks that were tested in the same way on the same images."
        if folds:
            first = candidates[0].run.header
            way_out += f" Those of one fold are named as run='{first.experiment}/{candidates[0].label}' run=..."
        raise UserError(
            "\n".join(["These networks were tested differently, so they cannot be averaged:", *lines, *folds, way_out])
        )


def joint_predictions(candidates: Sequence[EnsembleCandidate], split: str) -> JointPredictions:
    """Predictions of all candidates for the images of a split.

    Raises:
        UserError: predictions are missing or damaged, or the runs were tested on different images.
    """
    # The protocol alone does not show whether the very same images were tested.
    found = [split_predictions(one.run, split) for one in candidates]
    first = found[0]
    for one, predictions in zip(candidates, found, strict=True):
        if not (np.array_equal(predictions.rows, first.rows) and np.array_equal(predictions.labels, first.labels)):
            raise UserError(
                f"{candidates[0].label} and {one.label} were tested on different images of {split} "
                f"({len(first.rows):,} and {len(predictions.rows):,}), so they cannot be averaged. Give both the same data.*."
            )
    probabilities = np.stack([predictions.probabilities for predictions in found])
    return JointPredictions(first.rows, first.usage, first.labels, probabilities, first.groups)


def _difference_lines(candidates: Sequence[EnsembleCandidate], name: str, value: Callable[[ScoredRun], Any]) -> list[str]:
    """A line naming the values of a property and their runs; none if all runs have the same."""
    labels: dict[str, list[str]] = {}
    for one in candidates:
        labels.setdefault(str(value(one.run)), []).append(one.label)
    return [_line(name, labels)] if len(labels) > 1 else []


def _line(name: str, labels: dict[str, list[str]]) -> str:
    return f"  {name}: " + "; ".join(f"{value} in {first_labels(those)}" for value, those in labels.items())
