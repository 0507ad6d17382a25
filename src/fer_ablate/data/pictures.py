"""Reads folders of images: `<split>/<class>/*`, and Kaggle's copy of FER2013 in that layout."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fer_ablate.data.faces import Parsed, Progress
from fer_ablate.errors import UserError
from fer_ablate.labels import EMOTIONS, PRIVATE, PUBLIC, SIDE, TRAINING, USAGES

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
_LAYOUT = "Expected <split>/<class>/<image>, such as train/happy/0001.png"
_GRAY_MODES = ("1", "L", "LA")
_DEEP_MODES = ("I", "F")  # and their variants: more than 8 bits, which Pillow would cut off at 255

# Kaggle's copies differ in the grammar of their class folders.
_EMOTION_OF = {name: index for index, name in enumerate(EMOTIONS)} | {
    "anger": 0,
    "disgusted": 1,
    "fearful": 2,
    "happiness": 3,
    "sadness": 4,
    "surprised": 5,
}


@dataclass(frozen=True)
class _Picture:
    path: Path
    split: str
    name: str  # of the class


def picture_files(folder: Path) -> list[Path]:
    """All `<split>/<class>/<image>` below a folder, sorted, so that a row number means the same image everywhere."""
    return sorted(path for path in folder.glob("*/*/*") if path.suffix.lower() in SUFFIXES)


def read_folder(folder: Path, progress: Progress | None = None) -> Parsed:
    """Read `<split>/<class>/*`; splits and classes keep the names of their folders, in alphabetical order.

    Images of several sizes are resized to the most frequent one; they stay gray if all are gray, else all become RGB.
    """
    pictures = [_Picture(path, path.parts[-3], path.parts[-2]) for path in _found(folder)]
    classes = tuple(sorted({picture.name for picture in pictures}))
    splits = tuple(sorted({picture.split for picture in pictures}))
    return _read(pictures, splits, {name: index for index, name in enumerate(classes)}, classes, progress)


def read_kaggle_folder(folder: Path, progress: Progress | None = None) -> Parsed:
    """Read Kaggle's `train/<emotion>/*` and `test/<emotion>/*`.

    The official splits are recovered from file names (`PrivateTest_123.jpg`). Where any image of `test` has no such
    name, which test images are public is unknown, and all of them form one split `test`.
    """
    files = _found(folder)
    if unknown := sorted({path.parts[-2] for path in files if path.parts[-2].lower() not in _EMOTION_OF}):
        raise UserError(
            f"{folder}: {unknown[0]!r} is not a class of FER2013; expected {', '.join(EMOTIONS)}. "
            "Other classes are read with data=folder."
        )
    named = {path: path.name.partition("_")[0] for path in files}
    official = all(named[path] in (PUBLIC, PRIVATE) for path in files if path.parts[-3] == "test")
    pictures = []
    for path in files:
        split = named[path] if official and path.parts[-3] == "test" else path.parts[-3]
        pictures.append(_Picture(path, TRAINING if split == "train" else split, path.parts[-2].lower()))
    present = {picture.split for picture in pictures}
    splits = (*(usage for usage in USAGES if usage in present), *sorted(present - set(USAGES)))
    return _read(pictures, splits, _EMOTION_OF, EMOTIONS, progress, side=SIDE)


def _found(folder: Path) -> list[Path]:
    files = picture_files(folder)
    if not files:
        nearer = any(path.suffix.lower() in SUFFIXES for pattern in ("*", "*/*") for path in folder.glob(pattern))
        seen = "its images are not in folders of splits and classes" if nearer else "no images below it"
        raise UserError(
            f"{folder}: {seen}. {_LAYOUT}; pass the folder of the splits as data.path=... Read are {', '.join(SUFFIXES)}."
        )
    return files


def _read(
    pictures: Sequence[_Picture],
    splits: tuple[str, ...],
    index_of: dict[str, int],
    classes: tuple[str, ...],
    progress: Progress | None,
    side: int | None = None,
) -> Parsed:
    size, mode = _form([picture.path for picture in pictures], side)
    width, height = size
    faces = np.empty((len(pictures), len(mode), height, width), np.uint8)  # "L" has one letter, "RGB" three
    resized = 0
    for row, picture in enumerate(pictures):
        image = _image(picture.path, mode)
        if image.size != size:
            image, resized = image.resize(size, Image.Resampling.BILINEAR), resized + 1
        faces[row] = np.asarray(image, np.uint8).reshape(height, width, len(mode)).transpose(2, 0, 1)
        if progress is not None and row % 256 == 0:
            progress(row / len(pictures))
    labels = np.array([index_of[picture.name] for picture in pictures], np.int64)
    usage = np.array([splits.index(picture.split) for picture in pictures], np.uint8)
    notes = (f"{resized:,} of {len(pictures):,} images had another size than {width}x{height} and were resized.",)
    return Parsed(faces, labels, usage, splits, classes, notes if resized else ())


def _form(paths: Sequence[Path], side: int | None) -> tuple[tuple[int, int], str]:
    """Common (width, height) and Pillow mode of all images; `side` fixes both to a square of gray."""
    if side is not None:
        return (side, side), "L"
    sizes: Counter[tuple[int, int]] = Counter()
    gray = True
    for path in paths:
        with _opened(path) as image:
            sizes[image.size] += 1
            gray = gray and image.mode in _GRAY_MODES
    return sizes.most_common(1)[0][0], "L" if gray else "RGB"


def _image(path: Path, mode: str) -> Image.Image:
    try:
        with _opened(path) as image:
            return image.convert(mode)
    except (OSError, SyntaxError) as error:  # Pillow reports a cut file so, only when its pixels are read
        raise _unreadable(path, error) from error


def _opened(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if image.mode.startswith(_DEEP_MODES):
        image.close()
        raise UserError(f"{path} has more than 8 bits per channel (Pillow mode {image.mode}). Save it with 8 bits.")
    return image


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} cannot be read as an image ({error}). Replace it, or take it out of the folder.")
