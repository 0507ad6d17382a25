"""Run folders on their way between machines that share no disk: which files travel, packed as arrays, and put in place again.

A run folder is trained on one machine and kept on another. While the run is trained its small files follow, so that whoever
watches sees its epochs, and now and then its checkpoints, so that another machine can resume it. The rest follows at the end.
"""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fer_ablate.data.faces import Bytes
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.files import write_atomically
from fer_ablate.tracking.disk.log import LOG
from fer_ablate.tracking.disk.progress_file import PROGRESS
from fer_ablate.tracking.disk.run_folder import LOCK, NOTES, OWNER, RunFolder
from fer_ablate.training.result import BEST, LAST

Stamp = tuple[int, int]
"""Size in bytes and time of change in nanoseconds: another one means another content."""

BYTES_PER_SECOND = 1e6
"""How fast the checkpoints of one run may travel on average while it is trained: those of 5 MB every five seconds."""

LONGEST_LOG = 1 << 20
"""Bytes of a log that still travels while the run is trained."""

_STAY = (LOCK, OWNER)
_BRIEF = (PROGRESS, "failure.json", "pruned.json", "upload.pending")
"""Files whose absence means something."""

_FOLLOW = ("run.json", "config.yaml", "metrics.csv", LOG, *_BRIEF)
"""Files that travel while the run is trained; a result has to wait for what belongs to it."""

_STATE = (f"checkpoints/{LAST}", f"checkpoints/{BEST}")
"""The state to resume from. In this order: a run writes them the other way round, so that a newer best one does no harm."""

_NAMES_PLACES = (NOTES, "failure.json", LOG)
"""Files in which the run's own folder may be named."""


@dataclass(frozen=True)
class Parcel:
    """Files of a run folder.

    Args:
        files: name relative to the folder -> content as (n,) bytes.
        stamps: name -> stamp, of every file that the receiver has once these have arrived.
        absent: files that are not there although their presence would mean something.
        origin: path of the folder that they were taken from.
    """

    files: dict[str, Bytes]
    stamps: dict[str, Stamp]
    absent: tuple[str, ...]
    origin: str

    @property
    def has_state(self) -> bool:
        """Whether a checkpoint to resume from is among the files."""
        return _STATE[0] in self.files


def state_is_due(folder: RunFolder, seconds: float) -> bool:
    """Whether the checkpoints may travel again, so many seconds after they last did; see `BYTES_PER_SECOND`."""
    sizes = [stamp[0] for stamp in (_stamp(folder.path / name) for name in _STATE) if stamp is not None]
    return sum(sizes) <= BYTES_PER_SECOND * seconds


def pack_running(folder: RunFolder, known: Mapping[str, Stamp], state: bool) -> Parcel:
    """What has changed in a folder while its run is trained.

    Args:
        folder: of the run.
        known: name -> stamp of the files that the receiver has.
        state: whether the checkpoints travel too; one without the other would not fit it.
    """
    names = [name for name in _FOLLOW if name != LOG or _size(folder.log_file) <= LONGEST_LOG]
    return _pack(folder, [*(_STATE if state else ()), *names], known)


def pack_ended(folder: RunFolder, known: Mapping[str, Stamp]) -> Parcel:
    """Everything that the receiver lacks of a run that has ended.

    A finished one leaves the state to resume from behind, unless `trainer.save_last` keeps it.
    """
    found = (file.relative_to(folder.path).as_posix() for file in sorted(folder.path.rglob("*")) if file.is_file())
    hidden = [name for name in found if not name.rpartition("/")[2].startswith(".") and name not in _STAY]
    without_state = folder.finished and not folder.keeps_state
    return _pack(folder, [name for name in hidden if not (without_state and name == _STATE[0])], known)


def pack_unfinished(folder: RunFolder) -> Parcel | None:
    """What another machine needs to go on with a run; None if it never began."""
    known = folder.begun or folder.last_checkpoint.is_file()  # one that continues a shorter run has a state before it begins
    return _pack(folder, [*_STATE, "run.json", "metrics.csv", LOG], {}) if known else None


def unpack(parcel: Parcel, folder: RunFolder, place: Path | None = None) -> None:
    """Put the files of a parcel into a folder, the result last, since it is what makes a run finished.

    Args:
        parcel: the files.
        folder: where they are put.
        place: where the folder will be at last, as its files name it; None: where it is.

    Raises:
        UserError: the disk is full, read-only or forbidden.
    """
    for name in sorted(parcel.files, key=lambda name: (name == folder.result_file.name, name)):
        content = _renamed(name, parcel.files[name], parcel.origin, str(place or folder.path))
        target = folder.path / name
        # A file that is the same already keeps its time of change, by which whoever watches tells old epochs from new ones.
        if not _holds(target, content):
            write_atomically(target, partial(_write, content))
    for name in parcel.absent:
        (folder.path / name).unlink(missing_ok=True)


def replace_with(parcel: Parcel, folder: RunFolder, place: Path | None = None) -> None:
    """Empty a folder that nobody trains, then put the files of a parcel into it, see `unpack`."""
    shutil.rmtree(folder.path, ignore_errors=True)
    unpack(parcel, folder, place)


def take_up(folder: RunFolder, sent: Parcel | None) -> None:
    """Leave in a folder the further of what this machine and another one have of a run; neither trains it now.

    Args:
        folder: of the run on this machine.
        sent: what the other machine has, see `pack_unfinished`; None if it knows nothing of the run, which is begun anew then.
    """
    if sent is None:
        # What is here is of a run that was deleted there.
        shutil.rmtree(folder.path, ignore_errors=True)
        return
    theirs = RunFolder(folder.path.with_name("sent"))
    replace_with(sent, theirs, folder.path)
    try:
        same = folder.begun and folder.header.attempt == theirs.header.attempt
        keep = same and folder.last_checkpoint.is_file() and len(folder.history) >= len(theirs.history)
    except UserError:  # damaged by whatever ended the run
        keep = False
    if not keep:
        shutil.rmtree(folder.path, ignore_errors=True)
        theirs.path.replace(folder.path)
    shutil.rmtree(theirs.path, ignore_errors=True)
    folder.remove_failure_files()


def _write(content: Bytes, stream: BinaryIO) -> None:
    stream.write(content.data)


def _pack(folder: RunFolder, names: list[str], known: Mapping[str, Stamp]) -> Parcel:
    files: dict[str, Bytes] = {}
    stamps = dict(known)
    for name in names:
        path = folder.path / name
        # Before the content, so that a file that changes in between counts as changed the next time.
        stamp = _stamp(path)
        if stamp is None or stamp == known.get(name):
            continue
        with suppress(FileNotFoundError):  # progress.json goes when the training ends
            files[name] = np.fromfile(path, np.uint8)
            stamps[name] = stamp
    return Parcel(files, stamps, tuple(name for name in _BRIEF if not (folder.path / name).is_file()), str(folder.path))


def _renamed(name: str, content: Bytes, origin: str, here: str) -> Bytes:
    """The content of a file with the places in it as they are on this machine."""
    if name not in _NAMES_PLACES or origin == here:
        return content
    return np.frombuffer(content.tobytes().replace(origin.encode(), here.encode()), np.uint8)


def _holds(path: Path, content: Bytes) -> bool:
    return _size(path) == len(content) and path.is_file() and path.read_bytes() == content.tobytes()


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _size(path: Path) -> int:
    stamp = _stamp(path)
    return stamp[0] if stamp is not None else 0
