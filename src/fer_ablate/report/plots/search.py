"""Figures of a search: its values trial by trial, the importance of parameters, and the trade-off between objectives."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fer_ablate.report.plots.canvas import BLUE, GRAY, ORANGE, new_figure, plain, save_figure
from fer_ablate.report.quantities import metric_name, metric_title, scale, shorten
from fer_ablate.search.objectives import MAXIMIZE
from fer_ablate.search.trials import COUNTED, SearchSummary, TrialRecord

MAX_PANELS = 3
LABEL_LENGTH = 36
"""Letters of a parameter's name beside its bar."""

WIDE = 20.0
"""Ratio of the largest to the smallest value above which an axis is logarithmic."""


def save_search_figures(folder: Path, summary: SearchSummary) -> list[Path]:
    """Draw the figures that the trials so far allow; returns their files, none before the first trial is done."""
    figures: dict[str, Figure] = {}
    if summary.of("done"):
        figures["history.png"] = history_figure(summary)
        if len(summary.objectives) > 1:
            figures["pareto.png"] = pareto_figure(summary)
    if summary.importances:
        figures["importance.png"] = importance_figure(summary)
    for name, figure in figures.items():
        save_figure(figure, folder / name)
    return [folder / name for name in figures]


def history_figure(summary: SearchSummary) -> Figure:
    """The value of each trial, and the best so far; a panel for each objective."""
    count = len(summary.objectives)
    figure = new_figure(11, 1 + 3 * count)
    panels = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    for number, axes in enumerate(panels):
        _history(axes, summary, number)
    panels[-1].set_xlabel("trial")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    counts = ", ".join(f"{len(found)} {state}" for state in COUNTED if (found := summary.of(state)))
    panels[0].set_title(plain(f"{summary.name}: {counts}"), fontsize=11)
    return figure


def importance_figure(summary: SearchSummary) -> Figure:
    """How much of the objective's variance each parameter explains; a panel for each objective."""
    shares = dict(itertools.islice(summary.importances.items(), MAX_PANELS))
    rows = max(len(found) for found in shares.values())
    figure = new_figure(11, 1.2 + 0.45 * rows)
    panels = figure.subplots(1, len(shares), squeeze=False)[0]
    for axes, (objective, found) in zip(panels, shares.items(), strict=True):
        # Bars are drawn from the bottom, and the most important one belongs on top.
        names = list(found)[::-1]
        bars = axes.barh([plain(shorten(name, LABEL_LENGTH)) for name in names], [found[name] for name in names], color=BLUE)
        axes.bar_label(bars, [f"{100 * found[name]:.0f} %" for name in names], padding=3, fontsize=8.5)
        # Room for the number beside the longest bar.
        axes.set_xlim(0, 1.12 * max(found.values()))
        axes.set_xticks([])
        axes.set_title(f"explained variance of {metric_name(objective)}", fontsize=11)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def pareto_figure(summary: SearchSummary) -> Figure:
    """Done trials by two objectives at a time; the Pareto front is joined and numbered."""
    pairs = list(itertools.combinations(range(len(summary.objectives)), 2))[:MAX_PANELS]
    figure = new_figure(11 if len(pairs) > 1 else 7.5, 5)
    panels = figure.subplots(1, len(pairs), squeeze=False)[0]
    for axes, (first, second) in zip(panels, pairs, strict=True):
        # Costs are on the horizontal axis: they are the price of the other objective.
        across, up = (first, second) if summary.directions[second] == MAXIMIZE else (second, first)
        _pareto(axes, summary, across, up)
    title_text = f"{summary.name}: {len(summary.best)} of {len(summary.of('done'))} trials on the front"
    figure.suptitle(plain(title_text), fontsize=11)
    return figure


def _history(axes: Axes, summary: SearchSummary, number: int) -> None:
    objective, upward = summary.objectives[number], summary.directions[number] == MAXIMIZE
    factor, done = scale(objective), summary.of("done")
    points = [(trial.number, factor * trial.values[number]) for trial in done]
    axes.scatter(*_columns(points), color=BLUE, s=22, label="done", zorder=3)
    pruned = [(trial.number, factor * trial.last[1]) for trial in summary.of("pruned") if trial.last is not None]
    if pruned:
        axes.scatter(*_columns(pruned), color=GRAY, s=26, marker="x", label="pruned: last value", zorder=3)
    failed = [trial.number for trial in summary.of("failed")]
    if failed:
        # A failed trial has no value, so its mark is at the bottom, in the height of the axes.
        axes.plot(failed, [0.02] * len(failed), "v", color=ORANGE, transform=axes.get_xaxis_transform(), label="failed")
    best = list(itertools.accumulate((value for _, value in points), max if upward else min))
    # The best stays the best up to the last trial of any kind.
    numbers = [trial for trial, _ in points] + [max(trial.number for trial in summary.trials)]
    axes.step(numbers, [*best, best[-1]], where="post", color=ORANGE, linewidth=1.4, label="best so far")
    axes.set_ylabel(_named(objective))
    axes.set_yscale("log" if _wide([value for _, value in [*points, *pruned]]) else "linear")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8.5, frameon=False)


def _pareto(axes: Axes, summary: SearchSummary, across: int, up: int) -> None:
    factors = scale(summary.objectives[across]), scale(summary.objectives[up])

    def spot(trial: TrialRecord) -> tuple[float, float]:
        return factors[0] * trial.values[across], factors[1] * trial.values[up]

    front = sorted(summary.best, key=spot)
    others = [spot(trial) for trial in summary.of("done") if trial not in summary.best]
    if others:
        axes.scatter(*_columns(others), color=GRAY, s=18, label="beaten")
    # With more than two objectives the front is not a line in a plane of two of them.
    plane = len(summary.objectives) == 2
    label, line = ("not beaten", "-") if plane else ("not beaten in all objectives", "")
    axes.plot(*_columns([spot(trial) for trial in front]), marker="o", linestyle=line, color=ORANGE, markersize=5, label=label)
    for trial in front:
        axes.annotate(str(trial.number), spot(trial), xytext=(4, 4), textcoords="offset points", fontsize=8)
    for one, axis in ((across, "x"), (up, "y")):
        if _wide([trial.values[one] for trial in summary.of("done")]):
            axes.set(**{f"{axis}scale": "log"})
        axes.set(**{f"{axis}label": _named(summary.objectives[one])})
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8.5, frameon=False)


def _named(objective: str) -> str:
    return "MACs per image" if objective == "run/macs" else metric_title(objective).removeprefix("run ")


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [first for first, _ in points], [second for _, second in points]


def _wide(found: list[float]) -> bool:
    return min(found) > 0 and max(found) / min(found) > WIDE
