"""What a source of picture files holds: the files of a folder, and the pictures, splits and classes that a layout finds in them.

Every file that is not read is counted under a reason. `layouts` and `published` read folders, `listing` reads lists.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fer_ablate.data.decode import SUFFIXES
from fer_ablate.errors import UserError

DEEPEST = 16
"""Levels of folders that are searched; data sets have three or four."""

HIDDEN, RESOURCES, LOCKED, LOOP, DEEP = (
    "hidden",
    "__MACOSX",
    "folders without read permission",
    "links to a folder above",
    f"more than {DEEPEST} folders deep",
)
"""Reasons for which files or folders are skipped."""

MOST_SPLITS = 256
"""Splits of a set at most: the number of its split is one byte of each image."""

NO_SUFFIX = "no ending"
ALL = "all"
"""Name of the only split of a set without splits."""

EXPECTED = (
    "Expected <split>/<class>/<image>, such as train/happy/0001.png, or <class>/<image>; pass the folder of the splits or "
    "classes as data.path=..., or a csv with the columns file and label as data=list data.path=..."
)
"""End of every message about a folder in which no classes are found."""


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
        """Folders and name, in letters that can be written anywhere; `path` alone opens the file."""
        return tuple(printable(self.path).split("/"))

    @property
    def name(self) -> str:
        """Name without the folders."""
        return self.parts[-1]


@dataclass(frozen=True)
class Walk:
    """All files of a folder.

    Args:
        root: the folder.
        pictures: files with the suffix of a picture, sorted by path, so that a row number means the same image on every machine.
        others: the other files, sorted by path.
        passed: reason -> number of files or folders that were skipped without looking into them.
        folders: folders that were searched, without the root.
    """

    root: Path
    pictures: list[File]
    others: list[File]
    passed: Counter[str]
    folders: Sequence[str]


@dataclass(frozen=True)
class Picture:
    """A picture file of a data set.

    Args:
        file: the file.
        split: name of its split as the source spells it.
        label: name of its class as the source spells it.
        group: the person, or whatever else keeps images together; empty if the source does not say.
        votes: numbers of votes in the order of `labels.FERPLUS_COLUMNS`; empty if the source has none.
    """

    file: File
    split: str
    label: str
    group: str = ""
    votes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Inventory:
    """The pictures of a source, and what else was found in it.

    Args:
        root: folder that the files' paths are relative to.
        layout: how the source was read, in words for a message.
        pictures: in the order of their row numbers.
        left_out: reason -> number of files that are not read.
        notes: sentences for the user about how the source was read.
    """

    root: Path
    layout: str
    pictures: Sequence[Picture]
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def walk_folder(root: Path) -> Walk:
    """List all files below a folder; links are followed unless they lead back to a folder above.

    Raises:
        OSError: the folder itself cannot be listed.
    """
    pictures: list[File] = []
    others: list[File] = []
    passed: Counter[str] = Counter()
    folders: list[str] = []
    for file in _files(root, passed, folders):
        (pictures if suffix(file.name) in SUFFIXES else others).append(file)
    return Walk(root, sorted(pictures, key=_order), sorted(others, key=_order), passed, folders)


def inventory_of(
    walk: Walk,
    layout: str,
    pictures: Iterable[Picture],
    notes: Sequence[str],
    reason: str,
    used: Sequence[File] = (),
    other_reasons: Mapping[str, int] | None = None,
) -> Inventory:
    """Make an inventory that accounts for every file of a folder.

    Args:
        walk: all files of the folder.
        layout: how the folder was read, in words.
        pictures: the pictures to read.
        notes: sentences for the user.
        reason: why the other pictures are left out.
        used: files other than pictures that were read.
        other_reasons: further reasons -> number of pictures left out for them.

    Raises:
        UserError: there are no pictures to read.
    """
    chosen = sorted(pictures, key=lambda picture: _order(picture.file))
    if not chosen:
        raise UserError(f"{walk.root}: recognised as {layout}, but none of its {len(walk.pictures):,} pictures fits. {EXPECTED}")
    explained = Counter(dict(other_reasons or {}))
    rest = len(walk.pictures) - len({picture.file.path for picture in chosen}) - explained.total()
    known = set(used)
    ignored = suffix_counts([file for file in walk.others if file not in known])
    # Adding counters drops the reasons that no file has.
    counts = walk.passed + ignored + Counter({reason: rest}) + explained
    return Inventory(walk.root, layout, chosen, dict(counts), tuple(notes))


def printable(path: str | Path) -> str:
    r"""Return a path with `\xe9` in place of a byte that is not UTF-8, for which Python has a letter that cannot be written."""
    return os.fsencode(path).decode(errors="backslashreplace")


def suffix(name: str) -> str:
    """Return the suffix of a file's name in lower case; `no ending` for a name without one."""
    # os.path takes a tenth of pathlib's time, and data sets have 100,000 files.
    return os.path.splitext(name)[1].lower() or NO_SUFFIX


def suffix_counts(files: Sequence[File]) -> Counter[str]:
    """Count the files with each suffix."""
    return Counter(suffix(file.name) for file in files)


def not_read(left_out: Mapping[str, int]) -> str:
    """List what was left out, as in `2 files not read (.txt 1, unreadable 1)`; empty if nothing was."""
    total = sum(left_out.values())
    if not total:
        return ""
    listed = ", ".join(f"{reason} {count:,}" for reason, count in sorted(left_out.items()))
    return f"{total:,} file{'' if total == 1 else 's'} not read ({listed})"


def _order(file: File) -> list[str]:
    return file.path.split("/")


def _files(root: Path, passed: Counter[str], folders: list[str]) -> Iterator[File]:
    """Yield the files below a folder, count in `passed` what is skipped, and list in `folders` what is searched."""
    # A stack instead of recursion; each folder carries the identities of those above it, to detect links that lead back.
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
        locked = 0
        for entry in found:
            if reason := _skipped_by_name(entry.name):
                passed[reason] += 1
                continue
            try:
                state = entry.stat()
                folder = entry.is_dir()
            except PermissionError:  # a folder may be listed but not entered, or a link leads into a locked one
                locked = 1
                continue
            except OSError:  # a link to nothing
                passed["links to nothing"] += 1
                continue
            path = prefix + entry.name
            if not folder and not stat.S_ISREG(state.st_mode):  # reading a pipe would block, a device may have no end
                passed["pipes and devices"] += 1
            elif not folder:
                yield File(path, state.st_size, state.st_mtime_ns)
            elif (own := _identity(state)) in above:
                passed[LOOP] += 1
            elif len(above) > DEEPEST:
                passed[DEEP] += 1
            else:
                folders.append(path)
                waiting.append((entry.path, f"{path}/", (*above, own)))
        passed[LOCKED] += locked


def _skipped_by_name(name: str) -> str:
    """The reason to skip a file or folder because of its name; empty if there is none."""
    if name.startswith("."):
        return HIDDEN
    return RESOURCES if name == RESOURCES else ""


def _identity(state: os.stat_result) -> tuple[int, int]:
    return state.st_dev, state.st_ino
