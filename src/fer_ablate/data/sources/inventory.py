"""What a source of picture files holds: one walk over a folder, and the pictures, splits and classes that a layout makes of it.

Everything that is not read is counted under its reason. How a folder is understood is in `layouts`, a list in `listing`.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fer_ablate.data.decode import SUFFIXES

DEEPEST = 16
"""Folders within each other that are followed; data sets have three or four."""

HIDDEN, RESOURCES, LOCKED, LOOP, DEEP = (
    "hidden",
    "__MACOSX",
    "folders without read permission",
    "links to a folder above",
    f"more than {DEEPEST} folders deep",
)
"""Reasons for which files or folders are passed over."""

NO_ENDING = "no ending"
ALL = "all"
"""Name of the one split of a set that has none."""


@dataclass(frozen=True)
class File:
    """A file below a folder.

    Args:
        path: relative to the folder, with `/`.
        size: in bytes.
        changed: time of the last change in nanoseconds.
    """

    path: str
    size: int
    changed: int

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Folders and the name."""
        return tuple(self.path.split("/"))

    @property
    def name(self) -> str:
        """Without the folders."""
        return self.parts[-1]


@dataclass(frozen=True)
class Walk:
    """All files of a folder.

    Args:
        root: the folder.
        pictures: files with the ending of a picture, sorted by path, so that a row number means the same image everywhere.
        others: the other files, sorted.
        passed: reason -> number of files or folders that were passed over without looking.
    """

    root: Path
    pictures: list[File]
    others: list[File]
    passed: Counter[str]


@dataclass(frozen=True)
class Picture:
    """A picture file of a data set.

    Args:
        file: where it lies.
        split: name of its split as the source spells it.
        label: name of its class as the source spells it.
        group: person, or what else it belongs to; empty if the source does not say.
        votes: in the order of `labels.FERPLUS_COLUMNS`; empty without.
    """

    file: File
    split: str
    label: str
    group: str = ""
    votes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Inventory:
    """What a source holds.

    Args:
        root: folder that the files' paths are relative to.
        layout: how it was understood, in words.
        pictures: in the order of their row numbers.
        left_out: reason -> number of files that are not read.
        notes: what a person should know, a sentence each.
    """

    root: Path
    layout: str
    pictures: Sequence[Picture]
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def walked(root: Path) -> Walk:
    """List all files below a folder; links are followed unless they lead back to a folder above.

    Raises:
        OSError: the folder itself cannot be listed.
    """
    pictures: list[File] = []
    others: list[File] = []
    passed: Counter[str] = Counter()
    for file in _files(root, passed):
        (pictures if ending(file.name) in SUFFIXES else others).append(file)
    return Walk(root, sorted(pictures, key=_order), sorted(others, key=_order), passed)


def ending(name: str) -> str:
    """Of a file's name, in lower case; `no ending` without one."""
    # Not by pathlib, which takes ten times as long; data sets have 100,000 files.
    return os.path.splitext(name)[1].lower() or NO_ENDING


def endings(files: Sequence[File]) -> Counter[str]:
    """Ending -> number of files."""
    return Counter(ending(file.name) for file in files)


def told(left_out: Mapping[str, int]) -> str:
    """What is left out, as in `2 files not read (.txt 1, unreadable 1)`; empty if nothing is."""
    total = sum(left_out.values())
    if not total:
        return ""
    listed = ", ".join(f"{reason} {count:,}" for reason, count in sorted(left_out.items()))
    return f"{total:,} file{'' if total == 1 else 's'} not read ({listed})"


def _order(file: File) -> tuple[str, ...]:
    return file.parts


def _files(root: Path, passed: Counter[str]) -> Iterator[File]:
    """All files that are not passed over, folder by folder."""
    waiting: list[tuple[str, str, tuple[tuple[int, int], ...]]] = [(str(root), "", (_identity(os.stat(root)),))]
    while waiting:
        place, prefix, above = waiting.pop()
        try:
            with os.scandir(place) as entries:
                found = list(entries)
        except OSError:
            if not prefix:
                raise
            passed[LOCKED] += 1
            continue
        for entry in found:
            if reason := _passed_over(entry.name):
                passed[reason] += 1
                continue
            try:
                state = entry.stat()
                folder = entry.is_dir()
            except OSError:  # a link to nothing
                passed["links to nothing"] += 1
                continue
            path = prefix + entry.name
            if not folder and not stat.S_ISREG(state.st_mode):  # a pipe would be waited for, a device read without end
                passed["pipes and devices"] += 1
            elif not folder:
                yield File(path, state.st_size, state.st_mtime_ns)
            elif (own := _identity(state)) in above:
                passed[LOOP] += 1
            elif len(above) > DEEPEST:
                passed[DEEP] += 1
            else:
                waiting.append((entry.path, f"{path}/", (*above, own)))


def _passed_over(name: str) -> str:
    if name.startswith("."):
        return HIDDEN
    return RESOURCES if name == RESOURCES else ""


def _identity(state: os.stat_result) -> tuple[int, int]:
    return state.st_dev, state.st_ino
