"""A study's table on a terminal: one small table for each metric, as wide as the screen allows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fer_ablate.judgement.judged_table import JudgedTable
from fer_ablate.report.quantities import ABSENT
from fer_ablate.report.table.data_sets import data_set_tables
from fer_ablate.report.table.effects import effects_tables
from fer_ablate.report.table.narrow import GAP as BLANKS
from fer_ablate.report.table.narrow import (
    SHORTEST_LABEL,
    cell_width,
    columns_width,
    distinct_labels,
    without_common,
    wrapped,
)
from fer_ablate.report.table.printed_classes import report_tables
from fer_ablate.report.table.shown_table import (
    AGREES,
    DIFFERENCE,
    GAP,
    MEAN,
    PUBLISHED,
    SINGLE,
    VERDICT,
    ShownColumn,
    ShownTable,
    shown_table,
)

SHOWN = (MEAN, SINGLE, DIFFERENCE, VERDICT, PUBLISHED, GAP, AGREES)
"""Columns of a metric that a wide terminal shows."""

SPARED = (AGREES, GAP, PUBLISHED)
"""Columns that a narrow terminal leaves out, first to last; the difference goes only if labels cannot be shorter."""

SHORTEST_VERDICT = 20
"""Letters of a line of a verdict where it takes several."""


@dataclass(frozen=True)
class TextTable:
    """A table ready to be printed; the first column holds names, and a cell may have several lines.

    Args:
        title: line above.
        header: titles of the columns.
        rows: cells.
        below: what shortened names mean: a number or `rows`, and a text.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    below: tuple[tuple[str, str], ...] = ()


def console_tables(table: JudgedTable, width: int = 140) -> list[TextTable]:
    """One small table for each metric, one for the costs and one for each published report by class.

    Each is at most `width` letters wide. Where it is too narrow, verdicts lose what follows their first semicolon, then the least
    important columns are left out, then verdicts take several lines, labels become shorter but stay distinct, and as a last
    resort the columns stand below each other. Caption and notes are those of `shown_table(table)`.
    """
    shown = shown_table(table)
    # Where each row changes one factor, the effects are the differences above.
    crossed = effects_tables(table) if table.effects is not None and table.effects.crossed else []
    return [
        *(part for group in shown.groups for part in _metric(shown, group, width)),
        *(part for found in data_set_tables(table) for part in _data_sets(found, width)),
        *(part for effects in crossed for group in effects.groups for part in _effects(effects, group, width)),
        *(part for report in report_tables(table) for part in _report(report, width)),
    ]


def _metric(shown: ShownTable, group: str, width: int) -> list[TextTable]:
    """The columns of one metric, or the costs."""
    label, seeds = shown.group("")
    columns = list(shown.group(group))
    if any(column.name in SHOWN for column in columns):
        columns = [seeds, *(_point(column) for column in columns if column.name in SHOWN)]
    columns.insert(0, label)
    if _width(columns) > width:
        columns = [replace(one, cells=tuple(map(brief, one.cells))) if one.name == VERDICT else one for one in columns]
    for spared in SPARED:
        if _width(columns) > width:
            columns = [column for column in columns if column.name != spared]
    if SHORTEST_LABEL + BLANKS + _width(columns[1:]) > width:
        columns = [column for column in columns if column.name != DIFFERENCE]
    return _fitted(group, columns, width)


def _data_sets(found: ShownTable, width: int) -> list[TextTable]:
    """The data sets as columns, in as few tables as fit; without intervals where two tables would not do."""
    name, *columns = found.columns
    narrow = [replace(one, name=wrapped(one.name, max(map(cell_width, one.cells)))) for one in columns]
    brief = [replace(one, cells=tuple(cell.split(" [")[0] for cell in one.cells)) for one in columns]
    brief = [replace(one, name=wrapped(one.name, max(map(cell_width, one.cells)))) for one in brief]
    ways = [_cut(way, count) for count in (1, 2) for way in (columns, narrow)]
    ways += [_cut(brief, count) for count in range(1, len(columns) + 1)]
    parts = next((way for way in ways if all(_width([name, *part]) <= width for part in way)), ways[-1])
    title = f"{found.groups[0]} by data set"
    return [table for part in parts for table in _fitted(title, [name, *part], width)]


