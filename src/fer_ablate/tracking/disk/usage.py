"""The room that files and folders take on the disk."""

import os
from contextlib import suppress
from pathlib import Path


def bytes_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links count for nothing, and neither does what disappears meanwhile."""
    with suppress(OSError):
        if path.is_symlink():
            return 0
        if not path.is_dir():
            return path.stat().st_size
        with os.scandir(path) as entries:
            return sum(bytes_of(Path(entry.path)) for entry in entries)
    return 0


def spelled_bytes(number: int) -> str:
    """Bytes in the unit that a person would choose: `0 B`, `412 KiB`, `1.9 GiB`."""
    size, units = float(number), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size, _ = size / 1024, units.pop(0)
    return f"{size:.{1 if size < 10 and units[0] != 'B' else 0}f} {units[0]}"
