"""Draws random parts and folds of a set, stratified by class; groups stay whole.

A group is a person, or anything else that must not be in train and in test at the same time.
"""

import importlib
import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from fer_ablate.config.choices import ValDraw
from fer_ablate.data.faces import FaceSet, Rows
from fer_ablate.errors import UserError

FEWEST, MOST = 2, 0.6
"""Fewest folds, and the largest fraction that is drawn in whole groups: as one fold of two, which is near enough."""


def fold_rows(faces: FaceSet, folds: int, fold: int, seed: int) -> Rows:
    """Return the usable rows of one fold, ascending; every image and every group is in exactly one fold.

    Args:
        faces: the set.
        folds: number of folds.
        fold: index of the fold, from 0.
        seed: seed of the draw.

    Raises:
        UserError: there are fewer groups, or images of every class, than folds.
    """
    labels = faces.labels[faces.rows]
    if faces.groups is None:
        # scikit-learn accepts rare classes as long as one class has an image for every fold.
        most = int(np.bincount(labels).max())
        if most < folds:
            raise UserError(f"data.folds={folds}, but no class has so many images (at most {most}). Give fewer folds.")
        parts = _parts("StratifiedKFold", folds, seed, labels)
    else:
        groups = faces.groups[faces.rows]
        count = len(np.unique(groups))
        if count < folds:
            raise UserError(f"data.folds={folds}, but there are {count} groups (data.group), which stay whole. Give fewer folds.")
        parts = _parts("StratifiedGroupKFold", folds, seed, labels, groups)
    tested: Rows = faces.rows[parts[fold]]
    return tested


def draw_part(faces: FaceSet, rows: Rows, fraction: float, seed: int, stream: int, kind: ValDraw = ValDraw.nearest) -> Rows:
    """Draw about a fraction of some rows, with about the same share of every class; groups stay whole.

    Args:
        faces: the set.
        rows: rows to draw from.
        fraction: in (0, 1].
        seed: `data.split_seed`.
        stream: keeps the draws of one seed independent of each other, such as those of val and test.
        kind: how the fraction is rounded, and whether class by class.

    Raises:
        UserError: single images would be drawn from a set with groups, or all images have one group.
    """
    if faces.groups is not None and kind is not ValDraw.nearest:
        raise UserError(
            f"data.val_draw={kind.name} draws single images, but these have groups (data.group), which stay whole. "
            "Leave data.val_draw=nearest, or ignore the groups with data.group=null."
        )
    if faces.groups is not None:
        return _whole_groups(rows, faces.labels, faces.groups, fraction, [seed, stream])
    draw = np.random.default_rng([seed, stream])
    if kind is ValDraw.mixed:
        return np.sort(draw.permutation(rows)[: _rounded_up(fraction * len(rows))])
    rounded = _rounded_up if kind is ValDraw.up else round
    return stratified(rows, faces.labels, fraction, draw, leave_one=True, rounded=rounded)


def _rounded_up(number: float) -> int:
    """The next whole number; a product such as 0.2 x 3,995 may be a little more than its true value."""
    return math.ceil(number - 1e-9)


def stratified(
    rows: Rows,
    labels: Rows,
    fraction: float,
    draw: np.random.Generator,
    *,
    leave_one: bool = False,
    rounded: Callable[[float], int] = round,
) -> Rows:
    """Draw the same fraction of every class, at least one image of each.

    Args:
        rows: rows to draw from.
        labels: labels of the whole set.
        fraction: in (0, 1].
        draw: generator of random numbers.
        leave_one: leave at least one image of every class; none is drawn of a class with a single image.
        rounded: makes a whole number of images of a fraction of a class.
    """
    chosen = []
    for label in np.unique(labels[rows]):
        members = draw.permutation(rows[labels[rows] == label])
        number = max(1, rounded(fraction * len(members)))
        chosen.append(members[: min(number, len(members) - 1) if leave_one else number])
    return np.sort(np.concatenate(chosen)) if chosen else rows


def _whole_groups(rows: Rows, labels: Rows, groups: Rows, fraction: float, seed: Sequence[int]) -> Rows:
    """Draw about a fraction of some rows in whole groups, with about the same share of every class; never all groups.

    Args:
        rows: rows to draw from.
        labels: labels of the whole set.
        groups: groups of the whole set.
        fraction: in (0, `MOST`].
        seed: seed of the draw.

    Raises:
        UserError: all rows are of one group, or the fraction is larger.
    """
    # A part in whole groups is drawn as some of k folds, where one fold is about the fraction.
    own = groups[rows]
    if fraction > MOST:
        raise UserError(
            f"data.val_fraction and data.test_fraction want {fraction:.0%} of the images that can be drawn, but of images with "
            "groups (data.group), which stay whole, about half can at most. Give smaller ones, or data.group=null."
        )
    folds = min(len(np.unique(own)), max(FEWEST, round(1 / fraction)))
    if folds < FEWEST:
        raise UserError(
            "All images are of one group (data.group), so none can be put aside for val or test. Set data.group=null."
        )
    # scikit-learn takes a single number of 32 bits as seed.
    state = int(np.random.SeedSequence(list(seed)).generate_state(1)[0])
    chosen: Rows = np.sort(rows[_parts("StratifiedGroupKFold", folds, state, labels[rows], own)[0]])
    return chosen


def _parts(name: str, folds: int, seed: int, labels: Rows, groups: Rows | None = None) -> list[Rows]:
    """Places of the images of every fold, by scikit-learn, which is imported only here because it takes a second."""
    splitter = getattr(importlib.import_module("sklearn.model_selection"), name)(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # with fewer images than folds, some have none
        return [part for _, part in splitter.split(labels, _with_rare_joined(labels, folds), groups)]


def _with_rare_joined(labels: Rows, folds: int) -> Rows:
    """Join the classes with fewer images than folds into one: together they may have an image for every fold."""
    counts = np.bincount(labels)
    rare = np.flatnonzero((counts > 0) & (counts < folds))
    return np.where(np.isin(labels, rare), rare[0], labels) if len(rare) else labels
