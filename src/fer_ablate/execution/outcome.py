"""What a launcher hands back about one run of a sweep, from whichever process did it."""

from dataclasses import dataclass
from enum import Enum


class Ended(Enum):
    """How a run of a sweep ended; `busy`: another process was at it."""

    finished = "finished"
    failed = "failed"
    pruned = "pruned"
    busy = "busy"


@dataclass(frozen=True)
class RunOutcome:
    """How one run of a sweep ended.

    Args:
        ended: see `Ended`.
        key: of the run; empty if it failed before that was known.
        problem: the whole error; empty unless it failed.
        log: file with the traceback; empty unless it failed.
    """

    ended: Ended
    key: str = ""
    problem: str = ""
    log: str = ""
