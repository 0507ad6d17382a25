"""Counts and flaws of a set as plain rows, for whoever prints them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_ablate.config.choices import Roles
from fer_ablate.data.audit import Audit
from fer_ablate.data.faces import FaceSet, Rows
from fer_ablate.data.names import split_part
from fer_ablate.data.sources.inventory import told

LISTED = 12
"""Classes that are named with their counts in one line; of more only the smallest and the largest count."""


@dataclass(frozen=True)
class SplitCount:
    """Usable images of one split (or of `all`), in total and by class in the order of the set's classes."""

    split: str
    total: int
    per_class: tuple[int, ...]


def in_order(splits: Sequence[str]) -> list[str]:
    """Splits as people list them: those to train on first, then val, test and the others."""
    known = {part: place for place, part in enumerate(("train", "val", "test"))}
    return sorted(splits, key=lambda split: known.get(split_part(split) or "", len(known)))


def counts(faces: FaceSet) -> list[SplitCount]:
    """One row per split, in the order of `in_order`, and a last one for all of them."""
    table = np.zeros((len(faces.splits), len(faces.classes)), dtype=np.int64)
    np.add.at(table, (faces.usage[faces.rows], faces.labels[faces.rows]), 1)
    splits = in_order(faces.splits)
    table = table[[faces.splits.index(split) for split in splits]]
    names = (*splits, "all")
    per_class = np.vstack([table, table.sum(axis=0)]).tolist()
    return [SplitCount(name, sum(row), tuple(row)) for name, row in zip(names, per_class, strict=True)]


def class_counts(faces: FaceSet, rows: Rows) -> list[int]:
    """Images of each class among some rows, in the order of the set's classes."""
    found: list[int] = np.bincount(faces.labels[rows], minlength=len(faces.classes)).tolist()
    return found


def in_words(classes: Sequence[str], per_class: Sequence[int]) -> str:
    """Classes with their counts, as in `happy 7,215, sad 4,830`; of many classes only the range."""
    if len(classes) > LISTED:
        return f"{min(per_class):,} to {max(per_class):,} images each"
    return ", ".join(f"{name} {count:,}" for name, count in zip(classes, per_class, strict=True))


def left_out(faces: FaceSet) -> str:
    """What was not read, as in `.txt 1, hidden 1`; empty if nothing was left out, or if the set's notes tell it."""
    if any(told(faces.left_out) in note for note in faces.notes):
        return ""
    return ", ".join(f"{reason} {count:,}" for reason, count in sorted(faces.left_out.items()) if count)


def record(name: str, faces: FaceSet, roles: Mapping[str, Rows], preset: Roles, notes: Sequence[str]) -> dict[str, Any]:
    """What a run keeps of the images it used, as plain values; see `RunHeader.dataset`.

    Args:
        name: of the source.
        faces: the set.
        roles: `train`, `val`, `test` -> rows.
        preset: that the roles came from.
        notes: about the images and their roles.
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
    """The findings of an audit, each in words with its number."""
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
