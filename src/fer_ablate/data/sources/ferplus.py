"""Labels images by the FER+ votes of about ten people per image (Barsoum et al., ICMI 2016, arXiv:1608.01041).

Where the paper leaves a rule open, it is the one in the authors' published code.
"""

import csv
import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_ablate.config.choices import Labels
from fer_ablate.data.faces import NO_LABEL, FaceSet, Floats, Rows
from fer_ablate.data.sources.listing import text_of
from fer_ablate.errors import UserError
from fer_ablate.labels import EMOTIONS, EMOTIONS_8, FERPLUS_COLUMNS, FERPLUS_TO_EMOTION

FILE = "fer2013new.csv"
_HEADER = ("Usage", "Image name", *FERPLUS_COLUMNS)
_NAMED = len(FERPLUS_TO_EMOTION)  # number of vote columns that are emotions; they come first
_MOST_EMOTIONS = 3  # that one image may show
_MOST_DIGITS = 9  # of a number of votes; FER+ has ten votes of an image
_ENOUGH = 0.75  # share of the votes after which no further emotion is collected


def with_votes(faces: FaceSet, path: Path, labels: Labels, num_classes: int) -> FaceSet:
    """Replace the labels of FER2013 by those of FER+, joined by row order, and leave undecided images out.

    Args:
        faces: the images of the table, in its order.
        path: the file fer2013new.csv.
        labels: `majority`, `probability` or `cross_entropy`.
        num_classes: 8, or 7 without contempt.

    Raises:
        UserError: the file cannot be read, or joined with the table: other columns, another number of rows, or another order.
    """
    votes, usage, numbers = _read(path)
    if len(votes) != len(faces.labels):
        raise UserError(
            f"{path} has {len(votes):,} rows but the faces have {len(faces.labels):,}: FER+ is joined by row order. "
            "Use the complete fer2013.csv, or the fer2013new.csv that belongs to it."
        )
    if different := [row for row, split in enumerate(usage) if split != faces.splits[faces.usage[row]]]:
        row = different[0]
        raise UserError(
            f"{path} line {numbers[row]}: Usage is {usage[row]!r}, but row {row + 1} of the faces is "
            f"{faces.splits[faces.usage[row]]!r}: FER+ is joined by row order. Use files whose rows are in the original order."
        )
    return voted(faces, votes, labels, num_classes)


def voted(faces: FaceSet, votes: NDArray[np.int64], labels: Labels, num_classes: int) -> FaceSet:
    """Replace the labels of a set by those that votes decide, and leave undecided images out.

    Args:
        faces: the set.
        votes: (N, 10) numbers of votes, in the order of `labels.FERPLUS_COLUMNS`.
        labels: `majority`, `probability` or `cross_entropy`.
        num_classes: 8, or 7 without contempt.
    """
    targets = targets_from_votes(votes, labels, num_classes)
    decided: NDArray[np.bool_] = targets.max(axis=1) > 0
    return replace(
        faces,
        labels=np.where(decided, _argmax(targets), NO_LABEL),
        targets=None if labels is Labels.majority else targets,
        classes=EMOTIONS if num_classes == len(EMOTIONS) else EMOTIONS_8,
        rows=faces.rows[decided[faces.rows]],
        digest=hashlib.sha256(faces.digest.encode() + votes.tobytes()).hexdigest(),
        notes=(*faces.notes, *_undecided_notes(int((~decided[faces.rows]).sum()), len(faces.rows))),
    )


def _undecided_notes(count: int, total: int) -> list[str]:
    return [f"{count:,} of {total:,} images are left out: their FER+ votes decide for no expression."] if count else []


