"""log.txt of a run or a study: what went wrong with it, each with its traceback."""

import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.files import write_error

LOG = "log.txt"


def append_to_log(log: Path, problem: str, trace: str) -> str:
    """Add an error with its traceback; when that was, ISO 8601 with time zone.

    Raises:
        UserError: the disk is full, read-only or forbidden.
    """
    at = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(f"{at}  {problem}\n{trace.rstrip()}\n\n")
    except OSError as error:
        raise write_error(log, error) from error
    return at


def attempt(log: Path, what: str, make: Callable[[], object]) -> str:
    """Make something that a result can do without: whatever goes wrong with it is told and logged, never raised.

    Args:
        log: file for the traceback.
        what: is made, in words or as the name of a file.
        make: makes it. Ctrl-C still interrupts it.

    Returns:
        Why it could not be made, in a sentence; empty if it was.
    """
    try:
        make()
    except Exception as error:
        problem = f"{what} could not be made: {first_line(error).rstrip('.')}. The traceback is in {log}."
        with suppress(UserError):  # on a full disk the first error is the one to tell
            append_to_log(log, problem, traceback.format_exc())
        return problem
    return ""


def first_line(error: BaseException) -> str:
    """Of an error's message, or its kind if it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
