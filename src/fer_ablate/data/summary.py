"""Counts and flaws of a set as plain values, for console, pages and run records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_ablate.config.choices import Roles
from fer_ablate.data.audit import Audit
from fer_ablate.data.classes import split_part
from fer_ablate.data.faces import FaceSet, Rows
from fer_ablate.data.sources.inventory import not_read

LISTED = 12
"""Most classes whose counts are listed in one line; of more, only the smallest and the largest count are given."""


@dataclass(frozen=True)
class SplitCount:
    """Number of usable images of one split (or of `all`), in total and by class in the order of the set's classes."""

    split: str
    total: int
    per_class: tuple[int, ...]


def sorted_splits(splits: Sequence[str]) -> list[str]:
    """Sort the names of splits: train first, then val, test and the others."""
    known = {part: place for place, part in enumerate(("train", "val", "test"))}
    return sorted(splits, key=lambda split: known.get(split_part(split) or "", len(known)))


def split_counts(faces: FaceSet) -> list[SplitCount]:
    """Count the usable images of each split, in the order of `sorted_splits`, and last of all splits together."""
    table = np.zeros((len(faces.splits), len(faces.classes)), dtype=np.int64)
    # Unlike `table[...] += 1`, `add.at` counts repeated index pairs.
    np.add.at(table, (faces.usage[faces.rows], faces.labels[faces.rows]), 1)
    splits = sorted_splits(faces.splits)
    table = table[[faces.splits.index(split) for split in splits]]
    names = (*splits, "all")
    per_class = np.vstack([table, table.sum(axis=0)]).tolist()
    return [SplitCount(name, sum(row), tuple(row)) for name, row in zip(names, per_class, strict=True)]


def class_counts(faces: FaceSet, rows: Rows) -> list[int]:
    """Count the images of each class among some rows, in the order of the set's classes."""
    found: list[int] = np.bincount(faces.labels[rows], minlength=len(faces.classes)).tolist()
    return found


def class_counts_text(classes: Sequence[str], per_class: Sequence[int]) -> str:
    """List classes with their counts, as in `happy 7,215, sad 4,830`; for many classes only the range."""
    if len(classes) > LISTED:
        return f"{min(per_class):,} to {max(per_class):,} images each"
    return ", ".join(f"{name} {count:,}" for name, count in zip(classes, per_class, strict=True))


def left_out_text(faces: FaceSet) -> str:
    """List what was not read, as in `.txt 1, hidden 1`; empty if nothing was, or if the notes of the set already list it."""
    if any(not_read(faces.left_out) in note for note in faces.notes):
        return ""
    return ", ".join(f"{reason} {count:,}" for reason, count in sorted(faces.left_out.items()) if count)


def dataset_record(name: str, faces: FaceSet, roles: Mapping[str, Rows], preset: Roles, notes: Sequence[str]) -> dict[str, Any]:
    """Describe the images of a run as plain values for its record (`RunHeader.dataset`).

    Args:
        name: name of the source.
        faces: the set.
        roles: `train`, `val`, `test` -> rows.
        preset: preset of the roles.
        notes: sentences about the images and their roles.
    """
    columns = [class_counts(faces, rows) for rows in roles.values()]
    return {
        "name": name,
        **{role: len(rows) for role, rows in roles.items()},
        "preset": preset.name,
        "classes": {label: list(numbers) for label, *numbers in zip(faces.classes, *columns, strict=True)},
        "size": list(faces.size),
        "channels": faces.channels,
        "groups": None if faces.groups is None else len(np.unique(faces.groups[faces.rows])),
        "left_out": dict(faces.left_out),
        "notes": list(notes),
    }


def flaws(found: Audit) -> list[tuple[str, int]]:
    """List the findings of an audit, each as a name and a number."""
    return [
        ("images", found.images),
        ("distinct images", found.distinct),
        ("surplus exact copies", len(found.surplus)),
        ("groups of exact copies", found.groups),
        ("images in these groups", len(found.copied)),
        ("groups across splits", found.crossing_groups),
        ("images in groups across splits", len(found.crossing)),
        *((f"images of {split} that occur in the training split", len(rows)) for split, rows in found.in_train.items()),
        *((f"images of {split} that occur in an earlier split", len(rows)) for split, rows in found.in_earlier.items()),
        ("groups with conflicting labels", found.conflict_groups),
        ("images in groups with conflicting labels", len(found.conflicts)),
        ("images of one gray level", len(found.blank)),
        ("black images", len(found.black)),
    ]
