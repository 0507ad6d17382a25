"""Reads a list of pictures: a csv in which each row names a file, its label, and optionally its split and group."""

import csv
import io
import os
import re
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_ablate.config.schema import ColumnsConfig
from fer_ablate.data.classes import bare, class_key, split_part
from fer_ablate.data.decode import SUFFIXES
from fer_ablate.data.sources.inventory import ALL, File, Inventory, Picture, suffix
from fer_ablate.errors import UserError, choices

USUAL = {
    "file": (
        "file",
        "filename",
        "filepath",
        "path",
        "pth",
        "image",
        "imagepath",
        "imagename",
        "img",
        "imgpath",
        "subdirectoryfilepath",
        "name",
    ),
    "label": ("label", "emotion", "expression", "class", "classname", "target", "y"),
    "split": ("split", "usage", "subset", "set", "partition"),
    "group": ("group", "person", "subject", "subjectid", "personid", "identity", "participant"),
}
"""Key of `data.columns` -> names under which the column is found by default, in the spelling of `names.bare`."""

REQUIRED = ("file", "label")
MISSING, UNLABELLED, NO_PICTURE, TWICE = "not found", "without a label", "not a picture by their ending", "listed twice"
NO_LABELS = ("", "nan", "none", "null")
"""What programs write into an empty cell."""

LARGEST = 1 << 30
"""Size of the largest list that is read, in bytes; the list of AffectNet has 60 MB."""

_MOST_SPLITS = 50
DELIMITERS = ",;\t|"
_REMEDY = "Pass a csv with the columns file and label; faces in one file are read by data=fer2013."


@dataclass(frozen=True)
class _Table:
    """The rows of a list.

    Args:
        places: `file`, `label`, `split`, `group` -> index of the column; only columns that exist.
        rows: line number and fields of each row.
        notes: sentences for the user about the columns that were read.
    """

    places: Mapping[str, int]
    rows: Sequence[tuple[int, list[str]]]
    notes: tuple[str, ...]


def list_inventory(path: Path, columns: ColumnsConfig) -> Inventory:
    """Read a list of pictures and check that its files exist.

    Args:
        path: a csv with a header; its files are relative to its folder, or absolute.
        columns: names of its columns; those that are not given are found by their usual names.

    Raises:
        UserError: the list cannot be read, lacks a column or has it twice, names a file with two labels or splits, or none of
            its files exists.
    """
    table = _read(path, columns)
    left_out: Counter[str] = Counter()
    pictures: dict[str, Picture] = {}
    for _, fields in table.rows:
        file, label, split, group = (_field(fields, table.places.get(name)) for name in ("file", "label", "split", "group"))
        if label.lower() in NO_LABELS:
            left_out[UNLABELLED] += 1
        elif suffix(file) not in SUFFIXES:
            left_out[NO_PICTURE] += 1
        elif (found := _looked_up(path.parent, file)) is None:
            left_out[MISSING] += 1
        # Compared by their real paths: a file may be listed twice under different spellings or links.
        elif (real := os.path.realpath(path.parent / found.path)) in pictures:
            _require_same(path, pictures[real], _without_point(label), split or ALL)
            left_out[TWICE] += 1
        else:
            pictures[real] = Picture(found, split or ALL, _without_point(label), group)
    if not pictures:
        raise UserError(_no_pictures(path, table, left_out))
    splits = sorted({picture.split for picture in pictures.values()})
    if len(splits) > _MOST_SPLITS:
        raise UserError(
            f"{path}: the split column has {len(splits):,} values, such as {', '.join(splits[:3])}. Name another one by "
            "data.columns.split=..."
        )
    return Inventory(path.parent, f"a list ({path.name})", list(pictures.values()), dict(left_out), table.notes)


def _read(path: Path, columns: ColumnsConfig) -> _Table:
    lines = re.split(r"\r\n|\n|\r", text_of(path, _REMEDY))
    header_at = next((number for number, line in enumerate(lines) if line.strip() and not line.startswith("sep=")), None)
    if header_at is None:
        raise UserError(f"{path} is empty. Write a header such as file,label,split and a line for each picture.")
    # The header contains no data, so its most frequent delimiter is the one of the file.
    delimiter = max(DELIMITERS, key=lines[header_at].count)
    try:
        rows = list(csv.reader(io.StringIO("\n".join(lines[header_at:])), delimiter=delimiter))
    except csv.Error as error:
        raise UserError(f"{path} is no csv ({error}). Save it again as csv.") from error
    header = [name.strip() for name in rows[0]]
    places, unread = _places(path, header, columns)
    # An unclosed quote makes the csv reader swallow the following lines as one field.
    if (broken := next((number for number, row in enumerate(rows) if any("\n" in field for field in row)), None)) is not None:
        raise UserError(f"{path} row {broken + 1}: a quote is opened and not closed on its line. Correct that row.")
    filled = [(number, row) for number, row in enumerate(rows[1:], start=header_at + 2) if any(field.strip() for field in row)]
    named = ", ".join(f"{header[place]} as {name}" for name, place in places.items() if header[place] != name)
    return _Table(places, filled, (*((f"Columns read: {named}.",) if named else ()), *unread))


