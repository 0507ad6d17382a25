"""Maps the splits of a set onto the roles train, val and test; draws them where a set has no splits, or as folds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer_ablate.config.choices import Roles
from fer_ablate.config.schema import DataConfig
from fer_ablate.data.faces import FaceSet, Rows
from fer_ablate.data.folds import drawn_part, fold_rows
from fer_ablate.data.names import split_part
from fer_ablate.data.sources.inventory import ALL
from fer_ablate.errors import UserError
from fer_ablate.labels import METRIC_NAMES, PRIVATE, PUBLIC

ROLES = ("train", "val", "test")
PARTS = ("train", "val", "test")

# Which splits each role takes. In `combined*` val is part of train, so that its figures cannot select anything.
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
        preset: what `data.roles` came to; never `auto`.
        notes: what a person should know about it, a sentence each.
    """

    rows: dict[str, Rows]
    preset: Roles
    notes: tuple[str, ...] = ()


def split_called(part: str, splits: Sequence[str]) -> str | None:
    """The split that plays a part (`train`, `val`, `test`), whatever its spelling; None if there is none."""
    return next((split for split in splits if split_part(split) == part), None)


def role_rows(faces: FaceSet, config: DataConfig) -> RoleRows:
    """Rows of each role, ascending.

    `holdout` takes val from the training split, stratified, and tests on the other known splits together. `drawn` takes test and
    val from the training split, or from all images of a set without splits. Images of one group stay in one role wherever
    something is drawn. With `data.folds` all images are used: one fold is tested, val comes from the rest.
    `train_fraction` then keeps a stratified part of train; a smaller fraction is a subset of a larger one.

    Raises:
        UserError: a split is missing, a role is left without images, there are fewer than two classes to train on, or val or
            test has a class that train has not.
    """
    roles = _folded(faces, config) if config.folds is not None else _by_split(faces, config)
    train = roles.rows["train"]
    if config.train_fraction < 1:
        draw = np.random.default_rng([config.split_seed, _FRACTION_STREAM])
        roles.rows["train"] = stratified(train, faces.labels, config.train_fraction, draw)
    _check(faces, roles, config)
    return RoleRows(roles.rows, roles.preset, (*roles.notes, *_warnings(faces, roles.rows)))


def official_rows(faces: FaceSet) -> dict[str, Rows]:
    """Rows of the official test splits that the set has, by their prefix in metric names (`public`, `private`)."""
    return {METRIC_NAMES[split]: faces.split_rows(split) for split in (PUBLIC, PRIVATE) if split in faces.splits}


def stratified(rows: Rows, labels: Rows, fraction: float, draw: np.random.Generator, *, leave_one: bool = False) -> Rows:
    """Draw a fraction of some rows, the same fraction of every class, at least one image of each.

    Args:
        rows: to draw from.
        labels: of the whole set.
        fraction: in (0, 1].
        draw: random numbers.
        leave_one: never draw the last image of a class, which then has none in what is drawn.
    """
    chosen = []
    for label in np.unique(labels[rows]):
        members = draw.permutation(rows[labels[rows] == label])
        number = max(1, round(fraction * len(members)))
        chosen.append(members[: min(number, len(members) - 1) if leave_one else number])
    return np.sort(np.concatenate(chosen)) if chosen else rows


def _split_of(part: str, faces: FaceSet) -> str | None:
    """The split that plays a part and has usable images."""
    return split_called(part, [split for split in faces.splits if len(faces.split_rows(split))])


def _by_split(faces: FaceSet, config: DataConfig) -> RoleRows:
    preset = _resolved(faces, config.roles)
    if preset is Roles.official and faces.splits == (ALL,):
        preset = Roles.drawn  # a table without Usage: what else could be meant
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
    val = _drawn_from(faces, training, config.val_fraction, config.split_seed, _HOLDOUT_STREAM)
    names = " and ".join(str(_split_of(part, faces)) for part in tested)
    notes = [f"Tested on the split {names}; {len(val):,} of {len(training):,} training images were drawn as val."]
    notes += [unused] if (unused := _unused(faces, ("train", *tested))) else []
    return RoleRows({"train": np.setdiff1d(training, val), "val": val, "test": test}, Roles.holdout, tuple(notes))


