"""A judged table as strings, grouped into columns; every format shows these."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from fer_ablate.judgement.judged_table import Difference, Failure, JudgedTable, Score, TableRow
from fer_ablate.report.quantities import (
    ABSENT,
    count,
    decimals,
    duration,
    interval,
    memory,
    metric_name,
    metric_title,
    number,
    one_line,
    published,
    scale,
)
from fer_ablate.report.table.outcomes import best, blocks, in_reading_order

BEST = "best"
"""Mark of the best mean of a column, and of those that equal it."""

NEAR = "near"
"""Mark of means that are not shown to be worse than the best one."""

STALE = "†"
"""Mark of rows with runs of an earlier config, data or code."""

PROBLEM_LENGTH = 36
"""Letters of an error shown in a cell, as many as a long verdict has; a note below shows the whole first line."""

ROW, SEEDS, MEAN, SINGLE, INTERVAL, DIFFERENCE, VERDICT, PUBLISHED, GAP, AGREES = (
    "row",
    "n",
    "mean ± sd",
    "score",
    "95 % interval",
    "difference",
    "verdict",
    "published",
    "gap",
    "agrees",
)
RUNS = "runs"
"""Title of the column of counts where folds are crossed with seeds."""

NETWORK = "network"
"""Title of the labels where rows are single networks."""

EFFECT = "effect"
"""Title of the labels where lines are effects of factors."""

CLASS, MEASURED = "class", "measured"
"""Title of the labels where lines are classes, and of the scores there."""

COST = "cost"
COSTS: tuple[tuple[str, Callable[[TableRow], float | None], Callable[[float], str]], ...] = (
    ("parameters", lambda row: row.parameters, count),
    ("MACs", lambda row: row.macs, count),
    ("time", lambda row: row.seconds, duration),
    ("memory", lambda row: row.peak_memory_mb, memory),
)
"""Costs of a run: title, value, and how it is written."""


@dataclass(frozen=True)
class ShownColumn:
    """A column of strings.

    Args:
        group: what stands above it and its neighbours, such as `test acc, %`; empty for the row labels and seeds.
        name: its own title.
        cells: one for each row.
        marks: for each cell the kind of its verdict (`better`, or `open` without one), or `best` for the best mean.
    """

    group: str
    name: str
    cells: tuple[str, ...]
    marks: tuple[str, ...] = ()

    @property
    def words(self) -> bool:
        """Whether its cells are text, which is aligned to the left."""
        return self.name in (ROW, NETWORK, CLASS, EFFECT, VERDICT)


@dataclass(frozen=True)
class ShownTable:
    """A table as people read it: columns of the same group side by side.

    Args:
        study: name.
        caption: above it.
        columns: with cells for all rows.
        notes: below it.
        best_of: what a mean with the mark `best` is the best one of.
    """

    study: str
    caption: str
    columns: tuple[ShownColumn, ...]
    notes: tuple[str, ...]
    best_of: str = "of its column"

    @property
    def groups(self) -> tuple[str, ...]:
        """Titles above the columns, without the empty one, in order."""
        return tuple(dict.fromkeys(column.group for column in self.columns if column.group))

    def group(self, name: str) -> tuple[ShownColumn, ...]:
        """The columns below one title; those of the row labels and seeds for the empty name."""
        return tuple(column for column in self.columns if column.group == name)


def shown_table(table: JudgedTable) -> ShownTable:
    """A judged table as strings, metrics of the test first; columns without a value in any row are left out."""
    columns = [
        ShownColumn("", ROW, tuple(_label(row) for row in table.rows)),
        ShownColumn("", SEEDS if table.folds is None else RUNS, tuple(_runs(row) for row in table.rows)),
    ]
    for name in in_reading_order(table.columns):
        columns += _metric(table, name)
    columns += [ShownColumn(COST, name, tuple(_known(value(row), show) for row in table.rows)) for name, value, show in COSTS]
    # A table without published numbers or differences would otherwise be full of dashes.
    kept = tuple(column for column in columns if column.group == "" or any(cell != ABSENT for cell in column.cells))
    best_of = "of its column" if table.data_sets is None else "of its data set"
    return ShownTable(table.study, _caption(table), kept, _notes(table), best_of)


def _ranks(table: JudgedTable, column: str) -> tuple[str, ...]:
    """For each row whether it is the best of those that it is compared with, or not shown to be worse."""
    marks = dict.fromkeys((row.label for row in table.rows), "")
    for rows in blocks(table).values():
        scores = {row.label: row.scores[column] for row in rows if column in row.scores}
        if len(scores) > 1 and (top := best(rows, column)) is not None:
            highest = scores[top.label].mean
            marks |= {label: BEST if one.mean == highest else NEAR * bool(one.near_best) for label, one in scores.items()}
    return tuple(marks.values())


def difference_values(difference: Difference) -> dict[str, float | str]:
    """The cells of a difference in csv: numbers as they are stored, and the verdict."""
    return {
        "difference": difference.value,
        "diff_low": difference.low,
        "diff_high": difference.high,
        "p": difference.p,
        "p_holm": difference.p_holm,
        "verdict": difference.verdict,
    }


def why_no_score(row: TableRow) -> str:
    """Why a row has no score: `not yet run`, or `failed (seed 1): ...` with the beginning of the error."""
    if not row.failures:
        return ABSENT if row.finished else "not yet run"
    which = f"failed ({_failed(row)})"
    text = f"{which}: {first_error_line(row.failures[0])}"
    return text if len(text) <= PROBLEM_LENGTH else f"{text[: PROBLEM_LENGTH - 1].rstrip()}…"


def _failed(row: TableRow) -> str:
    """`seed 1`, `seeds 0, 2`, or of a cross-validated row `seed 1, fold 3` or `4 runs`."""
    if len(row.failures) == 1:
        return str(row.failures[0].repeat)
    if row.folds is not None:
        return f"{len(row.failures)} runs"
    return f"seeds {', '.join(str(failure.seed) for failure in row.failures)}"


def first_error_line(failure: Failure) -> str:
    """First line of the error."""
    return next((line for line in map(one_line, failure.problem.splitlines()) if line), "no message")


def _metric(table: JudgedTable, name: str) -> list[ShownColumn]:
    scores = [row.scores.get(name) for row in table.rows]
    there = [score for score in scores if score is not None]
    digits = decimals(name, (score.sd for score in there))
    # The digits of the document show how exact its numbers are, whatever digits the measured ones have.
    printed = [one.value if (one := row.published.get(name)) is not None else None for row in table.rows]
    times = scale(name)

    def shown(what: Callable[[Score], str]) -> tuple[str, ...]:
        return tuple(ABSENT if score is None else what(score) for score in scores)

    def difference(score: Score) -> str:
        if score.difference is None:
            return ABSENT
        value, low, high = (times * part for part in (score.difference.value, score.difference.low, score.difference.high))
        between = interval(low, high, digits, signed=True)
        return number(value, digits, signed=True) + ("" if between == ABSENT else f" {between}")

    verdicts = [
        why_no_score(row) if score is None else one_line(score.difference.verdict) if score.difference else ABSENT
        for row, score in zip(table.rows, scores, strict=True)
    ]
    # In a table of single runs no spread is shown, so the title must not promise one.
    mean = MEAN if any(score.n > 1 for score in there) else SINGLE
    kinds = tuple(_kind(score) for score in scores)
    marks = {VERDICT: kinds, DIFFERENCE: kinds, mean: _ranks(table, name)}
    agreement = {True: "yes", False: "no", None: ABSENT}
    return [
        ShownColumn(metric_title(name), head, tuple(column), marks.get(head, ()))
        for head, column in (
            (mean, shown(lambda score: _mean(score, times, digits))),
            (INTERVAL, shown(lambda score: interval(times * score.low, times * score.high, digits))),
            (DIFFERENCE, shown(difference)),
            (VERDICT, verdicts),
            (PUBLISHED, published(name, printed)),
            (GAP, shown(lambda score: ABSENT if score.gap is None else number(score.gap, digits, signed=True))),
            (AGREES, shown(lambda score: agreement[score.agrees])),
        )
    ]


def _kind(score: Score | None) -> str:
    return "open" if score is None or score.difference is None else score.difference.kind.name


def _mean(score: Score, times: float, digits: int) -> str:
    mean, spread = number(times * score.mean, digits), number(times * score.sd, digits)
    if score.n == 1:
        return f"{mean} (n=1)"
    return mean if spread == ABSENT else f"{mean} ± {spread}"


def _label(row: TableRow) -> str:
    return one_line(row.label) + (" (baseline)" if row.baseline else "") + (f" {STALE}" if row.stale else "")


def _runs(row: TableRow) -> str:
    return str(row.expected) if len(row.finished) == row.expected else f"{len(row.finished)}/{row.expected}"


def _known(value: float | None, show: Callable[[float], str]) -> str:
    return ABSENT if value is None else show(value)


def _caption(table: JudgedTable) -> str:
    scores = [score for row in table.rows for score in row.scores.values()]
    name = one_line(f"{table.study}: {table.source}" if table.source else table.study).rstrip(".")
    tested = ", ".join(f"{key} {value}" for key, value in table.protocol.items())
    statistics = []
    if any(score.n > 1 for score in scores):
        statistics.append(f"mean ± standard deviation over {'seeds' if table.folds is None else 'folds'}")
    if any(math.isfinite(score.low) for score in scores):
        over = "test images and seeds" if any(score.over_images for score in scores) else "seeds"
        statistics.append(f"[a, b] is a 95 % interval over {over if table.folds is None else 'folds'}")
    if any(score.difference for score in scores):
        baseline = next(one_line(row.label) for row in table.rows if row.baseline)
        statistics.append(f"differences are row minus baseline ({baseline})")
    meaning = "; ".join(statistics)
    sentences = (name, f"Tested with {tested}" if tested else "", meaning[:1].upper() + meaning[1:])
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def _notes(table: JudgedTable) -> tuple[str, ...]:
    """Notes of the judge, the meaning of the mark, notes on published numbers, and errors with their logs."""
    # The notes of a table of effects are below that table, if there is one.
    effects = table.effects.notes if table.effects is not None and not table.effects.columns else ()
    notes = [one_line(note) for note in (*table.notes, *effects)]
    stale = sum(row.stale for row in table.rows)
    if stale:
        notes.append(f"{STALE} {stale} of the runs counted here are of an earlier config, data or code.")
    printed_notes: dict[tuple[str, str], list[str]] = {}
    for row in table.rows:
        for column, printed in row.published.items():
            if printed.note and column in table.columns:
                printed_notes.setdefault((metric_name(column), one_line(printed.note)), []).append(one_line(row.label))
    notes += [
        f"Published {metric} of {', '.join(labels)}: {note.rstrip('.')}." for (metric, note), labels in printed_notes.items()
    ]
    notes += [
        f"{one_line(row.label)}, {failure.repeat} failed: {first_error_line(failure)} (log: {failure.log})"
        for row in table.rows
        for failure in row.failures
    ]
    return tuple(notes)
