"""Images that a network was not trained on: which of them are tested, and which class of the network each is of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fer_ablate.config.choices import Roles
from fer_ablate.config.schema import Config
from fer_ablate.data.faces import NO_LABEL, FaceSet, Rows
from fer_ablate.data.names import class_key, split_names, split_part
from fer_ablate.data.roles import official_rows
from fer_ablate.errors import FaultyConfigError, UserError
from fer_ablate.sizes import Size
from fer_ablate.training.assembly import RoleSet
from fer_ablate.training.checks import check_sizes

FEWEST = 2
"""Classes that a network and data must share for a score to mean anything."""

_SWAPPED = (Roles.swapped, Roles.combined_swapped)


class UnlikeError(UserError):
    """A network and data have too little in common for a score; with other networks or data it may be enough."""


@dataclass(frozen=True)
class Unseen:
    """The roles of images that a network was not trained on.

    Args:
        data: nothing in it is drawn, balanced or folded.
        tested: in words, what the test role is: `test`, `val`, `val and test`, or `all images`.
    """

    data: RoleSet
    tested: str


@dataclass(frozen=True)
class Matched:
    """Data under the classes of a network.

    Every output of the network is kept: one for a class that the data lack is a mistake, as it would be in use.

    Args:
        data: with the K classes of the network, in the order of its outputs; images of other classes are in no role.
        classes: class of the data -> class of the network, for those that it knows.
        left_out: class that the network does not know -> its images, of those that would be tested.
        missing: classes of the network that no tested image is of.
    """

    data: RoleSet
    classes: dict[str, str]
    left_out: dict[str, int]
    missing: tuple[str, ...]


def matched(given: Sequence[str], known: Sequence[str], merge: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Class of the data -> class of a network, by name and whatever the order; classes that it does not know are absent.

    Args:
        given: names in the data.
        known: names of the network's outputs; two spellings of one class among them are told apart by the exact name alone.
        merge: `data.merge` that the network was trained with: each of its classes -> what it was joined from.

    >>> matched(["Happiness", "contempt", "anger"], ["angry", "happy"], {})
    {'Happiness': 'happy', 'anger': 'angry'}
    >>> matched(["joy", "positive", "fear"], ["positive", "negative"], {"positive": ["happy"], "negative": ["fear", "sad"]})
    {'joy': 'positive', 'positive': 'positive', 'fear': 'negative'}
    """
    keys = [class_key(name) for name in known]
    by_key = {key: name for key, name in zip(keys, known, strict=True) if keys.count(key) == 1}
    joined = {class_key(str(member)): name for name, members in merge.items() for member in members if name in known}
    targets = {name: joined.get(class_key(name)) or (name if name in known else by_key.get(class_key(name))) for name in given}
    return {name: target for name, target in targets.items() if target is not None}


def with_classes(data: RoleSet, classes: Sequence[str], merge: Mapping[str, Sequence[str]]) -> Matched:
    """Give every image the class of the network that its own one is, by name.

    Args:
        data: by the classes of its source.
        classes: K names, in the order of the network's outputs.
        merge: see `matched`.

    Raises:
        UnlikeError: fewer than two classes are shared, or no tested image is of one.
    """
    faces, classes = data.faces, tuple(classes)
    if faces.classes == classes:
        missing = _without_images(faces, data.roles["test"])
        return Matched(_noted(data, _class_notes({}, {}, missing)), dict(zip(classes, classes, strict=True)), {}, missing)
    found = _shared(faces, classes, merge)
    target = np.array([classes.index(found[name]) if name in found else NO_LABEL for name in faces.classes] + [NO_LABEL])
    labels: Rows = target[faces.labels]  # the last one is that of NO_LABEL itself

    def known(rows: Rows) -> Rows:
        kept: Rows = rows[labels[rows] != NO_LABEL]
        return kept

    roles = {name: known(rows) for name, rows in data.roles.items()}
    left_out = _counts(faces, np.setdiff1d(data.roles["test"], roles["test"]))
    if not len(roles["test"]):
        raise UnlikeError(
            f"No image to be tested is of a class that the network knows: {_counted(data.roles['test'])} of "
            f"{', '.join(left_out)}; it knows {', '.join(classes)}."
        )
    relabelled = replace(faces, labels=labels, targets=None, classes=classes, rows=known(faces.rows))
    missing = _without_images(relabelled, roles["test"])
    official = {name: known(rows) for name, rows in data.official.items()}
    told = replace(data, faces=relabelled, roles=roles, official=official)
    return Matched(_noted(told, _class_notes(found, left_out, missing)), found, left_out, missing)


