"""Reads and writes files so that each is whole or absent: written beside the target, then renamed. Errors name the file."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from fer_ablate.errors import UserError

REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EFBIG: "the file would be larger than the system allows",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.ENOENT: "this folder cannot be made",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
}
"""Errors of the operating system that a person can mend."""


def write_error(path: Path, error: OSError) -> UserError:
    """The error for people when `path` could not be written."""
    reason = REASONS.get(error.errno or 0, str(error))
    return UserError(f"Cannot write {path}: {reason}. Make room or allow writing there, or choose another folder by runs_dir=...")


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Replace `path` by what `write` puts into a stream, or leave it as it was.

    Args:
        path: the file; its folder is made if missing.
        write: fills the stream.

    Raises:
        UserError: the disk is full, read-only or forbidden.
    """
    # In the same folder, since renaming is atomic only within a file system; by process, since several may write.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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


def read_json(path: Path, build: Callable[[dict[str, Any]], Any]) -> Any:
    """Read a JSON file and give its content to `build`.

    Raises:
        UserError: the file is missing, not JSON, or has other fields than `build` expects.
    """
    try:
        return build(json.loads(path.read_text()))
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Train the run again (force=true), or name another.") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} is damaged or of another version ({reason}). Train the run again with force=true.") from error
