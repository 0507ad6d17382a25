"""`results`: exports a study's runs as csv, and makes the page of all results from such files. Trains nothing."""

from collections.abc import Sequence
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.cli.request import UNNAMED, parse
from fer_ablate.errors import UserError, choices
from fer_ablate.execution import study_output
from fer_ablate.execution.planning import prepared
from fer_ablate.report.results.files import foreign_files, page_file, read_lines, runs_file, table_file
from fer_ablate.report.results.page import results_page
from fer_ablate.report.results.runs import NEEDED, judged_lines, merged, run_lines
from fer_ablate.study.documents import documents, read_studies, study_names
from fer_ablate.study.plan import Plan, State
from fer_ablate.tracking.disk.files import write_text

USAGE = """Keep a study's runs as csv, and write the page of all results from such files.

  python -m fer_ablate results                            write docs/results.md anew from docs/results/*.csv
  python -m fer_ablate results study=fer_kd/table1        first export the finished runs of that study there
  python -m fer_ablate results study=fer_kd/table1 study.accept_stale=true    also those of an earlier config, data or code
  python -m fer_ablate results folder=DIR                 another folder than docs

An export replaces lines of the same row and seed and keeps all others, so runs of several machines may come together.
Intervals and verdicts need the predictions of all runs: export once with all of them in one runs_dir."""

FOLDER = "docs"


def run(arguments: Sequence[str]) -> int:
    """Export if a study is named, then write the page."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    words = [word for word in arguments if not word.startswith("folder=")]
    folder = folder_of(arguments)
    parsed = parse(words)
    config_dir = Path(parsed.config_dir) if parsed.config_dir else None
    names = study_names(documents(config_dir))
    files = _exported(words, parsed.overrides, names, folder) if parsed.overrides else []
    write_text(page_file(folder), results_page(read_studies(names, config_dir), folder))
    notes = [f"{file} belongs to no study known here and is left out." for file in foreign_files(folder, names)]
    console.facts([*(("wrote", str(file)) for file in (*files, page_file(folder))), *(("note", note) for note in notes)])
    return 0


def folder_of(words: Sequence[str]) -> Path:
    """What `folder=` names, or the usual folder of the documentation."""
    given = [word.split("=", 1)[1] for word in words if word.startswith("folder=")]
    return Path(given[-1] if given else FOLDER)


def _exported(words: Sequence[str], overrides: Sequence[str], names: Sequence[str], folder: Path) -> list[Path]:
    """Write the two files of the study that the words name."""
    name = next((word.split("=", 1)[1] for word in overrides if word.startswith("study=")), "")
    if name not in names:
        problem = f"study={name}: this is no table of a document." if name else f"{' '.join(overrides)}: of which study?"
        raise UserError(f"{problem} {choices(name, names)}")
    plan, _, _ = prepared(words)
    table, rows = study_output.judged(plan)
    if not any(row.runs for row in rows):
        raise UserError(_nothing(plan))
    changes = [word for word in plan.asked.typed if not word.lstrip("+~").startswith(UNNAMED)]
    runs, judged = runs_file(folder, name), table_file(folder, name)
    labels = [row.label for row in plan.asked.rows]
    reasons = {(planned.cell.row.label, planned.cell.repeat): planned.reason for planned in plan.runs}
    write_text(runs, merged(read_lines(runs, NEEDED), run_lines(rows, changes, reasons), labels))
    write_text(judged, judged_lines(table))
    return [runs, judged]


def _nothing(plan: Plan) -> str:
    """Why there is nothing to export, and what to do about it."""
    name, runs_dir = plan.asked.name, plan.runs[0].cell.config.runs_dir
    stale = sum(planned.state is State.stale for planned in plan.runs)
    way_out = f"Train it: python -m fer_ablate -m study={name}"
    if stale:
        found = console.counted(stale, "run")
        way_out = f"{found} of an earlier config, data or code would count with study.accept_stale=true. {way_out}"
    return f"study={name}: none of its runs in {runs_dir} is finished. {way_out}"
