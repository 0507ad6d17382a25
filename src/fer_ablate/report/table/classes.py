"""Scores of each row of a study by class: precision, recall and F1 of every class, as csv and as Markdown."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from fer_ablate.metrics import SplitResult
from fer_ablate.report.quantities import one_line
from fer_ablate.report.table.formats import markdown_text

SCORES = ("precision", "recall", "f1")
HEADER = ("row", "class", "n", *(f"{name}{end}" for name in SCORES for end in ("", "_sd")), "support")
"""Columns of the csv; scores are fractions, means over n seeds with their standard deviation."""


def per_class_csv(results: Mapping[str, Sequence[SplitResult]]) -> str:
    """One line for every row and class."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEADER)
    for label, seeds in results.items():
        for name in seeds[0].per_class:
            cells = [cell for score in SCORES for cell in _mean_and_spread(seeds, name, score)]
            numbers = ["" if math.isnan(cell) else f"{cell:.6f}" for cell in cells]
            # Test images are drawn by data.split_seed rather than by the seed of a run, so all seeds have the same ones.
            writer.writerow([label, name, len(seeds), *numbers, round(seeds[0].per_class[name]["support"])])
    return stream.getvalue()


def per_class_markdown(results: Mapping[str, Sequence[SplitResult]]) -> str:
    """The same numbers as a Markdown table, in percent."""
    lines = ["| row | class | precision, % | recall, % | F1, % | images |", "| --- | --- | --: | --: | --: | --: |"]
    for label, seeds in results.items():
        for name in seeds[0].per_class:
            shown = " | ".join(percent(seeds, name, score) for score in SCORES)
            row, of = (markdown_text(one_line(text)) for text in (label, name))
            lines.append(f"| {row} | {of} | {shown} | {seeds[0].per_class[name]['support']:.0f} |")
    return "\n".join(lines) + "\n"


def percent(seeds: Sequence[SplitResult], name: str, score: str) -> str:
    """Precision, recall or f1 of a class in percent, with its spread between seeds."""
    mean, spread = _mean_and_spread(seeds, name, score)
    return f"{100 * mean:.1f}" + ("" if math.isnan(spread) else f" ± {100 * spread:.1f}")


def _mean_and_spread(seeds: Sequence[SplitResult], name: str, score: str) -> tuple[float, float]:
    values = [result.per_class[name][score] for result in seeds]
    return fmean(values), stdev(values) if len(values) > 1 else math.nan
