"""Caches parsed images on disk, so that a source is read once and later only mapped into memory.

An entry is a folder `<name>-<hash of its origin>` that appears whole or not at all. Images are written block by block as they
are read, so that a source may be larger than the memory.
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

from fer_ablate.data.faces import Bytes, FaceSet, Parsed, Progress, Reader, Rows, content_digest, pixel_hashes
from fer_ablate.errors import UserError

FORMAT = 3
"""Part of the hash of every entry; to be raised whenever a reader returns other results."""

UNOPENED = "cannot be opened"
"""Reason for which the system refuses a file; as it may pass, an entry that lacks a file for it is not kept."""

_LONGEST = 100  # bytes of a source's name in the name of its entry; most file systems allow 255 in all
_HEADER = 128  # bytes before the images, as numpy pads its own header
_POLL = 0.5  # seconds between two tries to get the lock


@dataclass(frozen=True)
class Origin:
    """The source that an entry was made from.

    Args:
        name: readable beginning of the folder's name.
        identity: everything that makes the entry stale when it changes.
    """

    name: str
    identity: str


@dataclass(frozen=True)
class Entry(FaceSet):
    """A set as it was read, with details that only the loader needs.

    Args:
        group_names: N names of the persons; empty if the source has none.
        votes: (N, 10) votes of FER+; None if the source has none.
    """

    group_names: tuple[str, ...] = ()
    votes: Rows | None = None


def file_origin(path: Path, reading: str = "") -> Origin:
    """Identify a file by its absolute path, size and time of change.

    Args:
        path: the file.
        reading: how it is read; one file may be read in several ways.
    """
    state = path.stat()
    return Origin(path.name.partition(".")[0], f"{path.resolve()} {state.st_size} {state.st_mtime_ns} {reading}".rstrip())


def files_origin(folder: Path, files: Sequence[str], states: Sequence[tuple[int, int]], reading: str) -> Origin:
    """Identify a folder by the list of its files with their sizes and times of change.

    Args:
        folder: the root.
        files: the files that are read, in order, relative to the root.
        states: size in bytes and time of change in nanoseconds of each file.
        reading: how the files are read.
    """
    listing = hashlib.sha256(f"{folder.resolve()} {reading}".encode(errors="surrogateescape"))
    for file, (size, changed) in zip(files, states, strict=True):
        listing.update(f"\n{file} {size} {changed}".encode(errors="surrogateescape"))
    return Origin(folder.name or "folder", listing.hexdigest())


def cached(cache_dir: Path, origin: Origin, read: Reader, progress: Progress | None = None) -> Entry:
    """Return the images of an origin, from the cache if it has a sound entry.

    Args:
        cache_dir: folder of all entries, shared by the runs of this machine; created if missing.
        origin: the source of the images.
        read: reads them; called under a lock, so that runs started together read only once.
        progress: called with 0.0 while another process reads.

    Raises:
        UserError: the folder cannot be written, the disk is full, an entry belongs to another user who does not let others read
            it, or `read` finds a fault in the source.
    """
    identity = hashlib.sha256(f"{FORMAT} {origin.identity}".encode(errors="surrogateescape")).hexdigest()[:16]
    folder = cache_dir / f"{origin.name.encode(errors='surrogateescape')[:_LONGEST].decode(errors='ignore')}-{identity}"
    if (faces := _load(folder)) is not None:
        return faces
    with _disk_errors_named(cache_dir):
        cache_dir.mkdir(parents=True, exist_ok=True)
        lock = _acquired(folder, progress)
    with lock:
        if (faces := _load(folder)) is None:
            _store(read, folder, cache_dir)
            faces = _load(folder)
        assert faces is not None, f"{folder} was just written"
        if UNOPENED in faces.left_out:
            shutil.rmtree(folder, ignore_errors=True)  # the images stay mapped
    return faces


def _acquired(folder: Path, progress: Progress | None) -> FileLock:
    """Wait for the lock of an entry; `progress` is called meanwhile, so that a display stays alive."""
    lock = FileLock(f"{folder}.lock", mode=0o666)  # other users of a shared cache need it too
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

    The file is written, not mapped: on a full disk a write raises an error, while touching a mapped page ends the process.
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
        # Version 1 of numpy's format: magic bytes, length of the header, and a dict that is padded with blanks.
        length = _HEADER - 10
        assert len(text) < length, self.shape
        self._stream.seek(0)
        self._stream.write(b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.ljust(length - 1) + b"\n")


def _store(read: Reader, folder: Path, cache_dir: Path) -> None:
    """Write an entry under a temporary name and rename it, so that a killed run leaves no half entry."""
    with _disk_errors_named(cache_dir):
        # Left by runs that were killed: whoever holds the lock is the only one that writes this entry.
        for left in cache_dir.glob(f"{folder.name}.part*"):
            shutil.rmtree(left, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part", dir=cache_dir))
        made.chmod(0o755)  # mkdtemp lets nobody else read it, but a cache may be shared
    try:
        with (made / "faces.npy").open("w+b") as stream:
            images = _Images(stream)
            parsed = read(lambda block: _appended(images, block, cache_dir))
            with _disk_errors_named(cache_dir):
                images.close()
        with _disk_errors_named(cache_dir):
            _write_facts(made, parsed)
            shutil.rmtree(folder, ignore_errors=True)  # an unsound entry
            made.replace(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _appended(images: _Images, block: Bytes, cache_dir: Path) -> None:
    with _disk_errors_named(cache_dir):
        images.append(block)


def _write_facts(made: Path, parsed: Parsed) -> None:
    """Write everything but the images; `_load` reads it."""
    faces = np.load(made / "faces.npy", mmap_mode="r")
    arrays: dict[str, NDArray[Any] | None] = {"labels": parsed.labels, "usage": parsed.usage, "votes": parsed.votes}
    for name, array in arrays.items():
        if array is not None:
            np.save(made / f"{name}.npy", array)
    np.save(made / "prints.npy", pixel_hashes(faces))
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
    """Read an entry; None if it is missing, damaged or was changed."""
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        names = json.loads((folder / "names.json").read_text(encoding="utf-8"))
        faces = np.load(folder / "faces.npy", mmap_mode="r")
        labels, usage = np.load(folder / "labels.npy"), np.load(folder / "usage.npy")
        votes = np.load(folder / "votes.npy") if (folder / "votes.npy").is_file() else None
        hashes = np.load(folder / "prints.npy")
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
        # The digest is part of the key of every run, so it must be that of the bytes in use. It takes 50 ms for FER2013.
        digest = content_digest(faces, parsed)
        if digest != facts["digest"] or len(hashes) != len(faces):
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
        hashes,
        parsed.groups,
        parsed.votes,
    )


@contextmanager
def _disk_errors_named(cache_dir: Path) -> Iterator[None]:
    """Turn errors of the disk into a message that names the key `data.cache_dir`."""
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
