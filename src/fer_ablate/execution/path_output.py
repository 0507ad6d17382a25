"""What an ablation path leaves: its tables on the screen and in files, its plot, and its rows as a study."""

from dataclasses import replace
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.config.hydra_internals import dump_yaml
from fer_ablate.config.schema import StudyConfig
from fer_ablate.execution.study_record import study_folder
from fer_ablate.judgement.path import FILE, AblationPath
from fer_ablate.report.plain_table import PlainTable, markdown_table
from fer_ablate.report.table.path import (
    candidates_table,
    console_tables,
    judged_columns,
    path_csv,
    path_notes,
    path_table,
)
from fer_ablate.study.plan import Plan
from fer_ablate.tracking.disk.files import write_text
from fer_ablate.tracking.disk.log import LOG, attempt


def write_study_file(plan: Plan) -> None:
    """Leave the rows of a study that was made by a command as a file, so that `study=` trains and shows them again."""
    study = plan.spec.study
    kept = ("source", "base", "baseline", "seeds", "folds", "columns", "protocol", "margin", "mixed_protocols")
    values = {name: getattr(study, name) for name in kept}
    empty = StudyConfig()
    content = {name: value for name, value in values.items() if value != getattr(empty, name)}
    content["rows"] = [{"label": row.label, "overrides": list(row.overrides)} for row in study.rows]
    _write_changed(study_folder(plan) / "study" / f"{plan.spec.name}.yaml", dump_yaml(content))


def _write_changed(file: Path, text: str) -> bool:
    """Write a text unless the file has it already, since the output of the study would count as changed."""
    if file.is_file() and file.read_bytes() == text.encode():
        return False
    write_text(file, text)
    return True


def show_path(path: AblationPath) -> None:
    """Print the path, what else was tried, and the notes."""
    for column in judged_columns(path):
        for part in console_tables(path, column, console.console.width):
            _print(part)
    if any(len(step.decided.candidates) > 1 for step in path.steps):
        _print(candidates_table(path))
    console.console.print()
    for note in path_notes(path):
        console.console.print(f"  {note}", style="dim")


def _print(table: PlainTable) -> None:
    if table.rows:
        console.console.print()
        console.table(table.title, table.header, table.rows, left=table.left)


def write_path(folder: Path, path: AblationPath, figures: bool) -> str:
    """Leave the path beside the table of the study; returns what went wrong with the plot, or an empty text."""
    tables = [*(path_table(path, column) for column in judged_columns(path)), candidates_table(path)]
    texts = [markdown_table(table if place == 0 else replace(table, notes=())) for place, table in enumerate(tables)]
    for name, text in (("path.md", "\n".join(texts)), ("path.csv", path_csv(path))):
        _write_changed(folder / name, text)
    changed = _write_changed(folder / FILE, path.to_json())
    if not figures or (not changed and any(folder.glob("waterfall-*.png"))):
        return ""

    def draw() -> None:
        from fer_ablate.report.plots.waterfall import save_waterfalls  # with matplotlib

        save_waterfalls(folder, path)

    return attempt(folder / LOG, "The waterfall", draw)
