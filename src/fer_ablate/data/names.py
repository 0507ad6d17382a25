"""Names of classes and splits as people write them: without case, blanks and marks, with the usual spellings joined."""

import re
import unicodedata
from collections.abc import Iterable

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
"""Letters from which on a short form such as `hap` is taken for an emotion; two letters mean one in JAFFE's file names alone."""

_PARTS = {
    "train": ("train", "training", "trn", "fer2013train"),
    "val": ("val", "valid", "validation", "dev", "development", "publictest", "fer2013valid"),
    "test": ("test", "testing", "tst", "privatetest", "fer2013test"),
}
"""What splits are called, by the part they play under `official`."""

_PART_OF = {name: part for part, names in _PARTS.items() for name in names}
_ADDED = ("set", "data", "class", "split", "images", "faces", "folder")
"""Words that people add to the name of a split, as in `train_set`."""


def bare(name: str) -> str:
    """Letters and digits of a name alone, in lower case: `Happy_ ` and `happy` are the same."""
    return re.sub(r"[\W_]+", "", _folded(name))


def _folded(name: str) -> str:
    """In lower case and in one spelling of letters that Unicode has two for, as Linux and macOS write them."""
    return unicodedata.normalize("NFKC", name).casefold()


def emotion(name: str) -> str | None:
    """The emotion of `labels.EMOTIONS_8` that a name spells, or None.

    A number before or after it does not matter, as in `0_Sadness`.

    >>> emotion("Happiness"), emotion("4 - sad"), emotion("bored")
    ('happy', 'sad', None)
    """
    key = bare(name).strip("0123456789")
    return _EMOTION_OF.get(key) if len(key) >= _SHORTEST else None


def class_key(name: str) -> str:
    """What two spellings of one class have in common: the emotion's own name, else the name without case, blanks and underscores.

    Other marks may tell classes apart, and so may all of them where a name has no letters.

    >>> class_key("Anger"), class_key("Class A"), class_key("A+"), class_key("-1")
    ('angry', 'classa', 'a+', '-1')
    """
    folded = _folded(name).strip()
    if found := emotion(name):
        return found
    return re.sub(r"[\s_]+", "", folded) if any(map(str.isalpha, folded)) else folded


def split_part(name: str) -> str | None:
    """`train`, `val` or `test` for the name of a split, whatever its spelling; None for a name that says neither.

    >>> split_part("Train_Set"), split_part("PublicTest"), split_part("train_augmented"), split_part("eval")
    ('train', 'val', None, None)
    """
    key = bare(name)
    endings = [key, *(key.removesuffix(word) for word in _ADDED if key.endswith(word))]
    return next((_PART_OF[ending] for ending in endings if ending in _PART_OF), None)


def split_names() -> str:
    """The names of splits, for messages."""
    return "; ".join(f"{part}: {', '.join(names[:3])}" for part, names in _PARTS.items())


def joined_classes(names: Iterable[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Classes behind the names that a source uses.

    Returns:
        One name for each class, sorted: the emotion's own, else the first spelling; and the index of every spelling.
    """
    spellings: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        spellings.setdefault(class_key(name), []).append(name)
    shown = {key: key if key in EMOTIONS_8 else found[0] for key, found in spellings.items()}
    classes = tuple(sorted(shown.values()))
    return classes, {name: classes.index(shown[key]) for key, found in spellings.items() for name in found}
