"""From what a person types as `source=` to the pictures, videos and cameras that are meant."""

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
"""A folder with this file holds what was made of earlier pictures; it is passed over when a folder above it is read."""


class Kind(Enum):
    """What frames come from."""

    picture = "picture"
    video = "video"
    camera = "camera"


@dataclass(frozen=True)
class Medium:
    """One picture, video or camera.

    Args:
        kind: what it is.
        told: how people know it.
        path: of the file; for a camera, its number.
        name: relative path that annotated copies get, before the suffix is settled.
    """

    kind: Kind
    told: str
    path: Path
    name: Path


@dataclass(frozen=True)
class Skipped:
    """Something that could not be read, or not to its end.

    Args:
        told: how people know it.
        reason: in words.
        partly: some of it was read.
    """

    told: str
    reason: str
    partly: bool = False

    def __str__(self) -> str:
        return f"{self.told}: {self.reason}"


def find(sources: Sequence[str]) -> tuple[list[Medium], list[Skipped]]:
    """Look up all sources.

    A name that exists is taken as it is, then as the number of a camera, then as a pattern (`*`, `?`, `[..]`, `**`). Folders are
    read with all below them, sorted, except what begins with a dot. What is named twice is taken once.

    Returns:
        What there is, in the order typed; and what there is not.
    """
    media: dict[Path, Medium] = {}
    skipped = []
    for source in sources:
        for found in _looked_up(source):
            if isinstance(found, Skipped):
                skipped.append(found)
            else:
                media.setdefault(found.path if found.kind is Kind.camera else found.path.resolve(), found)
    return list(media.values()), skipped


def printable(path: Path | str) -> str:
    """A name that can be printed even if it is not valid text."""
    return os.fsencode(path).decode(errors="replace")


def _looked_up(source: str) -> Iterator[Medium | Skipped]:
    path = Path(source).expanduser()
    if path.exists():
        yield from _existing(path)
    elif source.isdecimal():
        yield Medium(Kind.camera, f"camera {int(source)}", Path(str(int(source))), Path(f"camera-{int(source)}"))
    elif has_magic(source):
        matches = sorted(glob(str(path), recursive=True))
        for match in matches:
            yield from _existing(Path(match))
        if not matches:
            yield Skipped(printable(source), "nothing has such a name.")
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
    """Pictures and videos in a folder and all below it."""
    paths = []
    for place, folders, files in os.walk(folder):
        if RESULTS in files and Path(place) != folder:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(place, name) for name in files if not name.startswith(".")]
    return sorted(path for path in paths if path.suffix.lower() in PICTURES | VIDEOS)


def _file(path: Path, name: Path) -> Medium | Skipped:
    suffix = path.suffix.lower()
    if suffix in PICTURES and not (suffix in VIDEOS and _moves(path)):
        return Medium(Kind.picture, printable(path), path, name)
    if suffix in VIDEOS:
        return Medium(Kind.video, printable(path), path, name)
    known = ", ".join(sorted(PICTURES)) + "; " + ", ".join(sorted(VIDEOS))
    return Skipped(printable(path), f"'{suffix}' is neither a picture nor a video that can be read ({known}).")


def _moves(path: Path) -> bool:
    """Whether a file that may be a picture or a video, such as a .gif, has more than one frame."""
    try:
        with Image.open(path) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # Pillow raises no closed list; whoever decodes the file says what is wrong with it
        return False
