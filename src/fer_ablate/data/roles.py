"""Assigns images to the roles train, val and test: by the splits of the set, by a random draw, or by folds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer_ablate.config.choices import Roles
from fer_ablate.config.schema import DataConfig
from fer_ablate.data.classes import split_part
from fer_ablate.data.draws import draw_part, fold_rows, stratified
from fer_ablate.data.faces import FaceSet, Rows
from fer_ablate.data.sources.inventory import ALL
from fer_ablate.errors import UserError
from fer_ablate.labels import METRIC_NAMES, PRIVATE, PUBLIC

ROLES = ("train", "val", "test")
PARTS = ("train", "val", "test")

# Splits that each role consists of. In `combined*` val is part of train, so nothing may be selected by its scores.
_PRESETS: dict[Roles, dict[str, tuple[str, ...]]] = {
    Roles.official: {"train": ("train",), "val": ("val",), "test": ("test",)},
    Roles.swapped: {"train": ("train",), "val": ("test",), "test": ("val",)},
    Roles.combined: {"train": ("train", "val"), "val": ("val",), "test": ("test",)},
    Roles.combined_swapped: {"train": ("train", "test"), "val": ("test",), "test": ("val",)},
}
_HOLDOUT_STREAM, _FRACTION_STREAM, _TEST_STREAM = 0, 1, 2


@dataclass(frozen=True)
class RoleRows:
    """The images of each role.

    Args:
        rows: `train`, `val`, `test` -> ascending rows of the set.
        preset: the preset that was applied; never `auto`.
        notes: sentences for the user about how the roles were assigned.
    """

    rows: dict[str, Rows]
    preset: Roles
    notes: tuple[str, ...] = ()


def role_rows(faces: FaceSet, config: DataConfig) -> RoleRows:
    """Assign each usable image to a role.

    `holdout` draws val from the training split, as `data.val_draw` says, and tests on the other known splits together. `drawn`
    draws test and val from the training split, or from all images of a set without splits. Wherever something is drawn, images
    of one group stay in one role. With `data.folds` all images are used: one fold is the test role, val is drawn from the rest.
    At last `train_fraction` keeps a stratified part of train; a smaller fraction is a subset of a larger one.

    Raises:
        UserError: a split is missing, a role gets no images, train has fewer than two classes, or val or test has a class that
            train does not have.
    """
    roles = _folded(faces, config) if config.folds is not None else _by_split(faces, config)
    train = roles.rows["train"]
    # Val and test were drawn before, so that runs with different fractions are tested on the same images.
    if config.train_fraction < 1:
        draw = np.random.default_rng([config.split_seed, _FRACTION_STREAM])
        roles.rows["train"] = stratified(train, faces.labels, config.train_fraction, draw)
    _require_usable(faces, roles, config)
    return RoleRows(roles.rows, roles.preset, (*roles.notes, *_warnings(faces, roles.rows)))


def official_rows(faces: FaceSet) -> dict[str, Rows]:
    """Return the rows of the official test splits that the set has, by their prefix in metric names (`public`, `private`)."""
    return {METRIC_NAMES[split]: faces.split_rows(split) for split in (PUBLIC, PRIVATE) if split in faces.splits}


def _split_of(part: str, faces: FaceSet) -> str | None:
    """The first split with usable images whose name means a part (`train`, `val` or `test`); None if there is none."""
    return next((split for split in faces.splits if split_part(split) == part and len(faces.split_rows(split))), None)


def _by_split(faces: FaceSet, config: DataConfig) -> RoleRows:
    preset = _resolved(faces, config.roles)
    if preset is Roles.official and faces.splits == (ALL,):
        preset = Roles.drawn  # a table without Usage has no splits, so that drawing is the only choice
    if preset is Roles.holdout:
        return _holdout(faces, config)
    if preset is Roles.drawn:
        return _drawn(faces, config)
    if unused := _unused(faces, PARTS):
        return RoleRows(_as_listed(faces, preset), preset, (unused,))
    return RoleRows(_as_listed(faces, preset), preset)


def _as_listed(faces: FaceSet, preset: Roles) -> dict[str, Rows]:
    return {
        role: np.sort(np.concatenate([_rows_of(faces, part, preset) for part in parts]))
        for role, parts in _PRESETS[preset].items()
    }


def _resolved(faces: FaceSet, preset: Roles) -> Roles:
    if preset is not Roles.auto:
        return preset
    there = {part for part in PARTS if _split_of(part, faces)}
    if {"val", "test"} <= there and "train" in there:
        return Roles.official
    return Roles.holdout if "train" in there and there & {"val", "test"} else Roles.drawn


def _holdout(faces: FaceSet, config: DataConfig) -> RoleRows:
    training = _rows_of(faces, "train", Roles.holdout)
    tested = [part for part in ("val", "test") if _split_of(part, faces)]
    if not tested:
        raise UserError(
            f"data.roles=holdout tests on the splits val and test, but the splits are {_listed(faces)}. "
            "data.roles=drawn draws a test part from the images."
        )
    test = np.sort(np.concatenate([_rows_of(faces, part, Roles.holdout) for part in tested]))
    val = draw_part(faces, training, config.val_fraction, config.split_seed, _HOLDOUT_STREAM, config.val_draw)
    # Where the set has both splits, both are tested: neither is needed to select an epoch.
    names = " and ".join(str(_split_of(part, faces)) for part in tested)
    notes = [f"Tested on the split {names}; {len(val):,} of {len(training):,} training images were drawn as val."]
    notes += [unused] if (unused := _unused(faces, ("train", *tested))) else []
    return RoleRows({"train": np.setdiff1d(training, val), "val": val, "test": test}, Roles.holdout, tuple(notes))


def _drawn(faces: FaceSet, config: DataConfig) -> RoleRows:
    there = _split_of("train", faces)
    source = faces.split_rows(there) if there else _all_unless_named(faces)
    test = draw_part(faces, source, config.test_fraction, config.split_seed, _TEST_STREAM)
    # setdiff1d returns ascending rows, as all roles have.
    rest = np.setdiff1d(source, test)
    # val_fraction is a share of all images, so that 0.1 means the same number whatever the test role takes.
    share = min(1.0, config.val_fraction * len(source) / max(len(rest), 1))
    val = draw_part(faces, rest, share, config.split_seed, _HOLDOUT_STREAM, config.val_draw)
    kept = ", persons kept together" if faces.groups is not None else ""
    note = f"No test split is used: {len(val):,} val and {len(test):,} test images were drawn from {len(source):,}{kept}."
    notes = [note, *([unused] if there and (unused := _unused(faces, ("train",))) else [])]
    return RoleRows({"train": np.setdiff1d(rest, val), "val": val, "test": test}, Roles.drawn, tuple(notes))


def _all_unless_named(faces: FaceSet) -> Rows:
    """All images of a set without splits; splits with unknown names are refused rather than mixed."""
    there = [split for split in faces.splits if len(faces.split_rows(split))]
    if any(map(split_part, there)):
        raise UserError(
            f"There is no split train; the splits are {_listed(faces)}. Add training images, name one of the splits train, or "
            "train on folds of all images with data.folds=5."
        )
    # Drawing from several unknown splits at once would mix test images into train.
    if len(there) > 1:
        raise UserError(
            f"None of the splits is known by its name; they are {_listed(faces)}. "
            "Name them train, val and test, or pass the folder of one of them as data.path=..."
        )
    return faces.rows


def _folded(faces: FaceSet, config: DataConfig) -> RoleRows:
    assert config.folds is not None
    test = fold_rows(faces, config.folds, config.fold, config.split_seed)
    rest = np.setdiff1d(faces.rows, test)
    val = draw_part(faces, rest, config.val_fraction, config.split_seed, _HOLDOUT_STREAM, config.val_draw)
    by = "by person" if faces.groups is not None else "stratified by class"
    united = f"; the splits {', '.join(faces.splits)} are united" if len(faces.splits) > 1 else ""
    note = f"Fold {config.fold} of {config.folds} is tested (0 to {config.folds - 1}, {by}){united}."
    return RoleRows({"train": np.setdiff1d(rest, val), "val": val, "test": test}, Roles.drawn, (note,))


def _rows_of(faces: FaceSet, part: str, preset: Roles) -> Rows:
    if _split_of(part, faces) is not None:
        # Several splits of one part, such as `val` and `validation`, are joined.
        return np.sort(np.concatenate([faces.split_rows(one) for one in faces.splits if split_part(one) == part]))
    if part == "train":
        remedy = "Name one of them train, or draw the roles from all images with data.roles=drawn."
    elif any(_split_of(other, faces) for other in ("val", "test")):
        remedy = "data.roles=holdout takes val from the training split and tests on the rest."
    else:
        remedy = "data.roles=drawn draws val and test from the images."
    raise UserError(f"data.roles={preset.name} needs a split {part}, but the splits are {_listed(faces)}. {remedy}")


def _unused(faces: FaceSet, parts: Sequence[str]) -> str:
    """Name the splits that have images but no role; empty if there are none."""
    others = [split for split in faces.splits if split_part(split) not in parts and len(faces.split_rows(split))]
    if not others:
        return ""
    return f"Not used: {_listed(faces, others)}; neither trained nor tested on. Splits are known as train, val and test."


def _require_usable(faces: FaceSet, roles: RoleRows, config: DataConfig) -> None:
    """Raise an error if these roles cannot be trained and tested on."""
    rows = roles.rows
    trained = np.unique(faces.labels[rows["train"]])
    if len(trained) == 1:
        raise UserError(
            f"There is one class to train on ({faces.classes[trained[0]]}, images: {len(rows['train']):,}); a classifier needs "
            "two. Pass a folder or list with more."
        )
    if empty := [role for role in ROLES if len(rows[role]) == 0]:
        if roles.preset is Roles.drawn and len(rows["train"]):
            raise UserError(
                f"No image could be drawn for {' and '.join(empty)}: the last image of a class stays in train, and "
                f"{len(faces):,} images of {len(faces.classes)} classes are too few for "
                f"data.test_fraction={config.test_fraction} and data.val_fraction={config.val_fraction}. "
                "Give more images, smaller fractions, or a val and a test split."
            )
        raise UserError(
            f"data.roles={config.roles.name} leaves no image for {' and '.join(empty)}; the splits are {_listed(faces)}. "
            "Choose another data.roles or fraction, or drop fewer images (data.drop)."
        )
    for role in ("val", "test"):
        if unseen := np.setdiff1d(np.unique(faces.labels[rows[role]]), trained).tolist():
            names = ", ".join(faces.classes[label] for label in unseen)
            count = int(np.isin(faces.labels[rows[role]], unseen).sum())
            raise UserError(
                f"{role} has {count:,} images of {names}, but train has none, so they could never be right. "
                "Add training images, or leave the class out: data.merge={name: [class, ...], ...} keeps what it lists."
            )


def _warnings(faces: FaceSet, rows: dict[str, Rows]) -> list[str]:
    """Note roles whose scores mean little."""
    notes = []
    for role in ("val", "test"):
        present = np.unique(faces.labels[rows[role]])
        if len(present) == 1:
            only = faces.classes[present[0]]
            notes.append(f"All {len(rows[role]):,} images of {role} are {only}, so that its accuracy means little.")
    counts = np.bincount(faces.labels[rows["train"]], minlength=len(faces.classes))
    if single := [name for name, count in zip(faces.classes, counts, strict=True) if count == 1]:
        notes.append(f"Only one training image of {', '.join(single)}.")
    return notes


def _listed(faces: FaceSet, splits: Sequence[str] = ()) -> str:
    """Name some splits of a set, or all of them, with their numbers of images."""
    return ", ".join(f"{split} ({len(faces.split_rows(split)):,} images)" for split in splits or faces.splits)
