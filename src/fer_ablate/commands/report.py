"""`report`: a study or a finished run as one page of HTML that needs nothing beside it."""

from collections.abc import Sequence
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.cli.usage import asks_for_help
from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.config.key import relevant
from fer_ablate.errors import UserError
from fer_ablate.execution import study_output
from fer_ablate.execution.finished_network import own_words, settings, single
from fer_ablate.execution.planning import prepared
from fer_ablate.report.page.commands import study_command
from fer_ablate.report.page.elements import PAGE, Page
from fer_ablate.report.page.run import run_page
from fer_ablate.study.plan import Plan, State
from fer_ablate.tracking.disk.files import write_text
from fer_ablate.tracking.disk.lookup import find_run
from fer_ablate.tracking.mlflow.attach import add_to_run
from fer_ablate.tracking.mlflow.study_runs import FAILED, FINISHED, close_study

USAGE = """One page of HTML about a study or a run, with its pictures inside: opens without network, prints, fits a phone.

  python -m fer_ablate report study=quickstart                     beside the study's table, and in its MLflow run
  python -m fer_ablate report study=quickstart output=page.html    there as well
  python -m fer_ablate report optimizer=sgd,adam seed=0,1          of a grid
  python -m fer_ablate report run=<id>                             in the run's folder, and in its MLflow run

run=    key (its first digits do), row of a study ('quickstart/-1 Conv'), MLflow id or folder of a run
A study writes its page at its end; `report` does so again, with heat maps that `explain` has drawn since. Trains nothing.
With run=, runs_dir may be given; else what `table` takes."""

OWN = ("run", "output")

LARGE = 10_000_000
"""Bytes; a larger page is remarked upon."""


def run(arguments: Sequence[str]) -> int:
    """Write the page and say where it is."""
    if asks_for_help(arguments):
        print(USAGE)
        return 0
    console.quiet_libraries()
    words, rest = own_words(arguments, OWN)
    about, output = single(words, "run"), single(words, "output")
    if "run" in words and any(word.startswith("study=") for word in rest):
        raise UserError("Give either study=<name> or run=<id>, not both: a page is about one of them.")
    if "run" not in words and not any("=" in word for word in rest):
        raise UserError("Give study=<name> or run=<id>; `report --help` shows how.")
    page, files, warnings = _of_run(about, rest) if "run" in words else _of_study(rest)
    if output:
        files.append(Path(output).expanduser())
        write_text(files[-1], page.html)
    _tell(page, files, warnings)
    return 0


def _of_run(name: str, rest: Sequence[str]) -> tuple[Page, list[Path], list[str]]:
    typed = settings(rest, OWN, ("runs_dir",))
    folder = find_run(typed.runs_dir, name)
    if folder.status != "finished":
        raise UserError(f"Run {folder.path} is not finished. Start its command again: it resumes.")
    with composer():
        defaults = relevant(to_config(composed()))
    page, file = run_page(folder, defaults), folder.path / PAGE
    write_text(file, page.html)
    warning = add_to_run(folder, typed.runs_dir, [file], "report", {})
    return page, [file], [warning] if warning else []


def _of_study(rest: Sequence[str]) -> tuple[Page, list[Path], list[str]]:
    plan, _, _ = prepared(rest)
    table, rows = study_output.judged(plan)
    if not any(row.runs for row in rows):
        raise UserError(_nothing(plan))
    with console.bar("drawing the plots"):
        finished = study_output.written(plan, table, rows)
    if finished.page is None:
        raise UserError("\n".join(finished.problems))
    warnings = [*finished.problems, _told_to_mlflow(plan, finished)]
    return finished.page, [study_output.folder_of(plan) / PAGE], [warning for warning in warnings if warning]


def _nothing(plan: Plan) -> str:
    """Why there is no page, and what to do."""
    name, command = plan.asked.name, study_command(plan.asked)
    if not any(planned.state is State.stale for planned in plan.runs):
        return f"{name} has no finished run yet. Train it first: {command}"
    return f"{name} has runs only of an earlier config, data or code. Show them with study.accept_stale=true, or train: {command}"


def _told_to_mlflow(plan: Plan, finished: study_output.Finished) -> str:
    """Why MLflow does not have the page; empty if it has. A study at work is left alone: its end brings the page."""
    if any(planned.state is State.running for planned in plan.runs):
        return "Runs of this study are being trained; its end brings a page with them to MLflow."
    config = plan.runs[0].cell.config
    complete = all(planned.state is State.cached or not planned.wanted for planned in plan.runs)
    summary = study_output.summary_of(finished, FINISHED if complete else FAILED)
    return close_study(config.tracking, Path(config.runs_dir), plan.asked.name, summary)


def _tell(page: Page, files: Sequence[Path], warnings: Sequence[str]) -> None:
    size = len(page.html.encode())
    held = f"{console.counted(page.runs, 'run')}, {console.counted(page.pictures, 'picture')}"
    console.facts([*(("page", str(file)) for file in files), ("holds", held), ("size", f"{size / 1e6:.1f} MB")])
    notes = [*page.left_out, *warnings]
    if size > LARGE:
        notes.append(f"The page is larger than {LARGE / 1e6:.0f} MB; fewer rows (study.rows=[...]) make a smaller one.")
    for note in notes:
        console.console.print(f"  note: {note}", style="yellow")
