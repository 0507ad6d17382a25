"""Prepares images that a network was not trained on: which of them are tested, and which class of the network each one has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fer_ablate.config.choices import Roles
from fer_ablate.config.schema import Config
from fer_ablate.data.classes import class_key, split_names, split_part
from fer_ablate.data.faces import NO_LABEL, FaceSet, Rows
from fer_ablate.data.roles import official_rows
from fer_ablate.errors import FaultyConfigError, UserError
from fer_ablate.sizes import Size
from fer_ablate.training.checks import size_faults
from fer_ablate.training.role_set import RoleSet

FEWEST = 2
"""Number of classes that a network and data must share for a score to mean anything."""

_SWAPPED = (Roles.swapped, Roles.combined_swapped)


class IncompatibleDataError(UserError):
    """A network and a data set share too few classes for a score; other networks or data sets may share enough."""


@dataclass(frozen=True)
class OtherDataRoles:
    """Images that a network was not trained on, by role.

    Args:
        data: the images and their roles; nothing in it is drawn, balanced or folded.
        tested: what the test role consists of, in words: `test`, `val`, `val and test`, or `all images`.
    """

    data: RoleSet
    tested: str


@dataclass(frozen=True)
class MatchedData:
    """Data labelled with the classes of a network.

    Every output of the network counts: predicting a class that the data lack is a mistake, as it would be in use.

    Args:
        data: with the K classes of the network, in the order of its outputs; images of other classes have no role.
        classes: class of the data -> class of the network, where the network has one.
        left_out: class that the network does not have -> number of its images that would have been tested.
        missing: classes of the network without a tested image.
    """

    data: RoleSet
    classes: dict[str, str]
    left_out: dict[str, int]
    missing: tuple[str, ...]


def match_classes(given: Sequence[str], known: Sequence[str], merge: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Match the classes of data with those of a network by name, in any order; classes that the network lacks are left out.

    Args:
        given: names in the data.
        known: names of the network's outputs; of two spellings of one class among them, only the exact name matches.
        merge: `data.merge` that the network was trained with: each joined class -> the classes it was joined from.

    Returns:
        Class of the data -> class of the network.

    >>> match_classes(["Happiness", "contempt", "anger"], ["angry", "happy"], {})
    {'Happiness': 'happy', 'anger': 'angry'}
    >>> match_classes(["joy", "positive", "fear"], ["positive", "negative"], {"positive": ["happy"], "negative": ["fear", "sad"]})
    {'joy': 'positive', 'positive': 'positive', 'fear': 'negative'}
    """
    keys = [class_key(name) for name in known]
    # A key of two outputs is ambiguous; those match by their exact names only.
    by_key = {key: name for key, name in zip(keys, known, strict=True) if keys.count(key) == 1}
    joined = {class_key(str(member)): name for name, members in merge.items() for member in members if name in known}
    targets = {name: joined.get(class_key(name)) or (name if name in known else by_key.get(class_key(name))) for name in given}
    return {name: target for name, target in targets.items() if target is not None}


def match_data(data: RoleSet, classes: Sequence[str], merge: Mapping[str, Sequence[str]]) -> MatchedData:
    """Label every image with the class of the network that matches its own class by name.

    Args:
        data: images labelled with the classes of their source.
        classes: K names, in the order of the network's outputs.
        merge: see `match_classes`.

    Raises:
        IncompatibleDataError: fewer than two classes are shared, or no tested image has a shared one.
    """
    faces, classes = data.faces, tuple(classes)
    if faces.classes == classes:  # nothing to relabel, and targets such as votes stay valid
        missing = _without_images(faces, data.roles["test"])
        return MatchedData(_noted(data, _class_notes({}, {}, missing)), dict(zip(classes, classes, strict=True)), {}, missing)
    found = _shared_classes(faces, classes, merge)
    target = np.array([classes.index(found[name]) if name in found else NO_LABEL for name in faces.classes] + [NO_LABEL])
    labels: Rows = target[faces.labels]  # NO_LABEL is -1, so it picks the last target, which is NO_LABEL again

    def with_label(rows: Rows) -> Rows:
        kept: Rows = rows[labels[rows] != NO_LABEL]
        return kept

    roles = {name: with_label(rows) for name, rows in data.roles.items()}
    left_out = _counts(faces, np.setdiff1d(data.roles["test"], roles["test"]))
    if not len(roles["test"]):
        raise IncompatibleDataError(
            f"No image to be tested is of a class that the network knows: {_counted(data.roles['test'])} of "
            f"{', '.join(left_out)}; it knows {', '.join(classes)}."
        )
    # Targets such as votes are over the classes of the source, so they are dropped.
    relabelled = replace(faces, labels=labels, targets=None, classes=classes, rows=with_label(faces.rows))
    missing = _without_images(relabelled, roles["test"])
    official = {name: with_label(rows) for name, rows in data.official.items()}
    labelled = replace(data, faces=relabelled, roles=roles, official=official)
    return MatchedData(_noted(labelled, _class_notes(found, left_out, missing)), found, left_out, missing)


