"""How a folder of pictures is understood: as splits and classes, or as one of the public data sets that mark them otherwise."""

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fer_ablate.data.names import bare, class_key, emotion, split_names, split_part
from fer_ablate.data.sources.inventory import ALL, File, Inventory, Picture, Walk, ending, endings, told, walked
from fer_ablate.errors import UserError
from fer_ablate.labels import FERPLUS_COLUMNS

RAF_DB = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
"""Classes 1 to 7 of RAF-DB (Li, Deng and Du, CVPR 2017), as the readme of its basic set numbers them."""

AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")
"""Classes 0 to 7 of AffectNet (Mollahosseini et al. 2019, arXiv:1708.03985); higher ones are no expressions."""

CK_PLUS = ("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise")
"""Classes 0 to 7 in the emotion files of CK+ (Lucey et al., CVPR workshops 2010)."""

JAFFE = {"AN": "angry", "DI": "disgust", "FE": "fear", "HA": "happy", "NE": "neutral", "SA": "sad", "SU": "surprise"}
"""Letters in the file names of JAFFE (Lyons et al. 1998): person, expression and its number, number of the picture."""

PEAK_FRAMES = 3
"""Last frames of a sequence of CK+ that show its expression; what most papers take."""

WRONG_PLACE = "not below a class"
UNLISTED, UNDECIDED = "without a label", "no expression by their label"

_JAFFE_NAME = re.compile(r"([A-Z]{2})[._-](AN|DI|FE|HA|NE|SA|SU)\d*[._-]\d+", re.IGNORECASE)
_CK_NAME = re.compile(r"(S\d{3})_\d{3}_\d{8}", re.IGNORECASE)
_CK_PERSON = re.compile(r"S\d{3}")
_CK_SEQUENCE = re.compile(r"(S\d{3}_\d{3})_\d{8}")
_RAF_NAME = re.compile(r"(train|test)_\d+(_aligned)?$")
_RAF_LIST = re.compile(r"list_pa(rt|t)ition_label")
_LISTED = 6
_MOST_VOTES = 10_000  # of one image; FER+ has ten


def understood(walk: Walk) -> Inventory:
    """Make splits and classes of a folder's files.

    Raises:
        UserError: there are no pictures, a detector's export, or folders that can be read in more than one way.
    """
    if not walk.pictures:
        raise UserError(_nothing(walk))
    _refuse_detector(walk)
    for layout in (_raf_db, _ferplus, _affectnet, _ck_plus_sequences, _jaffe):
        if (found := layout(walk)) is not None:
            return found
    return _tree(walk)


