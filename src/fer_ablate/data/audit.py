"""Finds flaws of a set: exact copies, copies in several splits, contradicting labels, blank images."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fer_ablate.config.choices import Drop
from fer_ablate.data.classes import split_part
from fer_ablate.data.faces import FaceSet, Rows

_BLOCK = 2048  # images read at once: keeps temporary arrays small compared with the mapped file


@dataclass(frozen=True)
class Audit:
    """Flaws of a set; every array holds ascending row numbers of usable images.

    A group is two or more images with the same pixels.

    Args:
        images: number of usable images.
        distinct: number of different images.
        groups: number of groups.
        copied: members of all groups.
        surplus: members of a group except its first.
        crossing_groups: number of groups with members in more than one split.
        crossing: members of these groups.
        conflict_groups: number of groups with more than one label.
        conflicts: members of these groups.
        blank: images of one constant gray level.
        black: images of zeros only; part of `blank`.
        in_train: split other than the training splits -> its images that also occur in one of these.
        in_earlier: split other than the first -> its images that also occur in a split before it.
    """

    images: int
    distinct: int
    groups: int
    copied: Rows
    surplus: Rows
    crossing_groups: int
    crossing: Rows
    conflict_groups: int
    conflicts: Rows
    blank: Rows
    black: Rows
    in_train: dict[str, Rows]
    in_earlier: dict[str, Rows]


def audit(faces: FaceSet) -> Audit:
    """Find the flaws of all usable images of a set."""
    rows = faces.rows
    _, first, group, size = np.unique(faces.usable_hashes(), return_index=True, return_inverse=True, return_counts=True)
    present = np.zeros((len(size), len(faces.splits)), dtype=bool)  # (groups, splits)
    present[group, faces.usage[rows]] = True
    labelled = np.zeros((len(size), len(faces.classes)), dtype=bool)  # (groups, classes)
    labelled[group, faces.labels[rows]] = True
    crossing, conflicting = present.sum(axis=1) > 1, labelled.sum(axis=1) > 1
    blank, black = _blanks(faces)
    train = _training(faces)
    in_train: NDArray[np.bool_] = np.asarray(present[:, train].any(axis=1))
    others = [split for place, split in enumerate(faces.splits) if train and place not in train]

    def members(split: str, elsewhere: NDArray[np.bool_]) -> Rows:
        found: Rows = rows[elsewhere[group] & (faces.usage[rows] == faces.splits.index(split))]
        return found

    return Audit(
        images=len(rows),
        distinct=len(size),
        groups=int((size > 1).sum()),
        copied=rows[size[group] > 1],
        surplus=np.delete(rows, first),
        crossing_groups=int(crossing.sum()),
        crossing=rows[crossing[group]],
        conflict_groups=int(conflicting.sum()),
        conflicts=rows[conflicting[group]],
        blank=blank,
        black=black,
        in_train={split: members(split, in_train) for split in others},
        in_earlier={split: members(split, present[:, :index].max(axis=1)) for index, split in enumerate(faces.splits) if index},
    )


def without_flawed(faces: FaceSet, drop: Collection[Drop]) -> FaceSet:
    """Leave flawed images out.

    Args:
        faces: the set.
        drop: kinds of flaws. `duplicates_of_train`: images of other splits that also occur in the training split; copies within
            a split stay. `conflicts`: all images of a group with more than one label. `blank`: images of one gray level.
    """
    if not drop:
        return faces
    found, digest = audit(faces), faces.digest
    flawed = {
        Drop.duplicates_of_train: np.concatenate([*found.in_train.values(), faces.rows[:0]]),
        Drop.conflicts: found.conflicts,
        Drop.blank: found.blank,
    }
    rows = np.setdiff1d(faces.rows, np.concatenate([flawed[kind] for kind in drop]))
    counts = ", ".join(f"{kind.name} {len(flawed[kind]):,}" for kind in drop)
    note = f"data.drop leaves out {len(faces) - len(rows):,} of {len(faces):,} images: {counts}."
    if Drop.duplicates_of_train in drop and len(_training(faces)) > 1:
        # What is dropped once depended on the first training split alone, so runs of that time must not pass for those of today.
        digest = hashlib.sha256(digest.encode() + rows.tobytes()).hexdigest()
    return replace(faces, rows=rows, digest=digest, notes=(*faces.notes, note))


def _training(faces: FaceSet) -> list[int]:
    """Places of the splits whose names mean the training split, such as `train` and `training`."""
    return [place for place, split in enumerate(faces.splits) if split_part(split) == "train"]


def copies_across(faces: FaceSet, roles: Mapping[str, Rows], dropped: Collection[Drop]) -> Iterator[str]:
    """Yield a warning if images of val or test are also in train, which makes their scores too good.

    Args:
        faces: the set.
        roles: `train`, `val`, `test` -> rows.
        dropped: kinds of images that were already left out.
    """
    known = np.zeros(len(faces.labels), np.uint64)
    known[faces.rows] = faces.usable_hashes()
    shared = {}
    for role in ("val", "test"):
        # With the preset `combined`, val is a part of train on purpose.
        own = np.setdiff1d(roles[role], roles["train"])
        shared[role] = int(np.isin(known[own], known[roles["train"]]).sum())
    if any(shared.values()):
        counts = " and ".join(f"{count:,} {role}" for role, count in shared.items() if count)
        helps = len(faces.splits) > 1 and Drop.duplicates_of_train not in dropped
        remedy = " data.drop=[duplicates_of_train] leaves those of other splits out." if helps else ""
        yield f"Copies: {counts} images have exactly the pixels of a training image.{remedy}"


def _blanks(faces: FaceSet) -> tuple[Rows, Rows]:
    """Find the usable rows of one gray level, and those of them that are black."""
    low, high = np.empty(len(faces), np.uint8), np.empty(len(faces), np.uint8)
    for start in range(0, len(faces), _BLOCK):
        block = faces.faces[faces.rows[start : start + _BLOCK]]
        low[start : start + _BLOCK] = block.min(axis=(1, 2, 3))
        high[start : start + _BLOCK] = block.max(axis=(1, 2, 3))
    return faces.rows[low == high], faces.rows[high == 0]
