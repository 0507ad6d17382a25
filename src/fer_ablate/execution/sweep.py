"""`-m`: trains the missing runs of a study or a grid through the configured launcher, then shows the judged table."""

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.cli.command_line import RunSpec
from fer_ablate.config.schema import Config
from fer_ablate.execution import study_output
from fer_ablate.execution.job import JobResult, SweepJob, run_spec_file
from fer_ablate.execution.launching import hydra_launcher, train_planned
from fer_ablate.execution.planning import cost, plan_with_bar, summary
from fer_ablate.study.plan import Plan, PlannedRun, make_plan
from fer_ablate.study.spec import is_hydra
from fer_ablate.tracking.disk.files import write_error
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.mlflow.study_runs import ParentRuns, close_study, open_study

MOST_NOTES = 4
"""Notes about the images of some runs only that are shown before a sweep begins."""


def run_sweep(arguments: Sequence[str]) -> int:
    """Train what is missing, then show the table.

    Returns:
        1 if a run failed or is still missing, else 0.
    """
    console.quiet_libraries()
    plan, cells, parsed = plan_with_bar(arguments)
    console.facts([("study" if plan.spec.from_file else "grid", f"{plan.spec.name}, {summary(plan)}"), *_facts(plan)])
    results: dict[str, JobResult] = {}
    if plan.to_train:
        hydra_words = [text for text in parsed.overrides if is_hydra(text)]
        config_dir = parsed.config_dir
        try:
            results = _train(plan, _open_study(plan), hydra_words, config_dir)
        except KeyboardInterrupt:
            _show_and_record(make_plan(plan.spec, cells), RunState.missing)
            raise
    # The same cells: config, data and code are those that were trained, whatever was edited meanwhile.
    return _finish(plan, make_plan(plan.spec, cells), results)


def _facts(plan: Plan) -> list[tuple[str, str]]:
    """What a person should know before the sweep begins."""
    stale = {planned.reason for planned in plan.runs if planned.state is RunState.stale}
    facts = [("stale", reason) for reason in sorted(stale)]
    facts += [("note", problem) for problem in plan.damaged]
    facts += [("note", note) for note in _image_notes(plan)]
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


def _train(plan: Plan, parents: ParentRuns | None, words: Sequence[str], config_dir: Path | None) -> dict[str, JobResult]:
    """Start Hydra with the chosen launcher and give it the runs to train."""
    runs_dir = Path(_config(plan).runs_dir).resolve()
    places = {planned.cell.key: f"{number}/{len(plan.to_train)}" for number, planned in enumerate(plan.to_train, start=1)}
    multirun = runs_dir / "multirun"
    # Runs are handed over as files: a launcher passes on only overrides, and composing these again would take longer.
    try:
        multirun.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="specs-", dir=multirun))
    except OSError as error:
        raise write_error(multirun, error) from error
    # Ray would show one of several similar lines and count the others; lines of a study differ in their numbers alone.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    if any(word.startswith("hydra/launcher=submitit") for word in words):
        console.facts([("output", f"the output of the runs goes to {multirun}/.submitit/")])

    written = 0
    try:
        with hydra_launcher(SweepJob(folder, Path.cwd()), words, config_dir, multirun) as (launch_jobs, _):

            def train_runs(runs: Sequence[PlannedRun]) -> Sequence[JobResult]:
                nonlocal written
                # Numbers go on from call to call: each is the name of a spec file and the number of a job.
                first, written = written, written + len(runs)
                for number, planned in enumerate(runs, start=first):
                    _run_spec(planned, parents, places[planned.cell.key]).save(run_spec_file(folder, number))
                return launch_jobs([planned.cell.overrides for planned in runs], first)

            return train_planned(plan, train_runs, _ConsoleReporter())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_spec(planned: PlannedRun, parents: ParentRuns | None, place: str) -> RunSpec:
    cell = planned.cell
    parent = parents.row_ids.get(cell.row.label) if parents is not None else None
    # Tracking is not part of the key, so the planned key holds for this config too.
    config = replace(cell.config, tracking=replace(cell.config.tracking, parent=parent))
    return RunSpec(config, cell.row.label, list(cell.overrides), cell.changed, key=cell.key, place=place)


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


def _finish(before: Plan, after: Plan, results: dict[str, JobResult]) -> int:
    trained = {planned.cell.key for planned in before.to_train}
    # What is on disk counts, not what a launcher returned.
    missing = [planned for planned in after.runs if planned.cell.key in trained and planned.state is not RunState.finished]
    problems = [f"{planned.cell.name}: {_problem(planned, results)}" for planned in missing]
    if warning := _show_and_record(after, RunState.failed if missing else RunState.finished):
        console.console.print(f"  note: {warning}", style="yellow")
    if problems:
        sys.stdout.flush()
        listed = "\n".join(f"  {problem}" for problem in problems)
        print(f"fer_ablate: {console.counted(len(problems), 'run')} failed:\n{listed}", file=sys.stderr)
    return int(bool(missing))


def _show_and_record(plan: Plan, state: RunState) -> str:
    """Show and write the table and send it to MLflow; gives the reason if MLflow lacks something, else an empty text."""
    table, rows = study_output.judged_study(plan)
    study_output.show_table(table)
    config = _config(plan)
    with console.bar("drawing the plots"):
        output = study_output.write_output(plan, table, rows)
    facts = [
        (
            "table",
            f"{study_output.study_folder(plan)}/table.md, .tex, .csv, .html, .json; plots beside it; report.html has it all",
        )
    ]
    if config.tracking.enabled:
        facts.append(
            ("compare", f"mlflow ui --backend-store-uri {config.tracking.uri}   (experiment {config.tracking.experiment})")
        )
    console.console.print()
    console.facts(facts)
    for problem in output.problems:
        console.console.print(f"  note: {problem}", style="yellow")
    return close_study(config.tracking, Path(config.runs_dir), plan.spec.name, study_output.mlflow_summary(output, state))


def _problem(planned: PlannedRun, results: dict[str, JobResult]) -> str:
    result = results.get(planned.cell.key)
    if result is None or result.state is RunState.finished:
        return "its result is of another key: config, data or code changed while the study ran; start it again"
    first = next(iter(result.problem.splitlines()), "")
    return f"{first}  (log: {result.log})" if result.log else first


def _config(plan: Plan) -> Config:
    return plan.runs[0].cell.config
