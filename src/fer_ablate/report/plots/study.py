"""Figures of a study: a metric over the swept factor, differences to the baseline, and learning curves."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from fer_ablate.judgement.doubtful_units import doubtful_unit
from fer_ablate.judgement.judged_table import JudgedTable, Score, TableRow, Verdict
from fer_ablate.report.plots.canvas import BLUE, GRAY, GREEN, ORANGE, SERIES, TITLE_AT, new_figure, plain, save_figure
from fer_ablate.report.plots.cost import cost_figure
from fer_ablate.report.plots.effects import effects_figure
from fer_ablate.report.quantities import metric_name, metric_title, one_line, scale, shorten
from fer_ablate.report.table.outcomes import finite_difference
from fer_ablate.tracking.disk.history import EpochRow

DASHES = ("-", "--", ":", "-.")
"""Line styles; rows beyond the last colour start again with the next style."""

LEGEND_LENGTH = 42
LEGEND_ROWS = 18
"""Letters of an entry of the legend, and entries in one of its columns."""


def study_curves_figure(histories: Mapping[str, Sequence[Sequence[EpochRow]]], metric: str = "val/acc") -> Figure | None:
    """A metric over the epochs, with a colour for each row; None if no run has it.

    The mean of a row ends with its shortest run, since a mean over fewer seeds would jump.

    Args:
        histories: label -> the epochs of each of its runs.
        metric: such as `val/acc`.
    """
    measured = {
        label: [run for run in map(lambda rows: _measured(rows, metric), runs) if run] for label, runs in histories.items()
    }
    drawn = {label: runs for label, runs in measured.items() if runs}
    if not drawn:
        return None
    columns = math.ceil(len(drawn) / LEGEND_ROWS)
    figure = new_figure(7.6 + 3.2 * columns, max(4.2, 0.6 + 0.22 * min(len(drawn), LEGEND_ROWS)))
    axes = figure.subplots()
    for place, (label, runs) in enumerate(drawn.items()):
        color, dashes = SERIES[place % len(SERIES)], DASHES[place // len(SERIES) % len(DASHES)]
        if len(runs) > 1:
            for run in runs:
                axes.plot(list(run), list(run.values()), color=color, linewidth=0.6, alpha=0.35)
        common = sorted(set.intersection(*(set(run) for run in runs)))
        means = [float(np.mean([run[epoch] for run in runs])) for epoch in common]
        # A line through a single epoch is invisible without a marker.
        marker = "o" if len(common) == 1 else ""
        name = plain(shorten(one_line(label), LEGEND_LENGTH))
        axes.plot(common, means, color=color, linestyle=dashes, linewidth=1.8, marker=marker, label=name)
    if any(len(runs) > 1 for runs in drawn.values()):
        axes.set_title("thin: each run; thick: their mean, up to the first that ends", fontsize=9, y=TITLE_AT)
    axes.set_xlabel("epoch")
    axes.set_ylabel(metric_title(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right center", fontsize=8.5, frameon=False, ncols=columns)
    return figure


def _measured(rows: Sequence[EpochRow], metric: str) -> dict[int, float]:
    """Epoch -> value where there is one."""
    return {int(row["epoch"]): scale(metric) * row[metric] for row in rows if math.isfinite(row.get(metric, math.nan))}


LABEL_LENGTH = 48
"""Letters of a row's label beside a plot; longer ones lose their middle."""

TICK_LENGTH = 24
"""Letters of a swept value below a plot."""

LOG_SPAN = 100.0
"""Ratio of the largest to the smallest swept value above which the axis is logarithmic."""

TICK_GAP = 0.06
"""Smallest distance of two ticks, as a part of the axis."""

COLORS = {Verdict.better: GREEN, Verdict.worse: ORANGE, Verdict.same: BLUE, Verdict.not_worse: BLUE}
"""By verdict; all others are gray."""


def save_study_figures(folder: Path, table: JudgedTable, histories: Mapping[str, Sequence[Sequence[EpochRow]]]) -> list[Path]:
    """Draw the figures that the table allows, each as PNG and as SVG.

    Args:
        folder: for the files, which are replaced one by one; files of figures that no longer apply are removed.
        table: judged.
        histories: label -> the epochs of each of its runs.

    Returns:
        The files written; none for a table without a finished run.
    """
    figures: dict[str, Figure | None] = {}
    for column in table.columns:
        name = column.replace("/", "-")
        figures[f"factor-{name}"] = factor_figure(table, column)
        figures[f"differences-{name}"] = differences_figure(table, column)
        figures[f"cost-{name}"] = cost_figure(table, column)
        figures[f"effects-{name}"] = effects_figure(table, column)
    figures["curves"] = study_curves_figure(histories)
    written = []
    # A figure that no longer applies, such as that of a dropped factor, must not stay beside the new table.
    for name, figure in figures.items():
        for path in (folder / f"{name}.png", folder / f"{name}.svg"):
            if figure is None:
                path.unlink(missing_ok=True)
            else:
                save_figure(figure, path)
                written.append(path)
    return written


