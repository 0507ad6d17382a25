"""A study of several data sets as a table with the data sets as columns, and ranks over them."""

import math

from fer_ablate.judgement.judged_table import DataSets, JudgedTable, Score
from fer_ablate.report.quantities import ABSENT, decimals, interval, metric_name, metric_title, number, one_line, scale
from fer_ablate.report.table.outcomes import in_reading_order
from fer_ablate.report.table.shown_table import BEST, ROW, ShownColumn, ShownTable

TITLE = "Data sets"
MEAN_RANK = "mean rank"


def data_set_tables(table: JudgedTable) -> list[ShownTable]:
    """For each metric that has ranks or scores a table with data sets as columns; none if the study has only one.

    Cells are means over seeds with their intervals; the best of a data set has the mark `best`.
    """
    found = table.data_sets
    if found is None:
        return []
    return [shown for column in in_reading_order(table.columns) if (shown := _shown(table, found, column)) is not None]


def data_set_sentences(table: JudgedTable, column: str) -> tuple[str, ...]:
    """What the ranks over data sets say about a column."""
    ranks = table.data_sets.ranks.get(column) if table.data_sets is not None else None
    return tuple(map(one_line, ranks.sentences)) if ranks is not None else ()


def _shown(table: JudgedTable, found: DataSets, column: str) -> ShownTable | None:
    known = {row.label: row.scores.get(column) for row in table.rows}
    cells = {(name, title): known.get(label) for name, titles in found.labels.items() for title, label in titles.items()}
    scores = [score for score in cells.values() if score is not None]
    if not scores:
        return None
    digits, times = decimals(column, (score.sd for score in scores)), scale(column)
    columns = [ShownColumn("", ROW, tuple(map(one_line, found.rows)))]
    for title in found.data:
        line = [cells.get((name, title)) for name in found.rows]
        texts = tuple(ABSENT if score is None else _cell(score, times, digits) for score in line)
        columns.append(ShownColumn(metric_title(column), one_line(title), texts, _marks(table, column, line)))
    if (ranks := found.ranks.get(column)) is not None:
        columns.append(ShownColumn("ranks", MEAN_RANK, tuple(f"{ranks.means[name]:.2f}" for name in found.rows)))
    single = all(score.n == 1 for score in scores)
    caption = (
        f"{TITLE} of {one_line(table.study)}: {metric_name(column)}{'' if single else ', mean over seeds'}, "
        "[a, b] is a 95 % interval. Ranks are of these scores, 1 is best; equal ones share the mean of their ranks."
    )
    return ShownTable(f"{table.study} data sets", caption, tuple(columns), data_set_sentences(table, column))


def _cell(score: Score, times: float, digits: int) -> str:
    between = interval(times * score.low, times * score.high, digits)
    return number(times * score.mean, digits) + ("" if between == ABSENT else f" {between}")


def _marks(table: JudgedTable, column: str, line: list[Score | None]) -> tuple[str, ...]:
    better = table.higher_is_better.get(column)
    means = [score.mean for score in line if score is not None and math.isfinite(score.mean)]
    if better is None or len(means) < 2:
        return ()
    top = max(means) if better else min(means)
    return tuple(BEST if score is not None and score.mean == top else "" for score in line)