def text_of(path: Path, remedy: str) -> str:
    """Return the text of a list in UTF-8, UTF-16 or Latin-1.

    Raises:
        UserError: it cannot be read, is too large, or is no text; the message ends with `remedy`.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} has {path.stat().st_size / 1e9:.1f} GB, too much for a list of pictures. {remedy}")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}). {remedy}") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    if b"\0" in content[:4096]:
        raise UserError(f"{path} is no text. {remedy}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")  # never fails; only file names with accents can then be misspelled


def _places(path: Path, header: Sequence[str], columns: ColumnsConfig) -> tuple[dict[str, int], list[str]]:
    """Find the index of each column; also returns notes about columns that are not read although their name fits.

    Raises:
        UserError: a named column does not exist or occurs twice, or the files or labels have none.
    """
    names = [bare(name) for name in header]
    places: dict[str, int] = {}
    further: dict[str, list[int]] = {}
    for name, usual in USUAL.items():
        given = getattr(columns, name)
        if given is not None and bare(given) not in names:
            raise UserError(f"{path}: data.columns.{name}={given}: there is no such column. {choices(given, header)}")
        found = [one for one in usual if one in names] if given is None else [bare(given)]
        if found and (count := names.count(found[0])) > 1:
            raise UserError(f"{path}: {count} columns are called {found[0]!r}, expected one. Rename the others.")
        if found:
            places[name], *further[name] = map(names.index, found)
    if places.get("file") is not None and places.get("file") == places.get("label"):
        raise UserError(f"{path}: data.columns.file and data.columns.label are both {header[places['file']]}. Give two columns.")
    if "pixels" in names and "file" not in places:
        raise UserError(f"{path} holds the pixels themselves: read it by data=fer2013 data.path={path}.")
    if lacking := [name for name in REQUIRED if name not in places]:
        keys = " ".join(f"data.columns.{name}=..." for name in lacking)
        raise UserError(f"{path}: no column is called {' or '.join(lacking)}; there are {', '.join(header)}. Name it by {keys}")
    unread = {name: [repr(header[at]) for at in others if at not in places.values()] for name, others in further.items()}
    return places, [
        f"Column {header[places[name]]!r} is read as {name}; {' and '.join(others)} is not read."
        for name, others in unread.items()
        if others
    ]


def _field(fields: Sequence[str], place: int | None) -> str:
    return fields[place].strip() if place is not None and place < len(fields) else ""


def _looked_up(folder: Path, name: str) -> File | None:
    """Find the file of a row, also if its path was written on Windows; None if it does not exist."""
    for spelling in (name, name.replace("\\", "/")):
        try:
            state = os.stat(folder / spelling)
        except (OSError, ValueError):
            continue
        if not stat.S_ISREG(state.st_mode):
            return None
        return File(os.path.normpath(spelling), state.st_size, state.st_mtime_ns)
    return None


def _require_same(path: Path, known: Picture, label: str, split: str) -> None:
    same_split = known.split == split or split_part(known.split) == split_part(split) is not None
    for before, now, same in (
        (known.label, label, class_key(known.label) == class_key(label)),
        (known.split, split, same_split),
    ):
        if not same:
            raise UserError(
                f"{path}: {known.file.path} is listed as {before} and as {now}. Take one of the two lines out, or both."
            )


def _without_point(label: str) -> str:
    """Turn a class number that a program wrote as `3.0` into `3`."""
    return label.removesuffix(".0") if label.removesuffix(".0").isdigit() else label


def _no_pictures(path: Path, table: _Table, left_out: Counter[str]) -> str:
    if not table.rows:
        return f"{path} has a header but no rows. Write a line for each picture."
    counts = ", ".join(f"{reason} {count:,}" for reason, count in left_out.items())
    example = _field(table.rows[0][1], table.places["file"])
    return (
        f"{path}: none of its {len(table.rows):,} rows is a picture that is there ({counts}), such as {example!r}. Paths are "
        f"relative to {path.parent}. Move the list there, or name another column by data.columns.file=..."
    )
