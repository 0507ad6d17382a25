"""An ablation path as tables: what each step gains, and what else was tried at it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from rich.cells import cell_len

from fer_ablate.judgement.judged_table import Difference, Score
from fer_ablate.judgement.path import AblationPath, Candidate
from fer_ablate.report.plain_table import PlainTable, csv_table
from fer_ablate.report.quantities import ABSENT, interval, metric_name, metric_title, number, one_line, scale, shorten
from fer_ablate.report.table.outcomes import in_reading_order
from fer_ablate.report.table.terminal import brief

GAIN, IN_ALL, VERDICT = "gain", "in all [95 %]", "verdict on the gain"

GAP, SHORTEST_CHANGE = 2, 12
"""Blanks between two columns of a screen, and letters that a change keeps on any."""

MEANING = (
    "A gain is the difference to the step before, with the interval of its verdict, which counts the steps (Holm); in all is the "
    "difference to the baseline, with its 95 % interval."
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
    header = ("step", "change", score, "95 % interval", GAIN, IN_ALL, *((unit, f"{GAIN} on val") if val else ()), VERDICT)
    first = (*_score(column, path.start.get(column)), ABSENT, ABSENT)
    rows = [("0", f"{one_line(path.baseline)} (baseline)", *first, *(_val(val, path.start, None) if val else ()), ABSENT)]
    before = path.start
    for place, step in enumerate(path.steps, start=1):
        found, gain = step.scores.get(column), step.gains.get(column)
        total = found.difference if found else None
        rows.append(
            (
                str(place),
                f"+ {one_line(step.decided.change)}",
                *_score(column, found),
                _difference(column, gain, step.interval(column)),
                _difference(column, total, (total.low, total.high) if total else None),
                *(_val(val, step.scores, before) if val else ()),
                ABSENT if gain is None else gain.verdict,
            )
        )
        before = step.scores
    title = f"Path from {one_line(path.baseline)} to {one_line(path.target)}: {metric_name(column)}"
    return PlainTable(title, header, tuple(rows), left=2, notes=path_notes(path))


def path_notes(path: AblationPath) -> tuple[str, ...]:
    """What the tables mean, how the order was chosen, and what could not be tried."""
    return (MEANING, *path.notes)


def console_tables(path: AblationPath, column: str, width: int) -> list[PlainTable]:
    """The steps in one column for a screen: their numbers, and below them the verdicts.

    Where it is too narrow, intervals of differences are left out, then those of scores, then val; verdicts lose how many seeds
    would show more, and changes their middle.
    """
    steps = path_table(path, column)
    numbers = without_verdicts(steps)
    for narrower in (_without_intervals, partial(_without, names=("95 % interval",)), _without_val):
        numbers = numbers if _width(numbers) <= width else narrower(numbers)
    verdicts = verdicts_of(steps)
    if _width(verdicts) > width:
        verdicts = replace(verdicts, rows=tuple((*row[:-1], brief(row[-1])) for row in verdicts.rows))
    return [_shortened(numbers, width), _shortened(verdicts, width)]


def without_verdicts(table: PlainTable) -> PlainTable:
    """The numbers of `path_table`."""
    return replace(table, header=table.header[:-1], rows=tuple(row[:-1] for row in table.rows))


def verdicts_of(table: PlainTable) -> PlainTable:
    """The steps of `path_table` with their verdicts."""
    rows = tuple((*row[:2], row[-1]) for row in table.rows if row[-1] != ABSENT)
    return PlainTable("", (*table.header[:2], table.header[-1]), rows, left=3)


def _without_intervals(table: PlainTable) -> PlainTable:
    places = [place for place, name in enumerate(table.header) if name in (GAIN, IN_ALL)]
    lines = [
        tuple(cell.split(" [")[0] if place in places else cell for place, cell in enumerate(line))
        for line in (table.header, *table.rows)
    ]
    return replace(table, header=lines[0], rows=tuple(lines[1:]))


def _without(table: PlainTable, names: Sequence[str]) -> PlainTable:
    kept = [place for place, name in enumerate(table.header) if name not in names]
    header, *rows = (tuple(line[place] for place in kept) for line in (table.header, *table.rows))
    return replace(table, header=header, rows=tuple(rows))


def _without_val(table: PlainTable) -> PlainTable:
    last = table.header.index(IN_ALL.split(" [")[0])
    return _without(table, table.header[last + 1 :])


def _shortened(table: PlainTable, width: int) -> PlainTable:
    longest = max((cell_len(row[1]) for row in table.rows), default=0)
    room = max(SHORTEST_CHANGE, longest + width - _width(table))
    return replace(table, rows=tuple((row[0], shorten(row[1], room), *row[2:]) for row in table.rows))


def _width(table: PlainTable) -> int:
    return sum(max(map(cell_len, column)) + GAP for column in zip(table.header, *table.rows, strict=True)) - GAP


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


def _score(column: str, score: Score | None) -> tuple[str, str]:
    if score is None:
        return ABSENT, ABSENT
    times, digits = scale(column), _digits(column)
    return number(times * score.mean, digits), interval(times * score.low, times * score.high, digits)


def _difference(column: str, one: Difference | None, ends: tuple[float, float] | None) -> str:
    if one is None or ends is None or not math.isfinite(one.value):
        return ABSENT
    times, digits = scale(column), _digits(column)
    between = interval(times * ends[0], times * ends[1], digits, signed=True)
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
