"""After a sweep: the judged table on the screen and in files, the plots, the page, and the study's runs in MLflow."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.judgement.gather import gathered
from fer_ablate.judgement.judge import build_table
from fer_ablate.judgement.records import RowRuns, StudyTable
from fer_ablate.report.page.elements import PAGE, Page
from fer_ablate.report.page.study import study_page
from fer_ablate.report.plots.study import save_study_plots
from fer_ablate.report.table.cells import VERDICT, cells
from fer_ablate.report.table.classes import save_class_tables
from fer_ablate.report.table.formats import FORMATS, console_tables, render
from fer_ablate.study.plan import Plan
from fer_ablate.tracking.disk.files import write_text
from fer_ablate.tracking.disk.history import EpochRow
from fer_ablate.tracking.disk.log import LOG, attempt
from fer_ablate.tracking.disk.places import study_path
from fer_ablate.tracking.mlflow.study_runs import StudySummary

SUFFIX = {"markdown": "md", "latex": "tex", "csv": "csv", "html": "html"}
"""Of the file of each format."""


@dataclass(frozen=True)
class Finished:
    """A judged study and where it was written.

    Args:
        table: judged.
        rows: with their runs.
        files: that were written, for MLflow.
        page: with all of it; None if it could not be made.
        problems: what could not be made and why, a sentence each.
    """

    table: StudyTable
    rows: tuple[RowRuns, ...]
    files: tuple[Path, ...]
    page: Page | None
    problems: tuple[str, ...] = ()


def judged(plan: Plan) -> tuple[StudyTable, list[RowRuns]]:
    """The table of what is finished.

    Raises:
        UserError: rows were tested unlike, or a column does not exist.
    """
    asked, rows = plan.asked, gathered(plan)
    baseline = asked.baseline if any(row.label == asked.baseline for row in rows) else rows[0].label
    study = asked.study
    table = build_table(asked.name, study.source, rows, baseline, study.columns, study.mixed_protocols, asked.factor)
    return table, rows


def show(table: StudyTable) -> None:
    """Print the table, as wide as the screen allows."""
    for part in console_tables(table, console.console.width):
        console.console.print()
        console.table(part.title, part.header, part.rows, words=(VERDICT,))
    shown = cells(table)
    console.console.print()
    for note in (shown.caption, *shown.notes):
        console.console.print(f"  {note}", style="dim")


def written(plan: Plan, table: StudyTable, rows: Sequence[RowRuns]) -> Finished:
    """Write the table in every format, the plots, how each class was read, and the page with all of it.

    The table comes first: what of the rest cannot be made is told and tried again the next time, with a traceback in `log.txt`.
    Nothing is drawn again that is there already. The page is made every time, for heat maps of runs come later than its
    table, and is written if it is another one.

    Raises:
        UserError: the table cannot be written.
    """
    folder = folder_of(plan)
    mark, log = folder / ".digest", folder / LOG
    digest = hashlib.sha256(repr((table, [run.header.key for row in rows for run in row.runs])).encode()).hexdigest()
    problems: list[str] = []
    if not mark.is_file() or mark.read_text() != digest:
        for form in FORMATS:
            write_text(folder / f"table.{SUFFIX[form]}", render(table, form))
        problems.append(attempt(log, "The plots", lambda: save_study_plots(folder, table, _histories(rows))))
        problems.append(attempt(log, "The tables by class", lambda: save_class_tables(folder, rows, table.columns)))
        if not any(problems):
            write_text(mark, digest)
    pages: list[Page] = []
    problems.append(attempt(log, "The page", lambda: pages.append(_page(plan, table, rows, folder))))
    files = sorted(file for file in folder.iterdir() if file not in (mark, log))
    page = pages[0] if pages else None
    return Finished(table, tuple(rows), tuple(files), page, tuple(problem for problem in problems if problem))


def _histories(rows: Sequence[RowRuns]) -> dict[str, list[list[EpochRow]]]:
    return {row.label: [run.folder.history for run in row.runs] for row in rows if row.runs}


def _page(plan: Plan, table: StudyTable, rows: Sequence[RowRuns], folder: Path) -> Page:
    """The page of a study, written if it is another one than before."""
    page = study_page(plan.asked, table, rows, folder)
    if not (folder / PAGE).is_file() or (folder / PAGE).read_bytes() != page.html.encode():
        write_text(folder / PAGE, page.html)
    return page


def folder_of(plan: Plan) -> Path:
    """Of a study's table and plots."""
    config = plan.runs[0].cell.config
    return study_path(Path(config.runs_dir), config.tracking.experiment, plan.asked.name)


def summary_of(finished: Finished, status: str) -> StudySummary:
    """What MLflow is to know of a study."""
    metrics: dict[str, dict[str, float]] = {}
    for row in finished.table.rows:
        found = metrics.setdefault(row.label, {})
        for column, score in row.scores.items():
            values = {"mean": score.mean, "sd": score.sd, "ci_low": score.low, "ci_high": score.high, "n": float(score.n)}
            found |= {f"{column}/{name}": value for name, value in values.items()}
        costs = {"parameters": row.parameters, "macs": row.macs, "seconds": row.seconds, "peak_memory_mb": row.peak_memory_mb}
        found |= {f"run/{name}": float(value) for name, value in costs.items() if value is not None}
    return StudySummary(
        rows=metrics,
        runs={row.label: [run.folder for run in row.runs] for row in finished.rows},
        artifacts=list(finished.files),
        status=status,
        tags={"source": finished.table.source} if finished.table.source else {},
        failed=[row.label for row in finished.rows if row.failures],
    )
