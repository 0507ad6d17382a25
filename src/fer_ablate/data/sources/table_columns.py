"""Finds the columns of a table by their names, and splits its lines into fields."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from fer_ablate.data.classes import bare
from fer_ablate.errors import UserError

EMOTION, PIXELS, USAGE = "emotion", "pixels", "usage"
_NAMES = {
    EMOTION: ("emotion", "emotions", "label", "labels", "class", "expression"),
    PIXELS: ("pixels", "pixel"),
    USAGE: ("usage", "split", "set", "subset"),
}
"""Names of each column, the likeliest first; case, blanks, underscores and quotes are ignored."""

_DELIMITERS = (b",", b";", b"\t", b"|")
_PIXEL_COLUMN = re.compile(r"(pixel|px|p)?\d+")
_SEPARATE = 16  # with so many columns called pixel0, pixel1, ... each one holds a single pixel
_OF_FERPLUS = {"neutral", "contempt", "nf"}
_NUMBERS = re.compile(rb"(?:\d[\s,.;|]+){4}\d|(?:\d+\s+){4}")


@dataclass(frozen=True)
class Columns:
    """Positions of the columns in a line.

    Args:
        delimiter: character between fields.
        width: number of columns that the header names.
        emotion: position of the label.
        pixels: position of the pixels.
        usage: position of the split; None without such a column.
        notes: sentences about columns that are not read although their name fits, such as `label` beside `emotion`.
    """

    delimiter: bytes
    width: int
    emotion: int
    pixels: int
    usage: int | None
    notes: tuple[str, ...] = ()

    @property
    def others(self) -> int:
        """Number of columns that are not read."""
        return self.width - (2 if self.usage is None else 3)

    def fields(self, line: bytes, where: str) -> list[bytes]:
        """Split a line at its delimiters, except for those within quotes or brackets.

        Args:
            line: a line below the header.
            where: file and line, for messages.

        Raises:
            UserError: the line has more or fewer fields than the header.
        """
        fields = line.split(self.delimiter)
        if b'"' in line and (len(fields) != self.width or any(field.count(b'"') % 2 for field in fields)):
            # One field more than expected is enough to see that there are too many, even in a line of a million quotes.
            found = islice(_quoted(self.delimiter).finditer(self.delimiter + line), self.width + 1)
            fields = [match[2] if match[1] is None else match[1] for match in found]
        if len(fields) > self.width and b"[" in line:
            fields = _BRACKETS.sub(lambda match: match[0].replace(self.delimiter, b" "), line).split(self.delimiter)
        # Spreadsheets end lines with empty fields; these are cut off.
        if not any(field.strip() for field in fields[self.width :]):
            fields = fields[: self.width]
        if len(fields) != self.width and b"\0" in line:
            raise UserError(f"{where}: zero bytes in place of text: the file is damaged. Copy or download it again.")
        if len(fields) > self.width:
            raise UserError(
                f"{where}: more columns than the {self.width} of the header. "
                f"Put fields that hold {_spelled(self.delimiter)} in quotes, and name every column in the header."
            )
        if len(fields) < self.width:
            raise UserError(f"{where}: {len(fields)} columns, expected {self.width} as in the header. Is the line cut short?")
        return fields


_BRACKETS = re.compile(rb"\[[^\[\]]*\]")


@cache
def _quoted(delimiter: bytes) -> re.Pattern[bytes]:
    """Build a pattern for a delimiter and its field: up to the next delimiter, or in quotes, where two quotes mean one."""
    end = re.escape(delimiter)
    return re.compile(rb'%s *(?:"([^"]*(?:""[^"]*)*)" *(?=%s|\Z)|([^%s]*))' % (end, end, end))


def has_pixels(header: bytes) -> bool:
    """Whether the first line of a file names a column of pixels."""
    return any(name in _NAMES[PIXELS] for delimiter in _DELIMITERS for name in _bare_names(header, delimiter))


def names_delimiter(line: bytes) -> bool:
    """Whether a line is `sep=;` or the like, which Excel writes above the header; it is skipped, as the header is enough."""
    return re.fullmatch(rb'"?sep=[,;\t|]"?[,;\t|]*', line.strip(b" ")) is not None


def find_columns(header: bytes, where: str, path: Path) -> Columns:
    """Find the columns by their names.

    Args:
        header: the line with the names.
        where: file and line, for messages.
        path: path of the file, for messages.

    Raises:
        UserError: there is no column of labels or of pixels, or a name occurs twice.
    """
    known = {name for names in _NAMES.values() for name in names}
    found = {delimiter: _bare_names(header, delimiter) for delimiter in _DELIMITERS}
    # The delimiter is the one that gives the most known names, and of equal ones the most columns.
    delimiter = max(_DELIMITERS, key=lambda each: (len(known & set(found[each])), len(found[each])))
    names = found[delimiter]
    places = {column: _places(names, column, where) for column in _NAMES}
    if not places[PIXELS]:
        raise _no_pixels(header, delimiter, where, path)
    if not places[EMOTION]:
        raise UserError(
            f"{where}: no column of labels (called emotion, label, class or expression), only {_listed(header, delimiter)}. "
            "Images without labels cannot be trained or tested on; pass a table that has them."
        )
    notes = tuple(
        f"Column {names[at[0]]!r} is read as {column}; {' and '.join(repr(names[other]) for other in at[1:])} is not read."
        for column, at in places.items()
        if len(at) > 1
    )
    usage = places[USAGE][0] if places[USAGE] else None
    return Columns(delimiter, len(names), places[EMOTION][0], places[PIXELS][0], usage, notes)


def _bare_names(header: bytes, delimiter: bytes) -> list[str]:
    """Names of the columns as `names.bare` spells them, without the empty ones at the end of a line."""
    names = [bare(name) for name in header.decode("utf-8", "replace").split(delimiter.decode())]
    while names and not names[-1]:
        names.pop()
    return names


def _places(names: Sequence[str], column: str, where: str) -> list[int]:
    """Positions of all columns with a fitting name, the likeliest first."""
    for name in _NAMES[column]:
        if names.count(name) > 1:
            raise UserError(f"{where}: {names.count(name)} columns are called {name!r}, expected one. Rename the others.")
    return [names.index(name) for name in _NAMES[column] if name in names]


def _no_pixels(header: bytes, delimiter: bytes, where: str, path: Path) -> UserError:
    names = _bare_names(header, delimiter)
    separate = sum(_PIXEL_COLUMN.fullmatch(column) is not None for column in names)
    if set(names) >= _OF_FERPLUS:
        return UserError(
            f"{where}: these are the votes of FER+, which name no pixels. "
            f"Pass the table of FER2013 as data.path=... and this file as data.ferplus_path={path}."
        )
    if separate >= _SEPARATE:
        return UserError(
            f"{where}: the pixels are in {separate:,} columns of their own, expected one column pixels with the numbers "
            "of a face in it, separated by blanks. Join them."
        )
    if _NUMBERS.search(header[:1000]):
        return UserError(
            f"{where} holds numbers, expected the names of the columns. "
            "Put a line such as emotion,pixels,Usage first, in the order of the columns."
        )
    return UserError(
        f"{where}: no column of pixels; the columns are {_listed(header, delimiter)}, expected emotion, pixels and Usage. "
        f"A list of files and their labels is read with data=list data.path={path}."
    )


def _listed(header: bytes, delimiter: bytes) -> str:
    names = [name.strip(" \"'") for name in header.decode("utf-8", "replace").split(delimiter.decode())]
    more = f" and {len(names) - 8:,} more" if len(names) > 8 else ""
    return ", ".join(repr(name[:30]) for name in names[:8]) + more


def _spelled(delimiter: bytes) -> str:
    return "a tab" if delimiter == b"\t" else repr(delimiter.decode())
