"""`runs`: the runs on disk with their states, scores, sizes and ages. Trains nothing."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic_core import to_json

from fer_ablate.cli import console
from fer_ablate.cli.words import read_command
from fer_ablate.config.constraints import one_of
from fer_ablate.config.key import short
from fer_ablate.errors import choices
from fer_ablate.execution.runs_on_disk import ORDERS, SCORES, VALUES, ListedRun, in_experiment, listed_runs, spelled_age
from fer_ablate.report.plain_table import PlainTable, csv_table, markdown_table
from fer_ablate.report.quantities import ABSENT, metric_title, number, one_line, scale, shorten
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.disk.scan import RunRecord, Scan, scan
from fer_ablate.tracking.disk.usage import spelled_bytes

USAGE = """List the runs on disk: key, label, seed, state, main scores, size and age.

  python -m fer_ablate runs                                     all of them, by folder
  python -m fer_ablate runs experiment=quickstart sort=score    those of a study, the best test accuracy first
  python -m fer_ablate runs state=failed,missing                without a result; the command that began them resumes them
  python -m fer_ablate runs format=csv output=runs.csv          every value in full, for other programs

{words}

Every other verb finds a run by its key (the first digits do) or its label: evaluate run=quickstart/small. `compare` shows two
runs side by side, `clean` makes room. Accuracy and F1 are in percent, as fractions in csv and json."""

STATES = tuple(state.value for state in RunState if state is not RunState.stale)
"""States that can be known without a study."""

LONGEST_LABEL = 60
"""Letters of a label on the screen."""


@dataclass(frozen=True, kw_only=True)
class RunsWords:
    """Words of `runs`."""

    experiment: str = ""  # those of an experiment or study, or of all tables of a document (fer_kd)
    state: tuple[Annotated[str, one_of(*STATES)], ...] = ()  # those in these states
    sort: Annotated[str, one_of(*ORDERS)] = "name"  # order; the newest, largest or best first
    format: Annotated[str, one_of("csv", "json", "markdown")] | None = None  # text instead of a table as wide as the screen
    output: Path | None = None  # file for the text; by default the screen
    runs_dir: Path = Path("runs")  # folder of the runs


def run(arguments: Sequence[str]) -> int:
    """List the runs."""
    words, _ = read_command(arguments, RunsWords, USAGE, help_if_empty=False, overrides=False)
    console.refuse_unformatted(words.output, words.format, "csv")
    found = scan(words.runs_dir)
    chosen, damaged = listed_runs([record for record in found.records if _is_chosen(record, words)])
    chosen.sort(key=ORDERS[words.sort])
    damaged = [*found.damaged, *damaged]
    if words.format:
        console.put_text(_text(chosen, words.format), words.output)
        for problem in damaged:
            print(f"fer_ablate: {problem}", file=sys.stderr)
        return 0
    _show(chosen, damaged, found, words)
    return 0


def _is_chosen(record: RunRecord, words: RunsWords) -> bool:
    return (not words.state or record.state.value in words.state) and (
        not words.experiment or in_experiment(record, words.experiment)
    )


def _show(chosen: Sequence[ListedRun], damaged: Sequence[str], found: Scan, words: RunsWords) -> None:
    """Print the table and what it adds up to."""
    facts = []
    if chosen:
        table = _table(chosen)
        console.table("", table.header, table.rows, left=table.left)
        console.console.print()
        counts = [(state, sum(run.record.state is state for run in chosen)) for state in RunState]
        listed = ", ".join(f"{count} {state.value}" for state, count in counts if count)
        size = spelled_bytes(sum(run.size for run in chosen))
        facts.append(("runs", f"{console.counted(len(chosen), 'run')} in {words.runs_dir}/: {listed}; {size}"))
    elif found.records:
        experiments = sorted({record.brief.experiment for record in found.records})
        unknown = words.experiment and not any(in_experiment(record, words.experiment) for record in found.records)
        hint = f" experiment={words.experiment}: {choices(words.experiment, experiments)}" if unknown else ""
        facts.append(
            ("runs", f"none of the {console.counted(len(found.records), 'run')} in {words.runs_dir}/ is like that.{hint}")
        )
    elif not damaged:
        facts.append(("runs", f"there are no runs in {words.runs_dir}/. Train one first, or pass runs_dir=..."))
    if damaged:
        facts.append(("damaged", f"{console.counted(len(damaged), 'run')} or folders cannot be read:"))
        facts += [("", problem) for problem in damaged]
    console.facts(facts)


def _table(runs: Sequence[ListedRun], longest: int | None = LONGEST_LABEL) -> PlainTable:
    folds = any(run.record.brief.repeat.fold is not None for run in runs)
    header = ("key", "label", "state", "seed", *(["fold"] if folds else []), *map(metric_title, SCORES), "size", "age")
    return PlainTable("", header, tuple(_cells(run, folds, longest) for run in runs), left=3)


def _cells(run: ListedRun, folds: bool, longest: int | None) -> tuple[str, ...]:
    one, label = run.record.brief, one_line(run.label)
    repeat = one.repeat
    scores = zip(SCORES, run.scores, strict=True)
    return (
        short(one.key),
        label if longest is None else shorten(label, longest),
        run.record.state.value,
        str(repeat.seed),
        *([ABSENT if repeat.fold is None else str(repeat.fold)] if folds else []),
        *(ABSENT if score is None else number(scale(name) * score, 1) for name, score in scores),
        spelled_bytes(run.size),
        spelled_age(run.at),
    )


def _text(runs: Sequence[ListedRun], form: str) -> str:
    values = [run.values() for run in runs]
    if form == "json":
        return to_json(values, indent=2, inf_nan_mode="strings").decode() + "\n"
    if form == "csv":
        return csv_table(VALUES, [list(one.values()) for one in values])
    return markdown_table(_table(runs, longest=None))
