"""From a plan to what its table is made of."""

from collections.abc import Mapping
from typing import Any

from fer_ablate.judgement.records import Failure, FinishedRun, Published, RowRuns
from fer_ablate.study.plan import Plan, Planned, State


def gathered(plan: Plan) -> list[RowRuns]:
    """Finished and failed runs of every planned row that stands in a table, in the order of the study."""
    rows: dict[str, list[Planned]] = {}
    for planned in plan.runs:
        if planned.cell.row.auxiliary:
            continue
        rows.setdefault(planned.cell.row.label, []).append(planned)
    return [
        RowRuns(
            label=label,
            seeds=tuple(dict.fromkeys(planned.cell.config.seed for planned in runs)),
            runs=tuple(found for planned in runs if (found := _finished(planned, plan.asked.study.accept_stale)) is not None),
            failures=tuple(failure for planned in runs if (failure := _failure(planned)) is not None),
            published={column: published_number(given) for column, given in runs[0].cell.row.published.items()},
            factor=runs[0].cell.factor,
            folds=plan.asked.folds,
        )
        for label, runs in rows.items()
    ]


def _finished(planned: Planned, accept_stale: bool) -> FinishedRun | None:
    if planned.state is State.cached:
        return FinishedRun(planned.folder, planned.folder.header, planned.folder.result)
    if accept_stale and planned.stale is not None:
        return FinishedRun(planned.stale.folder, planned.stale.header, planned.stale.folder.result, stale=True)
    return None


def _failure(planned: Planned) -> Failure | None:
    failure = planned.folder.failure if planned.state is State.failed else None
    if failure is None:
        return None
    repeat = planned.cell.repeat
    return Failure(repeat.seed, failure.problem.splitlines()[0], failure.log, repeat.fold)


def published_number(given: Any) -> Published:
    """A number of a study's file, which may come with a note."""
    if isinstance(given, Mapping):
        return Published(float(given["value"]), str(given.get("note", "")))
    return Published(float(given))
