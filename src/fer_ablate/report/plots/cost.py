"""Scores of a table against parameters and training time, every point with its name."""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FormatStrFormatter, NullFormatter
from numpy.typing import NDArray

from fer_ablate.judgement.judged_table import JudgedTable, TableRow
from fer_ablate.report.plots.canvas import BLUE, GRAY, ORANGE, boxes_for_foreign_letters, new_figure, plain
from fer_ablate.report.quantities import metric_title, one_line, scale, shorten

NAMED = 8
"""More rows than this are numbered in the plot, with a key beside it."""

NAME_LENGTH = 24
KEY_LENGTH = 48
KEY_ROWS = 20

PARAMETERS = "parameters"
TIMES = (("h", 3600.0), ("min", 60.0), ("s", 1.0))
"""Units of time; the axis has the longest unit of which the longest training took two or more."""

LOG_SPAN = 10.0
"""Ratio of the largest to the smallest cost above which the axis is logarithmic."""

DISTANCES = (9, 17, 27, 39, 53)
"""How far from its point a name may stand, in points (1/72 inch); from the second on, a line leads to it."""

DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (0.7, -0.7), (-0.7, 0.7), (-0.7, -0.7))
"""Places of a name around its point, best first: right, left, above, below, and between."""

LEADER = {"arrowstyle": "-", "color": GRAY, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3}

Box: TypeAlias = tuple[float, float, float, float]
"""Left, bottom, right, top, in pixels."""

CROSSED = 60.0
"""Covered pixels that a line through another name or point counts as."""


def cost_figure(table: JudgedTable, column: str) -> Figure | None:
    """A metric with its intervals against parameters and against seconds; None if no row has both.

    If all networks have the same size, only the seconds are shown.
    Hollow points belong to one seed; the baseline is orange.
    """
    rows = [row for row in table.rows if column in row.scores and math.isfinite(row.scores[column].mean)]
    rows = [row for row in rows if row.parameters is not None and row.seconds is not None]
    if not rows:
        return None
    labels = [one_line(row.label) for row in rows]
    numbered = len(rows) > NAMED
    names = [str(place) for place in range(1, len(rows) + 1)] if numbered else [shorten(label, NAME_LENGTH) for label in labels]
    keys = math.ceil(len(rows) / KEY_ROWS) if numbered else 0
    costs = _costs(rows)
    figure = new_figure((11 if len(costs) > 1 else 7) + 3.3 * keys, 4.6)
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    for axes, (name, values) in zip(panels, costs.items(), strict=True):
        _points(axes, rows, column, values)
        _cost_axis(axes, name, values)
    panels[0].set_ylabel(metric_title(column))
    if numbered:
        key = [plain(f"{name}  {shorten(label, KEY_LENGTH)}") for name, label in zip(names, labels, strict=True)]
        handles = [Line2D([], [], linestyle="none") for _ in key]
        figure.legend(handles, key, loc="outside right center", fontsize=8.5, frameon=False, handlelength=0, ncols=keys)
    # The room for a name is known only when the axes have their final place.
    with boxes_for_foreign_letters():
        figure.draw_without_rendering()
        for axes, values in zip(panels, costs.values(), strict=True):
            _name_points(axes, rows, column, values, names)
    return figure


def _costs(rows: Sequence[TableRow]) -> dict[str, list[float]]:
    """Title of the axis -> value of each row; parameters only if they differ, since points above each other show nothing."""
    seconds = [float(row.seconds or 0) for row in rows]
    unit, size = next((unit for unit in TIMES if max(seconds) >= 2 * unit[1]), TIMES[-1])
    time = {f"training time, {unit}": [value / size for value in seconds]}
    parameters = [float(row.parameters or 0) for row in rows]
    return time if len(rows) > 1 and len(set(parameters)) == 1 else {PARAMETERS: parameters, **time}


def _points(axes: Axes, rows: Sequence[TableRow], column: str, costs: Sequence[float]) -> None:
    times = scale(column)
    for row, cost in zip(rows, costs, strict=True):
        score = row.scores[column]
        color = ORANGE if row.baseline else BLUE
        low, high = (value if math.isfinite(value) else score.mean for value in (score.low, score.high))
        axes.vlines([cost], [times * low], [times * high], color=color, linewidth=1.2, alpha=0.6)
        axes.plot(
            [cost],
            [times * score.mean],
            "s" if row.baseline else "o",
            color=color,
            mfc=color if score.n > 1 else "white",
            zorder=4,
        )
    axes.grid(alpha=0.25)


