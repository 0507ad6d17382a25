"""What a judged table decided, for readers in a hurry: which column comes first, the rows from best to worst, a few sentences."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from fer_ablate.judgement.judged_table import Difference, JudgedTable, TableRow, Verdict
from fer_ablate.metrics import LESS_IS_BETTER, METRICS, is_of_class
from fer_ablate.report.quantities import decimals, metric_name, number, one_line, scale, shorten

FIRST_SPLIT = "test"
"""The split that answers the question of a study; networks were chosen by the others."""

DECIDED = (Verdict.better, Verdict.worse, Verdict.higher, Verdict.lower)
"""Verdicts of rows that differ from the baseline."""

LABEL_LENGTH = 40
"""Letters of a row's label within a sentence; longer ones lose their middle."""

NAMED = 3
"""Rows of a kind that a sentence names; the table has the others."""


def in_reading_order(columns: Iterable[str]) -> tuple[str, ...]:
    """Columns of the test first, otherwise in the order of the study."""
    # Sorting keeps the order of equals.
    return tuple(sorted(columns, key=lambda column: column.partition("/")[0] != FIRST_SPLIT))


def blocks(table: JudgedTable) -> dict[str, list[TableRow]]:
    """Rows that are compared with each other: all of them below an empty title, or those of each data set below its title."""
    titles = {label: title for found in _by_name(table).values() for title, label in found.items()}
    order = {title: list[TableRow]() for title in (table.data_sets.data if table.data_sets is not None else ())}
    for row in table.rows:
        order.setdefault(titles.get(row.label, ""), []).append(row)
    return {title: rows for title, rows in order.items() if rows}


def _by_name(table: JudgedTable) -> dict[str, dict[str, str]]:
    return table.data_sets.labels if table.data_sets is not None else {}


def _references(table: JudgedTable) -> set[str]:
    """Labels of the rows that others are compared with: the baseline, or the row of its settings on each data set."""
    chosen = {row.label for row in table.rows if row.baseline}
    return chosen.union(*(found.values() for found in _by_name(table).values() if chosen & {*found.values()}))


def finite_difference(row: TableRow, column: str) -> Difference | None:
    """The difference of a row to the baseline; None where there is none, or no number."""
    score = row.scores.get(column)
    found = score.difference if score is not None else None
    return found if found is not None and math.isfinite(found.value) else None


def best_first(table: JudgedTable, column: str) -> list[TableRow]:
    """The rows by their difference to the baseline, the best one first; those without a difference follow by their mean.

    Of a metric of the user's own, of which a table does not say whether more is better, the highest is first. Of several data
    sets the rows stay together.
    """
    sign, references = -1 if _less_is_better(column) else 1, _references(table)

    def place(row: TableRow) -> tuple[int, float]:
        score, difference = row.scores.get(column), finite_difference(row, column)
        if score is None or not math.isfinite(score.mean):
            return (2, 0.0)
        if row.label in references or (score.difference and score.difference.kind is Verdict.same_runs):
            return (0, 0.0)
        return (1, -sign * score.mean) if difference is None else (0, -sign * difference.value)

    return [row for rows in blocks(table).values() for row in sorted(rows, key=place)]


def best(rows: Sequence[TableRow], column: str) -> TableRow | None:
    """The row with the best mean; None if no row has one, or if it is not known whether more is better."""
    scored = [row for row in rows if column in row.scores and math.isfinite(row.scores[column].mean)]
    if not scored or not is_ordered(column):
        return None
    pick: Callable[..., TableRow] = min if _less_is_better(column) else max
    return pick(scored, key=lambda row: row.scores[column].mean)


def is_ordered(column: str) -> bool:
    """Whether a table shows which end of a metric is better, which of one of the user's own it does not."""
    metric = column.partition("/")[2]
    return metric in METRICS or is_of_class(metric)


def _less_is_better(column: str) -> bool:
    return column.partition("/")[2] in LESS_IS_BETTER


def summary(table: JudgedTable) -> str:
    """The verdicts of the first column of the test in a few sentences, or why there are none."""
    column = next(iter(in_reading_order(table.columns)), "")
    scored = [row for row in table.rows if column in row.scores and math.isfinite(row.scores[column].mean)]
    if not scored:
        return _without_scores(table, column)
    return " ".join([*_verdicts(table, column, scored), *_best_means(table, column, scored), *_missing(table, scored)])


def _without_scores(table: JudgedTable, column: str) -> str:
    if any(row.scores for row in table.rows):
        return f"No run has a score on {metric_name(column)} yet."
    expected, failed = sum(row.expected for row in table.rows), sum(len(row.failures) for row in table.rows)
    return f"No run has finished yet, of {expected} in all" + (f"; {_counted(failed, 'run')} failed." if failed else ".")


