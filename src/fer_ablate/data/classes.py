"""Names of classes and splits as people spell them, and classes that `data.merge` joins or leaves out."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fer_ablate.data.faces import NO_LABEL, FaceSet, Floats, Rows
from fer_ablate.errors import Fault, UserError, choices
from fer_ablate.labels import EMOTIONS_8

_SPELLINGS = {
    "angry": ("anger", "angriness", "an", "ang"),
    "disgust": ("disgusted", "disgusting", "di", "dis"),
    "fear": ("fearful", "afraid", "scared", "fe", "fea"),
    "happy": ("happiness", "joy", "joyful", "smile", "ha", "hap"),
    "sad": ("sadness", "unhappy", "sa"),
    "surprise": ("surprised", "surprising", "su", "sur"),
    "neutral": ("neutrality", "calm", "noemotion", "ne", "neu"),
    "contempt": ("contemptuous", "co", "con"),
}
_EMOTION_OF = {spelling: name for name in EMOTIONS_8 for spelling in (name, *_SPELLINGS[name])}
_SHORTEST = 3
"""Fewest letters of a short form such as `hap`; two letters mean an emotion only in the file names of JAFFE."""

_PARTS = {
    "train": ("train", "training", "trn", "fer2013train"),
    "val": ("val", "valid", "validation", "dev", "development", "publictest", "fer2013valid"),
    "test": ("test", "testing", "tst", "privatetest", "fer2013test"),
}
"""Names of splits, by the part that they have under `data.roles=official`."""

_PART_OF = {name: part for part, names in _PARTS.items() for name in names}
_ADDED = ("set", "data", "class", "split", "images", "faces", "folder")
"""Words that people add to the name of a split, as in `train_set`."""


def bare(name: str) -> str:
    """Keep the letters and digits of a name, in lower case: `Happy_ ` and `happy` are the same."""
    return re.sub(r"[\W_]+", "", _folded(name))


def _folded(name: str) -> str:
    """Lower case and one spelling of every letter: file names of Linux and macOS may spell `é` in different ways."""
    return unicodedata.normalize("NFKC", name).casefold()


def emotion(name: str) -> str | None:
    """Return the emotion of `labels.EMOTIONS_8` that a name means, or None.

    A number before or after the name is ignored, as in `0_Sadness`.

    >>> emotion("Happiness"), emotion("4 - sad"), emotion("bored")
    ('happy', 'sad', None)
    """
    key = bare(name).strip("0123456789")
    return _EMOTION_OF.get(key) if len(key) >= _SHORTEST else None


def class_key(name: str) -> str:
    """Return a key that is equal for two spellings of one class.

    The key is the name of the emotion, or else the name without case, blanks and underscores. Other punctuation is kept, as it
    may distinguish classes; in a name without letters everything is kept.

    >>> class_key("Anger"), class_key("Class A"), class_key("A+"), class_key("-1")
    ('angry', 'classa', 'a+', '-1')
    """
    folded = _folded(name).strip()
    if found := emotion(name):
        return found
    return re.sub(r"[\s_]+", "", folded) if any(map(str.isalpha, folded)) else folded


def split_part(name: str) -> str | None:
    """Return `train`, `val` or `test` for the name of a split, whatever its spelling; None for any other name.

    >>> split_part("Train_Set"), split_part("PublicTest"), split_part("train_augmented"), split_part("eval")
    ('train', 'val', None, None)
    """
    key = bare(name)
    # Only whole names count: `train_augmented` is not the official training split.
    endings = [key, *(key.removesuffix(word) for word in _ADDED if key.endswith(word))]
    return next((_PART_OF[ending] for ending in endings if ending in _PART_OF), None)


def split_names() -> str:
    """List the common names of splits, for messages."""
    return "; ".join(f"{part}: {', '.join(names[:3])}" for part, names in _PARTS.items())


def joined_classes(names: Iterable[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Join the spellings that mean the same class.

    Args:
        names: names of classes as a source spells them.

    Returns:
        The names of the classes, sorted: that of the emotion, or else the first spelling. And spelling -> index of its class.
    """
    spellings: dict[str, list[str]] = {}
    # Sorted, so that neither the names nor their indices depend on the order of the files.
    for name in sorted(set(names)):
        spellings.setdefault(class_key(name), []).append(name)
    shown = {key: key if key in EMOTIONS_8 else found[0] for key, found in spellings.items()}
    classes = tuple(sorted(shown.values()))
    return classes, {name: classes.index(shown[key]) for key, found in spellings.items() for name in found}


