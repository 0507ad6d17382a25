"""A study's table in each format that people paste, print or compute with."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from fer_ablate.errors import UserError, choices
from fer_ablate.judgement.records import StudyTable
from fer_ablate.report.quantities import shorten
from fer_ablate.report.table.cells import (
    AGREES,
    DIFFERENCE,
    GAP,
    MEAN,
    PUBLISHED,
    SINGLE,
    VERDICT,
    ShownColumn,
    ShownTable,
    cells,
)
from fer_ablate.report.table.csv_format import csv
from fer_ablate.report.table.html import html
from fer_ablate.report.table.latex import latex

FORMATS = ("markdown", "latex", "csv", "html")

CONSOLE_NAMES = (MEAN, SINGLE, DIFFERENCE, VERDICT, PUBLISHED, GAP, AGREES)
"""Columns that a terminal shows of a metric, if it is wide enough."""

CONSOLE_SPARED = (AGREES, GAP, PUBLISHED, DIFFERENCE)
"""Those it loses first to last if it is not."""

SHORTEST_LABEL = 16
"""Letters that a label keeps on any terminal."""

CONSOLE_GAP = 2
"""Blanks between two columns on a terminal."""


@dataclass(frozen=True)
class TextTable:
    """A table ready to be printed; the first column holds names."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def render(table: StudyTable, form: str) -> str:
    """The whole table as text.

    Args:
        table: judged.
        form: one of `FORMATS`.

    Raises:
        UserError: another format.
    """
    if form == "csv":
        return csv(table)
    writers: dict[str, Callable[[ShownTable], str]] = {"markdown": markdown, "latex": latex, "html": html}
    if form not in writers:
        raise UserError(f"format={form}: there is no such table format. {choices(form, FORMATS)}")
    return writers[form](cells(table))


def markdown(shown: ShownTable) -> str:
    """Pipes, aligned for those who read it unrendered; caption above, notes below."""
    several = len(shown.groups) > 2
    header = [_markdown_title(column, several) for column in shown.columns]
    body = [[markdown_text(cell) for cell in column.cells] for column in shown.columns]
    widths = [max(3, *map(cell_len, [name, *column])) for name, column in zip(header, body, strict=True)]
    lefts = [column.words for column in shown.columns]
    rule = ["-" * width if left else "-" * (width - 1) + ":" for width, left in zip(widths, lefts, strict=True)]
    lines = [
        "| " + " | ".join(_padded(cell, width, left) for cell, width, left in zip(line, widths, lefts, strict=True)) + " |"
        for line in (header, rule, *zip(*body, strict=True))
    ]
    notes = [f"- {markdown_text(note)}" for note in shown.notes]
    return "\n".join([markdown_text(shown.caption), "", *lines, *([""] if notes else []), *notes]) + "\n"


def console_tables(table: StudyTable, width: int = 140) -> list[TextTable]:
    """One small table for each metric and one for the costs, each at most `width` letters wide.

    Columns that do not fit are left out, the least important first; labels too long even then lose their middle.
    Caption and notes are those of `cells(table)`.
    """
    shown = cells(table)
    return [_console_table(shown, group, width) for group in shown.groups]


def _console_table(shown: ShownTable, group: str, width: int) -> TextTable:
    label, seeds = shown.group("")
    columns = list(shown.group(group))
    if any(column.name in CONSOLE_NAMES for column in columns):
        columns = [seeds, *(_point(column) for column in columns if column.name in CONSOLE_NAMES)]
    columns.insert(0, label)
    for spared in CONSOLE_SPARED:
        if _console_width(columns) > width:
            columns = [column for column in columns if column.name != spared]
    longest = max(SHORTEST_LABEL, width - _console_width(columns[1:]) - CONSOLE_GAP)
    columns[0] = ShownColumn(label.group, label.name, tuple(shorten(cell, longest) for cell in label.cells))
    return TextTable(
        group,
        tuple(column.name for column in columns),
        tuple(zip(*(column.cells for column in columns), strict=True)),
    )


def _point(column: ShownColumn) -> ShownColumn:
    """Differences without their intervals, which the verdicts beside them tell."""
    if column.name != DIFFERENCE:
        return column
    return ShownColumn(column.group, column.name, tuple(cell.split(" [")[0] for cell in column.cells))


def _console_width(columns: Sequence[ShownColumn]) -> int:
    return sum(max(map(cell_len, [column.name, *column.cells])) + CONSOLE_GAP for column in columns)


def _markdown_title(column: ShownColumn, several: bool) -> str:
    """Markdown has a single line of titles: the metric goes into that of its scores, and of the rest too if there are several."""
    metric = column.group.removesuffix(", %")
    if column.name in (MEAN, SINGLE):
        return f"{column.group}: {column.name}"
    return f"{metric}: {column.name}" if several and column.name in (*CONSOLE_NAMES, "95 % interval") else column.name


def markdown_text(text: str) -> str:
    """Text in which nothing is a table's pipe, emphasis, code, a formula or HTML."""
    return re.sub(r"[\\|*`<$~]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)", lambda found: "\\" + found[0], text)


def _padded(cell: str, width: int, left: bool) -> str:
    blanks = " " * (width - cell_len(cell))
    return cell + blanks if left else blanks + cell
