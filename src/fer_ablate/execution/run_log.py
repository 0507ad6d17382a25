"""Sends what a run prints to the log in its folder, so that it cannot tear the display of the sweep that the run belongs to."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

from fer_ablate.cli.output import hiding
from fer_ablate.tracking.disk.files import write_error


@contextmanager
def output_to_log(log: Path, whole_process: bool) -> Iterator[None]:
    """Append everything that is printed within the context to a log.

    Args:
        log: log.txt of the run; it and its folder are made if missing.
        whole_process: also what libraries in C and child processes print. For a worker process; in the process that shows the
            view it would hide the view as well.

    Raises:
        UserError: the log cannot be written.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        stream = log.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
    except OSError as error:
        raise write_error(log, error) from error
    shown = hiding(stream)
    with stream, redirect_stdout(shown), redirect_stderr(shown):
        if not whole_process:
            yield
            return
        with _descriptors_to(stream):
            yield


@contextmanager
def _descriptors_to(stream: TextIO) -> Iterator[None]:
    """Point the file descriptors of stdout and stderr at a stream."""
    for original in (sys.__stdout__, sys.__stderr__):
        if original is not None:
            original.flush()  # what was printed before belongs to the terminal
    saved = [(number, os.dup(number)) for number in (1, 2)]
    try:
        for number, _ in saved:
            os.dup2(stream.fileno(), number)
        yield
    finally:
        for number, copy in saved:
            os.dup2(copy, number)
            os.close(copy)