def _drawn(faces: FaceSet, config: DataConfig) -> RoleRows:
    there = _split_of("train", faces)
    source = faces.split_rows(there) if there else _all_unless_named(faces)
    test = _drawn_from(faces, source, config.test_fraction, config.split_seed, _TEST_STREAM)
    rest = np.setdiff1d(source, test)
    # As a share of all images, so that 0.1 means the same whatever is tested on.
    share = min(1.0, config.val_fraction * len(source) / max(len(rest), 1))
    val = _drawn_from(faces, rest, share, config.split_seed, _HOLDOUT_STREAM)
    kept = ", persons kept together" if faces.groups is not None else ""
    note = f"No test split is used: {len(val):,} val and {len(test):,} test images were drawn from {len(source):,}{kept}."
    notes = [note, *([unused] if there and (unused := _unused(faces, ("train",))) else [])]
    return RoleRows({"train": np.setdiff1d(rest, val), "val": val, "test": test}, Roles.drawn, tuple(notes))


def _all_unless_named(faces: FaceSet) -> Rows:
    """All images of a set without splits; one whose splits have names that nobody knows must not be mixed up."""
    there = [split for split in faces.splits if len(faces.split_rows(split))]
    if any(map(split_part, there)):
        raise UserError(
            f"There is no split train; the splits are {_listed(faces)}. Add training images, name one of the splits train, or "
            "train on folds of all images with data.folds=5."
        )
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
    val = _drawn_from(faces, rest, config.val_fraction, config.split_seed, _HOLDOUT_STREAM)
    by = "by person" if faces.groups is not None else "stratified by class"
    united = f"; the splits {', '.join(faces.splits)} are united" if len(faces.splits) > 1 else ""
    note = f"Fold {config.fold} of {config.folds} is tested (0 to {config.folds - 1}, {by}){united}."
    return RoleRows({"train": np.setdiff1d(rest, val), "val": val, "test": test}, Roles.drawn, (note,))


def _drawn_from(faces: FaceSet, rows: Rows, fraction: float, seed: int, stream: int) -> Rows:
    if faces.groups is not None:
        return drawn_part(rows, faces.labels, faces.groups, fraction, [seed, stream])
    return stratified(rows, faces.labels, fraction, np.random.default_rng([seed, stream]), leave_one=True)


def _rows_of(faces: FaceSet, part: str, preset: Roles) -> Rows:
    if _split_of(part, faces) is not None:
        # Several splits of one part, such as `val` and `validation`, count together.
        return np.sort(np.concatenate([faces.split_rows(one) for one in faces.splits if split_part(one) == part]))
    if part == "train":
        way_out = "Name one of them train, or draw the roles from all images with data.roles=drawn."
    elif any(_split_of(other, faces) for other in ("val", "test")):
        way_out = "data.roles=holdout takes val from the training split and tests on the rest."
    else:
        way_out = "data.roles=drawn draws val and test from the images."
    raise UserError(f"data.roles={preset.name} needs a split {part}, but the splits are {_listed(faces)}. {way_out}")


def _unused(faces: FaceSet, parts: Sequence[str]) -> str:
    """Which images of no known split are not used; empty if there are none."""
    others = [split for split in faces.splits if split_part(split) not in parts and len(faces.split_rows(split))]
    if not others:
        return ""
    told = ", ".join(f"{split} ({len(faces.split_rows(split)):,} images)" for split in others)
    return f"Not used: {told}; neither trained nor tested on. Splits are known as train, val and test."


def _check(faces: FaceSet, roles: RoleRows, config: DataConfig) -> None:
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
    notes = []
    for role in ("val", "test"):
        present = np.unique(faces.labels[rows[role]])
        if len(present) == 1:
            notes.append(f"All {len(rows[role]):,} images of {role} are {faces.classes[present[0]]}: its accuracy says little.")
    counts = np.bincount(faces.labels[rows["train"]], minlength=len(faces.classes))
    if single := [name for name, count in zip(faces.classes, counts, strict=True) if count == 1]:
        notes.append(f"Only one training image of {', '.join(single)}.")
    return notes


def _listed(faces: FaceSet) -> str:
    return ", ".join(f"{split} ({len(faces.split_rows(split)):,} images)" for split in faces.splits)
