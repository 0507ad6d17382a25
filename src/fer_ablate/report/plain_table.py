"""Small tables of words and numbers in the formats of `runs` and `compare`; judged tables have their own (`report.table`)."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from fer_ablate.report.table.formats import markdown_text


@dataclass(frozen=True)
class PlainTable:
    """A table.

    Args:
        title: line above; empty for none.
        header: titles of the columns.
        rows: cells as they are to appear.
        left: number of columns that are words, hence aligned to the left; the others are numbers.
        notes: sentences below.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    notes: tuple[str, ...] = ()


def markdown_table(table: PlainTable) -> str:
    """The table in Markdown, aligned for reading it as plain text; title above, notes below, or the notes alone."""
    lines = [[markdown_text(cell) for cell in line] for line in (table.header, *table.rows)]
    # GitHub's manual requires three dashes at least below each title.
    widths = [max(3, *map(cell_len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width if place < table.left else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    drawn = ["| " + " | ".join(_padded(line, widths, table.left)) + " |" for line in (lines[0], rule, *lines[1:])]
    title = [f"**{markdown_text(table.title)}**", ""] if table.title else []
    notes = [f"- {markdown_text(note)}" for note in table.notes]
    return "\n".join([*title, *([*drawn, *([""] if notes else [])] if table.header else []), *notes]) + "\n"


def csv_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Values as csv; what is None is an empty cell."""
    text = io.StringIO()
    # By default the csv module ends lines as Windows does.
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *(["" if value is None else value for value in row] for row in rows)])
    return text.getvalue()


def _padded(cells: Sequence[str], widths: Sequence[int], left: int) -> list[str]:
    # Letters of East Asian scripts take two places each, which `len` does not count.
    blanks = [" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
    return [cell + blank if place < left else blank + cell for place, (cell, blank) in enumerate(zip(cells, blanks, strict=True))]
