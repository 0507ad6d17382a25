"""The main effects and interactions of a study as a table of strings, as sentences, and as numbers for programs."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fer_ablate.judgement.judged_table import Difference, Effect, EffectKind, Effects, FactorTest, JudgedTable
from fer_ablate.judgement.wording import p_text
from fer_ablate.report.quantities import ABSENT, interval, metric_name, metric_title, number, one_line, scale
from fer_ablate.report.table.outcomes import DECIDED, in_reading_order
from fer_ablate.report.table.shown_table import DIFFERENCE, EFFECT, VERDICT, ShownColumn, ShownTable, difference_values

if TYPE_CHECKING:
    import pandas as pd

TITLE = "Effects and interactions"

FILE = "effects.csv"
"""Name of the file with the numbers, beside `table.csv`, which has one line for each row and column."""

LEADING = ("study", "column", "factors", "kind")
"""Columns of the numbers, even where there is no effect."""

MEANING = (
    "The effect of a level is its mean over all levels of the other factors minus that of the reference, with its 95 % interval; "
    "an interaction is how much the effect differs between two levels of another factor."
)
THREE_FACTORS = (
    "Interactions of three or more factors are not shown: every effect and every mean of two factors is over all levels of the "
    "others, so it does not say whether it is the same in each of them."
)
ONE_AT_A_TIME = "The effect of a level is the difference of its row to the baseline, with its 95 % interval."


def effects_tables(table: JudgedTable) -> list[ShownTable]:
    """The table of effects, with the sentences about them below it; none if the study has no factors or no scores yet."""
    effects = table.effects
    if effects is None or not effects.columns:
        return []
    lines = _lines(effects)
    columns = [ShownColumn("", EFFECT, tuple(one_line(_label(one)) for one in lines))]
    for column in _ordered(effects):
        found = {_key(one): one.difference for one in effects.columns[column].effects}
        differences = [found.get(_key(one)) for one in lines]
        kinds = tuple("" if one is None else one.kind.name for one in differences)
        title = metric_title(column)
        columns.append(ShownColumn(title, DIFFERENCE, tuple(_difference(column, one) for one in differences), kinds))
        columns.append(ShownColumn(title, VERDICT, tuple(ABSENT if one is None else one.verdict for one in differences), kinds))
    caption = f"{TITLE} of {one_line(table.study)}. {MEANING if effects.crossed else ONE_AT_A_TIME}"
    return [ShownTable(f"{table.study} effects", caption, tuple(columns), effects_notes(table))]


def effect_sentences(table: JudgedTable) -> list[tuple[str, tuple[str, ...]]]:
    """For each column, the test first, what its effects say: title of the metric, and sentences."""
    if table.effects is None:
        return []
    found = table.effects.columns
    return [(metric_name(column), tuple(map(one_line, found[column].sentences))) for column in _ordered(table.effects)]


def effects_notes(table: JudgedTable) -> tuple[str, ...]:
    """The sentences, the analysis of variance, and what is left out; none without a table of effects."""
    if table.effects is None or not table.effects.columns:
        return ()
    notes = [f"{metric}: {sentence}" for metric, found in effect_sentences(table) for sentence in found]
    for column in _ordered(table.effects):
        if tests := table.effects.columns[column].tests:
            listed = "; ".join(map(_test, tests))
            notes.append(f"ANOVA over the {metric_name(column)} of runs (seeds alone, type II): {listed}.")
    if table.effects.crossed:
        notes.append(
            "Verdicts on effects count all main effects and interactions of a column (Holm), those within single levels all of "
            "the same two factors; intervals are not corrected."
        )
        notes += [THREE_FACTORS] * (len(table.effects.factors) > 2)
    return (*notes, *map(one_line, table.effects.notes))


def effects_frame(table: JudgedTable) -> "pd.DataFrame":
    """One line for each effect and column, of every level; fractions stay fractions."""
    import pandas as pd

    found = table.effects.columns if table.effects is not None else {}
    lines = []
    for column in in_reading_order(found):
        every: tuple[Effect | FactorTest, ...] = (*found[column].effects, *found[column].tests)
        lines += [_numbers(table.study, column, one) for one in every]
    return pd.DataFrame(lines) if lines else pd.DataFrame(columns=list(LEADING))


def _numbers(study: str, column: str, one: Effect | FactorTest) -> dict[str, Any]:
    start = {"study": study, "column": column, "factors": " x ".join(one.factors)}
    if isinstance(one, FactorTest):
        numbers = {"f": one.f, "df": one.df, "df_error": one.df_error, "p": one.p}
        return {**start, "kind": "ANOVA", **numbers}
    return {
        **start,
        "kind": one.kind.value,
        "levels": " x ".join(one.levels),
        "references": " x ".join(one.references),
        **difference_values(one.difference),
    }


def _ordered(effects: Effects) -> tuple[str, ...]:
    return in_reading_order(effects.columns)


def _lines(effects: Effects) -> list[Effect]:
    """The effects that a person reads: within single levels only of factors that certainly depend on each other."""
    every = [one for column in _ordered(effects) for one in effects.columns[column].effects]
    dependent = {frozenset(one.factors) for one in every if one.kind is EffectKind.interaction and one.difference.kind in DECIDED}
    shown = [one for one in every if one.kind is not EffectKind.simple or frozenset(one.factors) in dependent]
    first = {_key(one): one for one in reversed(shown)}
    order = [EffectKind.main, EffectKind.interaction, EffectKind.simple]
    return sorted(dict(reversed(first.items())).values(), key=lambda one: order.index(one.kind))


def _key(one: Effect) -> tuple[EffectKind, Sequence[str], Sequence[str], Sequence[str]]:
    return (one.kind, one.factors, one.levels, one.references)


def _label(one: Effect) -> str:
    factor, compared = one.factors[0], f"{one.levels[0]} vs {one.references[0]}"
    if one.kind is EffectKind.main:
        return f"{factor}: {compared}"
    if one.kind is EffectKind.simple:
        return f"{factor}: {compared}, with {one.factors[1]} {one.levels[1]}"
    return f"{factor} × {one.factors[1]}: {compared}, {one.levels[1]} vs {one.references[1]}"  # noqa: RUF001


def _difference(column: str, one: Difference | None) -> str:
    if one is None:
        return ABSENT
    times, digits = scale(column), 1 if scale(column) == 100 else 3
    between = interval(times * one.low, times * one.high, digits, signed=True)
    return number(times * one.value, digits, signed=True) + ("" if between == ABSENT else f" {between}")


def _test(one: FactorTest) -> str:
    names = _joined(one.factors)
    return f"{names} F({one.df:g}, {one.df_error:g}) = {number(one.f, 2)}, {p_text(one.p)}"


def _joined(factors: Iterable[str]) -> str:
    return " × ".join(factors)  # noqa: RUF001
