"""`plan`: what a study would train, what is there, what is stale and why, and what it would cost. Trains nothing."""

from collections.abc import Sequence

from fer_ablate.cli import console
from fer_ablate.cli.usage import asks_for_help
from fer_ablate.config.key import short
from fer_ablate.config.repeats import Repeat
from fer_ablate.execution.planning import cost, prepared, summary

USAGE = """Show what a study or a grid would train, and why. Nothing is trained.

  python -m fer_ablate plan study=fer_kd/table1                 every row, seed and fold, and the cost of what is missing
  python -m fer_ablate plan study=quickstart study.rows=['-1 Conv'] study.only=failed
  python -m fer_ablate plan optimizer=adam,adamw seed=0,1,2     a grid without a study

cached            finished: the same config, data and code
to run            never finished; resumes where it was interrupted
running elsewhere another process trains it right now
failed            the last attempt ended with an error
stale             finished, but its config, data or code is not today's; study.accept_stale=true takes it as it is"""


def run(arguments: Sequence[str]) -> int:
    """Print the plan."""
    if asks_for_help(arguments):
        print(USAGE)
        return 0
    plan, _, _ = prepared(arguments)
    rows = [
        [
            planned.cell.row.label,
            *_told(planned.cell.repeat, plan.asked.folds),
            short(planned.cell.key),
            planned.state.value + ("" if planned.wanted or planned.state.value in ("cached",) else ", left alone"),
            planned.reason,
        ]
        for planned in plan.runs
    ]
    which = ["seed"] if plan.asked.folds is None else ["seed", "fold"]
    console.table("", ["row", *which, "key", "state", "why"], rows, left=len(which) + 4)
    console.console.print()
    facts = [("study" if plan.asked.from_file else "grid", f"{plan.asked.name}, {summary(plan)}")]
    facts += [("note", remark) for remark in plan.damaged]
    facts.append(("trains", f"{console.counted(len(plan.wanted), 'run')}; {cost(plan)}" if plan.wanted else "nothing"))
    console.facts(facts)
    return 0


def _told(repeat: Repeat, folds: int | None) -> list[str]:
    return [str(repeat.seed)] if folds is None else [str(repeat.seed), str(repeat.fold)]
