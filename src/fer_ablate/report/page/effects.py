"""The effects of a study's factors on its page: what they say, an interaction plot, and the numbers."""

from pathlib import Path

from fer_ablate.judgement.judged_table import JudgedTable
from fer_ablate.report.page.album import Album
from fer_ablate.report.page.elements import Details, Grid, Heading, Notes, Part, Text
from fer_ablate.report.quantities import ABSENT
from fer_ablate.report.table.effects import effect_sentences, effects_notes, effects_tables
from fer_ablate.report.table.outcomes import DECIDED, FIRST_SPLIT, in_reading_order
from fer_ablate.report.table.shown_table import VERDICT, ShownTable


def effects_parts(album: Album, folder: Path, table: JudgedTable) -> tuple[Part, ...]:
    """For each metric the sentences, the plot and the table; none for a study without factors.

    Args:
        album: takes the images.
        folder: where the figures of the table are.
        table: judged.
    """
    if table.effects is None:
        return ()
    said = {f"{metric}: {sentence}" for metric, found in effect_sentences(table) for sentence in found}
    notes = tuple(note for note in effects_notes(table) if note not in said)
    parts: list[Part] = []
    columns = in_reading_order(table.effects.columns)
    for shown in effects_tables(table):
        for column, group, (metric, found) in zip(columns, shown.groups, effect_sentences(table), strict=True):
            first = column.partition("/")[0] in (FIRST_SPLIT, columns[0].partition("/")[0])
            plot = folder / f"effects-{column.replace('/', '-')}.png"
            caption = f"Interaction plot of {metric}: means of the rows with their 95 % intervals."
            images = album.read(plot, f"{caption} The table below has the effects.", caption) if first else []
            own: tuple[Part, ...] = (*map(Text, found), *images, _grid(shown, group))
            # Images stay out of what opens after a click.
            parts += [Heading(metric.capitalize()), *own] if first else [Details(group, own)]
        parts.append(Text(shown.caption, soft=True))
    return (*parts, *([Notes(notes)] if notes else []))


def _grid(shown: ShownTable, group: str) -> Grid:
    """The effects on one metric; those that are certain stand out."""
    columns = (*shown.group(""), *shown.group(group))
    verdict = columns[-1]
    places = [place for place, cell in enumerate(verdict.cells) if cell != ABSENT]
    certain = {kind.name for kind in DECIDED}
    marked = frozenset(
        (row, len(columns) - 1) for row, place in enumerate(places) if verdict.marks and verdict.marks[place] in certain
    )
    return Grid(
        f"Effects on {group}",
        tuple(column.name for column in columns),
        tuple(tuple(column.cells[place] for column in columns) for place in places),
        marked,
        frozenset(place for place, column in enumerate(columns) if column.name == VERDICT),
    )
