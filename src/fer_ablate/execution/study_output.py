"""The output of a study: the judged table on the screen and in files, the plots, the page, and the summary for MLflow."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.judgement.judge import build_table
from fer_ablate.judgement.judged_table import JudgedTable
from fer_ablate.judgement.row_runs import RowRuns, rows_with_runs
from fer_ablate.report.page.elements import PAGE, Page
from fer_ablate.report.page.study import study_page
from fer_ablate.report.plots.study import save_study_figures
from fer_ablate.report.table.classes import save_class_tables
from fer_ablate.report.table.formats import FORMATS, console_tables, render_table
from fer_ablate.report.table.shown_table import VERDICT, shown_table
from fer_ablate.study.plan import Plan
from fer_ablate.tracking.disk.files import write_text
from fer_ablate.tracking.disk.history import EpochRow
from fer_ablate.tracking.disk.log import LOG, attempt
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.disk.scan import study_path
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
    While the table stays the same, nothing is drawn again. The page is made every time, since heat maps of runs may have
    come after the table, and is written if it has changed.

    Raises:
        UserError: the table cannot be written.
    """
    folder = study_folder(plan)
    digest_file, log = folder / ".digest", folder / LOG
    # With the keys: other runs may give the same table, but not the same learning curves.
    digest = hashlib.sha256(repr((table, [run.header.key for row in rows for run in row.runs])).encode()).hexdigest()
    problems: list[str] = []
    if not _is_complete(folder, digest_file, digest):
        for form, suffix in FORMATS.items():
            write_text(folder / f"table.{suffix}", render_table(table, form))
        problems.append(attempt(log, "The plots", lambda: save_study_figures(folder, table, _histories(rows))))
        problems.append(attempt(log, "The tables by class", lambda: save_class_tables(folder, rows, table.columns)))
        # Without a digest, everything that is missing now is tried again.
        if not any(problems):
            names = sorted(file.name for file in folder.iterdir() if file not in (digest_file, log))
            write_text(digest_file, "\n".join([digest, *names]))
    pages: list[Page] = []  # `attempt` returns the problem, so the page comes back this way
    problems.append(attempt(log, "The page", lambda: pages.append(_page(plan, table, rows, folder))))
    files = sorted(file for file in folder.iterdir() if file not in (digest_file, log))
    page = pages[0] if pages else None
    return StudyOutput(table, tuple(rows), tuple(files), page, tuple(problem for problem in problems if problem))


def _is_complete(folder: Path, digest_file: Path, digest: str) -> bool:
    """Whether the folder holds the output of this very table, and none of its files was removed since."""
    if not digest_file.is_file():
        return False
    written, *names = digest_file.read_text().splitlines() or [""]
    return written == digest and all((folder / name).exists() for name in names)


def _histories(rows: Sequence[RowRuns]) -> dict[str, list[list[EpochRow]]]:
    return {row.label: [run.folder.history for run in row.runs] for row in rows if row.runs}


def _page(plan: Plan, table: JudgedTable, rows: Sequence[RowRuns], folder: Path) -> Page:
    """The page of a study, written if it has changed."""
    page = study_page(plan.spec, table, rows, folder)
    if not (folder / PAGE).is_file() or (folder / PAGE).read_bytes() != page.html.encode():
        write_text(folder / PAGE, page.html)
    return page


def study_folder(plan: Plan) -> Path:
    """The folder of a study's table and plots."""
    config = plan.runs[0].cell.config
    return study_path(Path(config.runs_dir), config.tracking.experiment, plan.spec.name)


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
