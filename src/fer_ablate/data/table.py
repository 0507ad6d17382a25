"""Reads the table of FER2013: one row per face with its emotion, its 2,304 pixels as text, and its split.

300 MB of digits: they are turned into numbers by whole batches of rows, and only a batch that is not plainly right
is read again row by row to say which line is wrong.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fer_ablate.data.archives import Stream, opened
from fer_ablate.data.faces import Bytes, Parsed, Progress
from fer_ablate.errors import UserError
from fer_ablate.labels import EMOTIONS, SIDE, USAGES

PIXELS = SIDE * SIDE
_CHUNK = 4 << 20
_LABELS = {str(index).encode(): index for index in range(len(EMOTIONS))}
_USAGES = {usage.encode(): index for index, usage in enumerate(USAGES)}
_AGAIN = "The file may be damaged or edited: correct the line, or copy or download the file again."


def read_table(path: Path, progress: Progress | None = None) -> Parsed:
    """Read `fer2013.csv` or Kaggle's `icml_face_data.csv`, packed or not.

    Args:
        path: the file, or an archive that holds it.
        progress: called now and then with the fraction of the file that has been read.
    """
    faces: list[Bytes] = []
    labels: list[int] = []
    usage: list[int] = []
    with opened(path) as (stream, position):
        columns = _columns(stream.readline(_CHUNK), path)
        for first, lines in _batches(stream):
            rows = [_fields(line, columns, f"{path.name} line {first + offset}") for offset, line in enumerate(lines)]
            texts = [text for _, text, _ in rows]
            pixels = _pixels(texts)
            if pixels is None:
                pixels = np.stack([_checked(text, f"{path.name} line {first + offset}") for offset, text in enumerate(texts)])
            faces.append(pixels.reshape(-1, 1, SIDE, SIDE))
            labels += [label for label, _, _ in rows]
            usage += [split for _, _, split in rows]
            if progress is not None:
                progress(position())
    if not faces:
        raise UserError(f"{path} has a header but no rows. Copy or download the file again.")
    return Parsed(np.concatenate(faces), np.array(labels, np.int64), np.array(usage, np.uint8), USAGES, EMOTIONS)


def _columns(header: bytes, path: Path) -> tuple[int, int, int]:
    """Positions of emotion, pixels and Usage; Kaggle's copy has them in another order and with leading blanks."""
    if not header.strip():
        raise UserError(f"{path} is empty. Copy or download the file again.")
    names = [name.strip(' "\r\n').lower() for name in header.decode("utf-8-sig", "replace").split(",")]
    if sorted(names) != ["emotion", "pixels", "usage"]:
        given = ",".join(names)
        raise UserError(
            f"{path.name} line 1: the columns are {given[:80]!r}, expected emotion,pixels,Usage in any order. "
            "Is this the table of FER2013? Other images are read from folders with data=folder."
        )
    return names.index("emotion"), names.index("pixels"), names.index("usage")


def _batches(stream: Stream) -> Iterator[tuple[int, list[bytes]]]:
    """Whole lines, some hundreds at a time, with the number of the first one in the file."""
    line, rest = 2, b""
    while chunk := stream.read(_CHUNK):
        whole, newline, rest = (rest + chunk).rpartition(b"\n")
        if newline:
            lines = whole.split(b"\n")
            yield line, lines
            line += len(lines)
    if rest.strip():
        yield line, [rest]


def _fields(line: bytes, columns: tuple[int, int, int], where: str) -> tuple[int, bytes, int]:
    """Label, pixels as text, and split of one row."""
    fields = [field.strip(b' "\r') for field in line.split(b",")]
    if len(fields) != len(columns):
        raise UserError(f"{where}: {len(fields)} columns, expected 3 (emotion, pixels, Usage). {_AGAIN}")
    emotion, pixels, usage = (fields[column] for column in columns)
    if emotion not in _LABELS:
        raise UserError(
            f"{where}: emotion is {_shown(emotion)}, expected 0 to {len(EMOTIONS) - 1} ({', '.join(EMOTIONS)}). {_AGAIN}"
        )
    if usage not in _USAGES:
        raise UserError(f"{where}: Usage is {_shown(usage)}, expected {', '.join(USAGES[:-1])} or {USAGES[-1]}. {_AGAIN}")
    return _LABELS[emotion], pixels, _USAGES[usage]


def _pixels(texts: list[bytes]) -> Bytes | None:
    """(rows, 2304) pixels if all texts are digits with single blanks between them, else None."""
    if any(text.count(b" ") != PIXELS - 1 for text in texts):
        return None
    # Three blanks ahead, so that looking back from the first digit stays inside.
    characters = np.frombuffer(b"   " + b" ".join(texts) + b" ", np.uint8)
    digits = characters - np.uint8(ord("0"))  # a blank wraps round to 240
    is_digit = digits < 10
    if not (is_digit | (characters == ord(" "))).all():
        return None
    ones = np.flatnonzero(is_digit[:-1] & ~is_digit[1:])
    # Each text has one blank less than it should have numbers, so it cannot hold more: an equal sum means equal parts.
    if len(ones) != len(texts) * PIXELS:
        return None
    has_tens = is_digit[ones - 1]
    has_hundreds = has_tens & is_digit[ones - 2]
    values = digits[ones].astype(np.uint16)
    values += np.where(has_tens, digits[ones - 1], 0) * np.uint16(10)
    values += np.where(has_hundreds, digits[ones - 2], 0) * np.uint16(100)
    if (values > 255).any() or (has_hundreds & is_digit[ones - 3]).any():
        return None
    return values.astype(np.uint8).reshape(len(texts), PIXELS)


def _checked(text: bytes, where: str) -> Bytes:
    """(2304,) pixels of one row, or a message about what is wrong with it."""
    words = text.split()
    if len(words) != PIXELS:
        raise UserError(f"{where}: {len(words)} pixels, expected {PIXELS} ({SIDE}x{SIDE}). {_AGAIN}")
    for number, word in enumerate(words, start=1):
        if not (word.isdigit() and int(word) <= 255):
            raise UserError(f"{where}: pixel {number} is {_shown(word)}, expected a whole number from 0 to 255. {_AGAIN}")
    return np.array(words, dtype="S").astype(np.uint8)


def _shown(value: bytes) -> str:
    return repr(value[:20].decode("utf-8", "replace"))
