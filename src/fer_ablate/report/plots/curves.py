"""Learning curves of a study: every run thin, the mean of each row thick."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fer_ablate.report.plots.canvas import SERIES, figure, plain
from fer_ablate.report.quantities import one_line, scale, shorten, title
from fer_ablate.tracking.disk.history import EpochRow

DASHES = ("-", "--", ":", "-.")
"""Rows beyond the last colour begin anew with the next of these."""

LEGEND_LENGTH = 42
LEGEND_ROWS = 18
"""Entries of the legend below each other, in letters each."""


def curves_plot(histories: Mapping[str, Sequence[Sequence[EpochRow]]], metric: str = "val/acc") -> Figure | None:
    """A metric over the epochs, in a colour for each row; None if no run has measured it.

    A row's mean ends with its first seed to end, since a mean over fewer seeds would jump.

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
    picture = figure(7.6 + 3.2 * columns, max(4.2, 0.6 + 0.22 * min(len(drawn), LEGEND_ROWS)))
    axes = picture.subplots()
    for place, (label, runs) in enumerate(drawn.items()):
        color, dashes = SERIES[place % len(SERIES)], DASHES[place // len(SERIES) % len(DASHES)]
        if len(runs) > 1:
            for run in runs:
                axes.plot(list(run), list(run.values()), color=color, linewidth=0.6, alpha=0.35)
        common = sorted(set.intersection(*(set(run) for run in runs)))
        means = [float(np.mean([run[epoch] for run in runs])) for epoch in common]
        # A single epoch is a point, which a line without markers would not show.
        marker = "o" if len(common) == 1 else ""
        name = plain(shorten(one_line(label), LEGEND_LENGTH))
        axes.plot(common, means, color=color, linestyle=dashes, linewidth=1.8, marker=marker, label=name)
    if any(len(runs) > 1 for runs in drawn.values()):
        axes.set_title("thin: each run; thick: their mean, up to the first that ends", fontsize=9)
    axes.set_xlabel("epoch")
    axes.set_ylabel(title(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.25)
    picture.legend(loc="outside right center", fontsize=8.5, frameon=False, ncols=columns)
    return picture


def _measured(rows: Sequence[EpochRow], metric: str) -> dict[int, float]:
    """Epoch -> value where there is one."""
    return {int(row["epoch"]): scale(metric) * row[metric] for row in rows if math.isfinite(row.get(metric, math.nan))}
