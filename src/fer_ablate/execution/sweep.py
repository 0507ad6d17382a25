"""`-m`: trains the missing runs of a study or a grid through the configured launcher, then shows the judged table."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.cli.quiet_libraries import quiet_libraries
from fer_ablate.cli.run_spec import SINGLE_VALUES, RunSpec
from fer_ablate.config.overrides import key_of, parsed_overrides
from fer_ablate.config.schema import Config
from fer_ablate.errors import UserError
from fer_ablate.execution import study_output, study_record
from fer_ablate.execution.added_seeds import due_seeds
from fer_ablate.execution.job import JobResult
from fer_ablate.execution.launching import Launcher, open_launcher, train_planned
from fer_ablate.execution.left_over import remove_left_over
from fer_ablate.execution.live_view import live_view
from fer_ablate.execution.mlflow_pages import comparison_facts
from fer_ablate.execution.mlflow_summary import mlflow_summary
from fer_ablate.execution.own_parts import tried
from fer_ablate.execution.planning import check_comparable, continuing_facts, cost, lost_states, plan_with_bar, summary
from fer_ablate.execution.run_pictures import draw_left
from fer_ablate.execution.sharing import Sharing, share, this_machine
from fer_ablate.execution.submitted_jobs import Jobs
from fer_ablate.execution.together import one_after_another
from fer_ablate.judgement.judged_table import JudgedTable
from fer_ablate.judgement.planned_rows import why_no_table
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.study.plan import Plan, PlannedRun, make_plan
from fer_ablate.study.spec import is_hydra
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.mlflow.study_runs import ParentRuns, StudySummary, close_study, open_study
from fer_ablate.tracking.recorder import upload_pending

MOST_NOTES = 4
"""Notes about the images of some runs only that are shown before a sweep begins."""


def run_sweep(arguments: Sequence[str]) -> int:
    """Train what is missing, then show the table.

    Returns:
        1 if a run failed or is still missing, else 0.
    """
    quiet_libraries()
    plan, cells, parsed = plan_with_bar(arguments)
    check_comparable(plan)
    console.facts([("study" if plan.spec.from_file else "grid", f"{plan.spec.name}, {summary(plan)}"), *_facts(plan)])
    if not plan.to_train:
        _before(plan)
        return 0 if _show_again(plan) else _finish([], plan, {})
    # The same cells: config, data and code are those that were trained, whatever was edited meanwhile. What this sweep has
    # trained is not trained again, although `force` began it.
    later = [replace(cell, config=replace(cell.config, force=False)) for cell in cells]
    growth = Growth(lambda: due_seeds(make_plan(plan.spec, later)), grows=bool(plan.spec.looks))
    return run_plan(plan, launcher_words(parsed.overrides), parsed.config_dir, growth)


def launcher_words(overrides: Sequence[str]) -> list[str]:
    """The overrides that may choose a launcher."""
    return [text for text in overrides if is_hydra(text) or _names_file(text)]


@dataclass(frozen=True)
class Growth:
    """How a plan grows while it is trained.

    Args:
        again: the plan as finished runs have it now: with the rows and seeds that have become due.
        grows: whether there may be more of them than at the beginning.
        why: why runs are added, for people.
        show: prints the table, and may leave files in the folder of the study; None: the table alone is printed.
    """

    again: Callable[[], Plan]
    grows: bool
    why: str = "rows that are not decided get more seeds"
    show: Callable[[Plan, JudgedTable, Sequence[RowRuns]], None] | None = None

    def added(self, after: Plan) -> list[PlannedRun]:
        """The runs that are due once all until now are finished."""
        return after.to_train if self.grows else []


def run_plan(plan: Plan, words: Sequence[str], config_dir: Path | None, growth: Growth) -> int:
    """Train the runs of a plan, then those that it grows by, and show the table.

    Args:
        plan: what is due at the beginning.
        words: that may choose a launcher.
        config_dir: what was given as `--config-dir`.
        growth: how the plan goes on.

    Returns:
        1 if a run failed or is still missing, else 0.
    """
    _before(plan)
    if not plan.to_train:
        return _finish([], plan, {}, growth=growth)
    results: dict[str, JobResult] | None = None
    jobs: Jobs | None = None
    try:
        with _launcher(plan, words, config_dir) as launcher:
            jobs = launcher.jobs
            results = _train(plan, launcher)
            after, trained = growth.again(), plan.to_train
            while not _unfinished(trained, after, results) and (added := growth.added(after)):
                console.facts([("adds", f"{console.counted(len(added), 'run')}: {growth.why}")])
                results |= _train(after, launcher)
                trained += added
                after = growth.again()
            return _finish(trained, after, results, launcher, growth)
    except KeyboardInterrupt:
        try:
            if results is None:
                _record_interrupted(growth)
        finally:
            if jobs is not None:
                jobs.show_left()  # last of all, so that it stands at the end of what is read
        raise


def _record_interrupted(growth: Growth) -> None:
    try:
        _show_and_record(growth.again(), RunState.missing, growth=growth)
    except (BrokenPipeError, SystemExit):  # rich leaves in this way
        # The same key has ended the program that read the output, as in `2>&1 | tee log`; what is recorded does not need it.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if os.path.samestat(os.fstat(1), os.fstat(2)):
            os.dup2(nowhere, 2)
        os.dup2(nowhere, 1)
        _show_and_record(growth.again(), RunState.missing, growth=growth)


def _before(plan: Plan) -> None:
    remove_left_over(plan)
    study_record.record_labels(plan)
    console.facts([("note", note) for note in tried(plan)])


def _names_file(text: str) -> bool:
    """Whether an override chooses a file of a group, which may choose a launcher as well; a study's file cannot."""
    named = "." not in key_of(text) and key_of(text) not in (*SINGLE_VALUES, "study")
    return named and not parsed_overrides([text])[0].is_sweep_override()


