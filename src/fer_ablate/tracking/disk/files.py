"""Reads and writes files so that each is whole or absent: written beside the target, then renamed. Errors name the file."""

import errno
import json
import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from fer_ablate.errors import UserError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

MOST_BYTES = 50_000_000
"""Of a text file of a run; the history of 100,000 epochs has half of it."""

LONGEST_REASON = 300
"""Letters of a parser's message, which may quote the file."""

PARTIAL = ".partial"
"""End of the names of files that are being written."""

OLD_SECONDS = 3600.0
"""Age at which an unfinished file counts as left over, whoever writes it: no file of a run takes that long."""

_WRITER = re.compile(r"\.(?P<host>[\w-]+)\.(?P<pid>\d+)$")

REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EFBIG: "the file would be larger than the system allows",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.EEXIST: "a part of this path is a file, not a folder",
    errno.EISDIR: "it is a folder",
    errno.ENAMETOOLONG: "a name in it is too long",
    errno.ENOENT: "this folder cannot be made",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
}
"""Errors of the operating system that a person can mend."""


def write_error(path: Path, error: OSError, way_out: str = "choose another folder by runs_dir=...") -> UserError:
    """The error for people when `path` could not be written."""
    reason = REASONS.get(error.errno or 0, str(error))
    return UserError(f"Cannot write {path}: {reason}. Make room or allow writing there, or {way_out}")


def writer_name() -> str:
    """`host.4711`, the end of a name that says which process writes there; see `is_left`."""
    return f"{_host()}.{os.getpid()}"


def is_left(name: str) -> bool:
    """Whether what a process of this machine writes was left by one that is gone.

    Args:
        name: ends with the `writer_name` of the process; other names say nothing about it.
    """
    writer = _WRITER.search(name)
    # Only this machine's processes can be looked for: a shared disk has writers on others too.
    return writer is not None and writer["host"] == _host() and not _exists(int(writer["pid"]))


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > OLD_SECONDS
    except OSError:
        return False  # it is whole by now, or gone


def sweep(folder: Path, alone: bool = False) -> None:
    """Remove the unfinished files in a folder that were left by processes that were killed.

    They are those of this machine's processes that are gone, and those that have not changed for `OLD_SECONDS`.

    Args:
        folder: need not exist.
        alone: whether no other process can be writing there, so that all unfinished files are left over.
    """
    # What cannot be removed takes up space and does no harm.
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            name = entry.name
            if name.startswith(".") and name.endswith(PARTIAL):
                path = Path(entry.path)
                if alone or is_left(name.removesuffix(PARTIAL)) or _is_old(path):
                    path.unlink(missing_ok=True)


@cache
def _swept(folder: Path, pid: int) -> None:
    """Sweep a folder once in each process: whatever is left was left before it began."""
    sweep(folder)


@cache
def _host() -> str:
    return re.sub(r"[^\w-]+", "-", socket.gethostname())


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 only checks that the process exists
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # it is another user's
    return True


def changed_at(path: Path) -> int | None:
    """Time of the last change of a file in nanoseconds; None if it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


Times = Mapping[Path, int | None]
"""File -> time of its last change, as `changed_at`."""


def is_new(path: Path, before: Times) -> bool:
    """Whether a file is there and has changed since these times were taken; one without a time is new."""
    at = changed_at(path)
    return at is not None and at != before.get(path)


def partial_file(path: Path) -> Path:
    """Where a file is written before it gets its name: in the same folder, and by process, since several may write it."""
    return path.with_name(f".{path.name}.{writer_name()}{PARTIAL}")


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Replace `path` by what `write` puts into a stream, or leave it as it was.

    Args:
        path: the file; its folder is made if missing.
        write: fills the stream.

    Raises:
        UserError: the disk is full, read-only or forbidden.
    """
    partial = partial_file(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _swept(path.parent, os.getpid())
        try:
            with partial.open("wb") as stream:
                write(stream)
                stream.flush()
                # Otherwise a power failure could leave the new name with no content.
                os.fsync(stream.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Replace `path` by this text."""
    write_atomically(path, lambda stream: stream.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by this value as indented JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_text(path: Path) -> str:
    """The text of a file of a run.

    Raises:
        UserError: the file is missing, no text, or larger than any that is written here.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Train the run again (force=true), or name another.") from error
    if len(content) > MOST_BYTES:
        raise UserError(f"{path} is damaged: it has more than {MOST_BYTES:,} bytes. Train the run again with force=true.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged: not UTF-8 text ({error.reason}). Train the run again with force=true.") from error


def is_cut(path: Path) -> bool:
    """Whether a stored JSON object does not end as one, as a crash of the machine can leave it; told without reading it."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(path.stat().st_size - 16, 0))
            return not stream.read().rstrip().endswith(b"}")
    except OSError:
        return False  # reading it says why


def read_json(path: Path, build: Callable[[dict[str, Any]], Any]) -> Any:
    """Read a JSON file and give its content to `build`.

    Raises:
        UserError: the file is missing, not JSON, or has other fields than `build` expects.
    """
    text = read_text(path)
    try:
        return build(json.loads(text))
    # Python's parser calls itself for each list within a list.
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = "; ".join(str(error).splitlines()[:3])[:LONGEST_REASON]
        raise UserError(
            f"{path} is damaged or of another version ({type(error).__name__}: {reason}). Train the run again with force=true."
        ) from error


def read_dataclass(path: Path, kind: type[T]) -> T:
    """Read a dataclass that was stored as JSON, with the type of every field checked: a file may have been edited.

    Raises:
        UserError: the file is missing, not JSON, or has other fields or types.
    """
    return cast(T, read_json(path, lambda stored: checked(kind, stored)))


def checked(kind: type[T], stored: dict[str, Any]) -> T:
    """Build a dataclass from plain values.

    Raises:
        ValueError: a field is missing, unknown, or of another type.
    """
    if unknown := stored.keys() - {one.name for one in fields(cast(Any, kind))}:
        raise ValueError(f"unknown fields {', '.join(sorted(map(str, unknown)))}")
    return check_types(kind, stored)


def check_types(kind: type[T], stored: Any) -> T:
    """Plain values as a type such as `dict[str, int]` takes them; `ValueError` if it does not."""
    return cast(T, _adapter(cast(Any, kind)).validate_python(stored))


@cache
def _adapter(kind: Any) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter  # a tenth of a second, which only those who read should wait for

    return TypeAdapter(kind)
