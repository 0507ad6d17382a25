"""The files that say why a run has no result: failure.json for an error, pruned.json for a trial stopped early.

Starting the run again removes both.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fer_ablate.addresses import hide
from fer_ablate.tracking.disk.files import check_types, read_dataclass, read_json, write_json
from fer_ablate.tracking.disk.log import append_to_log


@dataclass(frozen=True)
class RunFailure:
    """The error that ended a run.

    Args:
        problem: the whole message.
        at: time of the error, ISO 8601 with time zone.
        log: file that ends with the traceback.
    """

    problem: str
    at: str
    log: Path

    @property
    def in_short(self) -> str:
        """The message in one line: of several faults the first, without the heading that counts them."""
        first, *others = self.problem.splitlines()
        return others[0].strip() if first.endswith(":") and others else first


@dataclass(frozen=True)
class RunPruned:
    """The point at which a search stopped a hopeless trial.

    Args:
        epoch: last one trained, from 1.
        value: value of the metric at that epoch.
        metric: such as `val/acc`.
    """

    epoch: int
    value: float
    metric: str


def write_failure(path: Path, log: Path, problem: str, traceback: str) -> None:
    """Append the traceback to the log, then write failure.json.

    Args:
        path: path of failure.json.
        log: log.txt in the same folder.
        problem: the whole message.
        traceback: traceback of the error.

    Raises:
        UserError: the disk is full, read-only or forbidden.
    """
    # The log first, so that a failure on record always has its traceback.
    at = append_to_log(log, f"failed: {problem}", traceback)
    write_json(path, {"problem": hide(problem), "at": at, "log": log.name})


def read_failure(path: Path) -> RunFailure | None:
    """The content of failure.json, None if there is no such file; `UserError` if it is damaged."""

    def build(stored: dict[str, Any]) -> RunFailure:
        problem, at, log = (check_types(str, stored[name]) for name in ("problem", "at", "log"))
        return RunFailure(problem, at, path.with_name(log))

    return read_json(path, build) if path.is_file() else None


def write_pruned(path: Path, pruned: RunPruned) -> None:
    """Write pruned.json."""
    write_json(path, asdict(pruned))


def read_pruned(path: Path) -> RunPruned | None:
    """The content of pruned.json, None if there is no such file; `UserError` if it is damaged."""
    return read_dataclass(path, RunPruned) if path.is_file() else None
