"""Maps the splits of a set onto the roles train, val and test."""

from collections.abc import Sequence

import numpy as np

from fer_ablate.config.choices import Roles
from fer_ablate.config.schema import DataConfig
from fer_ablate.data.faces import FaceSet, Rows
from fer_ablate.errors import UserError
from fer_ablate.labels import METRIC_NAMES, PRIVATE, PUBLIC, TRAINING

ROLES = ("train", "val", "test")

_NAMES = {
    "train": ("train", "training", TRAINING),
    "val": ("val", "valid", "validation", "dev", PUBLIC),
    "test": ("test", "testing", PRIVATE),
}
"""What splits are called, by the part they play under `official`."""

# Which splits each role takes. In `combined*` val is part of train, so that its figures cannot select anything.
_PRESETS: dict[Roles, dict[str, tuple[str, ...]]] = {
    Roles.official: {"train": ("train",), "val": ("val",), "test": ("test",)},
    Roles.swapped: {"train": ("train",), "val": ("test",), "test": ("val",)},
    Roles.combined: {"train": ("train", "val"), "val": ("val",), "test": ("test",)},
    Roles.combined_swapped: {"train": ("train", "test"), "val": ("test",), "test": ("val",)},
}
_HOLDOUT_STREAM, _FRACTION_STREAM = 0, 1


def split_called(part: str, splits: Sequence[str]) -> str | None:
    """The split that plays a part (`train`, `val`, `test`), whatever its spelling; None if there is none."""
    known = {name.lower() for name in _NAMES[part]}
    return next((split for split in splits if split.lower() in known), None)


def role_rows(faces: FaceSet, config: DataConfig) -> dict[str, Rows]:
    """Rows of each role, ascending.

    `holdout` takes val from the training split, stratified, and tests on all other splits together.
    `train_fraction` then keeps a stratified part of train; a smaller fraction is a subset of a larger one.
    """
    preset = _resolved(faces, config.roles)
    if preset is Roles.holdout:
        roles = _holdout(faces, config.val_fraction, config.split_seed)
    else:
        roles = {
            role: np.sort(np.concatenate([_rows_of(faces, part, preset) for part in parts]))
            for role, parts in _PRESETS[preset].items()
        }
    if config.train_fraction < 1:
        draw = np.random.default_rng([config.split_seed, _FRACTION_STREAM])
        roles["train"] = stratified(roles["train"], faces.labels, config.train_fraction, draw)
    if empty := [role for role in ROLES if len(roles[role]) == 0]:
        raise UserError(
            f"data.roles={config.roles.name} leaves no image for {' and '.join(empty)}; "
            f"the splits are {_listed(faces)}. Choose another data.roles, or drop fewer images (data.drop)."
        )
    return roles


def official_rows(faces: FaceSet) -> dict[str, Rows]:
    """Rows of the official test splits that the set has, by their prefix in metric names (`public`, `private`)."""
    return {METRIC_NAMES[split]: faces.split_rows(split) for split in (PUBLIC, PRIVATE) if split in faces.splits}


def stratified(rows: Rows, labels: Rows, fraction: float, draw: np.random.Generator) -> Rows:
    """Draw a fraction of some rows, the same fraction of every class, at least one image of each."""
    chosen = []
    for label in np.unique(labels[rows]):
        members = draw.permutation(rows[labels[rows] == label])
        chosen.append(members[: max(1, round(fraction * len(members)))])
    return np.sort(np.concatenate(chosen)) if chosen else rows


def _resolved(faces: FaceSet, preset: Roles) -> Roles:
    if preset is not Roles.auto:
        return preset
    complete = all(split_called(part, faces.splits) for part in ("val", "test"))
    return Roles.official if complete else Roles.holdout


def _holdout(faces: FaceSet, fraction: float, seed: int) -> dict[str, Rows]:
    training = _rows_of(faces, "train", Roles.holdout)
    val = stratified(training, faces.labels, fraction, np.random.default_rng([seed, _HOLDOUT_STREAM]))
    return {
        "train": np.setdiff1d(training, val),
        "val": val,
        "test": np.setdiff1d(faces.rows, training),
    }


def _rows_of(faces: FaceSet, part: str, preset: Roles) -> Rows:
    split = split_called(part, faces.splits)
    if split is not None:
        return faces.split_rows(split)
    if part == "train":
        way_out = f"Name one of them {' or '.join(_NAMES['train'][:2])}."
    elif len(faces.splits) > 1:
        way_out = "data.roles=holdout takes val from the training split and tests on the rest."
    else:
        way_out = f"Add a folder {part}."
    raise UserError(f"data.roles={preset.name} needs a split {part}, but the splits are {_listed(faces)}. {way_out}")


def _listed(faces: FaceSet) -> str:
    return ", ".join(f"{split} ({len(faces.split_rows(split)):,} images)" for split in faces.splits)
