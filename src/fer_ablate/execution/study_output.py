"""The output of a study: the judged table on the screen and in files, the plots, the page, and the summary for MLflow."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fer_ablate.cli import console
from fer_ablate.execution.study_record import (
    OutputRecord,
    listing,
    makers_digest,
    read_record,
    record_labels,
    study_folder,
    write_record,
)
from fer_ablate.execution.together import Together, one_after_another
from fer_ablate.judgement.judged_table import JudgedTable
from fer_ablate.judgement.planned_rows import rows_with_runs
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.report.page.elements import PAGE, Page
from fer_ablate.report.quantities import metric_name
from fer_ablate.report.table.data_sets import data_set_sentences
from fer_ablate.report.table.effects import FILE as EFFECTS
from fer_ablate.report.table.effects import effect_sentences, effects_frame, effects_notes
from fer_ablate.report.table.formats import FORMATS, render_table
from fer_ablate.report.table.outcomes import in_reading_order
from fer_ablate.report.table.shown_table import VERDICT, shown_table
from fer_ablate.report.table.terminal import console_tables
from fer_ablate.study.plan import Plan
from fer_ablate.tracking.disk.files import write_text
from fer_ablate.tracking.disk.history import EpochRow
from fer_ablate.tracking.disk.log import LOG, attempt


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
    from fer_ablate.judgement.judge import build_table
    from fer_ablate.judgement.table_spec import table_spec

    rows = rows_with_runs(plan)
    return build_table(table_spec(plan, rows), rows), rows


def import_judgement() -> None:
    """Import what a table is judged with: for its statistics scipy, which takes half a second."""
    from fer_ablate.judgement import judge  # noqa: F401


def show_table(table: JudgedTable) -> None:
    """Print the table, as wide as the screen allows."""
    explained = None
    for part in console_tables(table, console.console.width):
        console.console.print()
        console.table(part.title, part.header, part.rows, words=(VERDICT,))
        # The tables of several metrics mostly shorten the same names.
        if part.below and part.below != explained:
            console.facts(explained := part.below)
    shown = shown_table(table)
    console.console.print()
    for metric, sentences in effect_sentences(table)[:1]:
        for sentence in sentences:
            console.console.print(f"  {metric}: {sentence}")
    for column in in_reading_order(table.columns)[:1]:
        for sentence in data_set_sentences(table, column):
            console.console.print(f"  {metric_name(column)}: {sentence}")
    said = {f"{metric}: {sentence}" for metric, sentences in effect_sentences(table)[:1] for sentence in sentences}
    for note in (shown.caption, *shown.notes, *(note for note in effects_notes(table) if note not in said)):
        console.console.print(f"  {note}", style="dim")


def write_output(plan: Plan, table: JudgedTable, rows: Sequence[RowRuns], together: Together = one_after_another) -> StudyOutput:
    """Write the table in every format, the plots, the tables of each class, and the page that shows all of it.

    What cannot be made beside the table is reported and tried again the next time, with a traceback in `log.txt`.
    While the table and the files stay the same, nothing is drawn again. The page is made every time, since heat maps of runs may
    have come after the table, and is written if it has changed.

    Args:
        plan: of the study.
        table: judged.
        rows: the runs that it was made from.
        together: calls functions at the same time, where there are processes for it.

    Raises:
        UserError: the table cannot be written.
    """
    folder = study_folder(plan)
    log, record = folder / LOG, read_record(folder)
    record_labels(plan)
    # With the keys: other runs may give the same table, but not the same learning curves.
    figures = plan.runs[0].cell.config.tracking.pictures
    shown = repr((table, [run.header.key for row in rows for run in row.runs], makers_digest(), figures))
    digest = hashlib.sha256(shown.encode()).hexdigest()
    problems: list[str] = []
    if record.table != digest or not record.fits(folder):
        problems += _write_table(folder, table, rows, figures, together)
    pages: list[Page] = []  # `attempt` returns the problem, so the page comes back this way
    problems.append(attempt(log, "The page", lambda: pages.append(_page(plan, table, rows, folder))))
    problems = [problem for problem in problems if problem]
    # Without a digest, everything is tried again.
    made = OutputRecord("" if problems else digest, listing(folder))
    if (made.table, made.files) != (record.table, record.files):
        write_record(folder, made)
    files = sorted(folder / name for name in made.files or {})
    return StudyOutput(table, tuple(rows), tuple(files), pages[0] if pages else None, tuple(problems))


def _write_table(folder: Path, table: JudgedTable, rows: Sequence[RowRuns], figures: bool, together: Together) -> list[str]:
    """Write the table in every format, the plots, and the tables of each class; returns what went wrong, or empty texts."""
    plots = partial(_save_plots, folder, table, rows)
    makers: list[Callable[[], Any]] = [
        *([partial(attempt, folder / LOG, "The plots", plots)] if figures else []),
        partial(attempt, folder / LOG, "The tables by class", partial(_save_classes, folder, rows, table.columns, figures)),
        partial(_write_formats, folder, table),
    ]
    return [problem for problem in together(makers) if problem]


def _write_formats(folder: Path, table: JudgedTable) -> None:
    for form, suffix in FORMATS.items():
        write_text(folder / f"table.{suffix}", render_table(table, form))
    if table.effects is not None and table.effects.columns:
        write_text(folder / EFFECTS, effects_frame(table).to_csv(index=False, lineterminator="\n"))
    else:
        (folder / EFFECTS).unlink(missing_ok=True)


# matplotlib is imported where figures are drawn, which may be another process.
def _save_plots(folder: Path, table: JudgedTable, rows: Sequence[RowRuns]) -> None:
    from fer_ablate.report.plots.study import save_study_figures

    save_study_figures(folder, table, _histories(rows))


def _save_classes(folder: Path, rows: Sequence[RowRuns], columns: Sequence[str], figures: bool) -> None:
    from fer_ablate.report.plots.classes import save_class_tables

    save_class_tables(folder, rows, columns, figures)


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
        return JudgedTable.from_json((study_folder(plan) / "table.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
