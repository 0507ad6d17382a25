"""Elements of a page of HTML that stands alone, and its text: images are inside, and it needs no network.

Without its script, which sorts the judged table, it shows the rows as the study lists them.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from fer_ablate.report.table.html import COLOURS, TABLES

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = "report.html"
"""Name of the page's file, beside the table of a study or in the folder of a run."""

TEMPLATE = "page.html.jinja"

WIDE = 700
"""Pixels above which an image scrolls in its own box on a phone, where its letters would otherwise be too small to read."""


@dataclass(frozen=True)
class Text:
    """A paragraph; `soft` for a side note; `anchor` if something refers to it."""

    text: str
    soft: bool = False
    anchor: str = ""
    kind: str = "text"


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str
    kind: str = "heading"


@dataclass(frozen=True)
class Notes:
    """A list of sentences."""

    items: tuple[str, ...]
    kind: str = "notes"


@dataclass(frozen=True)
class Facts:
    """Names with their values."""

    pairs: tuple[tuple[str, str], ...]
    kind: str = "facts"


@dataclass(frozen=True)
class Code:
    """Commands, or a file, shown letter by letter."""

    text: str
    kind: str = "code"


@dataclass(frozen=True)
class PageImage:
    """An image with its bytes.

    Args:
        source: data URI.
        width, height: in pixels, so that nothing moves when it appears.
        alt: text for those who cannot see it.
        caption: below it.
    """

    source: str
    width: int
    height: int
    alt: str
    caption: str
    kind: str = "image"

    @property
    def wide(self) -> bool:
        """Whether it needs a box to scroll in on a phone."""
        return self.width > WIDE


@dataclass(frozen=True)
class Grid:
    """A table of strings; the first column names the rows.

    Args:
        caption: above it.
        header: one title for each column.
        rows: as many cells each.
        marked: (row, column) of cells that stand out.
        words: columns, from 0, that are aligned to the left; the first one always is.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: frozenset[tuple[int, int]] = frozenset()
    words: frozenset[int] = frozenset()
    kind: str = "grid"


@dataclass(frozen=True)
class Bar:
    """A difference as a bar from zero with its interval, on an axis that all rows share.

    Args:
        value: where the bar ends, in percent of the width of the axis.
        ends: of the interval, at most those of the axis; None without an interval.
        beyond: which ends of the interval are outside of the axis: `left`, `right` or both.
        zero: where the axis is zero.
        margin: ends of the differences that count as none; None if the study has no margin.
        verdict: name of its kind, which decides colour and filling.
        words: the numbers, for those who cannot see the bar.
    """

    value: float
    ends: tuple[float, float] | None
    beyond: tuple[str, ...]
    zero: float
    margin: tuple[float, float] | None
    verdict: str
    words: str

    @property
    def left(self) -> float:
        """Where the bar begins, whichever side of zero it is on."""
        return min(self.zero, self.value)

    @property
    def length(self) -> float:
        """Of the bar, in percent of the width of the axis."""
        return abs(self.value - self.zero)


@dataclass(frozen=True)
class Axis:
    """The axis of bars: places in percent of its width, and the numbers there."""

    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class ResultColumn:
    """A column of a judged table.

    Args:
        title: above it.
        cells: one for each row: text, or a bar; None for an empty cell.
        switch: key of the switch that shows it; empty for a column that is always shown.
        words: whether its cells are text, aligned to the left.
        classes: for each cell, such as the kind of its verdict; empty for none.
        axis: of bars.
    """

    title: str
    cells: tuple[str | Bar | None, ...]
    switch: str = ""
    words: bool = False
    classes: tuple[str, ...] = ()
    axis: Axis | None = None


@dataclass(frozen=True)
class Switch:
    """A box to tick, which shows further columns; `on` if they are shown at first."""

    key: str
    title: str
    on: bool = False


@dataclass(frozen=True)
class Results:
    """A metric of all rows of a study, with a bar for each difference to the baseline.

    Args:
        name: distinguishes the tables of a page.
        caption: above it.
        columns: the first one names the rows.
        switches: in the order of their columns.
        ranks: place of each row once they are sorted, from 0; empty if there is nothing to sort by.
        order: what this order is called.
        baseline: index of the baseline's row; None if it is not in the table.
    """

    name: str
    caption: str
    columns: tuple[ResultColumn, ...]
    switches: tuple[Switch, ...]
    ranks: tuple[int, ...]
    order: str
    baseline: int | None
    kind: str = "results"


@dataclass(frozen=True)
class Details:
    """Parts that appear after a click, and on paper. No images: a browser would not load them before the click."""

    title: str
    parts: tuple["Part", ...]
    kind: str = "details"


Part = Text | Heading | Notes | Facts | Code | PageImage | Grid | Results | Details


@dataclass(frozen=True)
class Section:
    """A part of the page with an anchor, listed in its table of contents."""

    anchor: str
    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Page:
    """A page and the counts of its contents.

    Args:
        html: all of it.
        runs, pictures: number of each that it shows.
        left_out: sentences about images that are not in it.
    """

    html: str
    runs: int
    pictures: int
    left_out: tuple[str, ...] = field(default=())


def rendered(title: str, kind: str, lead: str, facts: Facts, sections: tuple[Section, ...]) -> str:
    """The text of a page.

    Args:
        title: of the page; any text is shown as it is.
        kind: of page, above the title.
        lead: sentence below the title; may be empty.
        facts: at the top.
        sections: those without parts are left out.
    """
    shown = tuple(section for section in sections if section.parts)
    sorts = any(isinstance(part, Results) for section in shown for part in section.parts)
    values = {"title": title, "kind": kind, "lead": lead, "facts": facts, "sections": shown, "sorts": sorts}
    return _environment().get_template(TEMPLATE).render(**values, styles=Markup(COLOURS + TABLES))


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    # Strict, so that a misspelt name in the template is an error rather than an empty place on the page.
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["breakable"] = _breakable
    return made


def _breakable(text: str) -> Markup:
    """Text whose dotted keys may break into lines after a dot."""
    return Markup(".<wbr>").join(text.split("."))