def merge_faults(merge: Mapping[str, Sequence[str]]) -> list[Fault]:
    """List what is wrong with `data.merge`, as far as this is known without the images."""
    faults = []
    home: dict[str, str] = {}
    if len(merge) == 1:
        remedy = "Give two or more, such as {positive: [happy, neutral], negative: [angry, sad]}."
        faults.append(Fault("data.merge", f"{next(iter(merge))} would be the only class", remedy))
    for name, members in merge.items():
        if not members:
            faults.append(Fault(f"data.merge.{name}", "has no classes", "List one or more, such as [happy]."))
        for member in members:
            key = class_key(str(member))
            if key in home:
                both = f"{member} is in {home[key]} and in {name}" if home[key] != name else f"{member} is listed twice in {name}"
                faults.append(Fault("data.merge", both, "List every class once."))
            home[key] = name
    return faults


def merge_classes(faces: FaceSet, merge: Mapping[str, Sequence[str]]) -> FaceSet:
    """Replace every class by the one it is listed under; images of classes that are not listed are left out.

    Args:
        faces: the set.
        merge: new class -> old classes, matched by `names.class_key`; empty changes nothing.

    Raises:
        UserError: a listed class does not exist.
    """
    if not merge:
        return faces
    # A table from old to new indices changes all labels at once.
    known = {class_key(name): index for index, name in enumerate(faces.classes)}
    target = np.full(len(faces.classes) + 1, NO_LABEL, np.int64)  # the last entry maps NO_LABEL (-1) to itself
    for new, members in enumerate(merge.values()):
        for member in members:
            if class_key(str(member)) not in known:
                raise UserError(f"data.merge: the images have no class {member!r}. {choices(str(member), faces.classes)}")
            target[known[class_key(str(member))]] = new
    labels: Rows = target[faces.labels]
    rows = faces.rows[labels[faces.rows] != NO_LABEL]
    targets, digest = None, faces.digest
    if faces.targets is not None:
        targets = _summed(faces.targets, target[:-1], len(merge))
        mapped, labels = labels, _most_probable(targets, labels)
        if (mapped != labels).any():  # labels that do not follow from those of the set alone are part of the data's identity
            digest = hashlib.sha256(digest.encode() + labels.tobytes()).hexdigest()
    return replace(
        faces,
        labels=labels,
        targets=targets,
        digest=digest,
        classes=tuple(merge),
        rows=rows,
        notes=(*faces.notes, _merge_note(faces, merge, target, len(faces.rows) - len(rows))),
    )


def _summed(targets: Floats, target: Rows, count: int) -> Floats:
    """Probabilities of the new classes, rescaled to the sum 1 where classes are left out."""
    summed = np.zeros((len(targets), count), np.float32)
    for old, new in enumerate(target):
        if new != NO_LABEL:
            summed[:, new] += targets[:, old]
    totals = summed.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(summed, totals, out=np.zeros_like(summed), where=totals > 0)
    return shares


def _most_probable(targets: Floats, labels: Rows) -> Rows:
    """The labels; where another class has more of the probability, as of several old classes together, that one instead."""
    places = np.arange(len(labels))
    less = (labels != NO_LABEL) & (targets[places, labels] < targets.max(axis=1))
    return np.where(less, targets.argmax(axis=1), labels)


def _merge_note(faces: FaceSet, merge: Mapping[str, Sequence[str]], target: Rows, lost: int) -> str:
    groups = "; ".join(f"{name} = {' + '.join(map(str, members))}" for name, members in merge.items())
    dropped = [name for name, new in zip(faces.classes, target[:-1], strict=True) if new == NO_LABEL]
    rest = f" Left out: {', '.join(dropped)} ({lost:,} images)." if dropped else ""
    return f"Classes (data.merge): {groups}.{rest}"
