"""`clean`: what could be deleted of the runs on disk, and with `yes=true` its deletion. Trains nothing."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from fer_ablate.cli import console
from fer_ablate.cli.words import read_command
from fer_ablate.config.constraints import one_of
from fer_ablate.config.key import short
from fer_ablate.config.overrides import assignment
from fer_ablate.errors import Fault, FaultyConfigError
from fer_ablate.execution.cleaning import KINDS, Cleaning, Removal, delete, find_removals
from fer_ablate.execution.planning import plan_with_bar
from fer_ablate.report.quantities import one_line, shorten
from fer_ablate.study.plan import Plan
from fer_ablate.tracking.disk.scan import scan
from fer_ablate.tracking.disk.usage import spelled_bytes

USAGE = """List what could be deleted of the runs on disk, with sizes; yes=true deletes it.

  python -m fer_ablate clean                                    failed and pruned runs, and states that finished runs left over
  python -m fer_ablate clean study=quickstart                   the same of one study, and its stale runs
  python -m fer_ablate clean study=quickstart what=stale yes=true
  python -m fer_ablate clean what=checkpoints                   the weights of finished runs; their scores stay
  python -m fer_ablate clean what=unfinished unfinished_days=30

failed       runs whose last attempt ended with an error
pruned       trials that a search ended early
stale        finished runs of the study with an earlier config, earlier data or code; needs study=, and takes what `plan` takes
unfinished   interrupted runs that nothing has changed for some days
leftovers    states to resume from (last.ckpt) that finished runs do not need
states       those that trainer.save_last kept: without them, runs with more epochs begin anew
checkpoints  weights of finished runs: without them `evaluate`, `explain`, `predict` and `export` have no network

{words}

Runs that are being trained, runs that others start from or continue, stale runs that other studies or grids have as well, and
whatever is outside of the runs' folder are left. MLflow keeps its copies."""

USUAL = ("failed", "pruned", "leftovers")
"""Kinds without `what=`; with a study also `stale`."""

LONGEST_LABEL, LONGEST_REASON = 50, 60
"""Letters of a cell on the screen."""


@dataclass(frozen=True, kw_only=True)
class CleanWords:
    """Words of `clean`."""

    # What could be deleted; by default failed, pruned, leftovers, and with a study stale.
    what: tuple[Annotated[str, one_of(*KINDS)], ...] = ()
    unfinished_days: Annotated[float, Ge(0)] = 7  # days without a change after which a run counts as unfinished
    yes: bool = False  # delete it
    runs_dir: Path | None = None  # folder of the runs; by default runs


def run(arguments: Sequence[str]) -> int:
    """List what could be deleted, or delete it."""
    words, rest = read_command(arguments, CleanWords, USAGE, help_if_empty=False)
    if "stale" in words.what and not rest:
        remedy = "Name it: clean study=quickstart what=stale."
        raise FaultyConfigError([Fault("what", "stale runs can be known only by comparison with a study or a grid.", remedy)])
    place = [assignment("runs_dir", str(words.runs_dir))] if words.runs_dir is not None else []
    plan, cells, _ = plan_with_bar([*rest, *place]) if rest else (None, [], None)
    runs_dir = Path(plan.runs[0].cell.config.runs_dir) if plan is not None else words.runs_dir or Path("runs")
    kinds = words.what or (*USUAL, *(["stale"] if plan is not None else []))
    found = scan(runs_dir)
    cleaning = find_removals(found, runs_dir, kinds, plan, words.unfinished_days, {cell.key for cell in cells})
    _show(cleaning, found.damaged, runs_dir, plan)
    if not cleaning.removals:
        return 0
    if not words.yes:
        console.facts([("delete", "nothing is deleted yet; the same command with yes=true deletes it")])
        return 0
    return _delete(cleaning)


def _show(cleaning: Cleaning, damaged: Sequence[str], runs_dir: Path, plan: Plan | None) -> None:
    """Print what could be deleted, what it adds up to, and what is left."""
    removals = cleaning.removals
    facts = []
    if removals:
        rows = [_cells(one) for one in removals]
        console.table("", ["what", "key", "run", "why", "size"], rows, left=4)
        console.console.print()
        counts = Counter(one.kind for one in removals)
        listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        facts.append(("total", f"{listed}; {spelled_bytes(sum(one.size for one in removals))}"))
    else:
        of = f" of {plan.spec.name}" if plan is not None else ""
        facts.append(("total", f"nothing to delete{of} in {runs_dir}/"))
    facts += [("left", f"{path}: {why}") for path, why in cleaning.kept.items()]
    facts += [("left", f"damaged, so nobody knows what it is: {problem}") for problem in damaged]
    console.facts(facts)


def _cells(removal: Removal) -> list[str]:
    one = removal.record.brief
    name = shorten(one_line(f"{one.experiment}/{one.name}, {one.repeat}"), LONGEST_LABEL)
    why = shorten(one_line(removal.why), LONGEST_REASON)
    return [removal.kind, short(one.key), name, why, spelled_bytes(removal.size)]


def _delete(cleaning: Cleaning) -> int:
    problems, freed = [], 0
    for one in cleaning.removals:
        if problem := delete(one):
            problems.append(problem)
        else:
            freed += one.size
    done = len(cleaning.removals) - len(problems)
    console.facts([("deleted", f"{done} of {len(cleaning.removals)}; {spelled_bytes(freed)} freed")])
    if problems:
        sys.stdout.flush()  # in a pipe, stdout is buffered and would follow the message
        print("\n".join(f"fer_ablate: {problem}" for problem in problems), file=sys.stderr)
    return int(bool(problems))
