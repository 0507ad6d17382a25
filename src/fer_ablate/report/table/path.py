"""An ablation path as tables: what each step gains, and what else was tried at it."""

import math
from collections.abc import Sequence
from dataclasses import replace

from fer_ablate.judgement.judged_table import Difference, Score
from fer_ablate.judgement.path import AblationPath, Candidate
from fer_ablate.report.plain_table import PlainTable, csv_table
from fer_ablate.report.quantities import ABSENT, interval, metric_name, metric_title, number, one_line, scale
from fer_ablate.report.table.outcomes import in_reading_order

GAIN, VERDICT = "gain", "verdict on the gain"

MEANING = (
    "A gain is the difference to the step before, in all the difference to the baseline, with 95 % intervals; verdicts count the "
    "steps (Holm)."
)
"""What is written below the table of steps."""


def judged_columns(path: AblationPath) -> tuple[str, ...]:
    """The columns that get a table with verdicts: all of the test images, or else the one that chose the steps."""
    test = tuple(column for column in in_reading_order(path.columns) if column.startswith("test/"))
    return test or (path.decides,)


def path_table(path: AblationPath, column: str) -> PlainTable:
    """The steps in one column, with val beside it."""
    val = path.decides if path.decides != column else None
    score, unit = metric_title(column), metric_title(path.decides)
    header = ("step", "change", score, "95 % interval", GAIN, "in all", *((unit, f"{GAIN} on val") if val else ()), VERDICT)
    first = _cells(column, path.start.get(column), None, None)
    rows = [("0", f"{one_line(path.baseline)} (baseline)", *first, *(_val(val, path.start, None) if val else ()), ABSENT)]
    before = path.start
    for place, step in enumerate(path.steps, start=1):
        found, gain = step.scores.get(column), step.gains.get(column)
        rows.append(
            (
                str(place),
                f"+ {one_line(step.decided.change)}",
                *_cells(column, found, gain, found.difference if found else None),
                *(_val(val, step.scores, before) if val else ()),
                ABSENT if gain is None else gain.verdict,
            )
        )
        before = step.scores
    title = f"Path from {one_line(path.baseline)} to {one_line(path.target)}: {metric_name(column)}"
    return PlainTable(title, header, tuple(rows), left=2, notes=(MEANING, *path.notes))


def without_verdicts(table: PlainTable) -> PlainTable:
    """The numbers of `path_table`, for a screen that is too narrow for all of it."""
    return replace(table, header=table.header[:-1], rows=tuple(row[:-1] for row in table.rows))


def verdicts_of(table: PlainTable) -> PlainTable:
    """The steps of `path_table` with their verdicts."""
    rows = tuple((*row[:2], row[-1]) for row in table.rows if row[-1] != ABSENT)
    return PlainTable("", (*table.header[:2], table.header[-1]), rows, left=3)


def candidates_table(path: AblationPath) -> PlainTable:
    """Everything that was tried at each step, and what val said."""
    title = f"Tried at each step, chosen by {metric_name(path.decides)}"
    header = ("step", "change", "", metric_title(path.decides), f"{GAIN} on val")
    rows, before = [], path.start.get(path.decides)
    for place, step in enumerate(path.steps, start=1):
        for one in step.decided.candidates:
            taken = "taken" if one.change == step.decided.change else one.problem or "not taken"
            rows.append((str(place), f"+ {one_line(one.change)}", one_line(taken), *_tried(path.decides, one, before)))
        before = step.scores.get(path.decides)
    return PlainTable(title, header, tuple(rows), left=3)


def path_csv(path: AblationPath) -> str:
    """One line for each step and column; fractions stay fractions."""
    header = ("study", "column", "step", "change", "n", "mean", "low", "high")
    numbers = ("gain", "gain_low", "gain_high", "gain_p", "gain_p_holm", "gain_verdict", "in_all", "in_all_low", "in_all_high")
    lines: list[Sequence[object]] = []
    for column in path.columns:
        for place, (change, scores, gains) in enumerate(
            [(path.baseline, path.start, {}), *((step.decided.change, step.scores, step.gains) for step in path.steps)]
        ):
            if (score := scores.get(column)) is None:
                continue
            gain, whole = gains.get(column), score.difference
            parts = (gain.value, gain.low, gain.high, gain.p, gain.p_holm, gain.verdict) if gain else (None,) * 6
            total = (whole.value, whole.low, whole.high) if whole else (None,) * 3
            lines.append((path.study, column, place, change, score.n, score.mean, score.low, score.high, *parts, *total))
    return csv_table((*header, *numbers), lines)


def _cells(column: str, score: Score | None, gain: Difference | None, total: Difference | None) -> tuple[str, ...]:
    if score is None:
        return (ABSENT,) * 4
    times, digits = scale(column), _digits(column)
    between = interval(times * score.low, times * score.high, digits)
    return (number(times * score.mean, digits), between, _difference(column, gain), _difference(column, total))


def _difference(column: str, one: Difference | None) -> str:
    if one is None or not math.isfinite(one.value):
        return ABSENT
    times, digits = scale(column), _digits(column)
    between = interval(times * one.low, times * one.high, digits, signed=True)
    return number(times * one.value, digits, signed=True) + ("" if between == ABSENT else f" {between}")


def _val(column: str, scores: dict[str, Score], before: dict[str, Score] | None) -> tuple[str, str]:
    score, other = scores.get(column), (before or {}).get(column)
    if score is None:
        return ABSENT, ABSENT
    gain = scale(column) * (score.mean - other.mean) if other is not None else math.nan
    return number(scale(column) * score.mean, _digits(column)), number(gain, _digits(column), signed=True)


def _tried(column: str, one: Candidate, before: Score | None) -> tuple[str, str]:
    if one.value is None:
        return ABSENT, ABSENT
    gain = scale(column) * (one.value - before.mean) if before is not None else math.nan
    return number(scale(column) * one.value, _digits(column)), number(gain, _digits(column), signed=True)


def _digits(column: str) -> int:
    return 1 if scale(column) == 100 else 3
