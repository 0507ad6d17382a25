"""`-m`: trains what is missing of a study or a grid through the configured launcher, then judges it."""

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer_ablate.cli import console
from fer_ablate.cli.request import Request
from fer_ablate.config.schema import Config
from fer_ablate.execution import study_output
from fer_ablate.execution.hydra_sweeper import Launching, Sweep, start
from fer_ablate.execution.job import Job, request_file
from fer_ablate.execution.launching import train_wanted
from fer_ablate.execution.outcome import Ended, RunOutcome
from fer_ablate.execution.planning import cost, prepared, summary
from fer_ablate.study.plan import Plan, Planned, State, make_plan
from fer_ablate.study.spec import is_hydra
from fer_ablate.tracking.disk.files import write_error
from fer_ablate.tracking.mlflow.study_runs import StudyRuns, close_study, open_study

FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"

MOST_NOTES = 4
"""About the images of some runs only, shown before a sweep begins."""


def run_sweep(arguments: Sequence[str]) -> int:
    """Train what is missing, then show the table.

    Returns:
        1 if a run failed or is missing still, else 0.
    """
    console.quiet_libraries()
    plan, cells, parsed = prepared(arguments)
    console.facts([("study" if plan.asked.from_file else "grid", f"{plan.asked.name}, {summary(plan)}"), *_told(plan)])
    outcomes: dict[str, RunOutcome] = {}
    if plan.wanted:
        hydra_words = [text for text in parsed.overrides if is_hydra(text)]
        config_dir = Path(parsed.config_dir) if parsed.config_dir else None
        try:
            outcomes = _trained(plan, _opened(plan), hydra_words, config_dir)
        except KeyboardInterrupt:
            _close(make_plan(plan.asked, cells), KILLED)
            raise
    return _finish(plan, make_plan(plan.asked, cells), outcomes)


def _told(plan: Plan) -> list[tuple[str, str]]:
    """What a person should know before it begins."""
    stale = {planned.reason for planned in plan.runs if planned.state is State.stale}
    facts = [("stale", reason) for reason in sorted(stale)]
    facts += [("note", remark) for remark in plan.damaged]
    facts += [("note", note) for note in _image_notes(plan)]
    if plan.wanted:
        facts.append(("trains", f"{console.counted(len(plan.wanted), 'run')}; {cost(plan)}"))
    return facts


def _image_notes(plan: Plan) -> list[str]:
    """What a person should know about the images of the wanted runs, once for all of them."""
    counts = Counter(note for planned in plan.wanted for note in dict.fromkeys(planned.cell.notes))
    everywhere = [note for note, count in counts.items() if count == len(plan.wanted)]
    elsewhere = [f"{note} ({count} of {len(plan.wanted)} runs)" for note, count in counts.items() if count < len(plan.wanted)]
    rest = len(elsewhere) - MOST_NOTES
    more = [f"{rest:,} more notes are about the images of single runs; each run keeps its own (run.json)."] if rest > 0 else []
    return [*everywhere, *elsewhere[:MOST_NOTES], *more]


def _opened(plan: Plan) -> StudyRuns | None:
    config = _config(plan)
    labels = list(dict.fromkeys(planned.cell.row.label for planned in plan.runs))
    tags = {"source": plan.asked.study.source} if plan.asked.study.source else {}
    parents, warning = open_study(config.tracking, Path(config.runs_dir), plan.asked.name, labels, tags)
    if warning:
        console.console.print(f"  note: {warning}", style="yellow")
    return parents


