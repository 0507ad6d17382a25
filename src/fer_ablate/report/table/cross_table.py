"""The table of networks on data sets as text: Markdown, LaTeX, csv and HTML."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fer_ablate.judgement.cross_table import CrossTable, JudgedTest
from fer_ablate.judgement.wording import p_text
from fer_ablate.report.quantities import ABSENT, interval, number, one_line
from fer_ablate.report.table.formats import markdown, markdown_text
from fer_ablate.report.table.html import html
from fer_ablate.report.table.latex import latex
from fer_ablate.report.table.shown_table import NETWORK, ShownColumn, ShownTable

if TYPE_CHECKING:
    import pandas as pd

ACCURACY, MACRO_F1, DIFFERENCE = "acc, % [95 % interval]", "macro F1, %", "acc minus that of the first network, points"
RANKS = "rank by acc"
MEAN_RANK = "mean"
OWN = "†"
"""Mark of networks on data that they were trained on."""


def shown_cross_table(table: CrossTable, name: str) -> ShownTable:
    """The table as strings: a group of columns for each quantity, with one column for each data set."""
    quantities: list[tuple[str, Callable[[JudgedTest], str]]] = [(ACCURACY, _accuracy), (MACRO_F1, _macro_f1)]
    if any(cell.score.difference for cell in table.cells.values()):
        quantities.append((DIFFERENCE, _difference))
    columns = [ShownColumn("", NETWORK, tuple(map(one_line, table.networks)))]
    columns += [
        ShownColumn(quantity, one_line(title), tuple(_cell(table, network, title, spell) for network in table.networks))
        for quantity, spell in quantities
        for title in table.data
    ]
    columns += _ranks(table)
    return ShownTable(name, _caption(table), tuple(columns), tuple(map(one_line, table.notes)))


def render_cross_table(table: CrossTable, name: str, form: str) -> str:
    """The whole table as `markdown`, `latex`, `csv` or `html`."""
    if form == "csv":
        return str(cross_frame(table).to_csv(index=False, lineterminator="\n"))
    writers: dict[str, Callable[[ShownTable], str]] = {"markdown": _markdown, "latex": latex, "html": html}
    return writers[form](shown_cross_table(table, name))


def cross_frame(table: CrossTable) -> "pd.DataFrame":
    """One line for each network and data set, fractions as fractions; lines without a score have empty cells."""
    import pandas as pd

    return pd.DataFrame([_line(table, network, title) for network in table.networks for title in table.data])


def _ranks(table: CrossTable) -> list[ShownColumn]:
    """The rank on each data set and the mean, if there are any."""
    ranks = table.ranks
    if ranks is None:
        return []
    columns = [
        ShownColumn(RANKS, one_line(title), tuple(f"{ranks.by_data[network][place]:g}" for network in table.networks))
        for place, title in enumerate(ranks.data)
    ]
    return [*columns, ShownColumn(RANKS, MEAN_RANK, tuple(f"{ranks.means[network]:.2f}" for network in table.networks))]


def _line(table: CrossTable, network: str, title: str) -> dict[str, Any]:
    names = ("images", "acc", "ci_low", "ci_high", "macro_f1", "trained_on", "difference", "p", "p_holm", "rank", "mean_rank")
    ranks = table.ranks
    cell = table.cells.get((network, title))
    if cell is None:
        return {"network": network, "data": title, **dict.fromkeys(names)}
    score, difference = cell.score, cell.score.difference
    values: Sequence[Any] = (
        score.images,
        score.mean,
        score.low,
        score.high,
        cell.test.result.metrics["macro_f1"],
        cell.test.trained_on,
        *((difference.value, difference.p, difference.p_holm) if difference else (None, None, None)),
        ranks.by_data[network][place] if ranks is not None and (place := ranks.place_of(title)) is not None else None,
        ranks.means[network] if ranks is not None else None,
    )
    return {"network": network, "data": title, **dict(zip(names, values, strict=True))}


def _cell(table: CrossTable, network: str, title: str, spell: Callable[[JudgedTest], str]) -> str:
    cell = table.cells.get((network, title))
    return ABSENT if cell is None else spell(cell)


def _accuracy(cell: JudgedTest) -> str:
    score = cell.score
    mark = f" {OWN}" if cell.test.trained_on else ""
    return f"{number(100 * score.mean, 1)} {interval(100 * score.low, 100 * score.high, 1)}{mark}"


def _macro_f1(cell: JudgedTest) -> str:
    return number(100 * cell.test.result.metrics["macro_f1"], 1)


def _difference(cell: JudgedTest) -> str:
    difference = cell.score.difference
    return ABSENT if difference is None else f"{number(100 * difference.value, 1, signed=True)} ({p_text(difference.p_holm)})"


def _caption(table: CrossTable) -> str:
    counts = []
    for title in table.data:
        # Networks that know fewer classes are tested on fewer images.
        found = sorted({cell.score.images for (_, name), cell in table.cells.items() if name == title})
        counts.append(f"{one_line(title)} ({' or '.join(f'{count:,}' for count in found)})" if found else one_line(title))
    sentences = [f"Networks tested on {', '.join(counts)} images.", "[a, b] is a 95 % interval over test images."]
    if any(cell.score.difference for cell in table.cells.values()):
        sentences.append(
            f"Differences are to {one_line(table.networks[0])} on the same images (exact McNemar test, p after Holm)."
        )
    if any(cell.test.trained_on for cell in table.cells.values()):
        sentences.append(f"{OWN} The network was trained on another part of these data.")
    if table.ranks is not None:
        sentences.append("Ranks by accuracy, 1 is best; equal ones share the mean of their ranks.")
    return " ".join(sentences)


def _markdown(whole: ShownTable) -> str:
    """One table for each quantity, below its name."""
    # Markdown has a single line of titles, which is taken by the data sets.
    columns = {group: (*whole.group(""), *(replace(one, group="") for one in whole.group(group))) for group in whole.groups}
    tables = [markdown(ShownTable(whole.study, group, found, ())) for group, found in columns.items()]
    notes = [f"- {markdown_text(note)}\n" for note in whole.notes]
    return "\n".join([f"{markdown_text(whole.caption)}\n", *tables, "".join(notes)])
