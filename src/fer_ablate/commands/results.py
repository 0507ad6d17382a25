"""`results`: exports a study's judged table and runs as JSON, and makes the page of all results from such exports."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.cli.command_line import parse
from fer_ablate.cli.run_spec import UNNAMED
from fer_ablate.cli.words import read_command
from fer_ablate.config.overrides import Override, key_of, value_of
from fer_ablate.errors import Fault, FaultyConfigError, UserError, choices
from fer_ablate.execution import study_output
from fer_ablate.execution.planning import plan_with_bar
from fer_ablate.report.results.export import (
    export_file,
    exported_runs,
    ignored_files,
    merged_export,
    page_file,
    read_export,
    replaced_runs,
)
from fer_ablate.report.results.page import MARK, results_page
from fer_ablate.shell import program
from fer_ablate.study.documents import documents, read_studies, study_names
from fer_ablate.study.plan import Plan
from fer_ablate.tracking.disk.files import read_text, write_text

USAGE = """Keep a study's table and runs as JSON, and write the page of all results from such files.

  python -m fer_ablate results                            write docs/results.md again from docs/results/*.json
  python -m fer_ablate results study=fer_kd/table1        first export the finished runs of that study there
  python -m fer_ablate results study=fer_kd/table1 study.accept_stale=true    also those of an earlier config, data or code

{words}

An export replaces runs of the same row and seed and keeps all others, so runs of several machines may come together.
Intervals and verdicts need the predictions of all runs: export once with all of them in one runs_dir."""


@dataclass(frozen=True, kw_only=True)
class ResultsWords:
    """Words of `results`."""

    folder: Path = Path("docs")  # folder of the page; the exports are in its folder `results`


def run(arguments: Sequence[str]) -> int:
    """Export if a study is named, then write the page."""
    words, rest = read_command(arguments, ResultsWords, USAGE, help_if_empty=False)
    parsed = parse(rest)
    config_dir = parsed.config_dir
    names = study_names(documents(config_dir))
    page = page_file(words.folder)
    if page.is_file() and (written := read_text(page).strip()) and not written.startswith(MARK):
        raise UserError(f"{page} was not written by this command and stays. Move it, or name another folder: folder=...")
    files = _exported(rest, parsed.overrides, names, words.folder) if parsed.overrides else []
    write_text(page, results_page(read_studies(names, config_dir), words.folder))
    notes = ignored_files(words.folder, names)
    console.facts([*(("wrote", str(file)) for file in (*files, page)), *(("note", note) for note in notes)])
    return 0


def _exported(rest: Sequence[str], overrides: Sequence[str], names: Sequence[str], folder: Path) -> list[Path]:
    """Write the export of the study that the overrides name."""
    name = next((value_of(text) for text in overrides if text.startswith("study=")), "")
    if name not in names:
        problem = f"study={name}: this is not a table of a document." if name else f"{' '.join(overrides)}: of which study?"
        raise UserError(f"{problem} {choices(name, names)}")
    if limited := [key for key in map(key_of, overrides) if key in ("study.rows", "study.seeds", "seed")]:
        problem, remedy = "an export of some runs would leave the others without a verdict.", "All finished ones are exported."
        raise FaultyConfigError([Fault(key, problem, f"Leave it out. {remedy}") for key in limited])
    plan, _, _ = plan_with_bar(rest)
    table, rows = study_output.judged_study(plan)
    if not any(row.runs for row in rows):
        raise UserError(_nothing_finished(plan))
    # Overrides that change what is trained mark the exported runs: they are not runs of the study as published.
    changes = [text for text in plan.spec.typed if not Override.parse(text).without_prefix.startswith(UNNAMED)]
    file, labels = export_file(folder, name), [row.label for row in plan.spec.rows]
    reasons = {(planned.cell.row.label, planned.cell.repeat): planned.reason for planned in plan.runs}
    runs = exported_runs(rows, " ".join(changes), reasons)
    old = read_export(file)
    if lost := replaced_runs(old, runs):
        named = ", ".join(f"{one.label} seed {one.repeat.short}" for one in lost[:5])
        problem = f"{console.counted(len(lost), 'run')} of the study as it is ({named}{', ...' if len(lost) > 5 else ''})"
        raise UserError(f"{file} has {problem}, whose places other ones would take. Export those elsewhere: folder=...")
    write_text(file, merged_export(old, table, runs, labels).to_json())
    return [file]


def _nothing_finished(plan: Plan) -> str:
    """Why there is nothing to export, and what to do about it."""
    name, runs_dir = plan.spec.name, plan.runs[0].cell.config.runs_dir
    stale = sum(planned.has_stale for planned in plan.runs)
    way_out = f"Train it: {program('-m', f'study={name}')}"
    if stale:
        found = console.counted(stale, "run")
        way_out = f"{found} of an earlier config, data or code would count with study.accept_stale=true. {way_out}"
    return f"study={name}: none of its runs in {runs_dir} is finished. {way_out}"
