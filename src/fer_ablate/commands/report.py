"""`report`: a study or a finished run as one page of HTML that needs no other file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.cli.words import read_command
from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.config.key import relevant
from fer_ablate.errors import UserError
from fer_ablate.execution import study_output
from fer_ablate.execution.finished_network import read_overrides
from fer_ablate.execution.mlflow_summary import mlflow_summary
from fer_ablate.execution.planning import plan_with_bar
from fer_ablate.execution.study_record import study_folder
from fer_ablate.report.page.elements import PAGE, Page
from fer_ablate.report.page.run import run_page
from fer_ablate.shell import program
from fer_ablate.study.plan import Plan
from fer_ablate.tracking.disk.files import write_text
from fer_ablate.tracking.disk.lookup import find_run
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.mlflow.attach import add_to_run
from fer_ablate.tracking.mlflow.study_runs import close_study

USAGE = """One page of HTML about a study or a run, with its pictures inside: opens without network, prints, fits a phone.

  python -m fer_ablate report study=quickstart                     in the folder of the study's table, and in its MLflow run
  python -m fer_ablate report study=quickstart output=page.html    and a copy in a file
  python -m fer_ablate report optimizer=sgd,adam seed=0,1          of a grid
  python -m fer_ablate report run=<id>                             in the run's folder, and in its MLflow run

{words}
A study writes its page at its end; `report` does so again, with heat maps that `explain` has drawn since. Trains nothing.
With run=, runs_dir may be given; without, everything that `plan` takes."""

LARGE = 10_000_000
"""Bytes; a larger page opens slowly on a phone, so a note says how to make it smaller."""


@dataclass(frozen=True, kw_only=True)
class ReportWords:
    """Words of `report`."""

    # Finished run: its key (first digits do), a row of a study ('quickstart/-1 Conv'), MLflow id or folder.
    run: str = ""
    output: Path | None = None  # file for another copy of the page


def run(arguments: Sequence[str]) -> int:
    """Write the page and say where it is."""
    words, rest = read_command(arguments, ReportWords, USAGE)
    if words.run and any(text.startswith("study=") for text in rest):
        raise UserError("Give either study=<name> or run=<id>, not both: a page is about one of them.")
    if not words.run and not any("=" in text for text in rest):
        raise UserError("Give study=<name> or run=<id>; `report --help` shows how.")
    page, files, notes = _run_page(words.run, rest) if words.run else _study_page(rest)
    if words.output:
        files.append(words.output)
        console.write_output(page.html, words.output)
    _show(page, files, notes)
    return 0


def _run_page(name: str, rest: Sequence[str]) -> tuple[Page, list[Path], list[str]]:
    """The page of a run, where it was written, and notes."""
    overrides = read_overrides(rest, ReportWords, ("runs_dir",))
    folder = find_run(overrides.runs_dir, name)
    if not folder.finished:
        raise UserError(f"Run {folder.path} is not finished. Start its command again: it resumes.")
    with composer():
        defaults = relevant(to_config(composed()))
    page, file = run_page(folder, defaults), folder.path / PAGE
    write_text(file, page.html)
    warning = add_to_run(folder, overrides.runs_dir, [file], "report", {})
    return page, [file], [warning] if warning else []


def _study_page(rest: Sequence[str]) -> tuple[Page, list[Path], list[str]]:
    """The page of a study or a grid, where it was written, and notes."""
    plan, _, _ = plan_with_bar(rest)
    table, rows = study_output.judged_study(plan)
    if not any(row.runs for row in rows):
        raise UserError(_no_page(plan, program("-m", *rest)))
    with console.bar("drawing the plots"):
        finished = study_output.write_output(plan, table, rows)
    if finished.page is None:
        raise UserError("\n".join(finished.problems))
    notes = [*finished.problems, _record(plan, finished)]
    return finished.page, [study_folder(plan) / PAGE], [note for note in notes if note]


def _no_page(plan: Plan, command: str) -> str:
    """Why there is no page, and what to do; `command` trains what is missing."""
    name = plan.spec.name
    if not any(planned.has_stale for planned in plan.runs):
        return f"{name} has no finished run yet. Train it first: {command}"
    return f"{name} has runs only of an earlier config, data or code. Show them with study.accept_stale=true, or train: {command}"


def _record(plan: Plan, finished: study_output.StudyOutput) -> str:
    """Bring the page to MLflow; gives the reason if that failed or has to wait, else an empty text."""
    if any(planned.state is RunState.running for planned in plan.runs):
        # The sweep that trains them closes the study in MLflow; two writers would overwrite each other.
        return "Runs of this study are being trained; MLflow gets the page when they end."
    config = plan.runs[0].cell.config
    complete = all(planned.state is RunState.finished or not planned.to_train for planned in plan.runs)
    summary = mlflow_summary(finished, RunState.finished if complete else RunState.failed)
    return close_study(config.tracking, Path(config.runs_dir), plan.spec.name, summary)


def _show(page: Page, files: Sequence[Path], notes: Sequence[str]) -> None:
    """Print where the page is, what it holds, and the notes."""
    size = len(page.html.encode())
    held = f"{console.counted(page.runs, 'run')}, {console.counted(page.pictures, 'picture')}"
    console.facts([*(("page", str(file)) for file in files), ("holds", held), ("size", f"{size / 1e6:.1f} MB")])
    lines = [*page.left_out, *notes]
    if size > LARGE:
        lines.append(f"The page is larger than {LARGE / 1e6:.0f} MB; fewer rows (study.rows=[...]) make a smaller one.")
    for note in lines:
        console.console.print(f"  note: {note}", style="yellow")
