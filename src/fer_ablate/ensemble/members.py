"""Finished runs as candidates of an ensemble: whether they were tested alike, and what they said about a split.

Letters: M runs, N images, K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ablate.config.key import short
from fer_ablate.errors import UserError
from fer_ablate.judgement.protocols import CONFIG_KEYS, named, unlike
from fer_ablate.judgement.records import FinishedRun, RowRuns
from fer_ablate.judgement.split_images import split_predictions
from fer_ablate.tracking.disk.run_folder import RunFolder


@dataclass(frozen=True)
class Candidate:
    """A finished run that may become a member; `label` is that of its row with the seed, and the fold if there is one."""

    label: str
    run: FinishedRun


@dataclass(frozen=True)
class Votes:
    """What several runs said about the images of one split.

    Args:
        rows: (N,) rows of the whole set.
        usage: (N,) official split of each, as index into `labels.USAGES`.
        labels: (N,) true class indices.
        probabilities: (M, N, K).
    """

    rows: NDArray[np.int64]
    usage: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]


def candidates_of(rows: Sequence[RowRuns]) -> list[Candidate]:
    """The finished runs of some rows; one that several rows share counts once."""
    runs: dict[str, Candidate] = {}
    for row in rows:
        for run in row.runs:
            runs.setdefault(run.header.key, Candidate(f"{row.label}, {run.header.repeat}", run))
    return list(runs.values())


def candidate_of(folder: RunFolder) -> Candidate:
    """The run of a folder.

    Raises:
        UserError: it is not finished, or a file of it is damaged.
    """
    if folder.status != "finished":
        raise UserError(f"Run {folder.path} is not finished. Start its command again: it resumes.")
    header = folder.header
    return Candidate(f"{header.name}, {header.repeat}", FinishedRun(folder, header, folder.result))


def told_apart(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The same with labels that are unique: the key goes behind those that several have.

    Raises:
        UserError: a run is there twice.
    """
    labels = [candidate.label for candidate in candidates]
    keys = [candidate.run.header.key for candidate in candidates]
    twice = [candidate for candidate, key in zip(candidates, keys, strict=True) if keys.count(key) > 1]
    if twice:
        raise UserError(f"{twice[0].run.folder.path} was named {len(twice)} times. Name each run once.")
    return [
        Candidate(f"{one.label} ({short(one.run.header.key)})", one.run) if labels.count(one.label) > 1 else one
        for one in candidates
    ]


def check_alike(candidates: Sequence[Candidate]) -> None:
    """Refuse runs whose probabilities do not belong together.

    Raises:
        UserError: protocol, classes or data differ; it names what and in which.
    """
    differing = unlike([RowRuns(one.label, (one.run.header.seed,), (one.run,)) for one in candidates])
    lines = [_line(CONFIG_KEYS.get(part, part), values) for part, values in differing.items()]
    lines += _facts(candidates, "classes", lambda run: ", ".join(run.result.classes))
    lines += _facts(candidates, "digest of the data", lambda run: run.header.data_digest[:10])
    folds = _facts(candidates, "data.fold", lambda run: run.header.repeat.fold)
    if lines or folds:
        way_out = "Choose networks that were tested in the same way on the same images."
        if folds:
            first = candidates[0].run.header
            way_out += f" Those of one fold are named as run='{first.experiment}/{candidates[0].label}' run=..."
        raise UserError("\n".join(["These networks were not tested alike, so they cannot be averaged:", *lines, *folds, way_out]))


def votes_of(candidates: Sequence[Candidate], split: str) -> Votes:
    """What the runs said about a split.

    Raises:
        UserError: predictions are missing or damaged, or are of other images.
    """
    found = [split_predictions(one.run, split) for one in candidates]
    first = found[0]
    for one, predictions in zip(candidates, found, strict=True):
        if not (np.array_equal(predictions.rows, first.rows) and np.array_equal(predictions.labels, first.labels)):
            raise UserError(
                f"{candidates[0].label} and {one.label} were tested on other images of {split} "
                f"({len(first.rows):,} and {len(predictions.rows):,}), so they cannot be averaged. Give both the same data.*."
            )
    return Votes(first.rows, first.usage, first.labels, np.stack([predictions.probabilities for predictions in found]))


def _facts(candidates: Sequence[Candidate], name: str, value: Callable[[FinishedRun], Any]) -> list[str]:
    """A line about something that differs; none if it does not."""
    labels: dict[str, list[str]] = {}
    for one in candidates:
        labels.setdefault(str(value(one.run)), []).append(one.label)
    return [_line(name, labels)] if len(labels) > 1 else []


def _line(name: str, labels: dict[str, list[str]]) -> str:
    return f"  {name}: " + "; ".join(f"{value} in {named(those)}" for value, those in labels.items())
