"""Why a run has no result: failure.json for an error, pruned.json for a trial given up early. Starting it again removes both."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fer_ablate.tracking.disk.files import read_json, write_json
from fer_ablate.tracking.disk.log import append_to_log


@dataclass(frozen=True)
class RunFailure:
    """The error that ended a run.

    Args:
        problem: the whole message.
        at: when, ISO 8601 with time zone.
        log: file that ends with the traceback.
    """

    problem: str
    at: str
    log: Path


@dataclass(frozen=True)
class RunPruned:
    """Where a hopeless trial of a search was given up.

    Args:
        epoch: last one trained, from 1.
        value: of the metric by then.
        metric: such as `val/acc`.
    """

    epoch: int
    value: float
    metric: str


def write_failure(path: Path, log: Path, problem: str, traceback: str) -> None:
    """Append the traceback to the log, then mark the run as failed.

    Args:
        path: the mark.
        log: in the same folder.
        problem: the whole message.
        traceback: of the error.

    Raises:
        UserError: the disk is full, read-only or forbidden.
    """
    at = append_to_log(log, f"failed: {problem}", traceback)
    write_json(path, {"problem": problem, "at": at, "log": log.name})


def read_failure(path: Path) -> RunFailure | None:
    """The stored mark, if there is one; `UserError` if it is damaged."""

    def build(stored: dict[str, Any]) -> RunFailure:
        return RunFailure(stored["problem"], stored["at"], path.with_name(stored["log"]))

    return read_json(path, build) if path.is_file() else None


def write_pruned(path: Path, mark: RunPruned) -> None:
    """Mark the run as given up."""
    write_json(path, asdict(mark))


def read_pruned(path: Path) -> RunPruned | None:
    """The stored mark, if there is one; `UserError` if it is damaged."""
    return read_json(path, lambda stored: RunPruned(**stored)) if path.is_file() else None
