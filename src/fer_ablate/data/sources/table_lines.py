"""Splits the bytes of a table into batches of lines: any line end and encoding, no empty lines, quoted fields in one piece.

Lines are numbered as in an editor, from 1 and with the empty ones.
"""

import codecs
from collections.abc import Callable, Iterator, Sequence

from fer_ablate.data.sources import first_bytes
from fer_ablate.errors import UserError

Batch = tuple[Sequence[int], list[bytes]]
"""Line numbers, and the lines without their line ends."""

LONGEST = 16 << 20
"""Longest line that is read, in bytes: a picture of 1024x1024 pixels with up to 16 bytes each."""

CHUNK = 4 << 20
_MOST_EMPTY = 1_000_000  # a few bytes of an archive can unpack to billions of them
_BLANK = b" \t\x0b\x0c,;|\"'"
"""Characters of a line that counts as empty; spreadsheets end their tables with lines of delimiters."""


class Lines:
    """Reads a table line by line.

    Args:
        read: takes a number of bytes and returns the next ones.
        name: name of the file, for messages.
        chunk: bytes to read at a time; None for `CHUNK`.
    """

    def __init__(self, read: Callable[[int], bytes], name: str, chunk: int | None = None) -> None:
        self._read, self._name, self._chunk = read, name, chunk or CHUNK
        self.empty = 0
        """Number of empty lines so far."""

    def batches(self) -> Iterator[Batch]:
        """Yield the lines that are not empty, about `CHUNK` bytes at a time.

        Raises:
            UserError: a line is longer than `LONGEST`, or there are too many empty lines.
        """
        number, rest = 1, b""
        for chunk in self._utf8():
            whole, newline, rest = _one_line_end(rest + chunk)
            if newline:
                self._check_length(whole, number)
                yield from self._not_empty(number, whole)
                number += whole.count(b"\n") + 1
            self._check_length(rest, number)
        if rest := rest.rstrip(b"\r"):
            yield from self._not_empty(number, rest)

    def _utf8(self) -> Iterator[bytes]:
        """Yield the text in UTF-8; one-byte encodings are passed on unchanged, as only ASCII characters matter."""
        chunk = self._read(self._chunk)
        encoding = first_bytes.encoding(chunk[: first_bytes.ENOUGH])
        if encoding in (None, "utf-8"):
            chunk = chunk.removeprefix(codecs.BOM_UTF8)
            while chunk:
                yield chunk
                chunk = self._read(self._chunk)
            return
        assert encoding is not None
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        while chunk:
            yield decoder.decode(chunk).encode("utf-8", "replace")
            chunk = self._read(self._chunk)

    def _check_length(self, text: bytes, number: int) -> None:
        if len(text) > LONGEST:  # only the first line can be too long: the others came within one chunk
            line = text.partition(b"\n")[0]
            if len(line) > LONGEST:
                raise _too_long(f"{self._name} line {number}", line)

    def _not_empty(self, first: int, whole: bytes) -> Iterator[Batch]:
        lines = whole.split(b"\n")
        full = [offset for offset, line in enumerate(lines) if line.strip(_BLANK)]
        self.empty += len(lines) - len(full)
        if self.empty > _MOST_EMPTY:
            raise UserError(f"{self._name} has more than {_MOST_EMPTY:,} empty lines, so this is no table. Pass another file.")
        if len(full) == len(lines):
            yield range(first, first + len(lines)), lines
        elif full:
            yield [first + offset for offset in full], [lines[offset] for offset in full]


def join_quoted(batches: Iterator[Batch], delimiter: bytes, name: str) -> Iterator[Batch]:
    """Join lines where a quoted field contains line ends; the joined line keeps the number of the first one.

    Args:
        batches: the lines of a table.
        delimiter: character between its fields.
        name: name of the file, for messages.

    Raises:
        UserError: a quote is never closed.
    """
    begun: list[bytes] = []
    begun_at, begun_bytes = 0, 0
    for numbers, lines in batches:
        # The usual table has no quotes at all: its batches pass without looking at single lines.
        if not begun and not any(b'"' in line for line in lines):
            yield numbers, lines
            continue
        out_numbers, out_lines = [], []
        for number, line in zip(numbers, lines, strict=True):
            if begun:
                begun.append(line)
                begun_bytes += len(line) + 1
                if begun_bytes > LONGEST:
                    raise _unclosed(f"{name} line {begun_at}")
                if line.count(b'"') % 2:
                    out_numbers.append(begun_at)
                    out_lines.append(b" ".join(begun))
                    begun = []
            elif _opens(line, delimiter):
                begun, begun_at, begun_bytes = [line], number, len(line)
            else:
                out_numbers.append(number)
                out_lines.append(line)
        if out_lines:
            yield out_numbers, out_lines
    if begun:
        raise _unclosed(f"{name} line {begun_at}")


def _opens(line: bytes, delimiter: bytes) -> bool:
    """Whether the last field begins with a quote that is not closed; quotes within a word do not count."""
    if line.count(b'"') % 2 == 0:
        return False
    before = line[: line.rfind(b'"')].rstrip(b" ")
    return not before or before.endswith(delimiter)


def _one_line_end(text: bytes) -> tuple[bytes, bytes, bytes]:
    """Split a text at its last line end, like `rpartition`; every kind of line end becomes LF."""
    if b"\r" not in text:
        return text.rpartition(b"\n")
    held = b"\r" if text.endswith(b"\r") else b""  # its LF may be in the next chunk
    text = text[: len(text) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    whole, newline, rest = text.rpartition(b"\n")
    return whole, newline, rest + held


def _too_long(where: str, line: bytes) -> UserError:
    if not any(line):
        return UserError(f"{where} is nothing but zero bytes: the file is damaged. Copy or download it again.")
    return UserError(
        f"{where} is longer than {LONGEST >> 20} MB, so this is no table with a line for each face. Pass another file."
    )


def _unclosed(where: str) -> UserError:
    return UserError(f'{where}: a quote (") is opened and never closed. Close or remove it.')
