"""Printed classification reports beside the measured ones: a table for each row and split of which a document prints one."""

from collections.abc import Sequence

from fer_ablate.judgement.doubtful_units import doubtful_unit
from fer_ablate.judgement.judged_table import JudgedTable, Score, TableRow
from fer_ablate.metrics import ACCURACY, AVERAGES, CLASS_SCORES, SUPPORT, in_percent, is_of_class, report_metric
from fer_ablate.report.quantities import ABSENT, metric_name, number, one_line, printed_digits, published, scale
from fer_ablate.report.table.shown_table import AGREES, CLASS, MEASURED, PUBLISHED, ShownColumn, ShownTable

TITLES = {"precision": "precision, %", "recall": "recall, %", "f1": "F1, %", SUPPORT: "images"}
"""Score -> title above its measured and its published numbers."""


def report_tables(table: JudgedTable) -> list[ShownTable]:
    """Every classification report of which a document prints numbers; columns without a number are left out."""
    splits = [(row, column.partition("/")[0]) for row in table.rows for column in row.published_by_class]
    distinct = {(row.label, split): row for row, split in splits}
    return [_report_table(table.study, row, split) for (_, split), row in distinct.items()]


def agreement(row: TableRow) -> str:
    """How many of the numbers that a document prints by class agree, such as `33 of 38`; empty where none is judged."""
    judged = [score.agrees for score in row.by_class.values() if score.agrees is not None]
    return f"{sum(judged)} of {len(judged)}" if judged else ""


def _report_table(study: str, row: TableRow, split: str) -> ShownTable:
    lines = report_lines(row, split)
    columns = {score: [f"{split}/{_metric(line, score)}" for line in lines] for score in CLASS_SCORES}
    shown = [
        ShownColumn(TITLES[score], name, tuple(cells))
        for score, own in columns.items()
        for name, cells in ((MEASURED, _measured(row, own)), (PUBLISHED, _printed(row, own)))
    ]
    shown.append(ShownColumn("", AGREES, tuple(_agrees(row, own) for own in zip(*columns.values(), strict=True))))
    kept = (column for column in shown if any(cell != ABSENT for cell in column.cells))
    name = one_line(row.label)
    return ShownTable(
        f"{study} {name} {split}",
        f"{name} by class on {metric_name(split)}{_runs(row, split)}",
        (ShownColumn("", CLASS, tuple(lines)), *kept),
        (),
    )


def _runs(row: TableRow, split: str) -> str:
    """What the measured numbers are taken over; empty where none is measured."""
    n = max((score.n for column, score in row.by_class.items() if column.startswith(f"{split}/")), default=0)
    return f": mean ± standard deviation over {n} seeds" if n > 1 else " (n=1)" if n else ""


def report_lines(row: TableRow, split: str) -> list[str]:
    """Lines of the printed report: classes in the order of the document, then accuracy and averages."""
    metrics = [column.partition("/")[2] for column in row.published_by_class if column.startswith(f"{split}/")]
    classes = dict.fromkeys(metric.partition("/")[2] for metric in metrics if is_of_class(metric))
    below = [
        line
        for line in (ACCURACY, *AVERAGES)
        if line in classes or any(_metric(line, score) in metrics for score in CLASS_SCORES)
    ]
    return [*(line for line in classes if line not in below), *below]


def _metric(line: str, score: str) -> str:
    """The metric of a cell; scikit-learn prints the accuracy below the F1 scores."""
    return report_metric(line, ACCURACY if line == ACCURACY and score == "f1" else score)


def _measured(row: TableRow, columns: Sequence[str]) -> list[str]:
    scores = [row.by_class.get(column) for column in columns]
    digits = 0 if _is_support(columns[0]) else 1
    return [
        ABSENT if score is None else _mean(score, scale(column), digits) for column, score in zip(columns, scores, strict=True)
    ]


def _mean(score: Score, times: float, digits: int) -> str:
    mean, spread = number(times * score.mean, digits), number(times * score.sd, digits)
    # Numbers of images are the same in every run.
    return mean if spread == ABSENT or not digits else f"{mean} ± {spread}"


def _is_support(column: str) -> bool:
    return not in_percent(column.partition("/")[2])


def _printed(row: TableRow, columns: Sequence[str]) -> list[str]:
    found = [one.value if (one := row.published_by_class.get(column)) is not None else None for column in columns]
    digits = printed_digits(
        value
        for column, value in zip(columns, found, strict=True)
        if value is not None and not doubtful_unit(column.partition("/")[2], value)
    )
    return [cell for column, value in zip(columns, found, strict=True) for cell in published(column, [value], digits)]


def _agrees(row: TableRow, columns: Sequence[str]) -> str:
    judged = {column: score.agrees for column in columns if (score := row.by_class.get(column)) and score.agrees is not None}
    if not judged:
        return ABSENT
    missed = [_short(column) for column, right in judged.items() if not right]
    return f"all but {', '.join(missed)}" if missed and len(missed) < len(judged) else "no" if missed else "yes"


def _short(column: str) -> str:
    """The score of a column in a word."""
    metric = column.partition("/")[2]
    if not is_of_class(metric):
        return ACCURACY if metric == "acc" else metric.rpartition("_")[2]
    score = metric.partition("/")[0]
    return score if in_percent(metric) else "images"
