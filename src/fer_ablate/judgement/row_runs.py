"""The finished and failed runs of a row, and its published numbers: what a table is judged from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fer_ablate.config.by_class import report_columns
from fer_ablate.config.study_rows import Row
from fer_ablate.judgement.judged_table import Failure, Published
from fer_ablate.metrics import is_of_class
from fer_ablate.study.plan import PlannedRun
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.training.result import RunResult


@dataclass(frozen=True)
class ScoredRun:
    """A finished run with its scores.

    Args:
        folder: where its files are.
        header: what was trained, and on what.
        result: its scores and costs.
        stale: whether the run is of an earlier config, data or code; it counts only with `study.accept_stale`.
    """

    folder: RunFolder
    header: RunHeader
    result: RunResult
    stale: bool = False


@dataclass(frozen=True)
class Average:
    """What the networks of a row are averages of.

    Args:
        rows: labels of the averaged rows.
        networks: number of networks in each average.
        over_seeds: whether an average holds all seeds of its rows, rather than one of each.
        notes: what cannot be averaged yet and why, a sentence each.
    """

    rows: tuple[str, ...]
    networks: int
    over_seeds: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RowRuns:
    """The runs of one row.

    Args:
        label: name of the row.
        seeds: all that the study trains the row with.
        runs: the finished ones, at most one per seed and fold.
        failures: one for each run that failed.
        published: column (`test/acc`) -> printed number.
        factor: value of the study's swept key in this row, if there is one.
        folds: number of folds; None if the row is not cross-validated.
        by_class: column (`test/recall/fear`, `test/macro_f1`) -> number in a printed classification report.
        average: what its runs are averages of; None if they were trained.
    """

    label: str
    seeds: tuple[int, ...]
    runs: tuple[ScoredRun, ...]
    failures: tuple[Failure, ...] = ()
    published: dict[str, Published] = field(default_factory=dict)
    factor: int | float | str | None = None
    folds: int | None = None
    by_class: dict[str, Published] = field(default_factory=dict)
    average: Average | None = None

    @property
    def expected(self) -> int:
        """Number of runs that the study specifies for the row."""
        return len(self.seeds) * (self.folds or 1)


def published_numbers(row: Row) -> dict[str, Published]:
    """Column -> number that a document prints for a row of a table."""
    return {column: published_number(given) for column, given in row.published.items()}


def published_by_class(row: Row) -> dict[str, Published]:
    """Column -> number of the classification report of a row, whether it is written as one or column by column."""
    single = {column: number for column, number in published_numbers(row).items() if is_of_class(column.partition("/")[2])}
    return single | {column: Published(number) for column, number in report_columns(row.by_class).items()}


def published_number(given: Any) -> Published:
    """A number as a study file states it: alone, or as a mapping of `value` and `note`."""
    if isinstance(given, Mapping):
        return Published(float(given["value"]), str(given.get("note", "")))
    return Published(float(given))


def scored_run(planned: PlannedRun, accept_stale: bool) -> ScoredRun | None:
    """A planned run with its scores; None if it is not finished, or only in an earlier state that does not count."""
    if planned.state is RunState.finished:
        return ScoredRun(planned.folder, planned.folder.header, planned.folder.result)
    if accept_stale and planned.stale is not None:
        return ScoredRun(planned.stale.folder, planned.stale.header, planned.stale.folder.result, stale=True)
    return None


def failure_of(planned: PlannedRun) -> Failure | None:
    """The error that ended a planned run; None if none did."""
    failure = planned.folder.failure if planned.state is RunState.failed else None
    if failure is None:
        return None
    repeat = planned.cell.repeat
    # A cell has room for one line; the whole error is in the log.
    return Failure(repeat.seed, failure.in_short, failure.log, repeat.fold)