def targets_from_votes(votes: NDArray[np.int64], labels: Labels, num_classes: int) -> Floats:
    """Turn numbers of votes into distributions over the emotions.

    Args:
        votes: (N, 10) numbers of votes, in the order of `labels.FERPLUS_COLUMNS`.
        labels: the rule. `majority` takes the emotion with more than half of the votes. `probability` and `cross_entropy` take
            the emotions with the most votes until these cover three quarters of all votes, at most three emotions, and stop
            before `unknown` and `not a face`.
        num_classes: 8, or 7 without contempt.

    Returns:
        (N, num_classes) probabilities in the order of `labels.EMOTIONS_8`; a row of zeros means that the image is left out.
    """
    votes = np.where(votes > 1, votes, 0)  # the authors treat a single vote as noise
    total = votes.sum(axis=1, keepdims=True)
    if labels is Labels.majority:
        winner = np.eye(len(FERPLUS_COLUMNS), dtype=np.int64)[votes.argmax(axis=1)] * votes
        chosen = np.where(winner * 2 > total, winner, 0)
    else:
        chosen = _most_voted(votes, total)
    in_file_order = chosen[:, :_NAMED]
    votes_known = in_file_order[:, np.argsort(FERPLUS_TO_EMOTION)][:, :num_classes]
    # Without contempt, an image that shows mostly contempt is left out; otherwise only the votes for contempt are dropped.
    kept = votes_known.max(axis=1) == chosen.max(axis=1)
    known: Floats = np.where(kept[:, None], votes_known, 0).astype(np.float32)
    known /= np.maximum(known.sum(axis=1, keepdims=True), 1)
    return known


def _most_voted(votes: NDArray[np.int64], total: NDArray[np.int64]) -> NDArray[np.int64]:
    """Collect the emotions with the most votes; zeros for images with too many of them or with too few votes covered."""
    left, chosen = votes.copy(), np.zeros_like(votes)
    going = np.ones_like(total, dtype=bool)
    for _ in range(_MOST_EMOTIONS):  # each round collects at least one emotion, or it is the last
        covered, count = chosen.sum(axis=1, keepdims=True), (chosen > 0).sum(axis=1, keepdims=True)
        going &= (covered < _ENOUGH * total) & (count < _MOST_EMOTIONS)
        top = going & (left == left.max(axis=1, keepdims=True))
        going &= ~top[:, _NAMED:].any(axis=1, keepdims=True)
        top[:, _NAMED:] = False
        chosen += np.where(top, votes, 0)
        left = np.where(top, 0, left)
    good = (chosen.sum(axis=1, keepdims=True) * 2 > total) & ((chosen > 0).sum(axis=1, keepdims=True) <= _MOST_EMOTIONS)
    return np.where(good, chosen, 0)


def _argmax(targets: Floats) -> Rows:
    """Class with the most votes; of equal ones the first in the order of the file, as in the authors' code."""
    order = np.array([index for index in FERPLUS_TO_EMOTION if index < targets.shape[1]])
    labels: Rows = order[targets[:, order].argmax(axis=1)]
    return labels


def _read(path: Path) -> tuple[NDArray[np.int64], list[str], list[int]]:
    """Read the (N, 10) votes, and the split and line number of each row."""
    text = text_of(path, f"Pass {FILE} (from github.com/microsoft/FERPlus) as data.ferplus_path=...")
    try:
        lines = list(enumerate(csv.reader(io.StringIO(text, newline="")), start=1))
    except csv.Error as error:
        raise UserError(f"{path} is no csv ({error}). Download the file again.") from error
    filled = [(number, row) for number, row in lines if any(map(str.strip, row))]
    number, header = filled[0] if filled else (1, [])
    if tuple(name.strip() for name in header) != _HEADER:
        raise UserError(f"{path} line {number}: the columns are not those of FER+, expected {','.join(_HEADER)}.")
    for number, row in filled[1:]:
        if len(row) != len(_HEADER) or not all(map(_is_count, row[2:])):
            expected = f"Usage, Image name and {len(FERPLUS_COLUMNS)} whole numbers of votes"
            raise UserError(f"{path} line {number}: expected {expected}. Download the file again.")
    votes = np.array([row[2:] for _, row in filled[1:]], dtype=np.int64).reshape(-1, len(FERPLUS_COLUMNS))
    return votes, [row[0] for _, row in filled[1:]], [number for number, _ in filled[1:]]


def _is_count(field: str) -> bool:
    return field.isascii() and field.isdigit() and len(field) <= _MOST_DIGITS
