"""log.txt of a run or a study: every error with its traceback."""

import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from fer_ablate.addresses import hide
from fer_ablate.errors import UserError, first_line
from fer_ablate.tracking.disk.files import write_error

LOG = "log.txt"


def append_to_log(log: Path, problem: str, trace: str) -> str:
    """Add an error with its traceback; returns the time, ISO 8601 with time zone.

    Raises:
        UserError: the disk is full, read-only or forbidden.
    """
    at = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        # File names in a message may hold bytes that are not UTF-8; they must not cost the traceback.
        with log.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(hide(f"{at}  {problem}\n{trace.rstrip()}\n\n"))
    except OSError as error:
        raise write_error(log, error) from error
    return at


def attempt(log: Path, what: str, make: Callable[[], object]) -> str:
    """Make something that a result can do without: an error is logged and returned in words, never raised.

    Args:
        log: file for the traceback.
        what: name of the thing, in words or as the name of a file.
        make: makes it. Ctrl-C still interrupts it.

    Returns:
        Why it could not be made, in a sentence; empty if it was.
    """
    try:
        make()
    except Exception as error:
        problem = f"{what} could not be made: {first_line(error).rstrip('.')}. The traceback is in {log}."
        with suppress(UserError):  # on a full disk the first error matters more
            append_to_log(log, problem, traceback.format_exc())
        return problem
    return ""
