"""The classification report that a document prints for a row, as a study's file states it: faults, and its numbers by column."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fer_ablate.config.columns import column_problem, number_problem
from fer_ablate.errors import Fault, choices
from fer_ablate.metrics import ACCURACY, AVERAGES, CLASS_SCORES, SUPPORT, report_metric

REMEDY = "Write angry: [54, 62, 58, 467] for precision, recall, F1 and images; or angry: {recall: 62}."
"""How a line is written."""


def report_columns(by_class: Mapping[str, Any]) -> dict[str, float]:
    """Column (`test/recall/fear`, `test/macro_f1`, `test/support/fear`) -> printed number, of a report without faults.

    Args:
        by_class: split -> line -> its numbers. A line is a class, or one of the last three lines of scikit-learn's
            `classification_report`: `accuracy`, `macro avg` and `weighted avg`.

    >>> report_columns({"test": {"fear": [51, 33, 40, 496], "accuracy": 63}})
    {'test/precision/fear': 51.0, 'test/recall/fear': 33.0, 'test/f1/fear': 40.0, 'test/support/fear': 496.0, 'test/acc': 63.0}
    """
    return {
        f"{split}/{report_metric(line, score)}": float(number)
        for split, lines in by_class.items()
        for line, given in lines.items()
        for score, number in _named(line, given).items()
    }


def by_class_faults(label: str, by_class: Mapping[str, Any]) -> list[Fault]:
    """Everything wrong with the report of a row."""
    key, faults = f"study.rows '{label}'", []
    for split, lines in by_class.items():
        if problem := column_problem(f"{split}/acc"):
            faults.append(Fault(key, f"by_class: {problem}", "Put the lines of the report below its split."))
        if not isinstance(lines, Mapping):
            faults.append(Fault(key, f"by_class {split}: {lines!r} has no lines.", REMEDY))
            continue
        faults += [Fault(key, f"by_class {split}, {line}: {problem}", REMEDY) for line, problem in _line_problems(lines)]
    return faults


def _line_problems(lines: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for line, given in lines.items():
        known = _scores(line)
        if isinstance(given, Sequence) and not isinstance(given, str) and not len(known) - 1 <= len(given) <= len(known):
            yield (
                line,
                f"{list(given)} are {len(given)} numbers instead of {', '.join(known)}, the last of which may be left out.",
            )
            continue
        for score, number in _named(line, given).items():
            if score not in known:
                yield line, f"'{score}' is not one of its scores. {choices(score, known)}"
            if problem := number_problem(report_metric(line, score), number):
                yield line, problem


def _named(line: str, given: Any) -> dict[str, Any]:
    """Score -> number; a list has them in the order of a classification report."""
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, Sequence) and not isinstance(given, str):
        return dict(zip(_scores(line), given, strict=False))
    return {_scores(line)[0]: given}


def _scores(line: str) -> tuple[str, ...]:
    return (ACCURACY, SUPPORT) if line == ACCURACY else CLASS_SCORES


def is_average(line: str) -> bool:
    """Whether a line of a report is about all classes together."""
    return line in (ACCURACY, *AVERAGES)
