"""`plan`: what a study would train, what is finished or stale and why, and what it would cost. Trains nothing."""

from collections.abc import Sequence

from fer_ablate.cli import console
from fer_ablate.cli.words import NoWords, read_command
from fer_ablate.config.choices import AverageOver
from fer_ablate.config.key import short
from fer_ablate.config.study_rows import Repeat
from fer_ablate.execution.planning import cost, plan_with_bar, summary
from fer_ablate.report.quantities import ABSENT
from fer_ablate.study.averaged_rows import averaged_networks
from fer_ablate.tracking.disk.run_state import RunState

USAGE = """Show what a study or a grid would train, and why. Nothing is trained.

  python -m fer_ablate plan study=fer_kd/table1                 every row, seed and fold, and the cost of what is missing
  python -m fer_ablate plan study=quickstart study.rows=['-1 Conv'] study.only=failed
  python -m fer_ablate plan optimizer=adam,adamw seed=0,1,2     a grid without a study

finished  with the config, data and code of today
missing   never finished; resumes where it was interrupted
running   in another process right now
failed    its last attempt ended with an error
pruned    a search ended it early
stale     finished, but with another config, other data or other code; study.accept_stale=true takes it as it is

Rows that average others (average_of) come last: they have no key and are finished as soon as their members are."""


def run(arguments: Sequence[str]) -> int:
    """Print the plan."""
    _, rest = read_command(arguments, NoWords, USAGE)
    plan, _, _ = plan_with_bar(rest)
    rows = [
        [
            planned.cell.row.label,
            *_repeat_cells(planned.cell.repeat, plan.spec.folds),
            short(planned.cell.key),
            planned.state.value + ("" if planned.to_train or planned.state is RunState.finished else ", left alone"),
            planned.reason,
        ]
        for planned in plan.runs
    ]
    rows += [
        [
            network.row.label,
            *_repeat_cells(network.repeat, plan.spec.folds, together=network.row.average_over is AverageOver.seeds),
            ABSENT,
            network.state.value,
            network.reason or f"average of {len(network.members)} networks",
        ]
        for network in averaged_networks(plan)
    ]
    which = ["seed"] if plan.spec.folds is None else ["seed", "fold"]
    console.table("", ["row", *which, "key", "state", "why"], rows, left=len(which) + 4)
    console.console.print()
    facts = [("study" if plan.spec.from_file else "grid", f"{plan.spec.name}, {summary(plan)}")]
    facts += [("note", note) for note in plan.damaged]
    facts.append(("trains", f"{console.counted(len(plan.to_train), 'run')}; {cost(plan)}" if plan.to_train else "nothing"))
    console.facts(facts)
    return 0


def _repeat_cells(repeat: Repeat, folds: int | None, together: bool = False) -> list[str]:
    seed = "all" if together else str(repeat.seed)
    return [seed] if folds is None else [seed, str(repeat.fold)]
