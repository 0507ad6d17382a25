"""Which seeds of a study are due, where seeds are added until its rows are decided (`study.seeds_until`).

Nothing is remembered: finished runs alone say which looks have been taken and what they decided, so that an interrupted study
goes on where it was.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fer_ablate.judgement.planned_rows import rows_with_runs
from fer_ablate.judgement.protocols import sharing_runs
from fer_ablate.study.plan import Plan, PlannedRun
from fer_ablate.study.spec import StudySpec
from fer_ablate.tracking.disk.run_state import RunState

SECONDS_PER_HOUR = 3600


def due_seeds(plan: Plan) -> Plan:
    """Leave out the seeds of a plan that are not due yet, or never will be; other plans stay as they are."""
    spec = plan.spec
    if not spec.looks:
        return plan
    counts, outcome = _counts(plan)
    wanted = _with_needed_rows(spec, counts)
    finished = {planned.cell.key: planned for planned in plan.runs if planned.state is RunState.finished}
    spent = sum(planned.folder.result.seconds for planned in finished.values()) / SECONDS_PER_HOUR
    budget = spec.study.budget_hours
    if budget is not None and spent >= budget:
        have = Counter(planned.cell.row.label for planned in plan.runs if planned.state is RunState.finished)
        affordable = {label: max(spec.looks[0], min(count, have[label])) for label, count in wanted.items()}
        if affordable != wanted:
            outcome += f"; the budget of {budget:g} hours is used up ({spent:.2g} trained), so no more seeds are added"
        wanted = affordable
    due = [planned for planned in plan.runs if _place(spec, planned) < wanted[planned.cell.row.label]]
    return replace(plan, runs=tuple(due), seeds_added=outcome)


def _place(spec: StudySpec, planned: PlannedRun) -> int:
    assert spec.seeds is not None, "studies with looks have seeds"
    return spec.seeds.index(planned.cell.config.seed)


def _counts(plan: Plan) -> tuple[dict[str, int], str]:
    """Label -> number of seeds that are due; and what has been decided, in words."""
    from fer_ablate.judgement.judge import outcomes_by_looks  # loads scipy, which takes half a second
    from fer_ablate.judgement.table_spec import table_spec

    rows, looks = rows_with_runs(plan), plan.spec.looks
    counts = {planned.cell.row.label: looks[0] for planned in plan.runs}
    if not rows:
        return counts, "the chosen rows stand in no table, so no seeds are added"
    spec = table_spec(plan, rows)
    blocks = outcomes_by_looks(spec, rows)
    for baseline, ended in blocks.items():
        own = {label: _next(looks, one.seeds) if one.open else one.seeds for label, one in ended.items()}
        counts |= own | {baseline: max(own.values(), default=looks[0])}
    ended = {label: one for found in blocks.values() for label, one in found.items()}
    twins = {label: other for label, other in sharing_runs(rows).items() if label not in ended}
    counts |= {label: counts[other] for label, other in twins.items()}
    compared = [row for row in rows if row.label not in (*blocks, *twins)]
    waiting = sum(one.open for one in ended.values())
    outcome = f"{len(ended) - waiting} of {len(compared)} rows are decided by {spec.deciding} or not worth more seeds"
    if not compared:
        outcome = "there is no row to compare with the baseline, so no seeds are added"
    elif not ended and all(len(row.runs) >= looks[0] for row in compared):
        outcome = f"no row can be compared with the baseline in {spec.deciding}, so no seeds are added; the table says why"
    return counts, outcome


def _next(looks: Sequence[int], seeds: int) -> int:
    return next(look for look in looks if look > seeds)


def _with_needed_rows(spec: StudySpec, counts: Mapping[str, int]) -> dict[str, int]:
    """As many seeds of a row as those rows have that start from it."""
    found = dict(counts)
    for _ in spec.rows:  # as often as a chain of such rows may be long
        for row in spec.rows:
            if row.start_from in found and row.label in found:
                found[row.start_from] = max(found[row.start_from], found[row.label])
    return found