def _trained(plan: Plan, parents: StudyRuns | None, words: Sequence[str], config_dir: Path | None) -> dict[str, RunOutcome]:
    """Start Hydra with the chosen launcher and give it the wanted runs."""
    runs_dir = Path(_config(plan).runs_dir).resolve()
    places = {planned.cell.key: f"{number}/{len(plan.wanted)}" for number, planned in enumerate(plan.wanted, start=1)}
    multirun = runs_dir / "multirun"
    try:
        multirun.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="requests-", dir=multirun))
    except OSError as error:
        raise write_error(multirun, error) from error
    outcomes: dict[str, RunOutcome] = {}
    # Ray would show one of several alike lines and count the others, which for runs of a study are not alike at all.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    if any(word.startswith("hydra/launcher=submitit") for word in words):
        console.facts([("output", f"what the runs say goes to {multirun}/.submitit/")])

    def work(start_runs: Launching, given: Mapping[str, Any]) -> None:
        written = 0

        def launch(runs: Sequence[Planned]) -> Sequence[RunOutcome]:
            nonlocal written
            first, written = written, written + len(runs)
            for number, planned in enumerate(runs, start=first):
                _request(planned, parents, places[planned.cell.key]).save(request_file(folder, number))
            return start_runs([planned.cell.overrides for planned in runs], first)

        outcomes.update(train_wanted(plan, launch, _Telling()))

    try:
        start(Sweep(Job(folder, Path.cwd()), work), words, config_dir, multirun)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcomes


def _request(planned: Planned, parents: StudyRuns | None, place: str) -> Request:
    cell = planned.cell
    parent = parents.row_ids.get(cell.row.label) if parents is not None else None
    config = replace(cell.config, tracking=replace(cell.config.tracking, parent=parent))
    return Request(config, cell.row.label, list(cell.overrides), cell.changed, key=cell.key, place=place)


class _Telling:
    """Tells the person at the screen what the sweep itself goes through."""

    def waits(self, runs: Sequence[Planned]) -> None:
        """Say who is waited for."""
        for planned in runs:
            console.console.print(f"  {_name(planned)}: waits for {planned.folder.owner}, which trains it")

    def lost(self, problem: str, runs: Sequence[Planned]) -> None:
        """Say what a broken launcher left behind."""
        names = "; ".join(map(_name, runs))
        print(f"fer_ablate: the launcher broke off ({problem}) at {names or 'no run of ours'}", file=sys.stderr, flush=True)


def _finish(before: Plan, after: Plan, outcomes: dict[str, RunOutcome]) -> int:
    wanted = {planned.cell.key for planned in before.wanted}
    missing = [planned for planned in after.runs if planned.cell.key in wanted and planned.state is not State.cached]
    problems = [f"{_name(planned)}: {_problem(planned, outcomes)}" for planned in missing]
    if warning := _close(after, FAILED if missing else FINISHED):
        console.console.print(f"  note: {warning}", style="yellow")
    if problems:
        sys.stdout.flush()
        told = "\n".join(f"  {problem}" for problem in problems)
        print(f"fer_ablate: {console.counted(len(problems), 'run')} failed:\n{told}", file=sys.stderr)
    return int(bool(missing))


def _close(plan: Plan, status: str) -> str:
    """Show and write the table, bring it to MLflow; why MLflow lacks something."""
    table, rows = study_output.judged(plan)
    study_output.show(table)
    config = _config(plan)
    with console.bar("drawing the plots"):
        finished = study_output.written(plan, table, rows)
    facts = [("table", f"{study_output.folder_of(plan)}/table.md, .tex, .csv, .html; plots beside it; report.html has it all")]
    if config.tracking.enabled:
        facts.append(
            ("compare", f"mlflow ui --backend-store-uri {config.tracking.uri}   (experiment {config.tracking.experiment})")
        )
    console.console.print()
    console.facts(facts)
    for problem in finished.problems:
        console.console.print(f"  note: {problem}", style="yellow")
    return close_study(config.tracking, Path(config.runs_dir), plan.asked.name, study_output.summary_of(finished, status))


def _problem(planned: Planned, outcomes: dict[str, RunOutcome]) -> str:
    outcome = outcomes.get(planned.cell.key)
    if outcome is None or outcome.ended is Ended.finished:
        return "its result is of another key: config, data or code changed while the study ran; start it again"
    first = next(iter(outcome.problem.splitlines()), "")
    return f"{first}  (log: {outcome.log})" if outcome.log else first


def _name(planned: Planned) -> str:
    return planned.cell.name


def _config(plan: Plan) -> Config:
    return plan.runs[0].cell.config
