"""`plan`: what a study would train, what is finished or stale and why, and what it would cost. Trains nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le
from rich.cells import cell_len

from fer_ablate.cli import console
from fer_ablate.cli.command_line import HydraArguments, allow_plugins, asked_of, each_study, parse
from fer_ablate.cli.words import read_command
from fer_ablate.config.choices import AverageOver
from fer_ablate.config.key import short
from fer_ablate.config.study_rows import Repeat
from fer_ablate.errors import Fault, FaultyConfigError
from fer_ablate.execution.detectable import detection_facts
from fer_ablate.execution.planning import check_comparable, cost, plan_with_bar, summary
from fer_ablate.report.quantities import ABSENT, shorten
from fer_ablate.report.table.narrow import GAP, SHORTEST_LABEL, columns_width
from fer_ablate.study.averaged_rows import averaged_networks
from fer_ablate.study.plan import Plan
from fer_ablate.tracking.disk.run_state import RunState

SHORTEST_REASON = 14
"""Letters that a reason, such as `code changed`, keeps on any screen."""

USAGE = """Show what a study, a grid or a search would train, and why. Nothing is trained.

  python -m fer_ablate plan study=fer_kd/table1                 every row, seed and fold, and the cost of what is missing
  python -m fer_ablate plan study=quickstart study.rows=['-1 Conv'] study.only=failed
  python -m fer_ablate plan optimizer=adam,adamw seed=0,1,2     a grid without a study; also one in a file (hydra.sweeper.params)
  python -m fer_ablate plan study=quickstart detect=1.0         how many seeds show a difference of one point, and what they cost
  python -m fer_ablate plan experiment=mobile_search            a search: what it varies, and how many trials are done

finished  with the config, data and code of today
missing   never finished; resumes where it was interrupted
running   in another process right now
failed    its last attempt ended with an error
pruned    a search ended it early
stale     finished, but with another config, other data or other code; study.accept_stale=true takes it as it is

{words}

Rows that average others (average_of) come last: they have no key and are finished as soon as their members are."""


@dataclass(frozen=True, kw_only=True)
class PlanWords:
    """Words of `plan`."""

    detect: Annotated[float, Ge(0.01), Le(100)] | None = None  # difference to the baseline in points that the table should show


def run(arguments: Sequence[str]) -> int:
    """Print the plan, or that of each study that is named."""
    words, rest = read_command(arguments, PlanWords, USAGE)
    return each_study(rest, lambda one: _show(one, words))


def _show(rest: Sequence[str], words: PlanWords) -> int:
    parsed = parse(rest)
    allow_plugins(parsed.overrides)
    asked = asked_of(parsed)
    if asked.is_search:
        if words.detect is not None:
            raise FaultyConfigError([Fault("detect", "a search compares no seeds.", "Leave it out, or plan a study or a grid.")])
        return _show_search(parsed)
    plan, _, _ = plan_with_bar(rest)
    check_comparable(plan)
    _show_runs(plan)
    facts = [("study" if plan.spec.from_file else "grid", f"{plan.spec.name}, {summary(plan)}")]
    facts += [("seeds", plan.seeds_added)] if plan.seeds_added else []
    facts += [("note", note) for note in (*asked.notes, *plan.damaged)]
    facts.append(("trains", f"{console.counted(len(plan.to_train), 'run')}; {cost(plan)}" if plan.to_train else "nothing"))
    if words.detect is not None:
        facts += detection_facts(plan, words.detect)
    console.facts(facts)
    return 0


def _show_runs(plan: Plan) -> None:
    """Print every run with its state and the reason of it."""
    which = ["seed"] if plan.spec.folds is None else ["seed", "fold"]
    header = ["row", *which, "key", "state", "why"]
    rows, below = fitted(header, [*_trained(plan), *_averaged(plan)], console.console.width)
    console.table("", header, rows, left=len(header))
    console.console.print()
    if below:
        console.facts(below)
        console.console.print()


def _trained(plan: Plan) -> list[list[str]]:
    return [
        [
            planned.cell.row.label,
            *_repeat_cells(planned.cell.repeat, plan.spec.folds),
            short(planned.cell.key),
            planned.state.value + ("" if planned.to_train or planned.state is RunState.finished else ", left alone"),
            planned.reason,
        ]
        for planned in plan.runs
    ]


def _averaged(plan: Plan) -> list[list[str]]:
    return [
        [
            network.row.label,
            *_repeat_cells(network.repeat, plan.spec.folds, together=network.row.average_over is AverageOver.seeds),
            ABSENT,
            network.state.value,
            network.reason or f"average of {len(network.members)} networks",
        ]
        for network in averaged_networks(plan)
    ]


def fitted(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> tuple[list[list[str]], list[tuple[str, str]]]:
    """The rows of a plan so that they fit on a screen.

    Reasons that have no room are replaced by numbers, and labels that are too long even then lose their middle.

    Args:
        header: titles of the columns, the first of labels and the last of reasons.
        rows: cells.
        width: letters of a line.

    Returns:
        The rows, and the reasons by their numbers, each once.
    """
    fixed = columns_width(list(zip(header, *rows, strict=True))[1:-1])
    label = max((cell_len(row[0]) for row in rows), default=0)
    room = max(width - fixed - label - GAP, SHORTEST_REASON)
    long = dict.fromkeys(row[-1] for row in rows if cell_len(row[-1]) > room)
    numbers = {reason: f"({place})" for place, reason in enumerate(long, start=1)}
    last = max(map(cell_len, (header[-1], *(numbers.get(row[-1], row[-1]) for row in rows))))
    longest = max(SHORTEST_LABEL, width - fixed - last - GAP)
    shown = [[shorten(row[0], longest), *row[1:-1], numbers.get(row[-1], row[-1])] for row in rows]
    return shown, [(number, reason) for reason, number in numbers.items()]


def _show_search(parsed: HydraArguments) -> int:
    from fer_ablate.execution.search.plan import read_search, search_facts
    from fer_ablate.search.search import kept_trials
    from fer_ablate.search.trials import COUNTED

    prepared, _ = read_search(parsed)
    states = [trial.state for trial in kept_trials(prepared.plan)]
    counts = [(state, states.count(state)) for state in COUNTED]
    ended = sum(count for _, count in counts)
    console.facts(search_facts(prepared, ended))
    if ended:
        console.facts([("ended", ", ".join(f"{count} {state}" for state, count in counts if count))])
    return 0


def _repeat_cells(repeat: Repeat, folds: int | None, together: bool = False) -> list[str]:
    seed = "all" if together else str(repeat.seed)
    return [seed] if folds is None else [seed, str(repeat.fold)]
