"""Kaggle's copies of FER2013 as folders of pictures: their splits and classes by the names of the table."""

from dataclasses import replace

from fer_ablate.data.names import class_key, split_part
from fer_ablate.data.sources.inventory import Inventory, Picture
from fer_ablate.errors import UserError
from fer_ablate.labels import EMOTIONS, PRIVATE, PUBLIC, TRAINING

_OFFICIAL = {"train": TRAINING, "val": PUBLIC, "test": PRIVATE}


def as_fer2013(inventory: Inventory) -> Inventory:
    """Give the pictures of `train/<emotion>/*` and `test/<emotion>/*` their official splits.

    These are recovered from file names (`PrivateTest_123.jpg`) or folders (`PublicTest`, `validation`). Where any image of a lone
    folder `test` has no such name, which of them are public is unknown, and all of them form one split `test`.

    Raises:
        UserError: a class is not one of FER2013.
    """
    if unknown := sorted({one.label for one in inventory.pictures if class_key(one.label) not in EMOTIONS}):
        raise UserError(
            f"{inventory.root}: {unknown[0]!r} is not a class of FER2013; expected {', '.join(EMOTIONS)}. "
            "Other classes are read with data=folder."
        )
    tested = [one for one in inventory.pictures if split_part(one.split) == "test"]
    named = bool(tested) and all(_named(one) in (PUBLIC, PRIVATE) for one in tested)
    has_val = any(split_part(one.split) == "val" for one in inventory.pictures)
    pictures = [replace(one, split=_split(one, named, has_val)) for one in inventory.pictures]
    return replace(inventory, pictures=pictures)


def _named(picture: Picture) -> str:
    return picture.file.name.partition("_")[0]


def _split(picture: Picture, named: bool, has_val: bool) -> str:
    part = split_part(picture.split)
    if part == "test" and named:
        return _named(picture)
    if part == "test" and not has_val:
        return "test"
    return _OFFICIAL[part] if part else picture.split
