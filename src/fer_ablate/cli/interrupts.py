"""Ctrl-C at any moment: one line, exit code 130 and no traceback, whatever the program or a library is doing."""

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED = 130
"""Exit code of a shell command ended by Ctrl-C."""

MESSAGE = "fer_ablate: interrupted. Finished epochs are kept; the same command goes on from there."

AGAIN_SECONDS = 0.1
"""Time after which an interrupt is repeated that came within a destructor or a callback, where Python drops it."""

_pressed = threading.Event()


def show_interrupted() -> None:
    """Print the message."""
    start = "\n" if sys.stderr.isatty() else ""  # a terminal shows ^C where the line was
    with suppress(OSError):  # the reader of a pipe is gone
        print(f"{start}{MESSAGE}", file=sys.stderr, flush=True)


def uninterrupted(command: Callable[[], int]) -> int:
    """Run the whole program; exits at once if it was interrupted.

    Args:
        command: returns an exit code.
    """
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _unraisable
    try:
        code = command()
    # Libraries turn an interrupt into errors of their own: an import that broke off, or an exit code.
    except BaseException as error:
        if not _pressed.is_set() and not isinstance(error, KeyboardInterrupt):
            raise
        show_interrupted()
        _leave()
    if code and _pressed.is_set():
        if code != INTERRUPTED:
            show_interrupted()
        _leave()
    signal.signal(signal.SIGINT, _leave)  # from here on there is nothing left to lose
    return code


def _interrupt(number: int, frame: FrameType | None) -> None:
    _pressed.set()
    signal.default_int_handler(number, frame)


def _leave(*_: Any) -> NoReturn:
    """End the process without the steps in which Python would print what else is interrupted."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader of a pipe is gone
            stream.flush()
    os._exit(INTERRUPTED)


def _unraisable(dropped: "sys.UnraisableHookArgs") -> None:
    if dropped.exc_type is KeyboardInterrupt:
        threading.Timer(AGAIN_SECONDS, _thread.interrupt_main).start()
    elif not _pressed.is_set():
        sys.__unraisablehook__(dropped)
