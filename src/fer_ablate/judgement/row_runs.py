"""The finished and failed runs of each row of a study, as a plan finds them: what a table is judged from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fer_ablate.judgement.judged_table import Failure, Published
from fer_ablate.study.plan import Plan, PlannedRun
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.training.result import RunResult


@dataclass(frozen=True)
class ScoredRun:
    """A finished run with its scores.

    Args:
        folder: of the run.
        header: of the run.
        result: of the run.
        stale: whether the run is of an earlier config, data or code; it counts only with `study.accept_stale`.
    """

    folder: RunFolder
    header: RunHeader
    result: RunResult
    stale: bool = False


@dataclass(frozen=True)
class RowRuns:
    """The runs of one row.

    Args:
        label: of the row.
        seeds: of the study.
        runs: the finished ones, at most one per seed and fold.
        failures: one for each run that failed.
        published: column (`test/acc`) -> printed number.
        factor: value of the study's swept key in this row, if there is one.
        folds: of the cross-validation; None if the row is not cross-validated.
    """

    label: str
    seeds: tuple[int, ...]
    runs: tuple[ScoredRun, ...]
    failures: tuple[Failure, ...] = ()
    published: dict[str, Published] = field(default_factory=dict)
    factor: int | float | str | None = None
    folds: int | None = None

    @property
    def expected(self) -> int:
        """Number of runs that the study specifies for the row."""
        return len(self.seeds) * (self.folds or 1)


def rows_with_runs(plan: Plan) -> list[RowRuns]:
    """Every planned row that appears in a table, with its finished and failed runs, in the order of the study."""
    rows: dict[str, list[PlannedRun]] = {}
    for planned in plan.runs:
        # Auxiliary rows only provide starting weights for others.
        if planned.cell.row.auxiliary:
            continue
        rows.setdefault(planned.cell.row.label, []).append(planned)
    return [
        RowRuns(
            label=label,
            seeds=tuple(dict.fromkeys(planned.cell.config.seed for planned in runs)),
            runs=tuple(run for planned in runs if (run := _scored_run(planned, plan.spec.switches.accept_stale)) is not None),
            failures=tuple(failure for planned in runs if (failure := _failure(planned)) is not None),
            published={column: published_number(given) for column, given in runs[0].cell.row.published.items()},
            factor=runs[0].cell.factor,
            folds=plan.spec.folds,
        )
        for label, runs in rows.items()
    ]


def published_number(given: Any) -> Published:
    """A number as a study file states it: alone, or as a mapping of `value` and `note`."""
    if isinstance(given, Mapping):
        return Published(float(given["value"]), str(given.get("note", "")))
    return Published(float(given))


def _scored_run(planned: PlannedRun, accept_stale: bool) -> ScoredRun | None:
    if planned.state is RunState.finished:
        return ScoredRun(planned.folder, planned.folder.header, planned.folder.result)
    if accept_stale and planned.stale is not None:
        return ScoredRun(planned.stale.folder, planned.stale.header, planned.stale.folder.result, stale=True)
    return None


def _failure(planned: PlannedRun) -> Failure | None:
    failure = planned.folder.failure if planned.state is RunState.failed else None
    if failure is None:
        return None
    repeat = planned.cell.repeat
    return Failure(repeat.seed, failure.problem.splitlines()[0], failure.log, repeat.fold)
