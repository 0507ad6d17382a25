"""Pictures of a judged table: a metric over the swept factor, and differences to the baseline."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from fer_ablate.judgement.records import Score, StudyTable, TableRow
from fer_ablate.report.plots.canvas import BLUE, GRAY, GREEN, ORANGE, figure, plain, save
from fer_ablate.report.plots.cost import cost_plot
from fer_ablate.report.plots.curves import curves_plot
from fer_ablate.report.quantities import one_line, scale, shorten, spoken, title
from fer_ablate.tracking.disk.history import EpochRow

LABEL_LENGTH = 48
"""Letters of a row's label beside a plot; longer ones lose their middle."""

TICK_LENGTH = 24
"""Letters of a swept value below a plot."""

LOG_SPAN = 100.0
"""Swept values that span more than this ratio stand on a logarithmic axis."""

TICK_GAP = 0.06
"""Smallest distance of two ticks, as a part of the axis."""

COLORS = {"better": GREEN, "worse": ORANGE}
"""By the first word of a verdict; all others are gray."""


def save_study_plots(folder: Path, table: StudyTable, histories: Mapping[str, Sequence[Sequence[EpochRow]]]) -> list[Path]:
    """Draw what there is to draw, each picture as PNG and as SVG.

    Args:
        folder: for the files, which are replaced one by one; those of pictures no longer drawn are removed.
        table: judged.
        histories: label -> the epochs of each of its runs.

    Returns:
        The files written; none for a table without a finished run.
    """
    pictures: dict[str, Figure | None] = {}
    for column in table.columns:
        name = column.replace("/", "-")
        pictures[f"factor-{name}"] = factor_plot(table, column)
        pictures[f"differences-{name}"] = forest_plot(table, column)
        pictures[f"cost-{name}"] = cost_plot(table, column)
    pictures["curves"] = curves_plot(histories)
    written = []
    for name, picture in pictures.items():
        for path in (folder / f"{name}.png", folder / f"{name}.svg"):
            if picture is None:
                path.unlink(missing_ok=True)
            else:
                save(picture, path)
                written.append(path)
    return written


def factor_plot(table: StudyTable, column: str) -> Figure | None:
    """A metric with its intervals over the values of the swept key; None if no value has a score.

    Numbers stand at their place on the axis, words side by side in the order of the study.
    """
    rows = [row for row in table.rows if row.factor is not None and _drawable(row, column)]
    if table.factor is None or not rows:
        return None
    numbers = [_as_number(row.factor) for row in rows]
    words = list(dict.fromkeys(str(row.factor) for row in rows))
    numeric = all(map(math.isfinite, numbers))
    places = numbers if numeric else [float(words.index(str(row.factor))) for row in rows]
    order = sorted(range(len(rows)), key=lambda index: places[index])
    rows, places = [rows[index] for index in order], [places[index] for index in order]
    picture = figure(max(6.4, 0.0 if numeric else 1.5 + 0.45 * len(words)), 4.2)
    axes = picture.subplots()
    if numeric:
        _numeric_axis(axes, places)
        if len(set(places)) == len(places):
            axes.plot(places, [_shown(row, column).mean * scale(column) for row in rows], color=BLUE, linewidth=1, alpha=0.5)
    else:
        _word_axis(axes, words)
    for place, row in zip(places, rows, strict=True):
        color, marker = (ORANGE, "s") if row.baseline else (BLUE, "o")
        _point(axes, place, _shown(row, column), scale(column), color, marker)
    printed = [(place, row.published[column].value) for place, row in zip(places, rows, strict=True) if column in row.published]
    if printed:
        at, values = zip(*printed, strict=True)
        axes.scatter(at, values, 260, "black", marker="_", zorder=6, label="published")
    baseline = next((row for row in rows if row.baseline), None)
    if baseline is not None:
        level = scale(column) * _shown(baseline, column).mean
        name = plain(f"baseline {shorten(one_line(baseline.label), LABEL_LENGTH)}")
        axes.axhline(level, color=ORANGE, linestyle="--", linewidth=1, label=name)
    if printed or baseline is not None:
        picture.legend(loc="outside upper center", ncols=2, fontsize=8.5, frameon=False)
    axes.set_xlabel(plain(table.factor))
    axes.set_ylabel(title(column))
    axes.grid(alpha=0.25)
    return picture


def forest_plot(table: StudyTable, column: str) -> Figure | None:
    """Each row's difference to the baseline with its interval and verdict; None if there is no difference to show.

    A hollow point is of one seed, which has no interval.
    """
    rows = [row for row in table.rows if _drawable(row, column) and _shown(row, column).difference is not None]
    if not rows:
        return None
    baseline = next((one_line(row.label) for row in table.rows if row.baseline), "the baseline")
    picture = figure(11, 1.3 + 0.3 * len(rows))
    axes = picture.subplots()
    axes.axvline(0, color=GRAY, linewidth=1)
    for place, row in enumerate(rows):
        difference = _shown(row, column).difference
        assert difference is not None
        value, low, high = (scale(column) * part for part in (difference.value, difference.low, difference.high))
        color = next((COLORS[word] for word in COLORS if difference.verdict.startswith(word)), GRAY)
        known = math.isfinite(low) and math.isfinite(high)
        if known:
            axes.hlines([place], [low], [high], color=color, linewidth=1.4)
        axes.plot([value], [place], "o", color=color, mfc=color if known else "white")
        words = plain(one_line(difference.verdict))
        axes.text(1.015, place, words, transform=axes.get_yaxis_transform(), va="center", fontsize=9, color=color)
    axes.set_yticks(range(len(rows)), [plain(shorten(one_line(row.label), LABEL_LENGTH)) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    unit = "percentage points" if scale(column) == 100 else spoken(column)
    axes.set_xlabel(plain(f"{spoken(column)}: difference to {shorten(baseline, LABEL_LENGTH)}, {unit}"))
    axes.grid(axis="x", alpha=0.25)
    return picture


def _shown(row: TableRow, column: str) -> Score:
    return row.scores[column]


def _drawable(row: TableRow, column: str) -> bool:
    return column in row.scores and math.isfinite(row.scores[column].mean)


def _point(axes: Axes, place: float, score: Score, times: float, color: str, marker: str) -> None:
    """A mean with its interval; hollow if it is of one seed."""
    if math.isfinite(score.low) and math.isfinite(score.high):
        axes.vlines([place], [times * score.low], [times * score.high], color=color, linewidth=1.4)
    axes.plot([place], [times * score.mean], marker, color=color, mfc=color if score.n > 1 else "white", zorder=4)


def _as_number(value: float | str | None) -> float:
    try:
        return float(value) if value is not None else math.nan
    except ValueError:
        return math.nan


def _word_axis(axes: Axes, words: Sequence[str]) -> None:
    names = [plain(shorten(one_line(word), TICK_LENGTH)) for word in words]
    upright = max(map(len, names)) * len(names) <= 60
    axes.set_xticks(range(len(names)), names, rotation=0 if upright else 35, ha="center" if upright else "right")
    axes.set_xlim(-0.5, len(names) - 0.5)


def _numeric_axis(axes: Axes, places: Sequence[float]) -> None:
    """Ticks at the swept values themselves, as many as have room."""
    logarithmic = places[0] > 0 and places[-1] / places[0] > LOG_SPAN
    if logarithmic:
        axes.set_xscale("log")
    position = math.log if logarithmic else float
    span = position(places[-1]) - position(places[0])
    ticks: list[float] = []
    for place in places:
        if not ticks or position(place) - position(ticks[-1]) >= TICK_GAP * span:
            ticks.append(place)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