def _show_again(plan: Plan) -> bool:
    """Show the table that is there already, if nothing that it was made from has changed since; returns whether it was shown."""
    table = study_output.stored_table(plan) if study_record.is_current(plan) else None
    if table is None:
        return False
    study_output.show_table(table)
    _show_places(plan)
    return True


def _facts(plan: Plan) -> list[tuple[str, str]]:
    """What a person should know before the sweep begins."""
    stale = {planned.reason for planned in plan.runs if planned.state is RunState.stale}
    facts = [("stale", reason) for reason in sorted(stale)]
    facts += [("seeds", plan.seeds_added)] if plan.seeds_added else []
    facts += [("continues", text) for text in continuing_facts(plan)]
    facts += [("note", problem) for problem in plan.damaged]
    facts += [("note", note) for note in [*_image_notes(plan), *lost_states(plan)]]
    if plan.to_train:
        facts.append(("trains", f"{console.counted(len(plan.to_train), 'run')}; {cost(plan)}"))
    return facts


def _image_notes(plan: Plan) -> list[str]:
    """Notes about the images of the runs to train: first those of all of them, then a few of those of some runs only."""
    counts = Counter(note for planned in plan.to_train for note in dict.fromkeys(planned.cell.notes))
    everywhere = [note for note, count in counts.items() if count == len(plan.to_train)]
    elsewhere = [f"{note} ({count} of {len(plan.to_train)} runs)" for note, count in counts.items() if count < len(plan.to_train)]
    rest = len(elsewhere) - MOST_NOTES
    more = [f"{rest:,} more notes are about the images of single runs; each run keeps its own (run.json)."] if rest > 0 else []
    return [*everywhere, *elsewhere[:MOST_NOTES], *more]


def _open_study(plan: Plan) -> ParentRuns | None:
    config = _config(plan)
    labels = list(dict.fromkeys(planned.cell.row.label for planned in plan.runs))
    tags = {"source": plan.spec.study.source} if plan.spec.study.source else {}
    parents, warning = open_study(config.tracking, Path(config.runs_dir), plan.spec.name, labels, tags)
    if warning:
        console.console.print(f"  note: {warning}", style="yellow")
    return parents


