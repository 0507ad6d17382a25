"""A study of several data sets: which rows were trained on which, the baseline of each, and ranks over the data sets.

Scores on different data sets are not comparable, so a row is compared with the row that has the settings of the baseline and
its own data.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_ablate.judgement.designs import ROWS, Design, Levels
from fer_ablate.judgement.judged_table import DataSets, TableRow
from fer_ablate.judgement.ranks import equal_titles, rank_networks

KEYS = ("data", "data.path", "data.source", "data.reader")
"""Keys that choose other images; beside them, everything about drawn faces does."""

PREFIXES = ("data.synthetic.", "data.arguments.")


@dataclass(frozen=True)
class Layout:
    """Rows of a study by their data sets.

    Args:
        rows: names, made of what the rows differ in besides the data.
        data: titles of the data sets.
        labels: name of a row -> title of a data set -> label of the row in the study.
        twins: label -> label of the row with the settings of the baseline on the same data; empty if the
            baseline is no combination itself.
    """

    rows: tuple[str, ...]
    data: tuple[str, ...]
    labels: dict[str, dict[str, str]]
    twins: dict[str, str]

    def among(self, chosen: Collection[str]) -> "Layout":
        """The layout of some of the rows of the study."""
        found = {name: {title: label for title, label in one.items() if label in chosen} for name, one in self.labels.items()}
        labels = {name: one for name, one in found.items() if one}
        data = tuple(title for title in self.data if any(title in one for one in labels.values()))
        return Layout(
            tuple(labels), data, labels, {label: twin for label, twin in self.twins.items() if {label, twin} <= {*chosen}}
        )


def layout_of(design: Design | None, baseline: str) -> Layout | None:
    """The data sets of a study; None if its rows are not crossed with several.

    Args:
        design: of the rows.
        baseline: label of the row that the others are compared with.
    """
    if design is None or not design.crossed:
        return None
    chosen = [place for place, factor in enumerate(design.factors) if chooses_data(factor.name)]
    others = [place for place in range(len(design.factors)) if place not in chosen]
    if not chosen or not others:
        return None
    reference = design.rows.get(baseline)
    labels: dict[str, dict[str, str]] = {}
    twins = {}
    for label, levels in design.rows.items():
        labels.setdefault(_name(design, levels, others), {})[_title(design, levels, chosen)] = label
        twin = reference and design.label(tuple((levels if at in chosen else reference)[at] for at in range(len(levels))))
        if twin:
            twins[label] = twin
    titles = tuple(dict.fromkeys(title for found in labels.values() for title in found))
    return Layout(tuple(labels), titles, labels, twins)


def chooses_data(key: str) -> bool:
    """Whether a key chooses other images, rather than what is done with them."""
    return key in KEYS or key.startswith(PREFIXES)


def ranked_data_sets(
    layout: Layout,
    columns: Sequence[str],
    rows: Sequence[TableRow],
    higher_is_better: Mapping[str, bool | None],
    tested: Mapping[str, Mapping[str, str]],
) -> DataSets | None:
    """The data sets with the ranks of the rows in every column of which more or less is better; None if the rows have only one.

    Args:
        layout: of the study.
        columns: of the table.
        rows: judged; of a study of which rows were chosen, these.
        higher_is_better: column -> whether more of it is better.
        tested: label -> part that is scored -> digest of its images, as far as it is known.
    """
    known = {row.label: row for row in rows}
    layout = layout.among(known)
    if len(layout.data) < 2:
        return None
    ranks = {}
    for column in columns:
        scores = {
            (name, title): row.scores[column].mean
            for name, found in layout.labels.items()
            for title, label in found.items()
            if (row := known.get(label)) is not None and column in row.scores
        }
        if (better := higher_is_better.get(column)) is None:
            continue
        same = _same_images(layout, column, tested)
        if (found := rank_networks(layout.rows, layout.data, scores, better, "rows", same)) is not None:
            ranks[column] = found
    return DataSets(layout.rows, layout.data, layout.labels, ranks)


def _same_images(layout: Layout, column: str, tested: Mapping[str, Mapping[str, str]]) -> list[list[str]] | None:
    """Titles of data sets that have the same images in the part that a column is about; None if these are not known."""
    part = column.partition("/")[0].removesuffix("_pooled")
    labels = {title: [found[title] for found in layout.labels.values() if title in found] for title in layout.data}
    known = {title: [tested[label][part] for label in labels[title] if part in tested.get(label, {})] for title in layout.data}
    return equal_titles({title: next(iter(digests), "") for title, digests in known.items()})


def _name(design: Design, levels: Levels, places: Sequence[int]) -> str:
    """What a row differs in besides the data, such as `small` or `model=small optimizer=adam`."""
    if len(places) == 1 and design.factors[places[0]].name in (ROWS, "model"):
        return levels[places[0]]
    return " ".join(_assigned(design.factors[place].name, levels[place]) for place in places)


def _title(design: Design, levels: Levels, places: Sequence[int]) -> str:
    """Name of a data set, such as `fer2013`; of paths the last part, unless two have the same."""
    names = []
    for place in places:
        key, level = design.factors[place].name, levels[place]
        if key == "data.path":
            # Levels are in Hydra's grammar, where a path with blanks or with letters outside ASCII is in quotes.
            last = [Path(one.strip("'")).name for one in design.factors[place].levels]
            level = level.strip("'")
            level = Path(level).name if last.count(Path(level).name) == 1 else level
        names.append(level if key in KEYS else _assigned(key, level))
    return " ".join(names)


def _assigned(key: str, level: str) -> str:
    return level if key == ROWS else f"{key.rsplit('.', 1)[-1]}={level}"