def other_data_roles(config: Config, faces: FaceSet, trained_size: Size) -> OtherDataRoles:
    """Give roles to images that a network was not trained on.

    The test and val roles are the splits of these names, in the order of `data.roles`. Without such splits all images are tested,
    since the network has seen none of them.

    Args:
        config: config of the network, with the keys of the other data.
        faces: the images.
        trained_size: size of the images that the network was trained on.

    Raises:
        FaultyConfigError: images of this size do not fit the network.
        UserError: no split has a known name, or the split that `data.roles` tests on is missing.
    """
    if faults := size_faults(config, faces.size, trained_size):
        raise FaultyConfigError(faults)
    parts = _role_parts(faces, config.data.roles)
    preset = Roles.official if config.data.roles is Roles.auto else config.data.roles
    return OtherDataRoles(RoleSet(faces, parts.rows, official_rows(faces), preset, (*faces.notes, *parts.notes)), parts.tested)


@dataclass(frozen=True)
class _Parts:
    """Rows of each role, what is tested in words, and notes for the user."""

    rows: dict[str, Rows]
    tested: str
    notes: list[str] = field(default_factory=list)


def _role_parts(faces: FaceSet, preset: Roles) -> _Parts:
    by_part = {part: _rows_of(faces, part) for part in ("train", "val", "test")}
    present = {part: rows for part, rows in by_part.items() if len(rows)}
    none = faces.rows[:0]
    listed = ", ".join(f"{split} ({_counted(faces.split_rows(split))})" for split in faces.splits)
    unknown = [split for split in faces.splits if split_part(split) is None and len(faces.split_rows(split))]
    notes = [f"Not tested: {', '.join(unknown)}; splits are known as {split_names()}."] if unknown and present else []
    test, val = ("val", "test") if preset in _SWAPPED else ("test", "val")
    if preset in _SWAPPED and test not in present:
        raise UserError(f"data.roles={preset.name} tests on the split {test}, but the splits are {listed}. Leave data.roles out.")
    # In training, holdout draws its own val from train and tests on both official test splits.
    if preset is Roles.holdout and {"val", "test"} <= present.keys():
        both = np.sort(np.concatenate([present["val"], present["test"]]))
        return _Parts({"train": by_part["train"], "val": none, "test": both}, "val and test", notes)
    if test in present:
        return _Parts({"train": by_part["train"], "val": by_part[val], "test": present[test]}, test, notes)
    if val in present:
        notes.insert(0, f"The set has no split {test}: {val} is tested ({_counted(present[val])}).")
        return _Parts({"train": by_part["train"], "val": none, "test": present[val]}, val, notes)
    if not present and len(faces.splits) > 1:
        raise UserError(
            f"None of the splits is known by its name; they are {listed}. "
            "Name them train, val and test, or pass the folder of one of them as data.path=..."
        )
    # What the source calls train is new to this network, so it can be tested.
    rows = present.get("train", faces.rows)
    notes.insert(0, f"The set has no test split: all of it is tested ({_counted(rows)}).")
    return _Parts({"train": none, "val": none, "test": rows}, "all images", notes)


def _rows_of(faces: FaceSet, part: str) -> Rows:
    """Rows of a part; several splits of one part, such as `val` and `validation`, count together."""
    return np.sort(np.concatenate([faces.rows[:0], *(faces.split_rows(one) for one in faces.splits if split_part(one) == part)]))


def _shared_classes(faces: FaceSet, classes: tuple[str, ...], merge: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """As `match_classes`; refuses data that share too few classes with the network."""
    given = list(_counts(faces, faces.rows))
    found = match_classes(given, classes, merge)
    if len(shared := dict.fromkeys(found.values())) >= FEWEST:
        return found
    which = f"only the class {', '.join(shared)}" if shared else "no class"
    raise IncompatibleDataError(
        f"The network and the data share {which}; a score needs {FEWEST} or more. "
        f"The network knows {', '.join(classes)}; the data has {', '.join(given)}. "
        "Rename the classes, or say which are meant, such as 'data.merge={happy: [smiling], sad: [crying]}'."
    )


def _counted(rows: Rows) -> str:
    return "1 image" if len(rows) == 1 else f"{len(rows):,} images"


def _counts(faces: FaceSet, rows: Rows) -> dict[str, int]:
    """Number of images of each class among some rows; classes without images are left out."""
    counts = np.bincount(faces.labels[rows], minlength=len(faces.classes))
    return {name: int(count) for name, count in zip(faces.classes, counts, strict=True) if count}


def _without_images(faces: FaceSet, rows: Rows) -> tuple[str, ...]:
    return tuple(name for name in faces.classes if name not in _counts(faces, rows))


def _noted(data: RoleSet, notes: Sequence[str]) -> RoleSet:
    return replace(data, notes=(*data.notes, *notes))


def _class_notes(found: Mapping[str, str], left_out: Mapping[str, int], missing: Sequence[str]) -> list[str]:
    notes = []
    if renamed := [f"{given} is {name}" for given, name in found.items() if given != name]:
        notes.append(f"Classes were matched by name: {', '.join(renamed)}.")
    if left_out:
        counts = ", ".join(f"{name} ({count:,})" for name, count in left_out.items())
        notes.append(f"Left out, since the network does not know their classes: images of {counts}.")
    if missing:
        notes.append(
            f"No tested image is of {', '.join(missing)}: taking a face for that is a mistake, and it counts as 0 in macro means."
        )
    return notes
