"""The public Kaggle copies of FER2013: downloads the table, and finds the official splits of copies made of picture files."""

from dataclasses import replace
from pathlib import Path

from fer_ablate.data.classes import class_key, split_part
from fer_ablate.data.sources.inventory import Inventory, Picture
from fer_ablate.errors import UserError
from fer_ablate.labels import EMOTIONS, PRIVATE, PUBLIC, TRAINING

try:
    import kagglehub
except ImportError:  # an optional dependency
    kagglehub = None

COPY = "deadskull7/fer2013"
"""A copy of the original table that needs no Kaggle account."""

_OFFICIAL = {"train": TRAINING, "val": PUBLIC, "test": PRIVATE}


def kaggle_copy() -> Path:
    """Return the folder of the downloaded table; kagglehub downloads it once and keeps it.

    Raises:
        UserError: kagglehub is not installed, or the download fails.
    """
    if kagglehub is None:
        raise UserError('data.download=true needs kagglehub. Install it: pip install "fer-ablate[download]"')
    try:
        return Path(kagglehub.dataset_download(COPY))
    except Exception as error:  # whatever its HTTP client raises: the network is outside the program
        raise UserError(
            f"data.download=true: kagglehub could not fetch {COPY} ({type(error).__name__}: {error}). "
            "Check the network, or download it in a browser and pass data.path=..."
        ) from error


def as_fer2013(inventory: Inventory) -> Inventory:
    """Replace the splits of `train/<emotion>/*` and `test/<emotion>/*` by the official ones.

    They are recovered from file names (`PrivateTest_123.jpg`) or folders (`PublicTest`, `validation`). If there is only a folder
    `test` and one of its images has no such name, nobody knows which are public: they stay one split called `test`.

    Raises:
        UserError: a class is not one of FER2013.
    """
    if unknown := sorted({one.label for one in inventory.pictures if class_key(one.label) not in EMOTIONS}):
        raise UserError(
            f"{inventory.root}: {unknown[0]!r} is not a class of FER2013; expected {', '.join(EMOTIONS)}. "
            "Other classes are read with data=folder."
        )
    tested = [one for one in inventory.pictures if split_part(one.split) == "test"]
    named = bool(tested) and all(_name_prefix(one) in (PUBLIC, PRIVATE) for one in tested)
    has_val = any(split_part(one.split) == "val" for one in inventory.pictures)
    pictures = [replace(one, split=_split(one, named, has_val)) for one in inventory.pictures]
    return replace(inventory, pictures=pictures)


def _name_prefix(picture: Picture) -> str:
    """The split at the beginning of the original file names, such as `PublicTest`."""
    return picture.file.name.partition("_")[0]


def _split(picture: Picture, named: bool, has_val: bool) -> str:
    part = split_part(picture.split)
    if part == "test" and named:
        return _name_prefix(picture)
    if part == "test" and not has_val:
        return "test"
    return _OFFICIAL[part] if part else picture.split