def _verdicts(table: JudgedTable, column: str, scored: Sequence[TableRow]) -> list[str]:
    """How many rows differ from the baseline, which, and how many do not or were not tested."""
    baseline = next((row for row in table.rows if row.baseline), None)
    name, metric = _name(baseline.label) if baseline else "none", metric_name(column)
    found = [(row.label, one) for row in scored if (one := row.scores[column].difference) is not None]
    if not found:
        if baseline not in scored:
            return [f"Nothing is compared: the baseline ({name}) has no score on {metric} yet."]
        return [f"No other row is compared with the baseline ({name}) in {metric}."] if len(scored) > 1 else []
    # The largest difference is named first.
    found.sort(key=lambda item: -abs(item[1].value) if math.isfinite(item[1].value) else 0.0)
    kinds = {kind: {label: one for label, one in found if one.kind is kind} for kind in Verdict}
    against = f"the baseline ({name})" if table.data_sets is None else "the baseline on the same data"
    untested, same = kinds[Verdict.untested], kinds[Verdict.same_runs]
    sentences = _tested(kinds, against, column, table.margin)
    if untested:
        alone = len(untested) == len(found)
        start = f"No row is judged against {against}" if alone else f"{_counted(len(untested), 'row')} {_is(untested)} not judged"
        sentences.append(f"{start}{_why_untested(untested, scored, column)}.")
    return [*sentences, *([f"{_listed([*map(_name, same)])} {_has(same)} the same runs as {against}."] if same else [])]


def _tested(kinds: Mapping[Verdict, Mapping[str, Difference]], against: str, column: str, margin: float | None) -> list[str]:
    """Sentences on the rows that were tested, by what the test decided; none without such a row."""
    decided = {kind: kinds[kind] for kind in DECIDED if kinds[kind]}
    near = points(margin or 0.0)
    others = [(kinds[Verdict.same], f"the same within {near}"), (kinds[Verdict.not_worse], f"at most {near} worse")]
    others.append((kinds[Verdict.noise], "within noise"))
    differ, rest = sum(map(len, decided.values())), sum(len(rows) for rows, _ in others)
    if not differ + rest:
        return []
    named = [
        f"{_listed([f'{_name(label)} ({_amount(column, one.value)})' for label, one in rows.items()])} {_is(rows)} {kind.value}"
        for kind, rows in decided.items()
    ]
    against += f" in {metric_name(column)}"
    counts = [f"{len(rows)} {_is(rows)} {words}" for rows, words in others if rows]
    if not differ:
        return [f"No row differs from {against}: {_joined(counts)}."]
    first = f"{differ} of {differ + rest} rows {'differ' if differ > 1 else 'differs'} from {against}: {'; '.join(named)}."
    return [first, *([f"Of the others, {_joined(counts)}."] if counts else [])]


def _why_untested(labels: Iterable[str], scored: Sequence[TableRow], column: str) -> str:
    """Why there is no test, if it is for a single run; the verdicts have other reasons."""
    counts = {row.label: row.scores[column].n for row in scored}
    own = next((counts[row.label] for row in scored if row.baseline), 0)
    if own != 1 and any(counts[label] != 1 for label in labels):
        return ""
    return f": one {'fold' if any(row.folds for row in scored) else 'seed'} does not show what another would give"


def _best_means(table: JudgedTable, column: str, scored: Sequence[TableRow]) -> list[str]:
    """The row with the best mean and its verdict, which may be that it is no better; or the best row of each data set."""
    digits = decimals(column, (one.scores[column].sd for one in scored))
    kind = "value" if all(one.scores[column].n == 1 for one in scored) else "mean"

    def shown(row: TableRow) -> str:
        return number(scale(column) * row.scores[column].mean, digits) + (" %" if scale(column) == 100 else "")

    if table.data_sets is None:
        if (row := best(scored, column)) is None:
            return []
        difference = row.scores[column].difference
        label = _name(row.label) + (" (the baseline)" if row.baseline else "")
        return [f"Best {kind}: {label}, {shown(row)}{f'; {one_line(difference.verdict)}' if difference else ''}."]
    names = {label: name for name, found in _by_name(table).items() for label in found.values()}
    tops = {title: top for title, rows in blocks(table).items() if title and (top := best(rows, column)) is not None}
    found = [f"{_name(title)}: {_name(names[row.label])} ({shown(row)})" for title, row in tops.items()]
    return [f"Best {kind} on {_listed(found)}."] if found else []


def _missing(table: JudgedTable, scored: Sequence[TableRow]) -> list[str]:
    """Rows without a score, and rows that lack runs: what is said above may change with them."""
    known = {row.label for row in scored}
    failed = [_name(row.label) for row in table.rows if row.label not in known and row.failures]
    waiting = [row for row in table.rows if row.label not in known and not row.failures]
    partly = [row for row in scored if len(row.finished) < row.expected]
    sentences = []
    if failed:
        sentences.append(f"{_counted(len(failed), 'row')} failed: {_listed(failed)}.")
    if waiting:
        sentences.append(f"{_counted(len(waiting), 'row')} {_has(waiting)} no score yet.")
    if partly:
        sentences.append(f"{_counted(len(partly), 'row')} still {'lacks' if len(partly) == 1 else 'lack'} runs.")
    return sentences


def _amount(column: str, value: float) -> str:
    return f"{100 * value:+.1f} points" if scale(column) == 100 else f"{value:+.3f}"


def _listed(names: Sequence[str]) -> str:
    """The first names, such as `a, b and c`, or `a, b, c and 4 more`."""
    if len(names) > NAMED + 1:
        names = [*names[:NAMED], f"{len(names) - NAMED} more"]
    return _joined(names)


def _joined(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _name(label: str) -> str:
    return shorten(one_line(label), LABEL_LENGTH)


def points(margin: float) -> str:
    """A margin in words, such as `1 point`."""
    return f"{margin:g} point{'' if margin == 1 else 's'}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _is(rows: Iterable[object]) -> str:
    return "is" if len([*rows]) == 1 else "are"


def _has(rows: Iterable[object]) -> str:
    return "has" if len([*rows]) == 1 else "have"
