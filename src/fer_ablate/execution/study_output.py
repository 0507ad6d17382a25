"""The output of a study: the judged table on the screen and in files, the plots, the page, and the summary for MLflow."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.execution.study_record import (
    OutputRecord,
    listing,
    makers_digest,
    read_record,
    study_folder,
    write_record,
)
from fer_ablate.judgement.judged_table import JudgedTable
from fer_ablate.judgement.row_runs import RowRuns, rows_with_runs
from fer_ablate.report.page.elements import PAGE, Page
from fer_ablate.report.table.formats import FORMATS, console_tables, render_table
from fer_ablate.report.table.shown_table import VERDICT, shown_table
from fer_ablate.study.plan import Plan
from fer_ablate.tracking.disk.files import write_text
from fer_ablate.tracking.disk.history import EpochRow
from fer_ablate.tracking.disk.log import LOG, attempt
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.mlflow.study_runs import StudySummary


@dataclass(frozen=True)
class StudyOutput:
    """A judged study and its files.

    Args:
        table: table of the study.
        rows: rows that the table is made from.
        files: files that were written, for MLflow.
        page: page that shows all of it; None if it could not be made.
        problems: what could not be made and why, a sentence each.
    """

    table: JudgedTable
    rows: tuple[RowRuns, ...]
    files: tuple[Path, ...]
    page: Page | None
    problems: tuple[str, ...] = ()


def judged_study(plan: Plan) -> tuple[JudgedTable, list[RowRuns]]:
    """The judged table of the finished runs, and the rows that it is made from.

    Raises:
        UserError: rows have different evaluation protocols, or a column does not exist.
    """
    from fer_ablate.judgement.judge import build_table  # for its statistics scipy is imported, which takes half a second

    spec, rows = plan.spec, rows_with_runs(plan)
    # Where rows were chosen, the study's baseline may be none of them.
    baseline = spec.baseline if any(row.label == spec.baseline for row in rows) else rows[0].label
    study = spec.study
    table = build_table(spec.name, study.source, rows, baseline, study.columns, study.mixed_protocols, spec.factor)
    return table, rows


def show_table(table: JudgedTable) -> None:
    """Print the table, as wide as the screen allows."""
    for part in console_tables(table, console.console.width):
        console.console.print()
        console.table(part.title, part.header, part.rows, words=(VERDICT,))
    shown = shown_table(table)
    console.console.print()
    for note in (shown.caption, *shown.notes):
        console.console.print(f"  {note}", style="dim")


def write_output(plan: Plan, table: JudgedTable, rows: Sequence[RowRuns]) -> StudyOutput:
    """Write the table in every format, the plots, the tables of each class, and the page that shows all of it.

    The table comes first. What else cannot be made is reported and tried again the next time, with a traceback in `log.txt`.
    While the table and the files stay the same, nothing is drawn again. The page is made every time, since heat maps of runs may
    have come after the table, and is written if it has changed.

    Raises:
        UserError: the table cannot be written.
    """
    folder = study_folder(plan)
    log, record = folder / LOG, read_record(folder)
    # With the keys: other runs may give the same table, but not the same learning curves.
    figures = plan.runs[0].cell.config.tracking.pictures
    shown = repr((table, [run.header.key for row in rows for run in row.runs], makers_digest(), figures))
    digest = hashlib.sha256(shown.encode()).hexdigest()
    problems: list[str] = []
    if record.table != digest or not record.fits(folder):
        problems += _write_table(folder, table, rows, figures)
    pages: list[Page] = []  # `attempt` returns the problem, so the page comes back this way
    problems.append(attempt(log, "The page", lambda: pages.append(_page(plan, table, rows, folder))))
    problems = [problem for problem in problems if problem]
    # Without a digest, everything is tried again.
    made = OutputRecord("" if problems else digest, listing(folder))
    if (made.table, made.files) != (record.table, record.files):
        write_record(folder, made)
    files = sorted(folder / name for name in made.files or {})
    return StudyOutput(table, tuple(rows), tuple(files), pages[0] if pages else None, tuple(problems))


def _write_table(folder: Path, table: JudgedTable, rows: Sequence[RowRuns], figures: bool) -> list[str]:
    """Write the table in every format, the plots, and the tables of each class; returns what went wrong, or empty texts."""
    from fer_ablate.report.plots.classes import save_class_tables
    from fer_ablate.report.plots.study import save_study_figures

    log = folder / LOG
    for form, suffix in FORMATS.items():
        write_text(folder / f"table.{suffix}", render_table(table, form))
    return [
        attempt(log, "The plots", lambda: save_study_figures(folder, table, _histories(rows)) if figures else None),
        attempt(log, "The tables by class", lambda: save_class_tables(folder, rows, table.columns, figures)),
    ]


def _histories(rows: Sequence[RowRuns]) -> dict[str, list[list[EpochRow]]]:
    return {row.label: [run.folder.history for run in row.runs] for row in rows if row.runs}


def _page(plan: Plan, table: JudgedTable, rows: Sequence[RowRuns], folder: Path) -> Page:
    """The page of a study, written if it has changed."""
    from fer_ablate.report.page.study import study_page

    page = study_page(plan.spec, table, rows, folder)
    if not (folder / PAGE).is_file() or (folder / PAGE).read_bytes() != page.html.encode():
        write_text(folder / PAGE, page.html)
    return page


def stored_table(plan: Plan) -> JudgedTable | None:
    """The table that is in the folder of a study already; None if it is damaged."""
    try:
        return JudgedTable.from_json((study_folder(plan) / "table.json").read_text())
    except (OSError, ValueError):
        return None


def mlflow_summary(output: StudyOutput, state: RunState) -> StudySummary:
    """What MLflow shows of a study that ended in this state."""
    metrics: dict[str, dict[str, float]] = {}
    for row in output.table.rows:
        found = metrics.setdefault(row.label, {})
        for column, score in row.scores.items():
            values = {"mean": score.mean, "sd": score.sd, "ci_low": score.low, "ci_high": score.high, "n": float(score.n)}
            found |= {f"{column}/{name}": value for name, value in values.items()}
        costs = {"parameters": row.parameters, "macs": row.macs, "seconds": row.seconds, "peak_memory_mb": row.peak_memory_mb}
        found |= {f"run/{name}": float(value) for name, value in costs.items() if value is not None}
    return StudySummary(
        rows=metrics,
        runs={row.label: [run.folder for run in row.runs] for row in output.rows},
        artifacts=list(output.files),
        state=state,
        tags={"source": output.table.source} if output.table.source else {},
        failed=[row.label for row in output.rows if row.failures],
    )
