"""Recognises data sets that mark their classes otherwise than by folders: RAF-DB, FER+, AffectNet, CK+ and JAFFE.

Each reader takes the files of a folder and returns the data set that it finds there, or None if it is another one.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from fer_ablate.data.classes import bare, class_key, split_part
from fer_ablate.data.sources.inventory import ALL, File, Inventory, Picture, Walk, inventory_of
from fer_ablate.errors import UserError
from fer_ablate.labels import FERPLUS_COLUMNS

RAF_DB = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
"""Classes 1 to 7 of RAF-DB (Li, Deng and Du, CVPR 2017), as the readme of its basic set numbers them."""

AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")
"""Classes 0 to 7 of AffectNet (Mollahosseini et al. 2019, arXiv:1708.03985); higher numbers are not expressions."""

CK_PLUS = ("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise")
"""Classes 0 to 7 in the emotion files of CK+ (Lucey et al., CVPR workshops 2010)."""

JAFFE = {"AN": "angry", "DI": "disgust", "FE": "fear", "HA": "happy", "NE": "neutral", "SA": "sad", "SU": "surprise"}
"""Letters of the expression in JAFFE's file names (Lyons et al. 1998), such as `KA.AN1.39`: person, expression, picture."""

PEAK_FRAMES = 3
"""Frames at the end of a sequence of CK+ that are taken as its expression, as most papers do."""

UNLISTED, UNDECIDED, COPIES = "without a label", "no expression by their label", "other versions of an image that is read"
"""Reasons for which pictures are left out."""

CK_NAME = re.compile(r"(S\d{3})_\d{3}_\d{8}", re.IGNORECASE)
CK_PERSON = re.compile(r"S\d{3}")
JAFFE_NAME = re.compile(r"([A-Z]{2})[._-](AN|DI|FE|HA|NE|SA|SU)\d*[._-]\d+", re.IGNORECASE)
"""File names of CK+ and JAFFE; the first group is the person."""

_CK_SEQUENCE = re.compile(r"(S\d{3}_\d{3})_\d{8}")
_RAF_NAME = re.compile(r"(train|test)_\d+(_aligned)?$")
_RAF_LIST = re.compile(r"list_pa(rt|t)ition_label")  # the published file misspells its name
_MOST_VOTES = 10_000  # of one image; FER+ has ten


def published_set(walk: Walk) -> Inventory | None:
    """Return the published data set that a folder holds, or None.

    Raises:
        UserError: its files of labels are damaged, or none of its pictures has a label.
    """
    readers = (_raf_db, _ferplus, _affectnet, _ck_plus_sequences, _jaffe)
    return next((found for reader in readers if (found := reader(walk)) is not None), None)


def name_numbered_classes(pictures: list[Picture]) -> tuple[list[Picture], list[str]]:
    """Give numbered classes their names if the file names are those of RAF-DB; a note says what was done or can be done."""
    labels = {picture.label for picture in pictures}
    if not all(label.isdigit() for label in labels):
        return pictures, []
    if labels <= {str(number) for number in range(1, 8)} and all(_RAF_NAME.match(_stem(one.file.name)) for one in pictures):
        named = [replace(one, label=RAF_DB[int(one.label) - 1]) for one in pictures]
        return named, [f"File names are those of RAF-DB, whose classes 1 to 7 are {', '.join(RAF_DB)}."]
    example = "{angry: ['0'], happy: ['3'], ...}"
    return pictures, [f"The classes are numbers ({', '.join(sorted(labels))}); data.merge={example} names them."]


