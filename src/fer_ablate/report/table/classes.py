"""Scores of each row of a study by class: confusion matrices side by side, and precision, recall and F1 of every class."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fer_ablate.judgement.row_runs import RowRuns, ScoredRun
from fer_ablate.metrics import SplitResult, from_confusion
from fer_ablate.report.plots.canvas import new_figure, plain, save_figure
from fer_ablate.report.quantities import one_line, shorten
from fer_ablate.tracking.disk.files import write_text

PANELS = 3
"""Most confusion matrices side by side."""

TITLE_LENGTH, NAME_LENGTH = 34, 18
"""Letters of a row's label above its matrix, and of a class beside it."""

NAMED = 16
"""Most classes whose names and numbers fit into a matrix; with more classes only colours are shown."""

SCORES = ("precision", "recall", "f1")
HEADER = ("row", "class", "n", *(f"{name}{end}" for name in SCORES for end in ("", "_sd")), "support")
"""Columns of the csv; scores are fractions, means over n seeds with their standard deviation."""

Counts = NDArray[np.int64]


def save_class_tables(folder: Path, rows: Sequence[RowRuns], columns: Sequence[str]) -> list[Path]:
    """Write `confusion-<split>` (PNG, SVG) and `per-class-<split>` (csv, Markdown) for every split of a study's columns.

    Args:
        folder: for the files, which are replaced.
        rows: of the study; those without a finished run are left out.
        columns: such as `test/acc`.

    Returns:
        The files written.
    """
    written = []
    for split in dict.fromkeys(column.partition("/")[0] for column in columns):
        results = split_results(rows, split)
        if not results:
            continue
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


def split_results(rows: Sequence[RowRuns], split: str) -> dict[str, list[SplitResult]]:
    """Label -> result of each of its seeds on a split; rows and runs without one are left out.

    The folds of a seed are counted together: they are parts of one set, and a class may be absent from some.
    """
    found = {row.label: [_together(runs, split) for runs in _by_seed(row, split)] for row in rows}
    return {label: results for label, results in found.items() if results}


def _by_seed(row: RowRuns, split: str) -> list[list[ScoredRun]]:
    """Groups of runs whose counts are added: the folds of one seed, or single runs without folds."""
    runs = [run for run in row.runs if split in run.result.splits]
    if row.folds is None:
        return [[run] for run in runs]
    seeds = dict.fromkeys(run.header.seed for run in runs)
    return [[run for run in runs if run.header.seed == seed] for seed in seeds]


def _together(runs: Sequence[ScoredRun], split: str) -> SplitResult:
    results = [run.result.splits[split] for run in runs]
    if len(results) == 1:
        return results[0]
    return from_confusion(np.sum([result.confusion for result in results], axis=0).tolist(), list(results[0].per_class), {})


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
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(shares) if len(counts) <= NAMED else ():
        axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=8, color="white" if share > 55 else "black")
    accuracy = 100 * counts.trace() / max(counts.sum(), 1)
    over = f", {seeds} seeds" if seeds > 1 else ""
    axes.set_title(plain(f"{shorten(one_line(label), TITLE_LENGTH)}\n{accuracy:.1f} % right{over}"), fontsize=9.5)


def per_class_csv(results: Mapping[str, Sequence[SplitResult]]) -> str:
    """One line for every row and class."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEADER)
    for label, seeds in results.items():
        for name in seeds[0].per_class:
            cells = [cell for score in SCORES for cell in _mean_and_spread(seeds, name, score)]
            numbers = ["" if math.isnan(cell) else f"{cell:.6f}" for cell in cells]
            writer.writerow([label, name, len(seeds), *numbers, round(seeds[0].per_class[name]["support"])])
    return stream.getvalue()


def per_class_markdown(results: Mapping[str, Sequence[SplitResult]]) -> str:
    """The same numbers as a Markdown table, in percent."""
    lines = ["| row | class | precision, % | recall, % | F1, % | images |", "| --- | --- | --: | --: | --: | --: |"]
    for label, seeds in results.items():
        for name in seeds[0].per_class:
            shown = " | ".join(percent(seeds, name, score) for score in SCORES)
            safe = one_line(label).replace("|", "\\|")
            lines.append(f"| {safe} | {name} | {shown} | {seeds[0].per_class[name]['support']:.0f} |")
    return "\n".join(lines) + "\n"


def percent(seeds: Sequence[SplitResult], name: str, score: str) -> str:
    """Precision, recall or f1 of a class in percent, with its spread between seeds."""
    mean, spread = _mean_and_spread(seeds, name, score)
    return f"{100 * mean:.1f}" + ("" if math.isnan(spread) else f" ± {100 * spread:.1f}")


def _mean_and_spread(seeds: Sequence[SplitResult], name: str, score: str) -> tuple[float, float]:
    values = [result.per_class[name][score] for result in seeds]
    return fmean(values), stdev(values) if len(values) > 1 else math.nan