def _raf_db(walk: Walk) -> Inventory | None:
    """RAF-DB as published: a flat folder and a list of lines `train_00001.jpg 5`."""
    lists = [file for file in walk.others if _RAF_LIST.match(file.name.lower())]
    if not lists:
        return None
    label_of: dict[str, str] = {}
    for number, line in enumerate(_lines(walk, lists[0]), start=1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        if len(words) != 2 or not _whole(words[1]) or not 1 <= float(words[1]) <= len(RAF_DB):
            raise UserError(f"{walk.root / lists[0].path} line {number}: {line.strip()!r} is not a file name and a class 1 to 7.")
        stem, label = _stem(words[0]), RAF_DB[int(float(words[1])) - 1]
        if label_of.setdefault(stem, label) != label:
            raise UserError(
                f"{walk.root / lists[0].path} line {number}: {words[0]} is listed as {label_of[stem]} and as {label}."
            )
    # Of an image and its aligned copy, the aligned one is what everybody trains on.
    chosen: dict[str, File] = {}
    for file in walk.pictures:
        stem = _stem(file.name).removesuffix("_aligned")
        if stem in label_of and (stem not in chosen or _stem(file.name).endswith("_aligned")):
            chosen[stem] = file
    missing = len(label_of) - len(chosen)
    notes = [f"Classes 1 to 7 of RAF-DB are {', '.join(RAF_DB)}."]
    notes += [f"{missing:,} of {len(label_of):,} images of {lists[0].name} are not there."] if missing else []
    pictures = [Picture(file, _stem(file.name).partition("_")[0], label_of[stem]) for stem, file in chosen.items()]
    return _inventory(walk, "RAF-DB with its list of labels", pictures, notes, {UNLISTED}, lists[:1])


def _ferplus(walk: Walk) -> Inventory | None:
    """FER+ as its authors' script writes it: a folder for each split with pictures and `label.csv`, a line of votes for each."""
    lists = [file for file in walk.others if file.name.lower() == "label.csv"]
    read = {file: _votes(walk, file) for file in lists}
    lists = [file for file in lists if read[file]]
    if not lists:
        return None
    by_path = {file.path: file for file in walk.pictures}
    pictures, missing = [], 0
    for file in lists:
        folder = file.path.rpartition("/")[0]
        for name, votes in read[file].items():
            found = by_path.get(f"{folder}/{name}" if folder else name)
            missing += found is None
            if found is not None:
                pictures.append(Picture(found, folder.rpartition("/")[2] or ALL, "neutral", votes=votes))
    notes = [f"{missing:,} images of label.csv are not there."] if missing else []
    return _inventory(walk, "FER+ with its votes in label.csv", pictures, notes, {UNLISTED}, lists)


def _votes(walk: Walk, file: File) -> dict[str, tuple[int, ...]]:
    """Votes by file name; empty if the file is another kind of list."""
    found: dict[str, tuple[int, ...]] = {}
    for row in csv.reader(_lines(walk, file)):
        votes = row[-len(FERPLUS_COLUMNS) :]
        if len(row) < len(FERPLUS_COLUMNS) + 1 or not all(_whole(vote) for vote in votes):
            if found:
                raise UserError(f"{walk.root / file.path}: {row} is no file name with {len(FERPLUS_COLUMNS)} numbers of votes.")
            continue  # a header
        if not all(0 <= float(vote) <= _MOST_VOTES for vote in votes):
            raise UserError(f"{walk.root / file.path}: {row} has a number of votes that is not from 0 to {_MOST_VOTES}.")
        found[row[0].strip()] = tuple(int(float(vote)) for vote in votes)
    return found


def _affectnet(walk: Walk) -> Inventory | None:
    """AffectNet as published: `<split>/images/1.jpg` beside `<split>/annotations/1_exp.npy`."""
    labels = {file.path: file for file in walk.others if file.name.endswith("_exp.npy")}
    if not labels:
        return None
    pictures, undecided = [], 0
    for file in walk.pictures:
        folder, _, images = file.path.rpartition("/")[0].rpartition("/")
        place = f"{folder}/annotations/{_stem(file.name)}_exp.npy".lstrip("/")
        if bare(images) != "images" or place not in labels:
            continue
        label = _stored_class(walk.root / place)
        known = 0 <= label < len(AFFECTNET)
        if known:
            pictures.append(Picture(file, folder.rpartition("/")[2] or ALL, AFFECTNET[label]))
        undecided += not known
    if not pictures:
        return None
    notes = [f"Classes 0 to 7 of AffectNet are {', '.join(AFFECTNET)}."]
    used = [file for file in walk.others if file.name.endswith(("_exp.npy", "_aro.npy", "_val.npy", "_lnd.npy"))]
    found = _inventory(walk, "AffectNet with its annotations", pictures, notes, {UNLISTED}, used)
    return replace(found, left_out=_counted(found.left_out, {UNLISTED: -undecided, UNDECIDED: undecided}))


def _stored_class(path: Path) -> int:
    """The number that an annotation of AffectNet holds, as text or as a number."""
    try:
        (value,) = np.load(path, allow_pickle=False).reshape(-1).tolist()
        return int(float(value))
    except (ValueError, OverflowError, EOFError, OSError) as error:
        raise UserError(f"{path}: not a number of a class ({error}). Copy the file again.") from error


def _ck_plus_sequences(walk: Walk) -> Inventory | None:
    """CK+ as published: sequences from neutral to the expression, and one file for each that has an emotion."""
    labels = {
        match[1]: file for file in walk.others if file.name.endswith("_emotion.txt") and (match := _CK_SEQUENCE.match(file.name))
    }
    frames: dict[str, list[File]] = defaultdict(list)
    for file in walk.pictures:
        if match := _CK_SEQUENCE.match(file.name):
            frames[match[1]].append(file)
    if not labels or not frames:
        return None
    pictures = []
    for sequence, file in sorted(labels.items()):
        text = "".join(_lines(walk, file)).strip()
        if not _whole(text) or not 0 <= int(float(text)) < len(CK_PLUS):
            raise UserError(f"{walk.root / file.path}: {text[:20]!r} is no class of CK+ from 0 to 7.")
        last = sorted(frames.get(sequence, []), key=lambda frame: frame.name)[-PEAK_FRAMES:]
        pictures += [Picture(frame, ALL, CK_PLUS[int(float(text))], sequence.partition("_")[0]) for frame in last]
    notes = [f"The last {PEAK_FRAMES} frames of each of the {len(labels):,} labelled sequences of CK+ are read."]
    return _inventory(walk, "CK+ with its emotion files", pictures, notes, {UNLISTED}, list(labels.values()))


def _jaffe(walk: Walk) -> Inventory | None:
    """JAFFE: pictures whose names say person and expression, in one folder."""
    named = [(file, match) for file in walk.pictures if (match := _JAFFE_NAME.match(file.name))]
    if len(named) < len(walk.pictures) / 2:
        return None
    folders = {file.parts[-2] for file, _ in named if len(file.parts) > 1}
    if len({class_key(folder) for folder in folders} & set(JAFFE.values())) > 1:
        return None  # sorted into classes
    pictures = [Picture(file, _split_above(file), JAFFE[match[2].upper()], match[1].upper()) for file, match in named]
    notes = ["Persons and expressions are read from the file names of JAFFE."]
    return _inventory(walk, "JAFFE by its file names", pictures, notes, {"not named like JAFFE"})


def _split_above(file: File) -> str:
    folder = file.parts[-2] if len(file.parts) > 1 else ""
    return folder if split_part(folder) else ALL


def _tree(walk: Walk) -> Inventory:
    """Folders of splits and classes, the splits first, the classes first, or classes alone."""
    root = _descended([file.parts for file in walk.pictures])
    depth = len(root)
    inside = [file for file in walk.pictures if len(file.parts) > depth + 1]
    names = sorted({file.parts[depth] for file in inside})
    parts = [name for name in names if split_part(name)]
    if parts:
        pictures, layout = _split_first(inside, depth, names), "<split>/<class>/<image>"
    else:
        pictures, layout = _class_first(walk, inside, depth, names)
    notes = []
    if depth:
        notes.append(f"The {'splits' if parts else 'classes'} are in {'/'.join(root)}.")
    if not pictures:
        raise UserError(_no_classes(walk))
    pictures, numbered = _numbers(pictures)
    notes += numbered
    for data_set, pattern in (("CK+", _CK_NAME), ("JAFFE", _JAFFE_NAME)):
        persons = [match[1].upper() if (match := pattern.match(picture.file.name)) else "" for picture in pictures]
        named = sum(map(bool, persons))
        if 2 * named > len(pictures):
            pictures = [replace(one, group=person) for one, person in zip(pictures, persons, strict=True)]
            rest = f" {len(pictures) - named:,} others count as a person each." if named < len(pictures) else ""
            notes.append(
                f"File names are those of {data_set}: images of one person stay together where splits or folds are drawn.{rest}"
            )
    return _inventory(walk, layout, pictures, notes, {WRONG_PLACE})


def _split_first(files: Sequence[File], depth: int, names: Sequence[str]) -> list[Picture]:
    """`<split>/.../<class>/.../<image>`: below each split, the first folder that has brothers, or the only one."""
    pictures = []
    for split in names:
        own = [file for file in files if file.parts[depth] == split]
        place = depth + 1 + len(_descended([file.parts[depth + 1 :] for file in own], classes=True))
        inner = [file for file in own if len(file.parts) > place + 1]
        if _persons([file.parts[place:] for file in inner]):
            pictures += [Picture(file, split, file.parts[place + 1], file.parts[place]) for file in inner]
        else:
            pictures += [Picture(file, split, file.parts[place]) for file in inner]
    return pictures


def _persons(paths: Sequence[tuple[str, ...]]) -> bool:
    """Whether folders of persons stand between a split and its classes: all hold emotions, and none is called like one."""
    inner: dict[str, set[str]] = {path[0]: set() for path in paths}
    for path in paths:
        inner[path[0]].add(path[1] if len(path) > 2 else "")
    return bool(inner) and not any(map(emotion, inner)) and all(emotion(name) for names in inner.values() for name in names)


def _class_first(walk: Walk, files: Sequence[File], depth: int, names: Sequence[str]) -> tuple[list[Picture], str]:
    below: dict[str, set[str]] = {
        name: {file.parts[depth + 1] for file in files if file.parts[depth] == name and len(file.parts) > depth + 2}
        for name in names
    }
    nested = set().union(*below.values()) if below else set()
    # Below the splits of a data set stand classes, below those of a class only pictures.
    homes = sorted({one.parts[depth] for one in files if len(one.parts) > depth + 3 and split_part(one.parts[depth + 1])})
    if len(homes) == 1:
        own = [one for one in files if one.parts[depth] == homes[0] and len(one.parts) > depth + 2]
        return _split_first(own, depth + 1, sorted({one.parts[depth + 1] for one in own})), "<split>/<class>/<image>"
    if homes:
        raise _several(walk, homes)
    if nested and all(map(split_part, nested)):
        inner = [file for file in files if len(file.parts) > depth + 2]
        return [Picture(file, file.parts[depth + 1], file.parts[depth]) for file in inner], "<class>/<split>/<image>"
    if any(split_part(name) for name in nested):
        raise _several(walk, sorted(name for name, inner in below.items() if any(map(split_part, inner))))
    if not any(map(emotion, names)) and _alike(below):
        raise UserError(
            f"{walk.root}: the folders {', '.join(names[:_LISTED])} hold the same classes but none of them is a known split. "
            f"Rename them ({split_names()}), or pass one of them as data.path=..."
        )
    if names and all(_CK_PERSON.fullmatch(name) for name in names):
        raise UserError(
            f"{walk.root}: the folders {', '.join(names[:_LISTED])} are persons of CK+, not classes. Pass the folder that also "
            "holds CK+'s folder Emotion, or sort the pictures into <class>/<image>."
        )
    return [Picture(file, ALL, file.parts[depth]) for file in files], "<class>/<image>"


def _several(walk: Walk, homes: Sequence[str]) -> UserError:
    listed = ", ".join(homes[:_LISTED])
    return UserError(f"{walk.root}: splits are found in several folders: {listed}. Pass one of them as data.path=...")


def _alike(below: dict[str, set[str]]) -> bool:
    """Whether several folders have the same folders inside: then these are the classes, not the outer ones."""
    inner = [frozenset(map(class_key, names)) for names in below.values()]
    return len(inner) > 1 and all(inner) and len(set(inner)) == 1 and len(inner[0]) > 1


def _descended(paths: Sequence[tuple[str, ...]], classes: bool = False) -> tuple[str, ...]:
    """The folders to go down to the splits or classes, as long as one folder holds them all.

    Args:
        paths: folders and name of each picture.
        classes: look for the classes of a split, of which the name of a split is only a wrapping.
    """
    down: list[str] = []
    while inside := [path for path in paths if len(path) > len(down) + 1]:
        names = {path[len(down)] for path in inside}
        name = next(iter(names))
        last = any(len(path) == len(down) + 2 for path in inside)  # a class, even if it is the only one
        # A few pictures beside the only folder, such as a preview, do not make it a class.
        if len(names) > 1 or emotion(name) or last or (split_part(name) and not classes) or 2 * len(inside) < len(paths):
            break
        down.append(name)
        paths = inside
    return tuple(down)


def _numbers(pictures: list[Picture]) -> tuple[list[Picture], list[str]]:
    """Names for classes that are numbers where the files say what they mean, else a word about it."""
    labels = {picture.label for picture in pictures}
    if not all(label.isdigit() for label in labels):
        return pictures, []
    if labels <= {str(number) for number in range(1, 8)} and all(_RAF_NAME.match(_stem(one.file.name)) for one in pictures):
        named = [replace(one, label=RAF_DB[int(one.label) - 1]) for one in pictures]
        return named, [f"File names are those of RAF-DB, whose classes 1 to 7 are {', '.join(RAF_DB)}."]
    example = "{angry: ['0'], happy: ['3'], ...}"
    return pictures, [f"The classes are numbers ({', '.join(sorted(labels))}); data.merge={example} names them."]


def _inventory(
    walk: Walk, layout: str, pictures: Iterable[Picture], notes: Sequence[str], reason: set[str], used: Sequence[File] = ()
) -> Inventory:
    """An inventory that accounts for every file of the walk.

    Args:
        walk: all files.
        layout: in words.
        pictures: that are read.
        notes: so far.
        reason: the one for which the other pictures are left out.
        used: other files that were read.
    """
    chosen = sorted(pictures, key=lambda picture: picture.file.parts)
    if not chosen:
        raise UserError(
            f"{walk.root}: recognised as {layout}, but none of its {len(walk.pictures):,} pictures fits. {_expected()}"
        )
    left = len(walk.pictures) - len({picture.file.path for picture in chosen})
    known = set(used)
    ignored = endings([file for file in walk.others if file not in known])
    counts = walk.passed + ignored + Counter({reason.pop(): left} if left else {})
    return Inventory(walk.root, layout, chosen, dict(counts), tuple(notes))


def _counted(counts: Mapping[str, int], change: Mapping[str, int]) -> dict[str, int]:
    joined = Counter(dict(counts))
    joined.update(dict(change))
    return {reason: count for reason, count in joined.items() if count > 0}


def _refuse_detector(walk: Walk) -> None:
    """`images/` beside `labels/` of text files: boxes of an object detector, which are no classes of whole pictures."""
    boxes = {tuple(map(str.lower, file.parts[:-1])) for file in walk.others if ending(file.name) == ".txt"}
    for folders in dict.fromkeys(file.parts[:-1] for file in walk.pictures) if boxes else ():
        lower = tuple(map(str.lower, folders))
        if "images" in lower and tuple("labels" if part == "images" else part for part in lower) in boxes:
            raise UserError(
                f"{walk.root}: this is a detector's export ({'/'.join(folders)}/ beside labels/ with boxes in .txt files), not "
                "pictures sorted by class. Crop the faces into <split>/<class>/<image>, or write a csv with the columns file, "
                "label and split and pass it: data=list data.path=labels.csv."
            )


def _nothing(walk: Walk) -> str:
    seen = told(walk.passed + endings(walk.others))
    return f"{walk.root}: no images below it{f'; {seen}' if seen else ''}. {_expected()}"


def _no_classes(walk: Walk) -> str:
    lists = [file.path for file in walk.others if ending(file.name) == ".csv"]
    hint = f" Such a list may be {', '.join(lists[:_LISTED])}." if lists else ""
    return f"{walk.root}: its {len(walk.pictures):,} images are not in folders of classes. {_expected()}{hint}"


def _expected() -> str:
    return (
        "Expected <split>/<class>/<image>, such as train/happy/0001.png, or <class>/<image>; pass the folder of the splits or "
        "classes as data.path=..., or a csv with the columns file and label as data=list data.path=..."
    )


def _lines(walk: Walk, file: File) -> Iterable[str]:
    try:
        content = (walk.root / file.path).read_bytes()
    except OSError as error:
        raise UserError(f"{walk.root / file.path} cannot be read ({error.strerror}). Change its permissions.") from error
    return io.StringIO(content.decode("utf-8-sig", "replace"))


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _whole(text: str) -> bool:
    try:
        return float(text) == int(float(text))
    except (ValueError, OverflowError):
        return False


def folder_inventory(folder: Path) -> Inventory:
    """Walk a folder and understand it.

    Raises:
        UserError: it cannot be listed, or holds nothing that can be read; the message says what was seen.
    """
    try:
        return understood(walked(folder))
    except OSError as error:
        raise UserError(
            f"{folder} cannot be listed ({error.strerror}). Change its permissions, or pass another folder."
        ) from error
