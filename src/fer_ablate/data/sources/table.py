"""Reads a table of faces such as FER2013's: one row per face with its emotion, its pixels as text, and its split.

FER2013 is 300 MB of digits, so whole batches of rows are converted at once. Only a batch with anything else than plain
digits is read again row by row, to accept other spellings of numbers and to name the line that is wrong.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np

from fer_ablate.data import classes
from fer_ablate.data.faces import Bytes, Parsed, Progress, Write
from fer_ablate.data.sources import table_pixels
from fer_ablate.data.sources.archives import GLANCE, TABLES, opened
from fer_ablate.data.sources.inventory import ALL
from fer_ablate.data.sources.table_columns import Columns, find_columns, has_pixels, names_delimiter
from fer_ablate.data.sources.table_lines import Batch, Lines, join_quoted
from fer_ablate.data.sources.table_pixels import shown
from fer_ablate.errors import UserError
from fer_ablate.labels import EMOTIONS, EMOTIONS_8, SIDE, USAGES

_CONTEMPT = EMOTIONS_8.index("contempt")
_MOST_ROWS = 2_000_000  # AffectNet has one million; a small archive could unpack to billions
_AROUND = " \t\"'"  # characters around a label or the name of a split that are ignored
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,9}(\.0*)?")
_USAGE_OF = dict(zip(("train", "val", "test"), range(len(USAGES)), strict=True))


def read_table(path: Path, write: Write, progress: Progress | None = None) -> Parsed:
    """Read `fer2013.csv`, Kaggle's `icml_face_data.csv` or another table of that kind, packed or not.

    Columns are found by name. Labels are numbers in the order of `labels.EMOTIONS_8`, or names of emotions. Without a column
    of splits every row belongs to the split `all`. Faces are square, and all have the size of the first one.

    Args:
        path: the file, or an archive that holds it.
        write: called with blocks of faces (n, 1, side, side) in the order of the file.
        progress: called now and then with the fraction of the file that has been read, from 0 to 1.

    Raises:
        UserError: the file is not such a table, is damaged, or a line cannot be read; the message names the line.
    """
    with opened(path) as table:
        lines = Lines(table.read, path.name)
        columns, batches = _columns(lines.batches(), path)
        rows = _Rows(columns, path.name)
        for batch in join_quoted(batches, columns.delimiter, path.name):
            write(rows.add(*batch))
            if len(rows.labels) > _MOST_ROWS:
                raise UserError(
                    f"{path} has more than {_MOST_ROWS:,} rows, more than any collection of faces. Pass another table."
                )
            if progress is not None:
                progress(table.fraction())
        members = table.members
    if not rows.labels:
        raise UserError(f"{path} has a header but no rows. Copy or download the file again.")
    left_out = {"empty lines": lines.empty, "other columns": columns.others}
    return Parsed(
        np.array(rows.labels, np.int64),
        np.array(rows.usage, np.uint8),
        (ALL,) if columns.usage is None else USAGES,
        EMOTIONS if max(rows.labels) < len(EMOTIONS) else EMOTIONS_8,
        left_out={what: count for what, count in left_out.items() if count},
        notes=(*_members_note(members), *columns.notes, *rows.notes()),
    )


def looks_like_table(path: Path) -> bool:
    """Whether a file, once unpacked, begins with a line that names a column of pixels; reads little and never raises."""
    try:
        with opened(path, searched=GLANCE) as table:
            _, lines = next(Lines(table.read, path.name, chunk=GLANCE).batches(), ((), []))
    except UserError:
        return False
    return any(has_pixels(line) for line in lines[:2])  # the first one may be `sep=;`


def _columns(batches: Iterator[Batch], path: Path) -> tuple[Columns, Iterator[Batch]]:
    """Read the columns from the first line; also returns the lines below it."""
    number, header, batches = _first_line(batches, path.name)
    if names_delimiter(header):
        number, header, batches = _first_line(batches, path.name)
    return find_columns(header, f"{path.name} line {number}", path), batches


def _first_line(batches: Iterator[Batch], name: str) -> tuple[int, bytes, Iterator[Batch]]:
    numbers, lines = next(batches, ((), []))
    if not lines:
        raise UserError(f"{name} is empty: no line in it holds anything. Copy or download the file again.")
    below = [(numbers[1:], lines[1:])] if len(lines) > 1 else []
    return numbers[0], lines[0], chain(below, batches)


def _members_note(members: tuple[str, ...]) -> tuple[str, ...]:
    if not members or PurePosixPath(members[-1]).name.lower() in TABLES:
        return ()
    return (f"The table was found in the archive as {' in '.join(reversed(members))}.",)


class _Rows:
    """Converts batches of rows to faces, and collects their labels and splits."""

    def __init__(self, columns: Columns, name: str) -> None:
        self._columns, self._name = columns, name
        self._side = 0  # of a face in pixels; known from the first row on
        self._expected = ""  # number of pixels, in words for messages
        self._label_of: dict[bytes, int] = {}  # every spelling met so far -> its class
        self._usage_of: dict[bytes, int] = {}
        self._by_name: bool | None = None  # whether the labels are names; None before the first row
        self.labels: list[int] = []
        self.usage: list[int] = []

    def add(self, numbers: Sequence[int], lines: list[bytes]) -> Bytes:
        """Return the faces (n, 1, side, side) of some lines, and keep their labels and splits."""
        columns, texts = self._columns, []
        for number, line in zip(numbers, lines, strict=True):
            fields = line.split(columns.delimiter)
            if len(fields) != columns.width or b'"' in line:
                fields = columns.fields(line, self._where(number))
            self.labels.append(self._label(fields[columns.emotion], number))
            self.usage.append(0 if columns.usage is None else self._usage(fields[columns.usage], number))
            texts.append(fields[columns.pixels].strip(b' "'))
        if not self._side:
            self._side = table_pixels.side_of(texts[0], self._where(numbers[0]))
            as_in = "" if self._side == SIDE else f", as in line {numbers[0]}"
            self._expected = f"{self._side**2} ({self._side}x{self._side}{as_in})"
        return self._pixels(numbers, texts).reshape(-1, 1, self._side, self._side)

    def notes(self) -> Iterator[str]:
        """Yield sentences about what was read in another way than a user may expect."""
        if self._columns.usage is None:
            yield "The table has no column Usage, so val and test are drawn from all its rows."
        if self._side != SIDE:
            yield f"The faces are {self._side}x{self._side}; those of FER2013 are {SIDE}x{SIDE}."
        if self._by_name or _CONTEMPT not in self.labels:
            return
        yield f"Label {_CONTEMPT} is read as contempt ({len(EMOTIONS_8)} classes)."
        if 0 not in self.labels:
            yield f"No label is 0 ({EMOTIONS_8[0]}). If the labels count from 1, all are misread: subtract 1, or write names."

    def _pixels(self, numbers: Sequence[int], texts: list[bytes]) -> Bytes:
        """Convert the pixels of some rows to (n, side * side) numbers: fast, then with other spellings, then row by row."""
        count = self._side**2
        if (pixels := table_pixels.parse_batch(texts, count)) is not None:
            return pixels
        texts = [table_pixels.plain(text) for text in texts]
        if (pixels := table_pixels.parse_batch(texts, count)) is not None:
            return pixels
        rows = zip(numbers, texts, strict=True)
        return np.stack([table_pixels.parse_row(text, count, self._expected, self._where(number)) for number, text in rows])

    def _label(self, given: bytes, number: int) -> int:
        if (label := self._label_of.get(given)) is None:
            label = self._label_of[given] = self._new_label(given, number)
        return label

    def _new_label(self, given: bytes, number: int) -> int:
        text = given.decode("utf-8", "replace").strip(_AROUND)
        by_name = _WHOLE_NUMBER.fullmatch(text) is None
        emotion = classes.emotion(text)
        label = (-1 if emotion is None else EMOTIONS_8.index(emotion)) if by_name else int(float(text))
        if not 0 <= label < len(EMOTIONS_8):
            order = ", ".join(f"{index} {name}" for index, name in enumerate(EMOTIONS_8))
            raise UserError(
                f"{self._where(number)}: emotion is {shown(given.strip())}, expected 0 to {len(EMOTIONS_8) - 1} ({order}) "
                "or such a name. Correct the line; if the labels mean something else, write names in their place."
            )
        if self._by_name not in (None, by_name):
            raise UserError(
                f"{self._where(number)}: emotion is {shown(given.strip())}, but the lines before have "
                f"{'names' if self._by_name else 'numbers'}. Write all labels in one of the two ways."
            )
        self._by_name = by_name
        return label

    def _usage(self, given: bytes, number: int) -> int:
        if (usage := self._usage_of.get(given)) is None:
            part = classes.split_part(given.decode("utf-8", "replace"))
            if part is None:
                raise UserError(
                    f"{self._where(number)}: Usage is {shown(given.strip(_AROUND.encode()))}, expected "
                    f"{', '.join(USAGES[:-1])} or {USAGES[-1]} (also train, val or test). Correct the line, or remove the column."
                )
            usage = self._usage_of[given] = _USAGE_OF[part]
        return usage

    def _where(self, number: int) -> str:
        return f"{self._name} line {number}"