def _raf_db(walk: Walk) -> Inventory | None:
    """RAF-DB as published: a folder of pictures and a list with lines such as `train_00001.jpg 5`."""
    lists = [file for file in walk.others if _RAF_LIST.match(file.name.lower())]
    if not lists:
        return None
    label_of: dict[str, str] = {}
    for number, line in enumerate(_lines(walk, lists[0]), start=1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        if len(words) != 2 or not _is_whole(words[1]) or not 1 <= float(words[1]) <= len(RAF_DB):
            raise UserError(f"{walk.root / lists[0].path} line {number}: {line.strip()!r} is not a file name and a class 1 to 7.")
        stem, label = _stem(words[0]), RAF_DB[int(float(words[1])) - 1]
        if label_of.setdefault(stem, label) != label:
            raise UserError(
                f"{walk.root / lists[0].path} line {number}: {words[0]} is listed as {label_of[stem]} and as {label}."
            )
    # Where both an image and its aligned copy are present, the copy is taken: papers train on the aligned ones.
    chosen: dict[str, File] = {}
    for file in walk.pictures:
        stem = _stem(file.name).removesuffix("_aligned")
        if stem in label_of and (stem not in chosen or _stem(file.name).endswith("_aligned")):
            chosen[stem] = file
    copies = sum(_stem(file.name).removesuffix("_aligned") in chosen for file in walk.pictures) - len(chosen)
    missing = len(label_of) - len(chosen)
    notes = [f"Classes 1 to 7 of RAF-DB are {', '.join(RAF_DB)}."]
    notes += [f"{missing:,} of {len(label_of):,} images of {lists[0].name} are not there."] if missing else []
    pictures = [Picture(file, _stem(file.name).partition("_")[0], label_of[stem]) for stem, file in chosen.items()]
    return inventory_of(walk, "RAF-DB with its list of labels", pictures, notes, UNLISTED, lists[:1], {COPIES: copies})


def _ferplus(walk: Walk) -> Inventory | None:
    """FER+ as its authors' script writes it: a folder for each split, with pictures and their votes in `label.csv`."""
    lists = [file for file in walk.others if file.name.lower() == "label.csv"]
    votes_of = {file: _votes(walk, file) for file in lists}
    lists = [file for file in lists if votes_of[file]]
    if not lists:
        return None
    by_path = {file.path: file for file in walk.pictures}
    pictures, missing = [], 0
    for file in lists:
        folder = file.path.rpartition("/")[0]
        for name, votes in votes_of[file].items():
            found = by_path.get(f"{folder}/{name}" if folder else name)
            missing += found is None
            if found is not None:
                # The class is a placeholder: `ferplus.voted` replaces it by what the votes decide.
                pictures.append(Picture(found, file.parts[-2] if folder else ALL, "neutral", votes=votes))
    notes = [f"{missing:,} images of label.csv are not there."] if missing else []
    return inventory_of(walk, "FER+ with its votes in label.csv", pictures, notes, UNLISTED, lists)


def _votes(walk: Walk, file: File) -> dict[str, tuple[int, ...]]:
    """Read the votes by file name; empty if the file is another kind of list."""
    found: dict[str, tuple[int, ...]] = {}
    for row in csv.reader(_lines(walk, file)):
        votes = row[-len(FERPLUS_COLUMNS) :]
        if len(row) < len(FERPLUS_COLUMNS) + 1 or not all(_is_whole(vote) for vote in votes):
            if found:
                raise UserError(f"{walk.root / file.path}: {row} is no file name with {len(FERPLUS_COLUMNS)} numbers of votes.")
            continue  # a header
        if not all(0 <= float(vote) <= _MOST_VOTES for vote in votes):
            raise UserError(f"{walk.root / file.path}: {row} has a number of votes that is not from 0 to {_MOST_VOTES}.")
        found[row[0].strip()] = tuple(int(float(vote)) for vote in votes)
    return found


def _affectnet(walk: Walk) -> Inventory | None:
    """AffectNet as published: `<split>/images/1.jpg` with its class in `<split>/annotations/1_exp.npy`."""
    labels = {file.path: file for file in walk.others if file.name.endswith("_exp.npy")}
    if not labels:
        return None
    pictures, undecided = [], 0
    for file in walk.pictures:
        folder, _, images = file.path.rpartition("/")[0].rpartition("/")
        place = f"{folder}/annotations/{_stem(file.path.rpartition('/')[2])}_exp.npy".lstrip("/")
        if bare(images) != "images" or place not in labels:
            continue
        label = _stored_class(walk.root / place)
        if 0 <= label < len(AFFECTNET):
            pictures.append(Picture(file, file.parts[-3] if folder else ALL, AFFECTNET[label]))
        else:
            undecided += 1
    if not pictures:
        return None
    notes = [f"Classes 0 to 7 of AffectNet are {', '.join(AFFECTNET)}."]
    used = [file for file in walk.others if file.name.endswith(("_exp.npy", "_aro.npy", "_val.npy", "_lnd.npy"))]
    return inventory_of(walk, "AffectNet with its annotations", pictures, notes, UNLISTED, used, {UNDECIDED: undecided})


def _stored_class(path: Path) -> int:
    """Read the number of the class from an annotation of AffectNet, which stores it as text or as a number."""
    try:
        (value,) = np.load(path, allow_pickle=False).reshape(-1).tolist()
        return int(float(value))
    except (ValueError, OverflowError, EOFError, OSError) as error:
        raise UserError(f"{path}: not a number of a class ({error}). Copy the file again.") from error


def _ck_plus_sequences(walk: Walk) -> Inventory | None:
    """CK+ as published: sequences that go from neutral to the expression, some with a file that holds their emotion."""
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
        if not _is_whole(text) or not 0 <= int(float(text)) < len(CK_PLUS):
            raise UserError(f"{walk.root / file.path}: {text[:20]!r} is no class of CK+ from 0 to 7.")
        last = sorted(frames.get(sequence, []), key=lambda frame: frame.name)[-PEAK_FRAMES:]
        pictures += [Picture(frame, ALL, CK_PLUS[int(float(text))], sequence.partition("_")[0]) for frame in last]
    missing = len(labels.keys() - frames.keys())
    notes = [f"The last {PEAK_FRAMES} frames of each of the {len(labels) - missing:,} labelled sequences of CK+ are read."]
    notes += [f"{missing:,} of {len(labels):,} labelled sequences are not there."] if missing else []
    return inventory_of(walk, "CK+ with its emotion files", pictures, notes, UNLISTED, list(labels.values()))


def _jaffe(walk: Walk) -> Inventory | None:
    """JAFFE as published: one folder of pictures whose names give person and expression."""
    named = [(file, match) for file in walk.pictures if (match := JAFFE_NAME.match(file.name))]
    if len(named) < len(walk.pictures) / 2:
        return None
    folders = {file.parts[-2] for file, _ in named if len(file.parts) > 1}
    if len({class_key(folder) for folder in folders} & set(JAFFE.values())) > 1:
        return None  # the pictures are sorted into folders of classes, which count more than the names
    pictures = [Picture(file, _split_of(file), JAFFE[match[2].upper()], match[1].upper()) for file, match in named]
    notes = ["Persons and expressions are read from the file names of JAFFE."]
    return inventory_of(walk, "JAFFE by its file names", pictures, notes, "not named like JAFFE")


def _split_of(file: File) -> str:
    """The folder of a file if it has the name of a split, else the one split of all images."""
    folder = file.parts[-2] if len(file.parts) > 1 else ""
    return folder if split_part(folder) else ALL


def _lines(walk: Walk, file: File) -> Iterable[str]:
    try:
        content = (walk.root / file.path).read_bytes()
    except OSError as error:
        raise UserError(f"{walk.root / file.path} cannot be read ({error.strerror}). Change its permissions.") from error
    return io.StringIO(content.decode("utf-8-sig", "replace"))


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _is_whole(text: str) -> bool:
    try:
        return float(text) == int(float(text))
    except (ValueError, OverflowError):
        return False