def _cut(columns: Sequence[ShownColumn], count: int) -> list[Sequence[ShownColumn]]:
    """The columns in at most so many parts of about the same size."""
    size = math.ceil(len(columns) / count)
    return [columns[start : start + size] for start in range(0, len(columns), size)]


def _effects(effects: ShownTable, group: str, width: int) -> list[TextTable]:
    """The effects on one metric that there are; verdicts contain the intervals."""
    label, *others = *effects.group(""), *map(_point, effects.group(group))
    there = [place for place, cell in enumerate(others[0].cells) if cell != ABSENT]
    columns = [replace(one, cells=tuple(one.cells[place] for place in there)) for one in (label, *others)]
    return _fitted(f"effects on {group}", columns, width)


def _report(report: ShownTable, width: int) -> list[TextTable]:
    """A classification report with the published numbers beside the measured ones."""
    columns = [replace(one, name=one.group if one.group and one.name != PUBLISHED else one.name) for one in report.columns]
    if _width(columns) > width:
        columns = [one for one, own in zip(columns, report.columns, strict=True) if own.name != AGREES]
    return _fitted(report.caption, columns, width)


def _fitted(title: str, columns: Sequence[ShownColumn], width: int) -> list[TextTable]:
    """Columns as a table; as several with the same labels where even the shortest labels leave no room for all columns."""
    labels, *others = columns
    others = _in_lines(labels, others, width)
    names = distinct_labels(labels.cells, max(SHORTEST_LABEL, width - _width(others) - BLANKS))
    first = replace(labels, cells=names.cells)
    parts: list[list[ShownColumn]] = [[first]]
    for place, column in enumerate(others):
        # A published number stands beside the measured one.
        together = [column, *(one for one in others[place + 1 : place + 2] if one.name == PUBLISHED)]
        if len(parts[-1]) > 1 and column.name != PUBLISHED and _width([*parts[-1], *together]) > width:
            parts.append([first])
        parts[-1].append(column)
    tables = [_table(title, part) for part in parts]
    return [*tables[:-1], replace(tables[-1], below=names.below)]


def _in_lines(labels: ShownColumn, others: Sequence[ShownColumn], width: int) -> list[ShownColumn]:
    """The columns with verdicts in several lines, if that is what labels need to be whole, or without what all have."""
    fixed = _width([column for column in others if column.name != VERDICT]) + BLANKS
    if _width([labels, *others]) <= width:
        return list(others)
    bare = replace(labels, cells=without_common(labels.cells).cells)
    rooms = [width - fixed - _width([one]) for one in (labels, bare)]
    rooms.append(max(SHORTEST_VERDICT, width - fixed - SHORTEST_LABEL - BLANKS))
    room = next(room for room in rooms if room >= SHORTEST_VERDICT)
    return [
        replace(one, cells=tuple(wrapped(cell, room) for cell in one.cells)) if one.name == VERDICT else one for one in others
    ]


def _table(title: str, columns: Sequence[ShownColumn]) -> TextTable:
    return TextTable(title, tuple(one.name for one in columns), tuple(zip(*(one.cells for one in columns), strict=True)))


def _point(column: ShownColumn) -> ShownColumn:
    """Differences without their intervals, which the verdicts beside them contain."""
    if column.name != DIFFERENCE:
        return column
    return replace(column, cells=tuple(cell.split(" [")[0] for cell in column.cells))


def brief(verdict: str) -> str:
    """A verdict without how many seeds would show more, which follows a semicolon within its brackets."""
    first, _, rest = verdict.partition(";")
    return first + ")" * (bool(rest) and "(" in first)


def _width(columns: Sequence[ShownColumn]) -> int:
    return columns_width([column.name, *column.cells] for column in columns)