def _launcher(plan: Plan, words: Sequence[str], config_dir: Path | None) -> AbstractContextManager[Launcher]:
    """The chosen launcher."""
    multirun = Path(_config(plan).runs_dir).resolve() / "multirun"
    # Ray would show one of several similar lines and count the others; lines of a study differ in their numbers alone.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    if any(word.startswith("hydra/launcher=submitit") for word in words):
        console.facts([("output", f"the output of the runs goes to {multirun}/.submitit/")])
    return open_launcher(words, config_dir, multirun, partial(_shared, plan))


def _train(plan: Plan, launcher: Launcher) -> dict[str, JobResult]:
    """Give the launcher the runs to train."""
    places = {planned.cell.key: f"{number}/{len(plan.to_train)}" for number, planned in enumerate(plan.to_train, start=1)}
    if launcher.machine is not None:
        sharing = launcher.machine.sharing()
        launcher.machine.begin_imports(len(plan.to_train), _config(plan).tracking)
        console.facts([("trains", sharing.described)])
        if sharing.at_once > 1:
            # Said, since nothing else is seen meanwhile.
            console.facts([("starts", f"{sharing.at_once} processes; they import torch first, for some seconds")])
    parents = _open_study(plan)

    def train_runs(runs: Sequence[PlannedRun]) -> Sequence[JobResult]:
        return launcher.launch([_run_spec(planned, parents, places[planned.cell.key]) for planned in runs])

    with live_view(plan.to_train, job_note=launcher.jobs.note if launcher.jobs is not None else None):
        return train_planned(plan, train_runs, _ConsoleReporter())


def _shared(plan: Plan, most: int | None) -> Sharing:
    """How the runs of a study share this machine; finished ones count as well, see `share`."""
    here = this_machine()
    runs = {planned.cell.key: planned for planned in plan.runs}.values()
    peaks: dict[str, float] = {}
    for planned in runs:
        if planned.state is RunState.finished:
            label = planned.cell.row.label
            with suppress(UserError):  # of a damaged result nothing is known
                peaks[label] = max(peaks.get(label, 0.0), planned.folder.result.peak_memory_mb)
    return share([planned.cell.config for planned in runs], here, peaks, most)


def _run_spec(planned: PlannedRun, parents: ParentRuns | None, place: str) -> RunSpec:
    cell = planned.cell
    parent = parents.row_ids.get(cell.row.label) if parents is not None else None
    # Tracking is not part of the key, so the planned key holds for this config too.
    config = replace(cell.config, tracking=replace(cell.config.tracking, parent=parent))
    return RunSpec(
        config,
        cell.row.label,
        list(cell.overrides),
        cell.changed,
        key=cell.key,
        place=place,
        folder=str(planned.folder.path),
        quiet=True,
        continues=str(planned.continues.folder.path) if planned.continues is not None else "",
    )


class _ConsoleReporter:
    """Prints what happens to the sweep itself; see `SweepReporter`."""

    def waiting(self, runs: Sequence[PlannedRun]) -> None:
        """Name the processes that the sweep waits for."""
        for planned in runs:
            console.console.print(f"  {planned.cell.name}: waits for {planned.folder.owner}, which trains it")

    def launcher_broke(self, problem: str, runs: Sequence[PlannedRun]) -> None:
        """Name the runs that a broken launcher did not finish."""
        names = "; ".join(planned.cell.name for planned in runs)
        print(f"fer_ablate: the launcher broke off ({problem}) at {names or 'no run of ours'}", file=sys.stderr, flush=True)


