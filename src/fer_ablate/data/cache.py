"""Keeps parsed images on disk, so that a source is read once and mapped into memory ever after.

An entry is a folder `<name>-<hash of what it was made from>`; it appears whole or not at all. Images go to disk block by block
as they are read, so that a source may be larger than the memory.
"""

import errno
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from fer_ablate.data.faces import Bytes, FaceSet, Parsed, Progress, Reader, Rows, content_digest
from fer_ablate.data.prints import prints_of
from fer_ablate.errors import UserError

FORMAT = 2
"""Part of every entry's hash; a reader whose results change must raise it."""

_HEADER = 128  # bytes before the images; numpy's own header takes as many, padded
_POLL = 0.5  # seconds between two looks at the lock of another process


@dataclass(frozen=True)
class Origin:
    """What an entry was made from.

    Args:
        name: for a person who looks into the folder.
        identity: everything that, when changed, makes the entry stale.
    """

    name: str
    identity: str


@dataclass(frozen=True)
class Entry(FaceSet):
    """A set as it was read, with what only the loader asks for.

    Args:
        group_names: N names of the persons; empty where the source names none.
        votes: (N, 10) votes of FER+; None where there are none.
    """

    group_names: tuple[str, ...] = ()
    votes: Rows | None = None


def file_origin(path: Path, reading: str = "") -> Origin:
    """A file is the same one while its absolute path, size and time of change are.

    Args:
        path: the file.
        reading: how it is read, since one file may be read in more than one way.
    """
    state = path.stat()
    return Origin(path.name.partition(".")[0], f"{path.resolve()} {state.st_size} {state.st_mtime_ns} {reading}".rstrip())


def files_origin(folder: Path, files: Sequence[str], states: Sequence[tuple[int, int]], reading: str) -> Origin:
    """A folder is the same one while its list of files, with their sizes and times of change, is.

    Args:
        folder: the root.
        files: what counts, in order, relative to the root.
        states: size in bytes and time of change in nanoseconds of each.
        reading: how the files are read.
    """
    listing = hashlib.sha256(f"{folder.resolve()} {reading}".encode())
    for file, (size, changed) in zip(files, states, strict=True):
        listing.update(f"\n{file} {size} {changed}".encode(errors="surrogateescape"))
    return Origin(folder.name or "folder", listing.hexdigest())


def cached(cache_dir: Path, origin: Origin, read: Reader, progress: Progress | None = None) -> Entry:
    """Give the images of an origin, read only if no sound entry is there.

    Args:
        cache_dir: shared by all runs of this machine; made if missing.
        origin: what the images come from.
        read: reads them; called under a lock, so that runs started together read once.
        progress: called with 0.0 while another process reads.

    Raises:
        UserError: the folder cannot be written or is full, an entry of another user may not be read, or the source is wrong.
    """
    folder = cache_dir / f"{origin.name}-{hashlib.sha256(f'{FORMAT} {origin.identity}'.encode()).hexdigest()[:16]}"
    if (faces := _load(folder)) is not None:
        return faces
    with _usable(cache_dir):
        cache_dir.mkdir(parents=True, exist_ok=True)
        lock = _acquired(folder, progress)
    with lock:
        if (faces := _load(folder)) is None:
            _store(read, folder, cache_dir)
            faces = _load(folder)
    assert faces is not None, f"{folder} was just written"
    return faces


def _acquired(folder: Path, progress: Progress | None) -> FileLock:
    lock = FileLock(f"{folder}.lock", mode=0o666)  # for the other users of a shared cache, as far as their umask allows
    while True:
        try:
            lock.acquire(timeout=_POLL)
        except Timeout:
            if progress is not None:
                progress(0.0)
        else:
            return lock


