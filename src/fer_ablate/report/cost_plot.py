"""What a metric costs: scores against parameters and against seconds, every point with its name."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import EngFormatter, FormatStrFormatter, NullFormatter
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from fer_ablate.report.canvas import BLUE, GRAY, ORANGE, boxes_for_foreign_letters, figure, plain
from fer_ablate.report.quantities import one_line, scale, shorten, title
from fer_ablate.study.records import StudyTable, TableRow

NAMED = 8
"""More rows than this are numbered in the plot, with a key beside it."""

NAME_LENGTH = 24
KEY_LENGTH = 48
KEY_ROWS = 20

TIMES = (("h", 3600.0), ("min", 60.0), ("s", 1.0))
"""The longest of these of which the longest training took two or more."""

LOG_SPAN = 10.0
"""Costs that span more than this ratio stand on a logarithmic axis."""

DISTANCES = (9, 17, 27, 39, 53)
"""How far from its point a name may stand, in points (1/72 inch); from the second on, a line leads to it."""

DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (0.7, -0.7), (-0.7, 0.7), (-0.7, -0.7))
"""Where a name is tried, best first: on the right, on the left, above, below, and between."""

LEADER = {"arrowstyle": "-", "color": GRAY, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3}

CROSSED = 60.0
"""A line through another name or point counts as so many covered pixels."""


def cost_plot(table: StudyTable, column: str) -> Figure | None:
    """A metric with its intervals against parameters and against seconds; None if no row has both.

    Hollow points are of one seed; the baseline is orange.
    """
    rows = [row for row in table.rows if column in row.scores and math.isfinite(row.scores[column].mean)]
    rows = [row for row in rows if row.parameters is not None and row.seconds is not None]
    if not rows:
        return None
    labels = [one_line(row.label) for row in rows]
    numbered = len(rows) > NAMED
    names = [str(place) for place in range(1, len(rows) + 1)] if numbered else [shorten(label, NAME_LENGTH) for label in labels]
    keys = math.ceil(len(rows) / KEY_ROWS) if numbered else 0
    picture = figure(11 + 3.3 * keys, 4.6)
    panels = picture.subplots(1, 2, sharey=True)
    seconds = [float(row.seconds or 0) for row in rows]
    unit, size = next((unit for unit in TIMES if max(seconds) >= 2 * unit[1]), TIMES[-1])
    costs = ([float(row.parameters or 0) for row in rows], [value / size for value in seconds])
    for axes, name, values in zip(panels, ("parameters", f"training time, {unit}"), costs, strict=True):
        _points(axes, rows, column, values)
        _cost_axis(axes, name, values)
    panels[0].xaxis.set_major_formatter(EngFormatter(sep=" "))
    panels[0].set_ylabel(title(column))
    if numbered:
        key = [plain(f"{name}  {shorten(label, KEY_LENGTH)}") for name, label in zip(names, labels, strict=True)]
        handles = [Line2D([], [], linestyle="none") for _ in key]
        picture.legend(handles, key, loc="outside right center", fontsize=8.5, frameon=False, handlelength=0, ncols=keys)
    # Where a name has room is known only once the axes have their final place.
    with boxes_for_foreign_letters():
        picture.draw_without_rendering()
        for axes, values in zip(panels, costs, strict=True):
            _name_points(axes, rows, column, values, names)
    return picture


def _points(axes: Axes, rows: Sequence[TableRow], column: str, costs: Sequence[float]) -> None:
    times = scale(column)
    for row, cost in zip(rows, costs, strict=True):
        score = row.scores[column]
        color = ORANGE if row.baseline else BLUE
        low, high = (value if math.isfinite(value) else score.mean for value in (score.low, score.high))
        axes.vlines([cost], [times * low], [times * high], color=color, linewidth=1.2, alpha=0.6)
        axes.plot([cost], [times * score.mean], "s" if row.baseline else "o", color=color, mfc=color if score.n > 1 else "white")
    axes.grid(alpha=0.25)


def _cost_axis(axes: Axes, name: str, costs: Sequence[float]) -> None:
    axes.set_xlabel(name)
    if min(costs) > 0 and max(costs) / min(costs) > LOG_SPAN:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    else:
        axes.locator_params(axis="x", nbins=5)
    axes.margins(x=0.16, y=0.1)


def _name_points(axes: Axes, rows: Sequence[TableRow], column: str, costs: Sequence[float], names: Sequence[str]) -> None:
    """Put every name beside its point, clear of points, intervals and other names as far as there is room."""
    canvas = axes.get_figure(root=True).canvas  # type: ignore[union-attr]
    assert isinstance(canvas, FigureCanvasAgg)
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    times, frame = scale(column), axes.get_window_extent()
    pixels = axes.transData.transform
    taken = []
    for row, cost in zip(rows, costs, strict=True):
        score = row.scores[column]
        x, y = pixels((cost, times * score.mean))
        taken.append(Bbox.from_extents(x - 6, y - 6, x + 6, y + 6))
        if math.isfinite(score.low) and math.isfinite(score.high):
            bottom, top = (float(pixels((cost, times * value))[1]) for value in (score.low, score.high))
            taken.append(Bbox.from_extents(x - 2, bottom, x + 2, top))
    # From the top, so that names of points above each other keep their order.
    for place in sorted(range(len(rows)), key=lambda index: -rows[index].scores[column].mean):
        point = (costs[place], times * rows[place].scores[column].mean)
        taken.append(_name_point(axes, point, plain(names[place]), taken, (frame, renderer)))


def _name_point(
    axes: Axes, point: tuple[float, float], name: str, taken: Sequence[Bbox], room: tuple[Bbox, RendererBase]
) -> Bbox:
    """Write a name where it covers least of what is taken, and give the place it takes."""
    frame, renderer = room
    best, least, place = None, math.inf, frame
    for distance in DISTANCES:
        for across, up in DIRECTIONS:
            far = distance > DISTANCES[0]
            text = axes.annotate(
                name,
                point,
                (across * distance, up * distance),
                textcoords="offset points",
                ha="center" if across == 0 else "left" if across > 0 else "right",
                va="center" if abs(up) < 1 else "bottom" if up > 0 else "top",
                fontsize=8.5,
                arrowprops=LEADER if far else None,
            )
            text.set_in_layout(False)
            text.update_positions(renderer)
            # Of the letters alone; the extent of an annotation has its line in it.
            box = Text.get_window_extent(text, renderer)
            covered = sum(_shared(box, other) for other in taken) + 4 * (box.width * box.height - _shared(box, frame))
            covered += CROSSED * far * _crossings(axes.transData.transform(point), box, taken)
            if covered < least:
                if best is not None:
                    best.remove()
                best, least, place = text, covered, box
            else:
                text.remove()
            if least == 0:
                return place
    return place


def _crossings(start: NDArray[np.float64], box: Bbox, taken: Sequence[Bbox]) -> int:
    """How many boxes lie on the outer half of the line from a point to its name."""
    end = np.array([min(max(start[0], box.x0), box.x1), min(max(start[1], box.y0), box.y1)])
    return sum(any(other.contains(*(start + part * (end - start))) for part in (0.5, 0.7, 0.9)) for other in taken)


def _shared(one: Bbox, other: Bbox) -> float:
    both = Bbox.intersection(one, other)
    return 0.0 if both is None else float(both.width * both.height)
