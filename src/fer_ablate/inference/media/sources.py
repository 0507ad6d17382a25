"""Finds the pictures, videos and cameras that a person names by `source=`."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from glob import glob, has_magic
from pathlib import Path

from PIL import Image

from fer_ablate.data.decode import SUFFIXES

PICTURES = frozenset(SUFFIXES)
VIDEOS = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp", ".gif"))

RESULTS = "predictions.jsonl"
"""A folder with this file holds copies of an earlier prediction; it is left out when a folder above it is read."""


class MediumKind(Enum):
    """What a medium is."""

    picture = "picture"
    video = "video"
    camera = "camera"


@dataclass(frozen=True)
class Medium:
    """One picture, video or camera.

    Args:
        kind: picture, video or camera.
        display_name: name to show, such as `camera 0`; always printable.
        path: path of the file; for a camera, its number.
        name: relative path for its annotated copy; its suffix may change.
    """

    kind: MediumKind
    display_name: str
    path: Path
    name: Path


@dataclass(frozen=True)
class Skipped:
    """A source that could not be read, or not to its end.

    Args:
        display_name: name to show.
        reason: why, as a sentence.
        partly: whether a part of it was read.
    """

    display_name: str
    reason: str
    partly: bool = False

    def __str__(self) -> str:
        return f"{self.display_name}: {self.reason}"


def find_media(sources: Sequence[str]) -> tuple[list[Medium], list[Skipped]]:
    """Find all sources.

    A name is taken as a file or folder if it exists, else as the number of a camera, else as a pattern (`*`, `?`, `[..]`, `**`).
    Folders are read with all folders below them, sorted; names that begin with a dot are left out. A source that is named twice
    is taken once.

    Returns:
        The media, in the order typed; and the sources that were not found.
    """
    media: dict[Path, Medium] = {}
    skipped = []
    for source in sources:
        for found in _looked_up(source):
            if isinstance(found, Skipped):
                skipped.append(found)
            else:
                # By its resolved path, so that links and `a/../b` name the same file.
                media.setdefault(found.path if found.kind is MediumKind.camera else found.path.resolve(), found)
    return list(media.values()), skipped


def printable(path: Path | str) -> str:
    """Make a file name printable even if it is not valid text."""
    return os.fsencode(path).decode(errors="replace")


def _looked_up(source: str) -> Iterator[Medium | Skipped]:
    path = Path(source).expanduser()
    if path.exists():
        yield from _existing(path)
    elif source.isdecimal():
        yield Medium(MediumKind.camera, f"camera {int(source)}", Path(str(int(source))), Path(f"camera-{int(source)}"))
    elif has_magic(source):
        matches = sorted(glob(str(path), recursive=True))
        for match in matches:
            yield from _existing(Path(match))
        if not matches:
            yield Skipped(printable(source), "no file matches this pattern.")
    else:
        yield Skipped(printable(source), "there is no such file or folder.")


def _existing(path: Path) -> Iterator[Medium | Skipped]:
    if not path.is_dir():
        yield _file(path, Path(path.name))
        return
    found = [_file(below, below.relative_to(path)) for below in _below(path)]
    if not found:
        yield Skipped(printable(path), "no pictures or videos are in this folder.")
    yield from found


def _below(folder: Path) -> list[Path]:
    """List the pictures and videos in a folder and all folders below it."""
    paths = []
    for place, folders, files in os.walk(folder):
        if RESULTS in files and Path(place) != folder:
            folders.clear()  # os.walk goes only into the folders that stay in its list
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(place, name) for name in files if not name.startswith(".")]
    return sorted(path for path in paths if path.suffix.lower() in PICTURES | VIDEOS)


def _file(path: Path, name: Path) -> Medium | Skipped:
    suffix = path.suffix.lower()
    if suffix in PICTURES and not (suffix in VIDEOS and _moves(path)):
        return Medium(MediumKind.picture, printable(path), path, name)
    if suffix in VIDEOS:
        return Medium(MediumKind.video, printable(path), path, name)
    known = ", ".join(sorted(PICTURES)) + "; " + ", ".join(sorted(VIDEOS))
    return Skipped(printable(path), f"'{suffix}' is neither a picture nor a video that can be read ({known}).")


def _moves(path: Path) -> bool:
    """Whether a file that may be a picture or a video, such as a .gif, has more than one frame."""
    try:
        with Image.open(path) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # Pillow may raise anything; the fault is reported when the file is decoded
        return False