class _Images:
    """An array file that grows block by block; its header, with the number of images, is written last.

    Written, not mapped: on a full disk a write says so, where a touched page of a mapped file would end the process.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._stream.write(b"\0" * _HEADER)
        self.shape: tuple[int, ...] = (0,)

    def append(self, block: Bytes) -> None:
        """Write the next images (n, C, H, W)."""
        if len(block):
            self._stream.write(np.ascontiguousarray(block, np.uint8).data)
            self.shape = (self.shape[0] + len(block), *block.shape[1:])

    def close(self) -> None:
        """Write the header."""
        described = {"descr": "|u1", "fortran_order": False, "shape": self.shape}
        text = repr(described).encode()
        # Version 1 of numpy's format: magic, length of the rest, a dict padded with blanks to a full line.
        length = _HEADER - 10
        assert len(text) < length, self.shape
        self._stream.seek(0)
        self._stream.write(b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.ljust(length - 1) + b"\n")


def _store(read: Reader, folder: Path, cache_dir: Path) -> None:
    """Write an entry beside its place and move it there, so that a killed run leaves no half entry."""
    with _usable(cache_dir):
        for left in cache_dir.glob(f"{folder.name}.part*"):  # of runs that were killed: whoever reads now holds the lock
            shutil.rmtree(left, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part", dir=cache_dir))
        made.chmod(0o755)  # others may read what is in a shared cache
    try:
        with (made / "faces.npy").open("w+b") as stream:
            images = _Images(stream)
            parsed = read(lambda block: _appended(images, block, cache_dir))
            with _usable(cache_dir):
                images.close()
        with _usable(cache_dir):
            _write_facts(made, parsed)
            shutil.rmtree(folder, ignore_errors=True)  # an unsound entry
            made.replace(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _appended(images: _Images, block: Bytes, cache_dir: Path) -> None:
    with _usable(cache_dir):
        images.append(block)


def _write_facts(made: Path, parsed: Parsed) -> None:
    faces = np.load(made / "faces.npy", mmap_mode="r")
    arrays: dict[str, NDArray[Any] | None] = {"labels": parsed.labels, "usage": parsed.usage, "votes": parsed.votes}
    for name, array in arrays.items():
        if array is not None:
            np.save(made / f"{name}.npy", array)
    np.save(made / "prints.npy", prints_of(faces))
    facts = {
        "digest": content_digest(faces, parsed),
        "splits": parsed.splits,
        "classes": parsed.classes,
        "notes": parsed.notes,
        "left_out": dict(parsed.left_out),
    }
    (made / "facts.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
    names = {"files": parsed.files, "groups": parsed.groups}
    (made / "names.json").write_text(json.dumps(names), encoding="utf-8")


def _load(folder: Path) -> Entry | None:
    """The entry, or None if it is missing or not what was written."""
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        names = json.loads((folder / "names.json").read_text(encoding="utf-8"))
        faces = np.load(folder / "faces.npy", mmap_mode="r")
        labels, usage = np.load(folder / "labels.npy"), np.load(folder / "usage.npy")
        votes = np.load(folder / "votes.npy") if (folder / "votes.npy").is_file() else None
        prints = np.load(folder / "prints.npy")
        parsed = Parsed(
            labels,
            usage,
            tuple(facts["splits"]),
            tuple(facts["classes"]),
            tuple(names["files"]),
            tuple(names["groups"]),
            votes,
            dict(facts["left_out"]),
            tuple(facts["notes"]),
        )
        # The digest is part of the key of every run: it must be that of the bytes used. It takes some 50 ms for FER2013.
        digest = content_digest(faces, parsed)
        if digest != facts["digest"] or len(prints) != len(faces):
            return None
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, EOFError):
        return None
    except PermissionError as error:
        raise UserError(
            f"data.cache_dir: {folder} is another user's and may not be read ({error.strerror}). "
            "Ask its owner for read permission, or pass data.cache_dir=..., or set FER_ABLATE_CACHE."
        ) from error
    return Entry(
        faces,
        parsed.labels,
        None,
        parsed.usage,
        parsed.splits,
        parsed.classes,
        np.arange(len(parsed.labels)),
        digest,
        parsed.notes,
        parsed.files,
        None,
        parsed.left_out,
        prints,
        parsed.groups,
        parsed.votes,
    )


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
