"""Makes what is printed fit for every console, and keeps credentials out of it."""

import codecs
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO, cast

from fer_ablate.addresses import hide

PLAIN = {
    "\N{PLUS-MINUS SIGN}": "+-", "\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{MULTIPLICATION SIGN}": "x", "\N{MIDDLE DOT}": ".", "\N{BULLET}": "*", "\N{MICRO SIGN}": "u", "\N{ALMOST EQUAL TO}": "~",
    "\N{GREATER-THAN OR EQUAL TO}": ">=", "\N{LESS-THAN OR EQUAL TO}": "<=", "\N{RIGHTWARDS ARROW}": "->",
    "\N{LEFT SINGLE QUOTATION MARK}": "'", "\N{RIGHT SINGLE QUOTATION MARK}": "'", "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"', "\N{NO-BREAK SPACE}": " ", "\N{NARROW NO-BREAK SPACE}": " ",
}  # fmt: skip
"""Letter -> what stands for it on a console that does not have it."""

ERRORS = "fer_ablate.plain"
"""Name of the handler of letters that an encoding lacks."""


class HidingStream:
    """A stream for text that leaves out credentials.

    Args:
        stream: gets the text; everything else is left to it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text; returns its length."""
        self._stream.write(hide(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def hiding(stream: TextIO) -> TextIO:
    """The stream without credentials; as it is if it leaves them out already."""
    return stream if isinstance(stream, HidingStream) else cast(TextIO, HidingStream(stream))


@contextmanager
def fit_output() -> Iterator[None]:
    """Print to stdout and stderr, as they are now, without credentials and with letters that their encodings have."""
    before = sys.stdout, sys.stderr
    codecs.register_error(ERRORS, _plain)
    for stream in before:
        if hasattr(stream, "reconfigure") and not str(stream.encoding).lower().startswith("utf"):
            stream.reconfigure(errors=ERRORS)
    sys.stdout, sys.stderr = (stream if stream is None else hiding(stream) for stream in before)
    mine = sys.stdout, sys.stderr
    try:
        yield
    finally:
        # Whoever has replaced one of them meanwhile, such as a test, restores it as well.
        sys.stdout = before[0] if sys.stdout is mine[0] else sys.stdout
        sys.stderr = before[1] if sys.stderr is mine[1] else sys.stderr


def show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of an error that nobody foresaw, as Python does, without credentials."""
    sys.stderr.write(hide("".join(traceback.format_exception(kind, error, trace))))


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = "".join(PLAIN.get(letter, "?") for letter in error.object[error.start : error.end])
    return found, error.end
