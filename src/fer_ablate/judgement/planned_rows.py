"""The rows of a plan that appear in a table, with their finished and failed runs."""

from collections.abc import Mapping, Sequence

from fer_ablate.config.overrides import in_quotes
from fer_ablate.config.study_rows import Row
from fer_ablate.errors import UserError
from fer_ablate.judgement.row_runs import RowRuns, failure_of, published_by_class, published_numbers, scored_run
from fer_ablate.shell import quoted
from fer_ablate.study.averaged_rows import AveragedNetwork, averaged_networks
from fer_ablate.study.plan import Plan, PlannedRun


def rows_with_runs(plan: Plan) -> list[RowRuns]:
    """Every planned row that appears in a table, with its finished and failed runs, in the order of the study."""
    trained: dict[str, list[PlannedRun]] = {}
    for planned in plan.runs:
        trained.setdefault(planned.cell.row.label, []).append(planned)
    averages: dict[str, list[AveragedNetwork]] = {}
    for network in averaged_networks(plan):
        averages.setdefault(network.row.label, []).append(network)
    rows = []
    for label, row in {row.label: row for row in plan.spec.rows}.items():
        # Auxiliary rows only provide starting weights and members for others.
        if label in trained and not row.auxiliary:
            rows.append(_trained_row(row, trained[label], plan))
        elif label in averages:
            from fer_ablate.judgement.averaged_runs import averaged_row  # loads scipy, which takes half a second

            rows.append(averaged_row(row, averages[label], plan))
    return rows


def planned_protocols(plan: Plan) -> list[tuple[str, Mapping[str, str]]]:
    """Label and evaluation protocol of every run that a table will show; an average has that of its members."""
    shown = {row.label for row in plan.spec.rows if not row.auxiliary}
    trained = [(one.cell.row.label, one.cell.protocol) for one in plan.runs if one.cell.row.label in shown]
    return trained + [(one.row.label, one.members[0].cell.protocol) for one in averaged_networks(plan)]


def why_no_table(plan: Plan) -> str:
    """Why none of the rows stands in a table, and what to type; empty if one does."""
    if planned_protocols(plan):
        return ""
    trained = {planned.cell.row.label for planned in plan.runs}
    made = [row.label for row in plan.spec.rows if not row.auxiliary and trained & {row.start_from, *row.average_of}]
    # Rows of a grid have longer labels than those that are typed.
    typed = quoted(f"study.rows=[{in_quotes(made[0])}]") if made and not plan.spec.swept else ""
    example = f", such as {typed}" if typed else ""
    return (
        f"The chosen rows are auxiliary: others start from their weights or average them, and they stand in no table. "
        f"Choose a row that is made from them, which trains them as well{example}; or leave study.rows out."
    )


def shown_baseline(plan: Plan, rows: Sequence[RowRuns]) -> str:
    """Label of the row that the others are compared with: where rows were chosen, the study's own may be none of them.

    Raises:
        UserError: there is no row.
    """
    if not rows:
        raise UserError(why_no_table(plan))
    return plan.spec.baseline if any(row.label == plan.spec.baseline for row in rows) else rows[0].label


def _trained_row(row: Row, runs: Sequence[PlannedRun], plan: Plan) -> RowRuns:
    accept_stale = plan.spec.switches.accept_stale
    return RowRuns(
        label=row.label,
        seeds=tuple(dict.fromkeys(planned.cell.config.seed for planned in runs)),
        runs=tuple(run for planned in runs if (run := scored_run(planned, accept_stale)) is not None),
        failures=tuple(failure for planned in runs if (failure := failure_of(planned)) is not None),
        published=published_numbers(row),
        by_class=published_by_class(row),
        factor=runs[0].cell.factor,
        folds=plan.spec.folds,
    )
