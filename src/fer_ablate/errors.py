"""Errors with messages for users. A `UserError` is printed without a traceback; every other exception is a bug."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from fer_ablate.addresses import hide


class UserError(ValueError):
    """Something outside the program (a file, a key, a value) is wrong; the message names it and says what to do about it."""


class BusyError(UserError):
    """Another process is using the same thing, so that the command may work later."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a config.

    Args:
        key: full path of the key, such as `optimizer.momentum`; empty if the fault is not in a single key.
        problem: the value and what is wrong with it.
        remedy: what to do about it.
    """

    key: str
    problem: str
    remedy: str = ""

    def __str__(self) -> str:
        where = f"{self.key}: " if self.key else ""
        return f"{where}{self.problem}" + (f"\n    {self.remedy}" if self.remedy else "")


class FaultyConfigError(UserError):
    """All faults of a config at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__("\n".join([f"{count} in the config:", *(f"  {fault}" for fault in faults)]))


def choices(given: str, known: Iterable[str]) -> str:
    """List the known names after the nearest one, as in `Did you mean 'adam'? Choices: adam, adamw.`."""
    names = list(known)
    near = get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    return f"{hint}Choices: {', '.join(names)}."


def first_line(error: BaseException) -> str:
    """First line of an error's message without credentials; the name of its class if the message is empty."""
    return hide(next(iter(str(error).strip().splitlines()), "")) or type(error).__name__
