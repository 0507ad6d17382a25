"""What went wrong, said to the person who typed it. `UserError` is printed without a traceback; anything else is a bug."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


class UserError(ValueError):
    """Something outside the program (a file, a key, a value) is wrong; the message names it and the way out."""


class BusyError(UserError):
    """Another process is at it; later it may be free."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a config.

    Args:
        key: full path of the key, such as `optimizer.momentum`; empty if no single key is to blame.
        problem: the value given and what is wrong with it.
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
    """Say which names exist, the nearest one first, as in `Did you mean 'adam'? Choices: adam, adamw.`."""
    names = list(known)
    near = get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    return f"{hint}Choices: {', '.join(names)}."
