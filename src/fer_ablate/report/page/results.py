"""The judged table on a page: a metric at a time, with its differences to the baseline as bars."""

import math
from collections.abc import Sequence
from statistics import median

from fer_ablate.judgement.judged_table import Difference, JudgedTable, Verdict
from fer_ablate.report.page.elements import Axis, Bar, Details, Part, ResultColumn, Results, Switch
from fer_ablate.report.quantities import ABSENT, metric_title, scale
from fer_ablate.report.table.outcomes import (
    DECIDED,
    FIRST_SPLIT,
    best_first,
    finite_difference,
    in_reading_order,
    is_ordered,
    points,
)
from fer_ablate.report.table.shown_table import (
    AGREES,
    COST,
    DIFFERENCE,
    GAP,
    INTERVAL,
    PUBLISHED,
    VERDICT,
    ShownColumn,
    ShownTable,
)

SWITCHES = {
    "intervals": "intervals in numbers",
    "published": "published numbers",
    "costs": "costs",
}
"""Key of a switch -> what it shows."""

SHORT_LABEL = 24
"""Letters of the longest label beside which published numbers have room on a screen of 1,200 pixels."""

FAR, TYPICAL = 1.5, 4.0
"""An interval that reaches further than so many times the largest difference, and so many times the median of all intervals,
leaves the axis, on which nothing else could be seen beside it."""

MOST_TICKS = 5


def result_parts(table: JudgedTable, shown: ShownTable) -> list[Part]:
    """The metrics of the test one below the other, and those of other splits, or without a score, after a click.

    Args:
        table: judged.
        shown: the same as strings.
    """
    columns = in_reading_order(table.columns)
    # Without a column of the test, those of the first split take its place.
    first = columns[0].partition("/")[0] if columns else FIRST_SPLIT
    parts: list[Part] = []
    for place, column in enumerate(columns):
        part = _results(table, shown, column, f"results{place}", costs=place == 0)
        # A metric that is only published, or not measured yet, would push the plots down.
        known = place == 0 or any(column in row.scores for row in table.rows)
        parts.append(part if known and column.partition("/")[0] == first else Details(part.caption, (part,)))
    return parts


def legend(table: JudgedTable) -> str:
    """What the bars mean; empty without a bar."""
    kinds = {one.kind for row in table.rows for column in table.columns if (one := finite_difference(row, column)) is not None}
    if not kinds:
        return ""
    sentences = ["Bars are differences to the baseline; thin lines are their 95 % intervals."]
    sentences += ["A filled bar differs from the baseline after correction for the number of rows."] * bool(kinds & {*DECIDED})
    sentences += ["A dashed bar was not tested."] * (Verdict.untested in kinds)
    if table.margin is not None:
        sentences.append(f"The gray band is the margin of the study, {points(table.margin)} up and down.")
    return " ".join(sentences)


def _results(table: JudgedTable, shown: ShownTable, column: str, name: str, costs: bool) -> Results:
    columns = [ResultColumn(one.name, one.cells, words=one.words) for one in shown.group("")]
    for one in shown.group(metric_title(column)):
        columns += _metric_columns(table, column, one)
    if costs:
        columns += [ResultColumn(one.name, one.cells, "costs") for one in shown.group(COST)]
    known = {one.switch for one in columns}
    roomy = all(len(row.label) <= SHORT_LABEL for row in table.rows)
    order = best_first(table, column)
    sortable = sum(column in row.scores for row in table.rows) > 1
    compared = any(one.name == DIFFERENCE for one in shown.group(metric_title(column)))
    return Results(
        name,
        metric_title(column) + ("; differences in points" if compared and scale(column) == 100 else ""),
        tuple(columns),
        tuple(Switch(key, title, key == "published" and roomy) for key, title in SWITCHES.items() if key in known),
        tuple(order.index(row) for row in table.rows) if sortable else (),
        f"{'best' if is_ordered(column) else 'highest'} first{'' if table.data_sets is None else ', data set by data set'}",
        next((place for place, row in enumerate(table.rows) if row.baseline), None),
    )


