"""Counts and flaws of a set as plain rows, for whoever prints them."""

from dataclasses import dataclass

import numpy as np

from fer_ablate.data.audit import Audit
from fer_ablate.data.faces import FaceSet


@dataclass(frozen=True)
class SplitCount:
    """Usable images of one split (or of `all`), in total and by class in the order of the set's classes."""

    split: str
    total: int
    per_class: tuple[int, ...]


def counts(faces: FaceSet) -> list[SplitCount]:
    """One row per split and a last one for all of them."""
    table = np.zeros((len(faces.splits), len(faces.classes)), dtype=np.int64)
    np.add.at(table, (faces.usage[faces.rows], faces.labels[faces.rows]), 1)
    names = (*faces.splits, "all")
    per_class = np.vstack([table, table.sum(axis=0)]).tolist()
    return [SplitCount(name, sum(row), tuple(row)) for name, row in zip(names, per_class, strict=True)]


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
