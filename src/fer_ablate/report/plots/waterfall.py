"""The waterfall of an ablation path: from the score of the baseline, step by step, to that of the row at its end."""

import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_ablate.judgement.judged_table import Difference, Score, Verdict
from fer_ablate.judgement.path import AblationPath
from fer_ablate.report.plots.canvas import BLUE, GRAY, GREEN, ORANGE, new_figure, plain, save_figure
from fer_ablate.report.quantities import metric_name, metric_title, number, one_line, scale, shorten
from fer_ablate.report.table.path import judged_columns

COLORS = {Verdict.better: GREEN, Verdict.worse: ORANGE, Verdict.same: BLUE, Verdict.not_worse: BLUE}
"""By the verdict on the gain; all others are gray."""

LABEL_LENGTH = 44
"""Letters of a change beside its bar; longer ones lose their middle."""


def save_waterfalls(folder: Path, path: AblationPath) -> list[Path]:
    """Draw the path in every judged column, as PNG and as SVG; returns the files."""
    files = []
    for column in judged_columns(path):
        if (figure := waterfall_figure(path, column)) is not None:
            for suffix in ("png", "svg"):
                files.append(folder / f"waterfall-{column.replace('/', '-')}.{suffix}")
                save_figure(figure, files[-1])
    return files


def waterfall_figure(path: AblationPath, column: str) -> Figure | None:
    """A bar for each step from the score before it to the score after it; None if no step has a score.

    The line at the end of a bar is the 95 % interval of the gain, those of the first and last point are of the scores.
    """
    steps = [step for step in path.steps if column in step.scores]
    if column not in path.start or not steps:
        return None
    times, scores = scale(column), [path.start[column], *(step.scores[column] for step in steps)]
    figure = new_figure(11, 1.5 + 0.34 * (len(steps) + 2))
    axes = figure.subplots()
    _point(axes, 0, scores[0], times)
    for place, (step, before, after) in enumerate(zip(steps, scores[:-1], scores[1:], strict=True), start=1):
        gain = step.gains.get(column)
        _bar(axes, place, times * before.mean, times * after.mean, gain, times)
        axes.plot([times * before.mean] * 2, [place - 1, place + 0.36], color=GRAY, linewidth=0.8, zorder=1)
        words = f"{number(times * (after.mean - before.mean), 1 if times == 100 else 3, signed=True)}"
        _words(axes, place, f"{words}: {gain.verdict}" if gain is not None else words, _color(gain))
    last = len(steps) + 1
    axes.plot([times * scores[-1].mean] * 2, [last - 1, last], color=GRAY, linewidth=0.8, zorder=1)
    _point(axes, last, scores[-1], times)
    total = scores[-1].difference
    if total is not None:
        _words(
            axes,
            last,
            f"{number(times * total.value, 1 if times == 100 else 3, signed=True)} in all: {total.verdict}",
            _color(total),
        )
    # While runs are missing, the path ends before its target.
    end = path.target if len(steps) == len(path.steps) else "so far"
    names = [f"{path.baseline} (baseline)", *(f"+ {step.decided.change}" for step in steps), end]
    axes.set_yticks(range(last + 1), [plain(shorten(one_line(name), LABEL_LENGTH)) for name in names])
    axes.set_ylim(last + 0.6, -0.6)
    axes.set_xlabel(f"{metric_title(column)}; lines: 95 % intervals, of a step those of its gain")
    axes.set_title(
        plain(f"{one_line(path.baseline)} to {one_line(path.target)}, steps chosen by {metric_name(path.decides)}"), fontsize=10
    )
    axes.grid(axis="x", alpha=0.25)
    return figure


def _bar(axes: Axes, place: int, start: float, end: float, gain: Difference | None, times: float) -> None:
    color = _color(gain)
    axes.barh([place], [end - start], left=start, height=0.72, color=color, alpha=0.45, zorder=2)
    if gain is not None and math.isfinite(gain.low):
        axes.hlines([place], [start + times * gain.low], [start + times * gain.high], color=color, linewidth=1.6, zorder=3)
    axes.plot([end], [place], "|", color=color, markersize=12, zorder=3)


def _point(axes: Axes, place: int, score: Score, times: float) -> None:
    known = math.isfinite(score.low) and math.isfinite(score.high)
    if known:
        axes.hlines([place], [times * score.low], [times * score.high], color=BLUE, linewidth=1.6)
    axes.plot([times * score.mean], [place], "o", color=BLUE, mfc=BLUE if score.n > 1 else "white", zorder=4)


def _words(axes: Axes, place: int, text: str, color: str) -> None:
    axes.text(1.015, place, plain(one_line(text)), transform=axes.get_yaxis_transform(), va="center", fontsize=9, color=color)


def _color(gain: Difference | None) -> str:
    return COLORS.get(gain.kind, GRAY) if gain is not None else GRAY