def _metric_columns(table: JudgedTable, column: str, shown: ShownColumn) -> list[ResultColumn]:
    """A column of the shown table, or of a difference three: its value, its bar, and its interval in numbers."""
    if shown.name == INTERVAL:
        return [ResultColumn(shown.name, shown.cells, "intervals")]
    if shown.name in (PUBLISHED, GAP, AGREES):
        return [ResultColumn(shown.name, shown.cells, "published")]
    if shown.name == VERDICT:
        return [ResultColumn(shown.name, shown.cells, words=True, classes=shown.marks)]
    if shown.name != DIFFERENCE:
        return [ResultColumn(shown.name, shown.cells)]
    values, intervals = zip(*(_parted(cell) for cell in shown.cells), strict=True)
    bars, axis = _bars(table, column, shown.cells)
    columns = [ResultColumn(DIFFERENCE, values), ResultColumn("", bars, axis=axis)]
    known = any(cell != ABSENT for cell in intervals)
    return columns + [ResultColumn("interval", intervals, "intervals")] * known


def _parted(cell: str) -> tuple[str, str]:
    value, found, ends = cell.partition(" [")
    return value, f"[{ends}" if found else ABSENT


def _bars(table: JudgedTable, column: str, words: Sequence[str]) -> tuple[tuple[Bar | None, ...], Axis]:
    """A bar for each row that has a difference, and their axis."""
    found = [finite_difference(row, column) for row in table.rows]
    start, end = _range([one for one in found if one is not None])
    times = scale(column)

    def place(value: float) -> float:
        return round(100 * (min(max(value, start), end) - start) / (end - start), 2)

    # A margin is in points, so it belongs to fractions alone.
    near = table.margin / times if table.margin is not None and times == 100 else None
    margin = None if near is None else (place(-near), place(near))

    def bar(difference: Difference, text: str) -> Bar:
        ends = (difference.low, difference.high) if _has_interval(difference) else None
        beyond = () if ends is None else (*["left"] * (ends[0] < start), *["right"] * (ends[1] > end))
        places = None if ends is None else (place(ends[0]), place(ends[1]))
        return Bar(place(difference.value), places, beyond, place(0.0), margin, difference.kind.name, text)

    ticks = tuple((place(tick / times), _tick(tick)) for tick in _ticks(times * start, times * end))
    bars = (None if one is None else bar(one, text) for one, text in zip(found, words, strict=True))
    return tuple(bars), Axis(ticks)


def _range(differences: Sequence[Difference]) -> tuple[float, float]:
    """Ends of an axis that shows zero, every value, and the intervals but for those that reach far beyond the others."""
    values = [0.0, *(one.value for one in differences)]
    known = [(one.low, one.high) for one in differences if _has_interval(one)]
    reaches = [max(map(abs, ends)) for ends in known]
    most = max(*(FAR * abs(value) for value in values), TYPICAL * median(reaches) if reaches else 0.0)
    ends = [min(max(end, -most), most) for pair in known for end in pair]
    low, high = min(values + ends), max(values + ends)
    # Room for the markers at both ends; a single 0 needs an axis as well.
    room = 0.04 * (high - low) or 0.01
    return low - room, high + room


def _has_interval(difference: Difference) -> bool:
    return math.isfinite(difference.low) and math.isfinite(difference.high)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers within a range, 0 among them, at most `MOST_TICKS`."""
    size = 10.0 ** math.floor(math.log10((high - low) / MOST_TICKS))
    steps = (size * times for times in (1, 2, 5, 10, 20))
    step = next(step for step in steps if math.floor(high / step) - math.ceil(low / step) < MOST_TICKS)
    return [step * place for place in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _tick(value: float) -> str:
    return f"{value:+.3g}" if value else "0"
