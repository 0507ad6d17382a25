"""Faults of rows that average the networks of other rows, as far as they show in the study's file alone."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fer_ablate.config.choices import AverageOver
from fer_ablate.config.schema import RowConfig, StudyConfig
from fer_ablate.errors import Fault, choices

FEWEST = 2
"""Networks of an average; that of a single one would be this network again."""


def average_faults(study: StudyConfig, labels: Sequence[str]) -> list[Fault]:
    """Faults of `average_of` and `average_over`.

    Args:
        study: free of other faults in its notation.
        labels: of all its rows, in order.
    """
    averages = {row.label: row for row in study.rows if row.average_of}
    faults = [fault for row in averages.values() for fault in _row_faults(row, averages, labels, len(study.seeds))]
    for row in study.rows:
        if row.average_over is not AverageOver.rows and not row.average_of:
            faults.append(Fault(_key(row), "average_over is set, but not average_of.", "Name rows: average_of: [a, b]."))
        if row.start_from in averages and not row.average_of:
            problem = f"start_from: '{row.start_from}' is an average of networks and has no weights of its own."
            faults.append(Fault(_key(row), problem, f"Start from one of {_listed(averages[row.start_from].average_of)}."))
    return faults


def _row_faults(row: RowConfig, averages: Mapping[str, RowConfig], labels: Sequence[str], seeds: int) -> Iterator[Fault]:
    trained = [label for label in labels if label not in averages]
    if twice := [label for label, count in Counter(row.average_of).items() if count > 1]:
        yield Fault(_key(row), f"average_of: {_listed(twice)} is named more than once.", "Name each row once.")
    for label in dict.fromkeys(row.average_of):
        if label == row.label:
            yield Fault(_key(row), "average_of: the row would average itself.", f"Choices: {', '.join(trained)}.")
        elif label in averages:
            # Flat averages only: nested ones would weigh networks unequally, and could go in a circle.
            problem = f"average_of: '{label}' is an average itself."
            inner = [one for one in averages[label].average_of if one in trained]
            yield Fault(_key(row), problem, f"Name the rows that are trained: {_listed(inner or trained)}.")
        elif label not in labels:
            yield Fault(_key(row), f"average_of: there is no row '{label}'.", choices(label, trained))
    if given := [name for name in ("overrides", "start_from", "auxiliary") if getattr(row, name)]:
        names = " and ".join(given)
        problem = f"average_of: the row is not trained, so {names} would have no effect."
        yield Fault(_key(row), problem, f"Remove {names}, or average_of.")
    if len(set(row.average_of)) * (seeds if row.average_over is AverageOver.seeds else 1) < FEWEST:
        way_out = "Name more rows" + (", or set average_over: seeds." if seeds > 1 else ".")
        yield Fault(_key(row), "average_of: one network alone is no average.", way_out)


def _key(row: RowConfig) -> str:
    return f"study.rows '{row.label}'"


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(f"'{label}'" for label in labels)