def factor_figure(table: JudgedTable, column: str) -> Figure | None:
    """A metric with its intervals over the values of the swept key; None if no value has a score.

    Numbers are placed by value, words side by side in the order of the study.
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
    figure = new_figure(max(6.4, 0.0 if numeric else 1.5 + 0.45 * len(words)), 4.2)
    axes = figure.subplots()
    if numeric:
        _numeric_axis(axes, places)
        # Through several rows with one value, such as those of a grid, a line would only jump up and down.
        if len(set(places)) == len(places):
            axes.plot(places, [_shown(row, column).mean * scale(column) for row in rows], color=BLUE, linewidth=1, alpha=0.5)
    else:
        _word_axis(axes, words)
    for place, row in zip(places, rows, strict=True):
        color, marker = (ORANGE, "s") if row.baseline else (BLUE, "o")
        _point(axes, place, _shown(row, column), scale(column), color, marker)
    printed = [
        (place, found.value)
        for place, row in zip(places, rows, strict=True)
        if (found := row.published.get(column)) is not None and not doubtful_unit(column.partition("/")[2], found.value)
    ]
    if printed:
        at, values = zip(*printed, strict=True)
        axes.scatter(at, values, 260, "black", marker="_", zorder=6, label="published")
    baseline = next((row for row in rows if row.baseline), None)
    if baseline is not None:
        level = scale(column) * _shown(baseline, column).mean
        name = plain(f"baseline {shorten(one_line(baseline.label), LABEL_LENGTH)}")
        axes.axhline(level, color=ORANGE, linestyle="--", linewidth=1, label=name)
    if printed or baseline is not None:
        figure.legend(loc="outside upper center", ncols=2, fontsize=8.5, frameon=False)
    axes.set_xlabel(plain(table.factor))
    axes.set_ylabel(metric_title(column))
    axes.grid(alpha=0.25)
    return figure


def differences_figure(table: JudgedTable, column: str) -> Figure | None:
    """Each row's difference to the baseline with its interval and verdict; None if there is no difference to show.

    A hollow point belongs to one seed, which has no interval.
    """
    found = [(row, difference) for row in table.rows if (difference := finite_difference(row, column)) is not None]
    if not found:
        return None
    baseline = next((one_line(row.label) for row in table.rows if row.baseline), "the baseline")
    figure = new_figure(11, 1.3 + 0.3 * len(found))
    axes = figure.subplots()
    axes.axvline(0, color=GRAY, linewidth=1)
    for place, (_, difference) in enumerate(found):
        value, low, high = (scale(column) * part for part in (difference.value, difference.low, difference.high))
        color = COLORS.get(difference.kind, GRAY)
        known = math.isfinite(low) and math.isfinite(high)
        if known:
            axes.hlines([place], [low], [high], color=color, linewidth=1.4)
        axes.plot([value], [place], "o", color=color, mfc=color if known else "white")
        words = plain(one_line(difference.verdict))
        axes.text(1.015, place, words, transform=axes.get_yaxis_transform(), va="center", fontsize=9, color=color)
    axes.set_yticks(range(len(found)), [plain(shorten(one_line(row.label), LABEL_LENGTH)) for row, _ in found])
    # Downwards, so that the rows have the order of the table.
    axes.set_ylim(len(found) - 0.4, -0.6)
    unit = "percentage points" if scale(column) == 100 else metric_name(column)
    axes.set_xlabel(plain(f"{metric_name(column)}: difference to {shorten(baseline, LABEL_LENGTH)}, {unit}"))
    axes.grid(axis="x", alpha=0.25)
    return figure


def _shown(row: TableRow, column: str) -> Score:
    return row.scores[column]


def _drawable(row: TableRow, column: str) -> bool:
    return column in row.scores and math.isfinite(row.scores[column].mean)


def _point(axes: Axes, place: float, score: Score, times: float, color: str, marker: str) -> None:
    """A mean with its interval; hollow for one seed."""
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
    # About as many letters fit side by side below the narrowest figure.
    upright = max(map(len, names)) * len(names) <= 60
    axes.set_xticks(range(len(names)), names, rotation=0 if upright else 35, ha="center" if upright else "right")
    axes.set_xlim(-0.5, len(names) - 0.5)


def _numeric_axis(axes: Axes, places: Sequence[float]) -> None:
    """Ticks at the swept values themselves, leaving out those without room."""
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
    # A logarithmic axis would add ticks between the swept values, where nothing was measured.
    axes.xaxis.set_minor_locator(NullLocator())
