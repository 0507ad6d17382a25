"""`path`: trains what a path lacks, and shows it."""

from collections.abc import Sequence
from statistics import fmean

from fer_ablate.cli import console
from fer_ablate.cli.command_line import allow_plugins, asked_of, parse
from fer_ablate.execution.ablation_path import Ends, ForwardPath, reverse_rows
from fer_ablate.execution.path_ends import ends_of_search, ends_of_study
from fer_ablate.execution.path_output import show_path, write_path, write_study_file
from fer_ablate.execution.planning import cost, summary
from fer_ablate.execution.study_output import show_table
from fer_ablate.execution.study_record import record_labels, study_folder
from fer_ablate.execution.sweep import Growth, launcher_words, run_plan
from fer_ablate.judgement.judged_table import JudgedTable
from fer_ablate.judgement.path import most_rows
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.report.quantities import duration
from fer_ablate.study.plan import Plan, make_plan, seconds_left
from fer_ablate.tracking.disk.run_state import RunState


def run_path(arguments: Sequence[str], to: str, reverse: bool, only_plan: bool) -> int:
    """Train what a path lacks and show it.

    Args:
        arguments: after the verb, without its own words.
        to: label of the row at the end, number of a trial, or `best`.
        reverse: whether changes are taken back from the end instead.
        only_plan: whether nothing is trained.

    Returns:
        1 if a run failed or is still missing, else 0.
    """
    parsed = parse(arguments)
    allow_plugins(parsed.overrides)
    if asked_of(parsed).is_search:
        ends, words = ends_of_search(parsed, to)
    else:
        ends, words = ends_of_study(arguments, to), launcher_words(parsed.overrides)
    if ends.source is not None and not only_plan:
        record_labels(ends.source)  # its rows may share their runs with those of the path
    return _run_reverse(ends, words, only_plan) if reverse else _run_forward(ends, words, only_plan)


def _run_forward(ends: Ends, words: Sequence[str], only_plan: bool) -> int:
    path = ForwardPath(ends)
    plan = path.plan()
    changes = [("changes" * (place == 0), change.described) for place, change in enumerate(path.changes)]
    console.facts([("path", f"{plan.spec.name}, steps chosen by {ends.decides}"), *changes, *_cost_facts(path, plan)])
    if only_plan:
        return 0

    def show(plan: Plan, table: JudgedTable, rows: Sequence[RowRuns]) -> None:
        found = path.path(table, rows)
        show_path(found)
        write_study_file(plan)
        folder = study_folder(plan)
        if problem := write_path(folder, found, plan.runs[0].cell.config.tracking.pictures):
            console.console.print(f"  note: {problem}", style="yellow")
        console.facts([("path", f"{folder}/path.md, .csv, .json; waterfall-*.png; the rows as a study in {folder / 'study'}")])

    return run_plan(plan, words, ends.config_dir, Growth(path.plan, True, "the next step of the path", show))


def _run_reverse(ends: Ends, words: Sequence[str], only_plan: bool) -> int:
    spec, cells, notes = reverse_rows(ends)
    plan = make_plan(spec, cells)
    console.facts([("study", f"{spec.name}, {summary(plan)}"), *(("note", note) for note in notes)])
    console.facts([("trains", f"{console.counted(len(plan.to_train), 'run')}; {cost(plan)}" if plan.to_train else "nothing")])
    if only_plan:
        return 0

    def show(plan: Plan, table: JudgedTable, rows: Sequence[RowRuns]) -> None:
        show_table(table)
        write_study_file(plan)

    return run_plan(plan, words, ends.config_dir, Growth(lambda: make_plan(spec, cells), False, "", show))


def _cost_facts(path: ForwardPath, plan: Plan) -> list[tuple[str, str]]:
    """How many runs the path needs at most, how many of those that are known exist, and the hours of the rest."""
    repeats, left = path.ends.repeats, path.left
    finished = sum(planned.state is RunState.finished for planned in plan.runs)
    later = repeats * (left * (left - 1) // 2)  # which of them it will be, only the step before them says
    facts = [
        ("runs", f"at most {repeats * most_rows(len(path.changes)):,}: {console.counted(repeats, 'run')} a row"),
        ("now", f"{summary(plan)}; steps decided: {len(path.decided)}"),
    ]
    if plan.to_train or later:
        more = f", and later at most {console.counted(later, 'run')}" if later else ""
        facts.append(("trains", f"{console.counted(len(plan.to_train), 'run')}{more}; {_hours(plan, finished, later)}"))
    else:
        facts.append(("trains", "nothing"))
    return facts


def _hours(plan: Plan, finished: int, later: int) -> str:
    seconds, _ = seconds_left(plan)
    if seconds is None or not finished:
        return cost(plan)
    mean = fmean(planned.folder.result.seconds for planned in plan.runs if planned.state is RunState.finished)
    return f"about {duration(seconds + later * mean)} one after another in all"
