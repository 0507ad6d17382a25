"""The waterfall of an ablation path: from the score of the baseline, step by step, to that of the row at its end."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_ablate.judgement.judged_table import Difference, Score, Verdict
from fer_ablate.judgement.path import AblationPath, PathStep
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

    The line at the end of a bar is the interval of the gain that its verdict is about, those of the first and last point are the
    95 % intervals of the scores.
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
        ends = [times * (before.mean + end) for end in step.interval(column)]
        _bar(axes, place, (times * before.mean, times * after.mean), ends, _color(gain))
        axes.plot([times * before.mean] * 2, [place - 1, place + 0.36], color=GRAY, linewidth=0.8, zorder=1)
        _words(axes, place, _amount(after.mean - before.mean, times), gain)
    last = len(steps) + 1
    axes.plot([times * scores[-1].mean] * 2, [last - 1, last], color=GRAY, linewidth=0.8, zorder=1)
    _point(axes, last, scores[-1], times)
    if (total := scores[-1].difference) is not None:
        _words(axes, last, f"{_amount(total.value, times)} in all", total)
    _name_axes(axes, path, steps, column)
    return figure


def _name_axes(axes: Axes, path: AblationPath, steps: Sequence[PathStep], column: str) -> None:
    # While runs are missing, the path ends before its target.
    end = path.target if len(steps) == len(path.steps) else "so far"
    names = [f"{path.baseline} (baseline)", *(f"+ {step.decided.change}" for step in steps), end]
    axes.set_yticks(range(len(names)), [plain(shorten(one_line(name), LABEL_LENGTH)) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(f"{metric_title(column)}; lines: 95 % intervals, of a gain as in its verdict")
    title = f"{one_line(path.baseline)} to {one_line(path.target)}, steps chosen by {metric_name(path.decides)}"
    axes.set_title(plain(title), fontsize=10)
    axes.grid(axis="x", alpha=0.25)


def _amount(difference: float, times: float) -> str:
    return number(times * difference, 1 if times == 100 else 3, signed=True)


def _bar(axes: Axes, place: int, scores: tuple[float, float], ends: Sequence[float], color: str) -> None:
    """A bar from the score before a step to the score after it, and the interval of the gain."""
    start, end = scores
    axes.barh([place], [end - start], left=start, height=0.72, color=color, alpha=0.45, zorder=2)
    if all(map(math.isfinite, ends)):
        axes.hlines([place], ends[0], ends[1], color=color, linewidth=1.6, zorder=3)
    axes.plot([end], [place], "|", color=color, markersize=12, zorder=3)


def _point(axes: Axes, place: int, score: Score, times: float) -> None:
    known = math.isfinite(score.low) and math.isfinite(score.high)
    if known:
        axes.hlines([place], [times * score.low], [times * score.high], color=BLUE, linewidth=1.6)
    axes.plot([times * score.mean], [place], "o", color=BLUE, mfc=BLUE if score.n > 1 else "white", zorder=4)


def _words(axes: Axes, place: int, amount: str, gain: Difference | None) -> None:
    text = amount if gain is None else f"{amount}: {gain.verdict}"
    where = axes.get_yaxis_transform()
    axes.text(1.015, place, plain(one_line(text)), transform=where, va="center", fontsize=9, color=_color(gain))


def _color(gain: Difference | None) -> str:
    return COLORS.get(gain.kind, GRAY) if gain is not None else GRAY
