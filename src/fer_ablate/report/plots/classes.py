"""Confusion matrices of the rows of a study side by side, and the files of its scores by class."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fer_ablate.judgement.class_scores import split_results
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.metrics import SplitResult
from fer_ablate.report.plots.canvas import TITLE_AT, new_figure, plain, save_figure
from fer_ablate.report.quantities import one_line, shorten
from fer_ablate.report.table.classes import per_class_csv, per_class_markdown
from fer_ablate.tracking.disk.files import write_text

PANELS = 3
"""Most confusion matrices side by side."""

TITLE_LENGTH, NAME_LENGTH = 34, 18
"""Letters of a row's label above its matrix, and of a class beside it."""

NAMED = 16
"""Most classes whose names and numbers fit into a matrix; with more classes only colours are shown."""

Counts = NDArray[np.int64]


def save_class_tables(folder: Path, rows: Sequence[RowRuns], columns: Sequence[str], figures: bool = True) -> list[Path]:
    """Write `confusion-<split>` (PNG, SVG) and `per-class-<split>` (csv, Markdown) for every split of a study's columns.

    Args:
        folder: for the files, which are replaced.
        rows: all that the study has; those without a finished run are left out.
        columns: such as `test/acc`.
        figures: whether the confusion matrices are drawn.

    Returns:
        The files written.
    """
    written = []
    for split in dict.fromkeys(column.partition("/")[0] for column in columns):
        results = split_results(rows, split)
        if not results:
            continue
        if figures:
            figure = study_confusion_figure(results)
            for path in (folder / f"confusion-{split}.png", folder / f"confusion-{split}.svg"):
                save_figure(figure, path)
                written.append(path)
        for path, text in (
            (folder / f"per-class-{split}.csv", per_class_csv(results)),
            (folder / f"per-class-{split}.md", per_class_markdown(results)),
        ):
            write_text(path, text)
            written.append(path)
    return written


def study_confusion_figure(results: Mapping[str, Sequence[SplitResult]]) -> Figure:
    """The confusion matrix of every row in percent of the true class, summed over its seeds.

    Args:
        results: label -> one result per seed, all of the same classes; at least one.
    """
    across = min(PANELS, len(results))
    down = math.ceil(len(results) / across)
    figure = new_figure(1.1 + 3.4 * across, 0.9 + 3.1 * down)
    panels = np.atleast_1d(figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)).ravel()
    for axes in panels[len(results) :]:
        axes.set_axis_off()
    for place, (axes, (label, seeds)) in enumerate(zip(panels, results.items(), strict=False)):
        _panel(axes, label, sum((np.array(result.confusion) for result in seeds), np.zeros(1, np.int64)), len(seeds))
        classes = [plain(shorten(one_line(name), NAME_LENGTH)) for name in seeds[0].per_class]
        classes = classes if len(classes) <= NAMED else []
        axes.set_yticks(range(len(classes)), classes)
        axes.set_xticks(range(len(classes)), classes, rotation=50, ha="right")
        # The names of the predictions appear under the lowest panel of each column.
        axes.tick_params(labelsize=8.5, labelbottom=place + across >= len(results))
    count = len(next(iter(results.values()))[0].per_class)
    order = f" ({count} classes in the order of the csv)" if count > NAMED else ""
    figure.supxlabel(f"prediction{order}", fontsize=10)
    figure.supylabel("truth; % of the true class", fontsize=10)
    return figure


def _panel(axes: Axes, label: str, counts: Counts, seeds: int) -> None:
    totals = counts.sum(axis=1, keepdims=True)
    shares = 100 * np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    # One scale for all rows, so that equal colours are equal shares.
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(shares) if len(counts) <= NAMED else ():
        axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=8, color="white" if share > 55 else "black")
    accuracy = 100 * counts.trace() / max(counts.sum(), 1)
    over = f", {seeds} seeds" if seeds > 1 else ""
    axes.set_title(plain(f"{shorten(one_line(label), TITLE_LENGTH)}\n{accuracy:.1f} % right{over}"), fontsize=9.5, y=TITLE_AT)