def _finish(
    trained: Sequence[PlannedRun],
    after: Plan,
    results: dict[str, JobResult],
    launcher: Launcher | None = None,
    growth: Growth | None = None,
) -> int:
    missing = _unfinished(trained, after, results)
    problems = [f"{planned.cell.name}: {_problem(planned, results)}" for planned in missing]
    if launcher is not None and launcher.machine is not None:
        launcher.machine.draw_rest(meanwhile=study_output.import_judgement)
    remove_left_over(after)
    for note in [*draw_left(after.runs), *_upload_earlier_runs(_config(after))]:
        console.console.print(f"  note: {note}", style="yellow")
    if warning := _show_and_record(after, RunState.failed if missing else RunState.finished, launcher, growth):
        console.console.print(f"  note: {warning}", style="yellow")
    if problems:
        sys.stdout.flush()
        listed = "\n".join(f"  {problem}" for problem in problems)
        print(f"fer_ablate: {console.counted(len(problems), 'run')} failed:\n{listed}", file=sys.stderr)
    return int(bool(missing))


def _unfinished(trained: Sequence[PlannedRun], after: Plan, results: Mapping[str, JobResult]) -> list[PlannedRun]:
    """The runs of a sweep that have no result of it.

    Args:
        trained: the runs of the sweep.
        after: the plan after it.
        results: key -> how the run ended.
    """
    anew = {planned.cell.key: planned.cell.config.force for planned in trained}

    def is_finished(planned: PlannedRun) -> bool:
        # What is on disk counts, not what a launcher returned; but of a run that is trained anew it may be the earlier result.
        key = planned.cell.key
        return planned.state is RunState.finished and (not anew[key] or results[key].state is RunState.finished)

    return [planned for planned in after.runs if planned.cell.key in anew and not is_finished(planned)]


def _upload_earlier_runs(config: Config) -> list[str]:
    """Send runs that MLflow missed while they were trained; returns why that failed, if it did."""
    try:
        if config.tracking.enabled:
            upload_pending(Path(config.runs_dir), config.tracking, elsewhere=False)
    except UserError as error:
        return [str(error)]
    return []


def _show_and_record(plan: Plan, state: RunState, launcher: Launcher | None = None, growth: Growth | None = None) -> str:
    """Show and write the table and send it to MLflow; gives the reason if there is none or MLflow lacks something, else ""."""
    if reason := why_no_table(plan):
        # The runs are what was asked for, so this is no failure; MLflow would otherwise show the study as running for ever.
        ended = StudySummary(rows={}, runs={}, state=state)
        warning = close_study(_config(plan).tracking, Path(_config(plan).runs_dir), plan.spec.name, ended)
        return " ".join(filter(None, (reason, warning)))
    digest = study_record.study_digest(plan)
    table, rows = study_output.judged_study(plan)
    if growth is not None and growth.show is not None:
        growth.show(plan, table, rows)
    else:
        study_output.show_table(table)
    config = _config(plan)
    with console.bar("drawing the plots"):
        output = study_output.write_output(plan, table, rows, launcher.together if launcher is not None else one_after_another)
    summary = mlflow_summary(output, state)
    warning = close_study(config.tracking, Path(config.runs_dir), plan.spec.name, summary)
    _show_places(plan)
    for problem in output.problems:
        console.console.print(f"  note: {problem}", style="yellow")
    if not output.problems and not warning:
        study_record.record_study(plan, digest)
    return warning


def _show_places(plan: Plan) -> None:
    """Print where the table is, and how to compare the rows in MLflow."""
    folder = study_record.study_folder(plan)
    seeds = [("seeds", plan.seeds_added)] if plan.seeds_added else []
    table = ("table", f"{folder}/table.md, .tex, .csv, .html, .json; plots beside it; report.html has it all")
    console.console.print()
    console.facts([*seeds, table, *comparison_facts(plan)])


def _problem(planned: PlannedRun, results: dict[str, JobResult]) -> str:
    result = results.get(planned.cell.key)
    if result is None or result.state is RunState.finished:
        return "its result is of another key: config, data or code changed while the study ran; start it again"
    first = next(iter(result.problem.splitlines()), "")
    return f"{first}  (log: {result.log})" if result.log else first


def _config(plan: Plan) -> Config:
    return plan.runs[0].cell.config
