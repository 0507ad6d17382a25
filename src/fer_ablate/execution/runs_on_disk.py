"""What `runs` lists: every run on disk with its state, its main scores, its size and its age."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.scan import RunRecord
from fer_ablate.tracking.disk.usage import bytes_of
from fer_ablate.training.result import RunResult

SCORES = ("val/acc", "test/acc", "test/macro_f1")
"""Main scores of a run: that by which networks are chosen, and those that are reported."""

VALUES = ("key", "experiment", "label", "seed", "fold", "state", *SCORES, "bytes", "at", "folder")
"""Names of everything that is listed of a run."""


@dataclass(frozen=True)
class ListedRun:
    """A run on disk.

    Args:
        record: the run.
        result: None if it is not finished, or the result cannot be read.
        size: bytes of its folder.
        at: when it was finished, else when it was started.
    """

    record: RunRecord
    result: RunResult | None
    size: int
    at: datetime

    @property
    def scores(self) -> tuple[float | None, ...]:
        """One for each of `SCORES`."""
        metrics = self.result.flat_metrics() if self.result is not None else {}
        return tuple(metrics.get(name) for name in SCORES)

    @property
    def label(self) -> str:
        """Experiment and row, by which the other verbs find the run as well."""
        return f"{self.record.brief.experiment}/{self.record.brief.name}"

    def values(self) -> dict[str, Any]:
        """Everything that is listed, in full: name, as in `VALUES` -> value."""
        one, folder = self.record.brief, self.record.folder
        repeat, at = one.repeat, self.at.isoformat(timespec="seconds")
        run = (one.key, one.experiment, one.name, repeat.seed, repeat.fold, self.record.state.value)
        return dict(zip(VALUES, (*run, *self.scores, self.size, at, str(folder.path)), strict=True))


def listed_runs(records: Sequence[RunRecord]) -> tuple[list[ListedRun], list[str]]:
    """The runs, in their order, and what is wrong with results that cannot be read."""
    found, damaged = [], []
    for record in records:
        result = None
        if record.finished:
            try:
                result = record.folder.result
            except UserError as error:
                damaged.append(str(error))
        at = result.finished_at if result is not None else record.brief.started_at
        found.append(ListedRun(record, result, bytes_of(record.folder.path), _time(at)))
    return found, damaged


def in_experiment(record: RunRecord, name: str) -> bool:
    """Whether a run belongs to an experiment, or to one of the tables of a document: `fer_kd` has `fer_kd/table1`."""
    experiment = record.brief.experiment
    return experiment == name or experiment.startswith(f"{name}/")


def by_score(run: ListedRun) -> tuple[bool, float]:
    """Sorts the best test accuracy first, and runs without one last."""
    score = run.scores[SCORES.index("test/acc")]
    return score is None, -(score or 0.0)


ORDERS: dict[str, Callable[[ListedRun], Any]] = {
    "name": lambda run: str(run.record.folder.path),
    "age": lambda run: -run.at.timestamp(),
    "size": lambda run: -run.size,
    "score": by_score,
}
"""Name of an order -> key for sorting: newest, largest and best first."""


def spelled_age(at: datetime) -> str:
    """Time since then in the unit that a person would choose: `5 min`, `3 h`, `12 days`."""
    # The clock of the machine that trained may be ahead.
    seconds = max((datetime.now(UTC) - at).total_seconds(), 0.0)
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def _time(text: str) -> datetime:
    """A stored time; one without a time zone is in UTC."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
