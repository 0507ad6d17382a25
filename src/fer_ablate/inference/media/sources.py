"""Finds the pictures, videos and cameras that a person names by `source=`."""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from glob import glob, has_magic
from pathlib import Path

from PIL import Image

from fer_ablate.data.decode import SUFFIXES
from fer_ablate.data.sources.inventory import HIDDEN, not_read, printable, suffix
from fer_ablate.paths import expanded

PICTURES = frozenset(SUFFIXES)
VIDEOS = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp", ".gif"))

RESULTS = "predictions.jsonl"
"""A folder with this file holds copies of an earlier prediction; it is left out when a folder above it is read."""

# Reasons for which a part of a folder is left out, besides the suffix of a file and that it is hidden.
_EARLIER, _AGAIN = "folders of earlier predictions", "folders read by another path"
_NOTHING, _NO_FILE = "links to nothing", "pipes and devices"


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
    """A source, or a part of a folder, that could not be read or copied, or not in full.

    Args:
        display_name: name to show.
        reason: why, as a sentence.
        partly: whether it was read in part.
    """

    display_name: str
    reason: str
    partly: bool = False

    def __str__(self) -> str:
        return f"{self.display_name}: {self.reason}"


def find_media(sources: Sequence[str]) -> tuple[list[Medium], list[Skipped]]:
    """Find all sources.

    A name is taken as a file or folder if it exists, else as the number of a camera, else as a pattern (`*`, `?`, `[..]`, `**`).
    Folders are read with all folders below them, sorted, and links are followed; names that begin with a dot are left out.
    A source that is named twice is taken once.

    Returns:
        The media, in the order typed; and the sources that were not found, the folders that could not be listed, and for each
        folder how many of its files are left out and why.
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


def _looked_up(source: str) -> Iterator[Medium | Skipped]:
    path = expanded(source)
    error = _missing(path)
    if error is None:
        yield from _existing(path)
    elif source.isdecimal():
        yield Medium(MediumKind.camera, f"camera {int(source)}", Path(str(int(source))), Path(f"camera-{int(source)}"))
    elif has_magic(source):
        matches = [Path(match) for match in sorted(glob(str(path), recursive=True))]
        folders = {match for match in matches if os.path.isdir(match)}
        for match in matches:
            # A folder is read with all below it, which `**` matches as well.
            if folders.isdisjoint(match.parents):
                yield from _existing(match)
        if not matches:
            yield Skipped(printable(source), "no file matches this pattern.")
    elif isinstance(error, FileNotFoundError | NotADirectoryError):
        yield Skipped(printable(source), "there is no such file or folder.")
    else:
        yield Skipped(printable(source), f"cannot be read ({error.strerror}).")


def _missing(path: Path) -> OSError | None:
    """Why a path cannot be looked at; None if it can. `Path.exists` raises some of these errors and hides others."""
    try:
        os.stat(path)
    except OSError as error:
        return error
    except ValueError:  # not a possible name, such as one with a zero byte
        return FileNotFoundError()
    return None


def _existing(path: Path) -> Iterator[Medium | Skipped]:
    if not os.path.isdir(path):
        special = _special(path)
        yield Skipped(printable(path), f"{special} are not read.") if special else _file(path, Path(path.name))
        return
    left_out: Counter[str] = Counter()
    found, locked = _below(path, left_out)
    yield from locked
    yield from (_file(below, below.relative_to(path)) for below in found)
    counts = printable(not_read(left_out))
    if not found and not locked:
        yield Skipped(printable(path), "no pictures or videos are in this folder" + (f"; {counts}." if counts else "."))
    elif counts:
        yield Skipped(printable(path), f"{counts}.", partly=bool(found))


def _below(folder: Path, left_out: Counter[str]) -> tuple[list[Path], list[Skipped]]:
    """List the pictures and videos in a folder and all folders below it.

    Args:
        folder: where to look.
        left_out: reason -> number of files and folders; what is left out is added.

    Returns:
        The files, sorted; and the folders that cannot be listed.
    """
    paths: list[Path] = []
    locked: list[Skipped] = []
    read = {_identity(folder)}  # a link to one of these folders would give its files again, or never end

    def note(error: OSError) -> None:
        locked.append(Skipped(printable(error.filename), f"cannot be listed ({error.strerror}); nothing in it is read."))

    for place, folders, files in os.walk(folder, onerror=note, followlinks=True):
        if RESULTS in files and Path(place) != folder:
            left_out[_EARLIER] += 1
            folders.clear()  # os.walk goes only into the folders that stay in its list
            continue
        folders[:] = [name for name in sorted(folders) if not _counted(_folder_reason(Path(place, name), read), left_out)]
        paths += [Path(place, name) for name in files if not _counted(_file_reason(Path(place, name)), left_out)]
    return sorted(paths), locked


def _counted(reason: str, left_out: Counter[str]) -> bool:
    """Count a reason to leave something out; False if there is none. Hidden names, such as .DS_Store, nobody means to give."""
    if reason and reason != HIDDEN:
        left_out[reason] += 1
    return bool(reason)


def _folder_reason(path: Path, read: set[tuple[int, int] | None]) -> str:
    """Why a folder is left out; empty if it is not, and then it is added to those that are read."""
    if path.name.startswith("."):
        return HIDDEN
    own = _identity(path)
    if own is not None and own in read:
        return _AGAIN
    read.add(own)
    return ""


def _file_reason(path: Path) -> str:
    """Why a file in a folder is left out; empty if it is not."""
    if path.name.startswith("."):
        return HIDDEN
    if path.suffix.lower() not in PICTURES | VIDEOS:
        return suffix(path.name)
    return _special(path)


def _special(path: Path) -> str:
    """What something is that is neither a file nor a folder; empty for a file."""
    try:
        # Reading a pipe would wait for ever.
        return "" if stat.S_ISREG(os.stat(path).st_mode) else _NO_FILE
    except OSError:
        return _NOTHING if os.path.islink(path) else ""  # any other fault is named when the file is decoded


def _identity(folder: Path) -> tuple[int, int] | None:
    """What all paths to a folder share; None if it may not be looked at, which is told when it is listed."""
    try:
        state = os.stat(folder)
    except OSError:
        return None
    return state.st_dev, state.st_ino


def _file(path: Path, name: Path) -> Medium | Skipped:
    ending = path.suffix.lower()
    if ending in PICTURES and not (ending in VIDEOS and _moves(path)):
        return Medium(MediumKind.picture, printable(path), path, name)
    if ending in VIDEOS:
        return Medium(MediumKind.video, printable(path), path, name)
    known = ", ".join(sorted(PICTURES)) + "; " + ", ".join(sorted(VIDEOS))
    return Skipped(printable(path), f"'{ending}' is neither a picture nor a video that can be read ({known}).")


def _moves(path: Path) -> bool:
    """Whether a file that may be a picture or a video, such as a .gif, has more than one frame."""
    try:
        with Image.open(path) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # Pillow may raise anything; the fault is reported when the file is decoded
        return False
