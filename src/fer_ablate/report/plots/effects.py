"""The interaction plot of a study: means with intervals over the levels of one factor, a line for each level of another."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_ablate.judgement.judged_table import Factor, JudgedTable, LevelMean
from fer_ablate.report.plots.canvas import SERIES, new_figure, plain
from fer_ablate.report.quantities import metric_title, one_line, scale, shorten

MOST_PAIRS = 6
"""Pairs of factors in one figure; four factors have as many."""

LEVEL_LENGTH = 22
"""Letters of a level below the axis and in the legend; longer ones lose their middle."""

APART = 0.16
"""Between the first and the last line at a level, where two levels are 1 apart."""

DASHES = ("-", "--", ":", "-.")


def effects_figure(table: JudgedTable, column: str) -> Figure | None:
    """Parallel lines mean no interaction; None if the study is not crossed, or has too few scores.

    The factor with more levels is below the axis. Intervals are of the means, over images and seeds; lines that cross within
    them show no certain interaction.
    """
    effects = table.effects
    if effects is None or column not in effects.columns or not effects.columns[column].means:
        return None
    means = effects.columns[column].means
    pairs = list(dict.fromkeys(one.factors for one in means))[:MOST_PAIRS]
    factors = {factor.name: factor for factor in effects.factors}
    across = min(len(pairs), 2)
    down = math.ceil(len(pairs) / across)
    figure = new_figure(7.2 * across, 4.4 * down)
    for axes, pair in zip(figure.subplots(down, across, squeeze=False).flat, pairs, strict=False):
        found = [one for one in means if one.factors == pair]
        present = [_present(factors[name], {one.levels[place] for one in found}) for place, name in enumerate(pair)]
        below = 0 if len(present[0]) > len(present[1]) else 1
        _pair(axes, found, pair, present, below, scale(column))
        axes.set_ylabel(metric_title(column))
    if len(pairs) % 2 and len(pairs) > 1:
        figure.axes[-1].remove()
    others = "; means over all levels of the other factors" * (len(effects.factors) > 2)
    figure.suptitle(f"parallel lines: no interaction; bars: 95 % intervals{others}", fontsize=9)
    return figure


def _present(factor: Factor, levels: set[str]) -> list[str]:
    # The levels of another column may be more or fewer, where scores are missing.
    return [*(level for level in factor.levels if level in levels), *sorted(levels - set(factor.levels))]


def _pair(
    axes: Axes, means: Sequence[LevelMean], pair: Sequence[str], levels: Sequence[Sequence[str]], below: int, times: float
) -> None:
    """One line for each level of the other factor, a little apart so that intervals do not cover each other."""
    at = {one.levels: one for one in means}
    ticks, lines = levels[below], levels[1 - below]
    for number, line in enumerate(lines):
        shift = APART * (number / max(1, len(lines) - 1) - 0.5)
        places = [place + shift for place in range(len(ticks))]
        found = [at[(tick, line) if below == 0 else (line, tick)] for tick in ticks]
        color, dashes = SERIES[number % len(SERIES)], DASHES[number // len(SERIES) % len(DASHES)]
        name = plain(shorten(one_line(line), LEVEL_LENGTH))
        axes.plot(places, [times * one.mean for one in found], "o", linestyle=dashes, color=color, label=name)
        known = [(place, one) for place, one in zip(places, found, strict=True) if math.isfinite(one.low)]
        for place, one in known:
            axes.vlines([place], [times * one.low], [times * one.high], color=color, linewidth=1.4)
    axes.set_xticks(range(len(ticks)), [plain(shorten(one_line(tick), LEVEL_LENGTH)) for tick in ticks])
    if sum(map(len, ticks)) > 60:
        axes.tick_params("x", rotation=30)
    axes.set_xlim(-0.5, len(ticks) - 0.5)
    axes.set_xlabel(plain(pair[below]))
    legend = axes.legend(title=plain(pair[1 - below]), loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5, frameon=False)
    legend.get_title().set_fontsize(8.5)
    axes.grid(alpha=0.25)
