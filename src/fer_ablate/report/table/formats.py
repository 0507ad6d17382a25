"""A study's table in each format: Markdown, LaTeX, HTML and a terminal for people, csv and JSON for programs."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from fer_ablate.errors import UserError, choices
from fer_ablate.judgement.judged_table import Difference, JudgedTable, Published, Score, TableRow
from fer_ablate.report.quantities import ABSENT, one_line, scale, shorten
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

CONSOLE_NAMES = (MEAN, SINGLE, DIFFERENCE, VERDICT, PUBLISHED, GAP, AGREES)
"""Columns of a metric that a wide terminal shows."""

CONSOLE_SPARED = (AGREES, GAP, PUBLISHED)
"""Columns that a narrow terminal leaves out, first to last; the difference goes only if labels cannot be shorter."""

SHORTEST_LABEL = 16
"""Letters that a label keeps on a narrow terminal."""

CONSOLE_GAP = 2
"""Blanks between two columns on a terminal."""


@dataclass(frozen=True)
class TextTable:
    """A table ready to be printed; the first column holds names."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


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
    header = [_markdown_title(column, several) for column in shown.columns]
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


def console_tables(table: JudgedTable, width: int = 140) -> list[TextTable]:
    """One small table for each metric, one for the costs and one for each published report by class.

    Each is at most `width` letters wide.

    Where it is too narrow, verdicts lose what follows their first semicolon, then the least important columns are left out, and
    labels too long even then lose their middle.
    Caption and notes are those of `cells(table)`.
    """
    shown = shown_table(table)
    # Where each row changes one factor, the effects are the differences above.
    crossed = effects_tables(table) if table.effects is not None and table.effects.crossed else []
    return [
        *(_console_table(shown, group, width) for group in shown.groups),
        *(part for found in data_set_tables(table) for part in _console_data_sets(found, width)),
        *(_console_effects(effects, group, width) for effects in crossed for group in effects.groups),
        *(_console_report(report, width) for report in report_tables(table)),
    ]


def _console_data_sets(found: ShownTable, width: int) -> list[TextTable]:
    """The data sets as columns, in as few tables as fit; without intervals where two tables would not do."""
    name, *columns = found.columns
    brief = [replace(one, cells=tuple(cell.split(" [")[0] for cell in one.cells)) for one in columns]
    ways = [_cut(columns, 1), _cut(columns, 2), *(_cut(brief, count) for count in range(1, len(columns) + 1))]
    parts = next((way for way in ways if all(_fits([name, *part], width) for part in way)), ways[-1])
    return [_console_part(f"{found.groups[0]} by data set", [name, *part], width) for part in parts]


def _cut(columns: Sequence[ShownColumn], count: int) -> list[Sequence[ShownColumn]]:
    """The columns in at most so many parts of about the same size."""
    size = math.ceil(len(columns) / count)
    return [columns[start : start + size] for start in range(0, len(columns), size)]


def _fits(columns: Sequence[ShownColumn], width: int) -> bool:
    return _console_width(columns) <= width


def _console_part(title: str, columns: Sequence[ShownColumn], width: int) -> TextTable:
    """Columns as a table, with labels as long as there is room."""
    labels, *others = columns
    longest = max(SHORTEST_LABEL, width - _console_width(others) - CONSOLE_GAP)
    cells = [tuple(shorten(cell, longest) for cell in labels.cells), *(column.cells for column in others)]
    return TextTable(title, tuple(column.name for column in columns), tuple(zip(*cells, strict=True)))


def _console_effects(effects: ShownTable, group: str, width: int) -> TextTable:
    """The effects on one metric; verdicts contain the intervals."""
    whole = _console_part(f"effects on {group}", [*effects.group(""), *map(_point, effects.group(group))], width)
    return replace(whole, rows=tuple(row for row in whole.rows if row[1] != ABSENT))


def _console_report(report: ShownTable, width: int) -> TextTable:
    """A classification report with the published numbers beside the measured ones."""
    columns = list(report.columns)
    titles = [column.group if column.group and column.name != PUBLISHED else column.name for column in columns]
    if _console_width(columns) > width:
        kept = [place for place, column in enumerate(columns) if column.name != AGREES]
        columns, titles = [columns[place] for place in kept], [titles[place] for place in kept]
    return TextTable(report.caption, tuple(titles), tuple(zip(*(column.cells for column in columns), strict=True)))


def _console_table(shown: ShownTable, group: str, width: int) -> TextTable:
    label, seeds = shown.group("")
    columns = list(shown.group(group))
    if any(column.name in CONSOLE_NAMES for column in columns):
        columns = [seeds, *(_point(column) for column in columns if column.name in CONSOLE_NAMES)]
    columns.insert(0, label)
    if _console_width(columns) > width:
        columns = [replace(one, cells=tuple(map(brief, one.cells))) if one.name == VERDICT else one for one in columns]
    for spared in CONSOLE_SPARED:
        if _console_width(columns) > width:
            columns = [column for column in columns if column.name != spared]
    if SHORTEST_LABEL + CONSOLE_GAP + _console_width(columns[1:]) > width:
        columns = [column for column in columns if column.name != DIFFERENCE]
    return _console_part(group, columns, width)


def _point(column: ShownColumn) -> ShownColumn:
    """Differences without their intervals, which the verdicts beside them contain."""
    if column.name != DIFFERENCE:
        return column
    return replace(column, cells=tuple(cell.split(" [")[0] for cell in column.cells))


def brief(verdict: str) -> str:
    """A verdict without how many seeds would show more, which follows a semicolon within its brackets."""
    first, _, rest = verdict.partition(";")
    return first + ")" * (bool(rest) and "(" in first)


def _console_width(columns: Sequence[ShownColumn]) -> int:
    return sum(max(map(cell_len, [column.name, *column.cells])) + CONSOLE_GAP for column in columns)


def _markdown_title(column: ShownColumn, several: bool) -> str:
    """Title of a column: Markdown has one line of titles, so that of a score, and with several metrics all, name the metric."""
    metric = column.group.removesuffix(", %")
    if column.name in (MEAN, SINGLE, MEASURED):
        return f"{column.group}: {column.name}"
    return f"{metric}: {column.name}" if several and metric and column.name in (*CONSOLE_NAMES, "95 % interval") else column.name


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
    Published numbers and gaps are in `published_unit`: percent for fractions, else the metric's own.
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
    unit = "percent" if scale(column) == 100 else "as measured"
    return {"published": printed.value, "published_unit": unit, "published_note": one_line(printed.note)}
