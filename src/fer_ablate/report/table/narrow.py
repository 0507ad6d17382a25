"""Tables on narrow terminals: cells in several lines, and short names of rows that stay distinct. No number is cut."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from textwrap import wrap

from rich.cells import cell_len

from fer_ablate.report.quantities import shorten

GAP = 2
"""Blanks between two columns."""

SHORTEST_LABEL = 16
"""Letters that a label may always take."""

MOST_LINES = 4
"""Lines that a label may take."""

LEGIBLE = 8
"""Letters below which a cut label is replaced by a number."""

NO_BREAK = "\u00a0"
"""A blank at which no line ends; printed as any other."""

MARKS = re.compile(r"( \(baseline\))?( †)?$")
"""What follows the name of a row, and is never cut."""


@dataclass(frozen=True)
class ShortLabels:
    """Labels as a narrow terminal shows them.

    Args:
        cells: one for each row.
        below: what the reader has to know about them: a number or `rows`, and a text.
    """

    cells: tuple[str, ...]
    below: tuple[tuple[str, str], ...] = ()


def cell_width(cell: str) -> int:
    """Letters of the longest line of a cell."""
    return max(map(cell_len, cell.split("\n")))


def columns_width(columns: Iterable[Iterable[str]]) -> int:
    """Letters of a line with these columns, each with its title, and a gap after each."""
    return sum(max(map(cell_width, column)) + GAP for column in columns)


def wrapped(text: str, room: int) -> str:
    """The text in lines of at most so many letters; a longer word has a line of its own."""
    whole = re.sub(r" ([=<]) ", rf"{NO_BREAK}\1{NO_BREAK}", text)  # such as p = 0.21
    lines = wrap(whole, max(room, 1), break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace(NO_BREAK, " ") or text


def distinct_labels(labels: Sequence[str], room: int) -> ShortLabels:
    """Labels whose lines have at most so many letters, of which no two are equal.

    They lose what all have in common, then take several lines; those with a word that is too long lose their middle, and where
    that leaves too little, numbers replace them.

    Args:
        labels: of all rows.
        room: letters, `SHORTEST_LABEL` or more.
    """
    if max(map(cell_len, labels), default=0) <= room:
        return ShortLabels(tuple(labels))
    bare = without_common(labels)
    marks = [MARKS.search(label)[0] for label in labels]  # type: ignore[index]  # it matches the empty end
    names = [cell.removesuffix(mark) for cell, mark in zip(bare.cells, marks, strict=True)]
    short = [shorten(name, max(room - cell_len(mark), 1)) for name, mark in zip(names, marks, strict=True)]
    counts = Counter(short)
    cells, below = [], []
    for place, (label, name, text, mark) in enumerate(zip(labels, names, short, marks, strict=True), start=1):
        fits = cell_len(text + mark) <= room
        lines = wrapped(name + mark, room)
        if fits and text == name:
            cells.append(name + mark)
        elif cell_width(lines) <= room and lines.count("\n") < MOST_LINES:
            cells.append(lines)
        elif fits and counts[text] == 1 and len(text) >= LEGIBLE:
            cells.append(text + mark)
        else:
            cells.append(f"({place}){mark}")
            below.append((f"({place})", label.removesuffix(mark)))
    return ShortLabels(tuple(cells), (*bare.below, *below))


def without_common(labels: Sequence[str]) -> ShortLabels:
    """Labels without the words that all begin with, without settings that all have, and of the others the values alone."""
    marks = [MARKS.search(label)[0] for label in labels]  # type: ignore[index]  # it matches the empty end
    split = [label.removesuffix(mark).split() for label, mark in zip(labels, marks, strict=True)]
    # Lists and texts in quotes have blanks of their own.
    if len(labels) < 2 or any(re.search(r"[\[{'\"]", label) for label in labels):
        return ShortLabels(tuple(labels))
    kept, common, keys = _settings(split) if len({*map(len, split)}) == 1 else _leading(split)
    names = [" ".join(words) for words in kept]
    if not (common or keys) or len({*names}) < len({*map(tuple, split)}):
        return ShortLabels(tuple(labels))
    said = [f"values of {', '.join(keys)}"] if keys else []
    said += [f"all have {' '.join(common)}"] if common else []
    return ShortLabels(tuple(name + mark for name, mark in zip(names, marks, strict=True)), (("rows", "; ".join(said)),))


def _leading(split: Sequence[Sequence[str]]) -> tuple[list[list[str]], list[str], list[str]]:
    """Words of each label, without those that all begin with; and these."""
    common = [words[0] for words in takewhile(lambda words: len({*words}) == 1, zip(*split, strict=False))]
    # Something has to be left of the shortest.
    start = max(0, min(len(common), min(map(len, split)) - 1))
    return [list(words[start:]) for words in split], common[:start], []


def _settings(split: Sequence[Sequence[str]]) -> tuple[list[list[str]], list[str], list[str]]:
    """Words of each label without what all have and without keys that all have; and both."""
    kept, common, keys = [], list[str](), list[str]()
    for place, words in enumerate(zip(*split, strict=True)):
        same, first = len({*words}) == 1, words[0]
        if same and ("=" in first or len(common) == place):
            common.append(first)
        elif not same and all("=" in word for word in words) and len({word.partition("=")[0] for word in words}) == 1:
            keys.append(first.partition("=")[0])
            kept.append([word.partition("=")[2] for word in words])
        else:
            kept.append(list(words))
    return [list(words) for words in zip(*kept, strict=True)] or [[] for _ in split], common, keys