def _cost_axis(axes: Axes, name: str, costs: Sequence[float]) -> None:
    axes.set_xlabel(name)
    if min(costs) > 0 and max(costs) / min(costs) > LOG_SPAN:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" ") if name == PARAMETERS else FormatStrFormatter("%g"))
    axes.margins(x=0.16, y=0.1)


def _name_points(axes: Axes, rows: Sequence[TableRow], column: str, costs: Sequence[float], names: Sequence[str]) -> None:
    """Put every name beside its point, clear of points, intervals and other names as far as there is room."""
    scores, times = [row.scores[column] for row in rows], scale(column)
    taken = []
    for score, cost in zip(scores, costs, strict=True):
        heights = [value if math.isfinite(value) else score.mean for value in (score.mean, score.low, score.high)]
        (x, y), (_, bottom), (_, top) = axes.transData.transform([(cost, times * height) for height in heights])
        taken += [(x - 6, y - 6, x + 6, y + 6), (x - 2, bottom, x + 2, top)]
    # From the top, so that names of points above each other keep their order.
    for place in sorted(range(len(rows)), key=lambda index: -scores[index].mean):
        point = (costs[place], times * scores[place].mean)
        taken.append(_name_point(axes, point, plain(names[place]), np.array(taken)))


def _name_point(axes: Axes, point: tuple[float, float], name: str, taken: NDArray[np.float64]) -> Box:
    """Write a name where it covers least of what is drawn already; returns its place in pixels.

    Args:
        axes: in their final place.
        point: to be named, in the units of the axes.
        name: text to write.
        taken: (n, 4) left, bottom, right and top of everything drawn already, in pixels.
    """
    text = axes.annotate(name, point, (0, 0), textcoords="offset points", fontsize=8.5)
    text.set_in_layout(False)
    size = text.get_window_extent()
    start = axes.transData.transform(point)
    frame = np.array([axes.get_window_extent().extents])
    pixels = axes.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    best, least = (0, 0.0, 0.0), math.inf
    place: Box = (0.0, 0.0, 0.0, 0.0)
    for distance in DISTANCES:
        for across, up in DIRECTIONS:
            left = start[0] + across * distance * pixels - size.width * (1 - np.sign(across)) / 2
            bottom = start[1] + up * distance * pixels - size.height * (1 - math.trunc(up)) / 2
            box = (left, bottom, left + size.width, bottom + size.height)
            outside = size.width * size.height - _shared(box, frame)
            # A name outside of the axes covers their numbers or is cut off, which is worse than one that covers points.
            covered = _shared(box, taken) + 4 * outside
            covered += CROSSED * _crossed(start, box, taken) if distance > DISTANCES[0] else 0
            # Places that are equally good differ by rounding; the first of them is the preferred one.
            if covered < least - 1e-6:
                best, least, place = (distance, across, up), covered, box
    distance, across, up = best
    text.remove()
    named = axes.annotate(
        name,
        point,
        (across * distance, up * distance),
        textcoords="offset points",
        ha="center" if across == 0 else "left" if across > 0 else "right",
        va="center" if abs(up) < 1 else "bottom" if up > 0 else "top",
        fontsize=8.5,
        arrowprops=LEADER if distance > DISTANCES[0] else None,
    )
    # Otherwise the layout would make room for the name and move the axes that its place was measured in.
    named.set_in_layout(False)
    return place


def _shared(box: Box, others: NDArray[np.float64]) -> float:
    """Pixels that a box shares with others."""
    width = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    height = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    return float((width.clip(0) * height.clip(0)).sum())


def _crossed(start: NDArray[np.float64], box: Box, others: NDArray[np.float64]) -> int:
    """Number of other boxes on the outer half of the line from a point to its name."""
    end = np.clip(start, box[:2], box[2:])
    # The inner half begins in the box of the point's own mark.
    steps = (start + part * (end - start) for part in (0.5, 0.7, 0.9))
    inside = [((others[:, :2] <= step) & (step <= others[:, 2:])).all(axis=1) for step in steps]
    return int(np.any(inside, axis=0).sum())
