"""Keeps parsed images on disk, so that a source is read once and mapped into memory ever after.

An entry is a folder `<name>-<hash of what it was made from>`; it appears whole or not at all.
"""

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from fer_ablate.data.faces import FaceSet, Parsed
from fer_ablate.errors import UserError

FORMAT = 1
"""Part of every entry's hash; a reader whose results change must raise it."""


@dataclass(frozen=True)
class Origin:
    """What an entry was made from.

    Args:
        name: for a person who looks into the folder.
        identity: everything that, when changed, makes the entry stale.
    """

    name: str
    identity: str


def file_origin(path: Path) -> Origin:
    """A file is the same one while its absolute path, size and time of change are."""
    state = path.stat()
    return Origin(path.name.partition(".")[0], f"{path.resolve()} {state.st_size} {state.st_mtime_ns}")


def folder_origin(folder: Path, files: list[Path], reading: str) -> Origin:
    """A folder is the same one while its list of files, with their sizes and times of change, is.

    Args:
        folder: the root.
        files: what counts, sorted.
        reading: how the folder is read, since one folder may be read in more than one way.
    """
    listing = hashlib.sha256(f"{folder.resolve()} {reading}".encode())
    for file in files:
        state = file.stat()
        listing.update(f"\n{file.relative_to(folder)} {state.st_size} {state.st_mtime_ns}".encode())
    return Origin(folder.name or "folder", listing.hexdigest())


def cached(cache_dir: Path, origin: Origin, parse: Callable[[], Parsed]) -> FaceSet:
    """Give the images of an origin, parsed only if no sound entry is there.

    Args:
        cache_dir: shared by all runs of this machine; made if missing.
        origin: what the images come from.
        parse: reads them; called under a lock, so that runs started together parse once.
    """
    folder = cache_dir / f"{origin.name}-{hashlib.sha256(f'{FORMAT} {origin.identity}'.encode()).hexdigest()[:16]}"
    if (faces := _load(folder)) is not None:
        return faces
    with _usable(cache_dir):
        cache_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{folder}.lock").acquire()
    with lock:
        if (faces := _load(folder)) is None:
            parsed = parse()
            with _usable(cache_dir):
                _store(parsed, folder)
            faces = _load(folder)
    assert faces is not None, f"{folder} was just written"
    return faces


def _store(parsed: Parsed, folder: Path) -> None:
    """Write an entry beside its place and move it there, so that a killed run leaves no half entry."""
    made = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(made, ignore_errors=True)  # of a run that was killed
    try:
        made.mkdir()
        for name in ("faces", "labels", "usage"):
            np.save(made / f"{name}.npy", getattr(parsed, name))
        facts = {"digest": parsed.digest(), "splits": parsed.splits, "classes": parsed.classes, "notes": parsed.notes}
        (made / "facts.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # an unsound entry
        made.replace(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _load(folder: Path) -> FaceSet | None:
    """The entry, or None if it is missing or not what was written."""
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        splits, classes, notes = tuple(facts["splits"]), tuple(facts["classes"]), tuple(facts["notes"])
        faces = np.load(folder / "faces.npy", mmap_mode="r")
        labels, usage = np.load(folder / "labels.npy"), np.load(folder / "usage.npy")
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, EOFError):
        return None
    # The digest is part of the key of every run: it must be that of the bytes used. It takes some 50 ms for FER2013.
    digest = Parsed(faces, labels, usage, splits, classes).digest()
    if digest != facts["digest"]:
        return None
    return FaceSet(faces, labels, None, usage, splits, classes, np.arange(len(labels)), digest, notes)


@contextmanager
def _usable(cache_dir: Path) -> Iterator[None]:
    """Turn what the disk complains about into a message that names the key."""
    try:
        yield
    except OSError as error:
        raise _unusable(cache_dir, error) from error


def _unusable(cache_dir: Path, error: OSError) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = "the disk is full"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        what = "it cannot be written"
    else:
        what = str(error)
    return UserError(
        f"data.cache_dir={cache_dir}: {what}. Parsed images are kept there (83 MB for FER2013). "
        "Pass data.cache_dir=..., or set FER_ABLATE_CACHE to a folder with room."
    )
