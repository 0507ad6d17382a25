"""Reads a folder of pictures: `<split>/<class>/<image>`, `<class>/<split>/<image>`, `<class>/<image>`, or a known data set.

Data sets that mark their classes otherwise than by folders are recognised in `published`.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fer_ablate.data.classes import class_key, emotion, split_names, split_part
from fer_ablate.data.sources.inventory import (
    ALL,
    EXPECTED,
    File,
    Inventory,
    Picture,
    Walk,
    inventory_of,
    not_read,
    printable,
    suffix,
    suffix_counts,
    walk_folder,
)
from fer_ablate.data.sources.published import CK_NAME, CK_PERSON, JAFFE_NAME, name_numbered_classes, published_set
from fer_ablate.errors import UserError

WRONG_PLACE = "not below a class"
"""Reason for which pictures outside the folders of classes are left out."""

_LISTED = 6  # folders or files that a message names
_FEWEST_PERSONS = 3


def folder_inventory(folder: Path) -> Inventory:
    """List the pictures of a folder with their splits and classes.

    Raises:
        UserError: the folder cannot be listed, or nothing in it can be read; the message says what was found.
    """
    try:
        walk = walk_folder(folder)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be listed ({error.strerror}). Change its permissions, or pass another folder."
        ) from error
    return read_layout(walk)


def read_layout(walk: Walk) -> Inventory:
    """Find the splits and classes of a folder's files.

    Raises:
        UserError: there are no pictures, the folder was exported for an object detector, or it can be read in several ways.
    """
    if not walk.pictures:
        raise UserError(_no_pictures(walk))
    _refuse_detector(walk)
    return published_set(walk) or _folder_tree(walk)


def _folder_tree(walk: Walk) -> Inventory:
    """Read folders of splits and classes: splits outside, classes outside, or classes alone."""
    root = _common_folders([file.parts for file in walk.pictures])
    depth = len(root)
    inside = [file for file in walk.pictures if len(file.parts) > depth + 1]
    names = sorted({file.parts[depth] for file in inside})
    has_splits = any(map(split_part, names))
    if has_splits:
        pictures, layout = _split_first(inside, depth, names), "<split>/<class>/<image>"
    else:
        pictures, layout = _class_first(walk, inside, depth, names)
    if not pictures:
        raise UserError(_no_classes(walk))
    notes = [f"The {'splits' if has_splits else 'classes'} are in {'/'.join(root)}."] if depth else []
    if any(one.group for one in pictures):
        notes.append("Folders above the classes are persons: images of one person stay together where splits or folds are drawn.")
    notes += _empty_notes(walk, pictures)
    # Classes and persons may also be recognised by file names, whatever the folders are called.
    pictures, class_notes = name_numbered_classes(pictures)
    pictures, person_notes = _with_persons(pictures)
    return inventory_of(walk, layout, pictures, [*notes, *class_notes, *person_notes], WRONG_PLACE)


def _empty_notes(walk: Walk, pictures: list[Picture]) -> list[str]:
    """Note folders that lie where those of the classes are, but are none, since no split has a picture in them."""
    places = {one.file.parts[: one.file.parts.index(one.label)] for one in pictures}
    known = {class_key(label) for label in {one.label for one in pictures}}
    filled = {parts[:end] for parts in {file.parts[:-1] for file in walk.pictures} for end in range(len(parts) + 1)}
    searched = [tuple(printable(folder).split("/")) for folder in walk.folders]
    empty = {parts[-1] for parts in searched if parts[:-1] in places and parts not in filled}
    names = sorted(name for name in empty if class_key(name) not in known)
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return [f"Folders without images, which are not classes: {', '.join(names[:_LISTED])}{more}."] if names else []


def _with_persons(pictures: list[Picture]) -> tuple[list[Picture], list[str]]:
    """Group the pictures by person where most file names are those of CK+ or JAFFE, and say so in a note."""
    notes = []
    for data_set, pattern in (("CK+", CK_NAME), ("JAFFE", JAFFE_NAME)):
        persons = [match[1].upper() if (match := pattern.match(picture.file.name)) else "" for picture in pictures]
        named = sum(map(bool, persons))
        if 2 * named > len(pictures):
            pictures = [replace(one, group=person) for one, person in zip(pictures, persons, strict=True)]
            rest = f" {len(pictures) - named:,} others count as a person each." if named < len(pictures) else ""
            notes.append(
                f"File names are those of {data_set}: images of one person stay together where splits or folds are drawn.{rest}"
            )
    return pictures, notes


def _split_first(files: Sequence[File], depth: int, names: Sequence[str]) -> list[Picture]:
    """Read `<split>/.../<class>/.../<image>`: the classes are the first folders below a split that have siblings.

    Args:
        files: pictures below a folder of the level `depth`.
        depth: number of folders above the splits.
        names: folders of the splits.
    """
    pictures = []
    for split in names:
        own = [file for file in files if file.parts[depth] == split]
        place = depth + 1 + len(_common_folders([file.parts[depth + 1 :] for file in own], below_split=True))
        inner = [file for file in own if len(file.parts) > place + 1]
        if _are_persons([file.parts[place:] for file in inner]):
            pictures += [Picture(file, split, file.parts[place + 1], file.parts[place]) for file in inner]
        else:
            pictures += [Picture(file, split, file.parts[place]) for file in inner]
    return pictures


def _are_persons(paths: Sequence[tuple[str, ...]]) -> bool:
    """Whether the outer folders are persons: all of them hold emotions, and none has the name of one."""
    inner: dict[str, set[str]] = {path[0]: set() for path in paths}
    for path in paths:
        inner[path[0]].add(path[1] if len(path) > 2 else "")
    return bool(inner) and not any(map(emotion, inner)) and all(emotion(name) for names in inner.values() for name in names)


def _share_most(below: Mapping[str, Collection[str]]) -> bool:
    """Whether three or more folders have most emotions in common, as persons do; classes such as positive divide them."""
    holders = Counter(label for inner in below.values() for label in set(map(emotion, inner)))
    return len(below) >= _FEWEST_PERSONS and 2 * sum(count > 1 for count in holders.values()) > len(holders)


def _class_first(walk: Walk, files: Sequence[File], depth: int, names: Sequence[str]) -> tuple[list[Picture], str]:
    """Read folders of which none has the name of a split; also returns the layout in words.

    Args:
        walk: the folder, for messages.
        files: pictures below a folder of the level `depth`.
        depth: number of folders above the classes.
        names: folders on that level.
    """
    below: dict[str, set[str]] = {
        name: {file.parts[depth + 1] for file in files if file.parts[depth] == name and len(file.parts) > depth + 2}
        for name in names
    }
    nested = set().union(*below.values()) if below else set()
    # Splits that hold further folders belong to a data set of their own; splits below a class hold pictures only.
    homes = sorted({one.parts[depth] for one in files if len(one.parts) > depth + 3 and split_part(one.parts[depth + 1])})
    if len(homes) == 1:
        own = [one for one in files if one.parts[depth] == homes[0] and len(one.parts) > depth + 2]
        return _split_first(own, depth + 1, sorted({one.parts[depth + 1] for one in own})), "<split>/<class>/<image>"
    if homes:
        raise _several_homes(walk, homes)
    if nested and all(map(split_part, nested)):
        inner = [file for file in files if len(file.parts) > depth + 2]
        return [Picture(file, file.parts[depth + 1], file.parts[depth]) for file in inner], "<class>/<split>/<image>"
    if any(split_part(name) for name in nested):
        raise _several_homes(walk, sorted(name for name, inner in below.items() if any(map(split_part, inner))))
    persons = _are_persons([file.parts[depth:] for file in files])
    # Otherwise unknown splits would be read as classes, and the network would learn to tell splits apart.
    if not any(map(emotion, names)) and _hold_the_same(below):
        raise UserError(
            f"{walk.root}: the folders {', '.join(names[:_LISTED])} hold the same classes but none of them is a known split. "
            f"Rename them ({split_names()}), or pass one of them as data.path=..."
            f"{' If they are persons, move them into a folder called train.' if persons else ''}"
        )
    if persons and _share_most(below):
        return [Picture(file, ALL, file.parts[depth + 1], file.parts[depth]) for file in files], "<person>/<class>/<image>"
    if names and all(CK_PERSON.fullmatch(name) for name in names):
        raise UserError(
            f"{walk.root}: the folders {', '.join(names[:_LISTED])} are persons of CK+, not classes. Pass the folder that also "
            "holds CK+'s folder Emotion, or sort the pictures into <class>/<image>."
        )
    return [Picture(file, ALL, file.parts[depth]) for file in files], "<class>/<image>"


def _several_homes(walk: Walk, homes: Sequence[str]) -> UserError:
    listed = ", ".join(homes[:_LISTED])
    return UserError(f"{walk.root}: splits are found in several folders: {listed}. Pass one of them as data.path=...")


def _hold_the_same(below: dict[str, set[str]]) -> bool:
    """Whether several folders contain the same folders: then the inner ones are the classes, not the outer ones."""
    inner = [frozenset(map(class_key, names)) for names in below.values()]
    return len(inner) > 1 and all(inner) and len(set(inner)) == 1 and len(inner[0]) > 1


def _common_folders(paths: Sequence[tuple[str, ...]], below_split: bool = False) -> tuple[str, ...]:
    """Find the folders above the splits or classes: those that hold all pictures, one inside the other.

    Args:
        paths: folders and name of each picture.
        below_split: look for classes within a split; a folder with the name of a split is then passed through.
    """
    down: list[str] = []
    while inside := [path for path in paths if len(path) > len(down) + 1]:
        names = {path[len(down)] for path in inside}
        name = next(iter(names))
        last = any(len(path) == len(down) + 2 for path in inside)  # a class, even if it is the only one
        # A few pictures beside the only folder, such as a preview, do not make it a class.
        few_inside = 2 * len(inside) < len(paths)
        if len(names) > 1 or emotion(name) or last or (split_part(name) and not below_split) or few_inside:
            break
        down.append(name)
        paths = inside
    return tuple(down)


def _refuse_detector(walk: Walk) -> None:
    """Refuse `images/` beside `labels/` with text files: they hold boxes for an object detector, not classes of pictures."""
    boxes = {tuple(map(str.lower, file.parts[:-1])) for file in walk.others if suffix(file.name) == ".txt"}
    for folders in dict.fromkeys(file.parts[:-1] for file in walk.pictures) if boxes else ():
        lower = tuple(map(str.lower, folders))
        if "images" in lower and tuple("labels" if part == "images" else part for part in lower) in boxes:
            raise UserError(
                f"{walk.root}: this is a detector's export ({'/'.join(folders)}/ beside labels/ with boxes in .txt files), not "
                "pictures sorted by class. Crop the faces into <split>/<class>/<image>, or write a csv with the columns file, "
                "label and split and pass it: data=list data.path=labels.csv."
            )


def _no_pictures(walk: Walk) -> str:
    others = not_read(walk.passed + suffix_counts(walk.others))
    return f"{walk.root}: no images below it{f'; {others}' if others else ''}. {EXPECTED}"


def _no_classes(walk: Walk) -> str:
    lists = [file.path for file in walk.others if suffix(file.name) == ".csv"]
    hint = f" Such a list may be {', '.join(lists[:_LISTED])}." if lists else ""
    return f"{walk.root}: its {len(walk.pictures):,} images are not in folders of classes. {EXPECTED}{hint}"