def unseen_set(config: Config, faces: FaceSet, trained_size: Size) -> Unseen:
    """The roles of images that a network was not trained on.

    Test and val are the splits of these names, as `data.roles` orders them. Without such splits all images are tested, for the
    network has seen none of them.

    Args:
        config: of the network, with the data in question.
        faces: the images.
        trained_size: of the images that the network was trained on.

    Raises:
        FaultyConfigError: images of this size do not fit the network.
        UserError: the splits have names that nobody knows, or the one asked for is not there.
    """
    if faults := check_sizes(config, faces.size, trained_size):
        raise FaultyConfigError(faults)
    parts = _parts(faces, config.data.roles)
    preset = Roles.official if config.data.roles is Roles.auto else config.data.roles
    return Unseen(RoleSet(faces, parts.rows, official_rows(faces), preset, (*faces.notes, *parts.notes)), parts.tested)


@dataclass(frozen=True)
class _Parts:
    """Rows of each role, in words what is tested, and remarks on it."""

    rows: dict[str, Rows]
    tested: str
    notes: list[str] = field(default_factory=list)


def _parts(faces: FaceSet, preset: Roles) -> _Parts:
    by_part = {part: _rows_of(faces, part) for part in ("train", "val", "test")}
    there = {part: rows for part, rows in by_part.items() if len(rows)}
    none = faces.rows[:0]
    listed = ", ".join(f"{split} ({_counted(faces.split_rows(split))})" for split in faces.splits)
    unknown = [split for split in faces.splits if split_part(split) is None and len(faces.split_rows(split))]
    notes = [f"Not tested: {', '.join(unknown)}; splits are known as {split_names()}."] if unknown and there else []
    test, val = ("val", "test") if preset in _SWAPPED else ("test", "val")
    if preset in _SWAPPED and test not in there:
        raise UserError(f"data.roles={preset.name} tests on the split {test}, but the splits are {listed}. Leave data.roles out.")
    if preset is Roles.holdout and {"val", "test"} <= there.keys():
        both = np.sort(np.concatenate([there["val"], there["test"]]))
        return _Parts({"train": by_part["train"], "val": none, "test": both}, "val and test", notes)
    if test in there:
        return _Parts({"train": by_part["train"], "val": by_part[val], "test": there[test]}, test, notes)
    if val in there:
        notes.insert(0, f"The set has no split {test}: {val} is tested ({_counted(there[val])}).")
        return _Parts({"train": by_part["train"], "val": none, "test": there[val]}, val, notes)
    if not there and len(faces.splits) > 1:
        raise UserError(
            f"None of the splits is known by its name; they are {listed}. "
            "Name them train, val and test, or pass the folder of one of them as data.path=..."
        )
    rows = there.get("train", faces.rows)
    notes.insert(0, f"The set has no test split: all of it is tested ({_counted(rows)}).")
    return _Parts({"train": none, "val": none, "test": rows}, "all images", notes)


def _rows_of(faces: FaceSet, part: str) -> Rows:
    """Several splits of one part, such as `val` and `validation`, count together."""
    return np.sort(np.concatenate([faces.rows[:0], *(faces.split_rows(one) for one in faces.splits if split_part(one) == part)]))


def _shared(faces: FaceSet, classes: tuple[str, ...], merge: Mapping[str, Sequence[str]]) -> dict[str, str]:
    there = list(_counts(faces, faces.rows))
    found = matched(there, classes, merge)
    if len(shared := dict.fromkeys(found.values())) >= FEWEST:
        return found
    which = f"only the class {', '.join(shared)}" if shared else "no class"
    raise UnlikeError(
        f"The network and the data share {which}; a score needs {FEWEST} or more. "
        f"The network knows {', '.join(classes)}; the data has {', '.join(there)}. "
        "Rename the classes, or say which are meant, such as 'data.merge={happy: [smiling], sad: [crying]}'."
    )


def _counted(rows: Rows) -> str:
    return "1 image" if len(rows) == 1 else f"{len(rows):,} images"


def _counts(faces: FaceSet, rows: Rows) -> dict[str, int]:
    """Images of each class among some rows, without classes that have none."""
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
