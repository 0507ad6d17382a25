"""Elements of a page of HTML that stands alone, and its text: images are inside, and it needs no network and no script."""

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
class ReadyHtml:
    """HTML made by another module, in which all text is escaped.

    Args:
        html: a table.
        label: name of the box in which it scrolls, for screen readers.
        printed: True for paper only, False for the screen only, None for both.
    """

    html: Markup
    label: str
    printed: bool | None = None
    kind: str = "html"


@dataclass(frozen=True)
class Details:
    """Parts that appear after a click, and on paper. No images: a browser would not load them before the click."""

    title: str
    parts: tuple["Part", ...]
    kind: str = "details"


Part = Text | Heading | Notes | Facts | Code | PageImage | Grid | ReadyHtml | Details


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


def rendered(title: str, kind: str, lead: str, facts: Facts, sections: tuple[Section, ...], styles: str = "") -> str:
    """The text of a page.

    Args:
        title: of the page; any text is shown as it is.
        kind: of page, above the title.
        lead: sentence below the title; may be empty.
        facts: at the top.
        sections: those without parts are left out.
        styles: further CSS rules, for tables in `ReadyHtml`.
    """
    shown = tuple(section for section in sections if section.parts)
    values = {"title": title, "kind": kind, "lead": lead, "facts": facts, "sections": shown}
    return _environment().get_template(TEMPLATE).render(**values, styles=Markup(COLOURS + TABLES + styles))


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
