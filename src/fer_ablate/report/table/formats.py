"""A study's table in each format: Markdown, LaTeX and HTML for people, csv and JSON for programs."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from fer_ablate.errors import UserError, choices
from fer_ablate.judgement.doubtful_units import doubtful_unit
from fer_ablate.judgement.judged_table import Difference, JudgedTable, Published, Score, TableRow
from fer_ablate.report.quantities import one_line, scale
from fer_ablate.report.table.data_sets import data_set_tables
from fer_ablate.report.table.effects import effects_tables
from fer_ablate.report.table.html import html
from fer_ablate.report.table.latex import latex
from fer_ablate.report.table.printed_classes import report_tables
from fer_ablate.report.table.shown_table import (
    AGREES,
    CLASS,
    DIFFERENCE,
    EFFECT,
    GAP,
    INTERVAL,
    MEAN,
    MEASURED,
    PUBLISHED,
    SINGLE,
    VERDICT,
    ShownColumn,
    ShownTable,
    difference_values,
    first_error_line,
    shown_table,
)

if TYPE_CHECKING:
    import pandas as pd

FORMATS = {"markdown": "md", "latex": "tex", "csv": "csv", "html": "html", "json": "json"}
"""Format -> suffix of its file. Only JSON is read back (`JudgedTable.from_json`); the others lose digits or structure."""

SCORES = (MEAN, SINGLE, DIFFERENCE, VERDICT, PUBLISHED, GAP, AGREES)
"""Columns whose titles do not say which metric they are of."""


def render_table(table: JudgedTable, form: str) -> str:
    """The whole table as text.

    Args:
        table: judged.
        form: one of `FORMATS`.

    Raises:
        UserError: another format.
    """
    if form not in FORMATS:
        raise UserError(f"format={form}: there is no such table format. {choices(form, FORMATS)}")
    if form == "json":
        return table.to_json()
    if form == "csv":
        return table_frame(table).to_csv(index=False, lineterminator="\n")
    shown, reports = shown_table(table), [*data_set_tables(table), *effects_tables(table), *report_tables(table)]
    if form == "html":
        return html(shown, reports)
    writers: dict[str, Callable[[ShownTable], str]] = {"markdown": markdown, "latex": latex}
    return "\n".join(writers[form](one) for one in (shown, *reports))


def markdown(shown: ShownTable) -> str:
    """The table in Markdown, aligned for reading it as plain text; caption above, notes below."""
    notes = [f"- {markdown_text(note)}" for note in shown.notes]
    return "\n".join([markdown_text(shown.caption), "", markdown_lines(shown), *([""] if notes else []), *notes]) + "\n"


def markdown_lines(shown: ShownTable) -> str:
    """The table alone in Markdown."""
    # The costs are a group too: more than two groups mean more than one metric.
    several = len(shown.groups) > 2 or shown.columns[0].name in (CLASS, EFFECT)
    header = [markdown_text(_markdown_title(column, several)) for column in shown.columns]
    body = [[markdown_text(cell) for cell in column.cells] for column in shown.columns]
    # GitHub's manual requires three dashes at least below each title.
    widths = [max(3, *map(cell_len, [name, *column])) for name, column in zip(header, body, strict=True)]
    lefts = [column.words for column in shown.columns]
    rule = ["-" * width if left else "-" * (width - 1) + ":" for width, left in zip(widths, lefts, strict=True)]
    lines = [
        "| " + " | ".join(_padded(cell, width, left) for cell, width, left in zip(line, widths, lefts, strict=True)) + " |"
        for line in (header, rule, *zip(*body, strict=True))
    ]
    return "\n".join(lines)


def _markdown_title(column: ShownColumn, several: bool) -> str:
    """Title of a column: Markdown has one line of titles, so that of a score, and with several metrics all, name the metric."""
    metric = column.group.removesuffix(", %")
    if column.name in (MEAN, SINGLE, MEASURED):
        return f"{column.group}: {column.name}"
    return f"{metric}: {column.name}" if several and metric and column.name in (*SCORES, INTERVAL) else column.name


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, without tables, emphasis, code, formulas or HTML in it."""
    # An underscore within a word starts no emphasis, and keys are full of them.
    return re.sub(r"[\\|*`<$~]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)", lambda found: "\\" + found[0], text)


def _padded(cell: str, width: int, left: bool) -> str:
    blanks = " " * (width - cell_len(cell))
    return cell + blanks if left else blanks + cell


def table_frame(table: JudgedTable) -> "pd.DataFrame":
    """One line for each row and metric, and for each number that a document prints by class.

    Fractions stay fractions and seconds seconds.

    Of cross-validated rows `n` counts folds, and `seeds` names every run as `seed/fold`.
    Published numbers and gaps are in `published_unit`: percent for fractions, else the metric's own; where that is doubtful, a
    question such as `percent?`.
    """
    import pandas as pd

    return pd.DataFrame(
        [
            _line(table, row, column)
            for row in table.rows
            for column in (*table.columns, *(name for name in row.published_by_class if name not in table.columns))
        ]
    )


def _line(table: JudgedTable, row: TableRow, column: str) -> dict[str, Any]:
    source = (row.scores, row.published) if column in table.columns else (row.by_class, row.published_by_class)
    score, printed = source[0].get(column), source[1].get(column)
    return {
        "study": table.study,
        "row": row.label,
        "baseline": row.baseline,
        "factor": row.factor,
        "column": column,
        "n": score.n if score else 0,
        "seeds_asked": " ".join(map(str, row.seeds)),
        "folds_asked": row.folds,
        "seeds": " ".join(repeat.short for repeat in row.finished),
        **_score(score),
        **_difference(score.difference if score else None),
        **_published(printed, column),
        "gap": score.gap if score else None,
        "agrees": score.agrees if score else None,
        "parameters": row.parameters,
        "macs": row.macs,
        "seconds": row.seconds,
        "peak_memory_mb": row.peak_memory_mb,
        "stale": row.stale,
        "failed": "; ".join(f"{failure.repeat}: {first_error_line(failure)} ({failure.log})" for failure in row.failures),
    }


def _score(score: Score | None) -> dict[str, Any]:
    if score is None:
        return dict.fromkeys(("images", "mean", "sd", "ci_low", "ci_high", "over_images"))
    return {
        "images": score.images,
        "mean": score.mean,
        "sd": score.sd,
        "ci_low": score.low,
        "ci_high": score.high,
        "over_images": score.over_images,
    }


def _difference(difference: Difference | None) -> dict[str, Any]:
    if difference is None:
        return dict.fromkeys(("difference", "diff_low", "diff_high", "p", "p_holm", "verdict"))
    return difference_values(difference)


def _published(printed: Published | None, column: str) -> dict[str, Any]:
    if printed is None:
        return dict.fromkeys(("published", "published_unit", "published_note"))
    unit = doubtful_unit(column.partition("/")[2], printed.value) or ("percent" if scale(column) == 100 else "as measured")
    return {"published": printed.value, "published_unit": unit, "published_note": one_line(printed.note)}
