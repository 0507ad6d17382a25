"""Draws that keep groups together: folds of a set, and a part of some images. scikit-learn does the drawing.

A group is a person, or whatever else must not be in train and in test at once.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from fer_ablate.data.faces import FaceSet, Rows
from fer_ablate.errors import UserError

FEWEST = 2


def fold_rows(faces: FaceSet, folds: int, fold: int, seed: int) -> Rows:
    """Usable rows of one fold, ascending; every usable image is in exactly one fold, every group in one.

    Args:
        faces: the set.
        folds: how many.
        fold: which, from 0.
        seed: of the draw.

    Raises:
        UserError: there are fewer groups, or images of every class, than folds.
    """
    labels = faces.labels[faces.rows]
    if faces.groups is None:
        most = int(np.bincount(labels).max())
        if most < folds:
            raise UserError(f"data.folds={folds}, but no class has so many images (at most {most}). Give fewer folds.")
        parts = _splitter("StratifiedKFold", folds, seed).split(labels, _quiet(labels, folds))
    else:
        groups = faces.groups[faces.rows]
        count = len(np.unique(groups))
        if count < folds:
            raise UserError(f"data.folds={folds}, but there are {count} groups (data.group), which stay whole. Give fewer folds.")
        parts = _splitter("StratifiedGroupKFold", folds, seed).split(labels, _quiet(labels, folds), groups)
    tested: Rows = faces.rows[[test for _, test in parts][fold]]
    return tested


def drawn_part(rows: Rows, labels: Rows, groups: Rows, fraction: float, seed: Sequence[int]) -> Rows:
    """About a fraction of some rows, in whole groups, with about the same share of every class; never all groups.

    Args:
        rows: to draw from.
        labels: of the whole set.
        groups: of the whole set.
        fraction: in (0, 1).
        seed: of the draw.
    """
    own = groups[rows]
    folds = min(len(np.unique(own)), max(FEWEST, round(1 / fraction)))
    if folds < FEWEST:
        raise UserError(
            "All images are of one group (data.group), so none can be put aside for val or test. Set data.group=null."
        )
    state = int(np.random.SeedSequence(list(seed)).generate_state(1)[0])
    splitter = _splitter("StratifiedGroupKFold", folds, state)
    parts = [part for _, part in splitter.split(rows, _quiet(labels[rows], folds), own)]
    wanted = max(1, round(fraction * folds)) if fraction > 1 / FEWEST else 1
    chosen: Rows = np.sort(rows[np.concatenate(parts[: min(wanted, folds - 1)])])
    return chosen


def _splitter(name: str, folds: int, seed: int) -> Any:
    """One of scikit-learn's; imported only where something is drawn by groups or in folds, since it takes a second."""
    return getattr(importlib.import_module("sklearn.model_selection"), name)(folds, shuffle=True, random_state=seed)


def _quiet(labels: Rows, folds: int) -> Rows:
    """Labels in which classes too rare for so many folds count as one: scikit-learn would warn of each of them."""
    counts = np.bincount(labels)
    rare = np.flatnonzero((counts > 0) & (counts < folds))
    return np.where(np.isin(labels, rare), rare[0], labels) if len(rare) else labels
