"""Converts the text of pixels to numbers: plain digits in whole batches, anything else row by row."""

import re
from math import isqrt

import numpy as np

from fer_ablate.data.faces import Bytes
from fer_ablate.errors import UserError
from fer_ablate.labels import SIDE

REMEDY = "The file may be damaged or edited: correct the line, or copy or download the file again."

_MARKS = b"[](){},;|\t\r\n\v\f\"'"
_MARKS_AS_BLANKS = bytes.maketrans(_MARKS, b" " * len(_MARKS))
_WHOLE = re.compile(rb"(?<=\d)\.0*(?= |$)")
# Bounded, since every digit of a number without end would be tried as the last one before the point.
_POWER = re.compile(rb"(?<![^ ])\d{1,40}\.?\d{0,40}e[+-]?\d{1,3}(?![^ ])", re.IGNORECASE)
_PLUS = re.compile(rb"(?:(?<= )|^)\+(?=\d)")


def plain(text: bytes) -> bytes:
    r"""Rewrite pixels as whole numbers with single blanks between them.

    Brackets, quotes, commas and tabs become blanks; `253.0`, `+253` and `2.53e+02` become `253`. Other words stay unchanged.

    >>> plain(b"[253.0, +7,\t1.2e+01]")
    b'253 7 12'
    """
    text = text.translate(_MARKS_AS_BLANKS)
    if b"e" in text or b"E" in text:  # as numpy.savetxt writes them
        text = _POWER.sub(_without_power, text)
    if b"." in text:
        text = _WHOLE.sub(b"", text)
    if b"+" in text:
        text = _PLUS.sub(b"", text)
    return b" ".join(text.split())


def _without_power(match: re.Match[bytes]) -> bytes:
    value = float(match[0])
    return b"%d" % value if value.is_integer() else match[0]


def side_of(text: bytes, where: str) -> int:
    """Return the side of a square face in pixels, by the number of its pixels.

    Args:
        text: the pixels as they are written in the table.
        where: file and line, for messages.

    Raises:
        UserError: their number is not a square.
    """
    words = plain(text).split()
    count, root = len(words), isqrt(len(words))
    if root > 1 and root**2 == count:
        return root
    _require_complete(words, where)
    expected = f"expected {SIDE**2} ({SIDE}x{SIDE}) or those of another square"
    if count == 1 and not words[0].isdigit():
        raise UserError(
            f"{where}: pixels is {shown(words[0])}, {expected}. If it is the name of a file, "
            "read this list with data=list data.path=..., and say with data.columns which column holds what."
        )
    if count > 3 and count % 3 == 0 and isqrt(count // 3) ** 2 == count // 3:
        raise UserError(f"{where}: {count} pixels are a square in three colours, {expected} in gray. Use folders of pictures.")
    raise UserError(f"{where}: {count} pixels, {expected}. Are they separated by blanks, and complete?")


def parse_batch(texts: list[bytes], count: int) -> Bytes | None:
    """Convert several rows at once.

    Args:
        texts: the pixels of n rows.
        count: number of pixels of a row.

    Returns:
        (n, count) pixels; None if a row is anything but `count` numbers from 0 to 255 with single blanks between them.
    """
    if any(text.count(b" ") != count - 1 for text in texts):
        return None
    # Three blanks in front, so that looking three characters back from the first digit stays inside.
    characters = np.frombuffer(b"   " + b" ".join(texts) + b" ", np.uint8)
    digits = characters - np.uint8(ord("0"))  # a blank wraps around to 240
    is_digit = digits < 10
    if not (is_digit | (characters == ord(" "))).all():
        return None
    ones = np.flatnonzero(is_digit[:-1] & ~is_digit[1:])
    # No row can have more numbers than its count - 1 blanks allow, so the right total means the right number in each row.
    if len(ones) != len(texts) * count:
        return None
    has_tens = is_digit[ones - 1]
    has_hundreds = has_tens & is_digit[ones - 2]
    values = digits[ones].astype(np.uint16)
    values += np.where(has_tens, digits[ones - 1], 0) * np.uint16(10)
    values += np.where(has_hundreds, digits[ones - 2], 0) * np.uint16(100)
    if (values > 255).any() or (has_hundreds & is_digit[ones - 3]).any():
        return None
    return values.astype(np.uint8).reshape(len(texts), count)


def parse_row(text: bytes, count: int, expected: str, where: str) -> Bytes:
    """Convert one row.

    Args:
        text: the pixels as `plain` returns them.
        count: number of pixels.
        expected: that number in words, for messages.
        where: file and line, for messages.

    Returns:
        (count,) pixels.

    Raises:
        UserError: there are more or fewer pixels, or one is not a whole number from 0 to 255.
    """
    words = text.split()
    _require_complete(words, where)
    if len(words) != count:
        raise UserError(f"{where}: {len(words)} pixels, expected {expected}. {REMEDY}")
    values = [_value(word) for word in words]
    if None in values:
        number = values.index(None)
        raise _not_a_pixel(words[number], number + 1, where)
    return np.array(values, np.uint8)


def _require_complete(words: list[bytes], where: str) -> None:
    if b"..." in words:
        raise UserError(
            f"{where}: the pixels hold '...' in place of numbers: NumPy shortened them when the table was written. "
            "Write it again with ' '.join(map(str, face.ravel()))."
        )


def _value(word: bytes) -> int | None:
    digits = word.lstrip(b"0") or word[-1:]
    return int(digits) if word.isdigit() and len(digits) <= 3 and int(digits) <= 255 else None


def _not_a_pixel(word: bytes, number: int, where: str) -> UserError:
    given = f"{where}: pixel {number} is {shown(word)}, expected a whole number from 0 to 255."
    if len(word) < 30 and re.fullmatch(rb"0?\.\d*[1-9]\d*(e-?\d+)?", word):
        return UserError(f"{given} If the pixels are scaled to 0 to 1, multiply them by 255 and round them.")
    return UserError(f"{given} {REMEDY}")


def shown(value: bytes) -> str:
    """Quote the beginning of a value of the table, for messages."""
    return repr(value[:20].decode("utf-8", "replace"))
